//! Placement of spans by token similarity.
use std::ops::Range;

use ndarray::Array2;

use crate::project::{ProjectionConfig, project};
use crate::{Error, PlaceError, PlaceSpans, Placed, SpanTask};

/// Similarity of the tokens of a source and its translation.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// `[source tokens, target tokens]`, finite.
    pub similarity: Array2<f32>,
    /// Range of each source token, in code points.
    pub source_tokens: Vec<Range<usize>>,
    /// Range of each target token, in code points.
    pub target_tokens: Vec<Range<usize>>,
}

/// Places spans by aligned tokens ([`project`]). `align` computes the tokens' similarity, for
/// example from an encoder's hidden states.
#[derive(Clone, Debug)]
pub struct ByAlignment<F> {
    /// Computes the similarity of a task's tokens.
    pub align: F,
    /// Projection options.
    pub config: ProjectionConfig,
}

impl<F: FnMut(&SpanTask) -> Result<Alignment, Error>> PlaceSpans for ByAlignment<F> {
    fn name(&self) -> &'static str {
        "alignment"
    }

    /// # Errors
    /// The errors of `align`; [`Error::Span`] if a token is outside the translation;
    /// [`Error::Projection`] if the similarity matrix has other numbers of tokens.
    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
        let mut results = Vec::with_capacity(tasks.len());
        for task in tasks {
            task.text()?;
            let Alignment { similarity, source_tokens, target_tokens } = (self.align)(task)?;
            let expected = (source_tokens.len(), target_tokens.len());
            if similarity.dim() != expected {
                return Err(Error::Projection {
                    name: "similarity",
                    expected: format!("the shape {expected:?}, the numbers of tokens"),
                    got: format!("{:?}", similarity.dim()),
                });
            }
            let overlaps_span =
                |token: &Range<usize>| token.start < task.span.end && task.span.start < token.end;
            let first = source_tokens.iter().position(overlaps_span);
            let last = source_tokens.iter().rposition(overlaps_span);
            let target_range = match first.zip(last) {
                None => None,
                Some((first, last)) => project(similarity.view(), first..last + 1, &self.config)?,
            };
            let span = target_range
                .map(|range| target_tokens[range.start].start..target_tokens[range.end - 1].end);
            if let Some(span) = &span {
                super::check_end(&task.target, span)?;
            }
            results.push(match span.filter(|span| super::slice(&task.target, span).is_some()) {
                None => Err(PlaceError::NotFound),
                Some(span) => {
                    Ok(Placed { span, score: 1.0, method: "alignment", runners_up: Vec::new() })
                }
            });
        }
        Ok(results)
    }
}
