//! A span carried over by the similarity of tokens.
use std::ops::Range;

use ndarray::Array2;

use crate::project::{ProjectConfig, project};
use crate::{Error, PlaceFault, PlaceSpans, Placed, SpanTask};

/// How similar the tokens of a source and of its translation are.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// `[source tokens, target tokens]`, finite.
    pub similarity: Array2<f32>,
    /// Of each source token, in code points.
    pub source_tokens: Vec<Range<usize>>,
    /// Of each target token.
    pub target_tokens: Vec<Range<usize>>,
}

/// Aligns tokens ([`project`]): `align` gives their similarity, as an encoder's hidden states have
/// it.
#[derive(Clone, Debug)]
pub struct ByAlignment<F> {
    /// The similarity of a task's tokens.
    pub align: F,
    /// How the span is carried over.
    pub config: ProjectConfig,
}

impl<F: FnMut(&SpanTask) -> Result<Alignment, Error>> PlaceSpans for ByAlignment<F> {
    fn name(&self) -> &'static str {
        "alignment"
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceFault>>, Error> {
        let mut all = Vec::with_capacity(tasks.len());
        for task in tasks {
            task.text()?;
            let Alignment { similarity, source_tokens, target_tokens } = (self.align)(task)?;
            let touches =
                |token: &Range<usize>| token.start < task.span.end && task.span.start < token.end;
            let first = source_tokens.iter().position(touches);
            let last = source_tokens.iter().rposition(touches);
            let found = match first.zip(last) {
                None => None,
                Some((first, last)) => project(similarity.view(), first..last + 1, &self.config)?,
            };
            let span = found.and_then(|found| {
                let first = target_tokens.get(found.start)?;
                let last = target_tokens.get(found.end.checked_sub(1)?)?;
                Some(first.start..last.end)
            });
            all.push(match span.filter(|span| super::cut(&task.target, span).is_some()) {
                None => Err(PlaceFault::NotFound),
                Some(span) => {
                    Ok(Placed { span, score: 1.0, method: "alignment", runners_up: Vec::new() })
                }
            });
        }
        Ok(all)
    }
}
