//! Placement by searching for the translated span in the translated text.
use crate::search::{SearchConfig, SearchError, search};
use crate::{Error, PlaceError, PlaceSpans, Placed, SpanTask};

/// Locates a span by searching the translated text for the span's translation ([`search`]).
#[derive(Clone, Debug, Default)]
pub struct BySearch {
    /// Search options.
    pub config: SearchConfig,
}

impl PlaceSpans for BySearch {
    fn name(&self) -> &'static str {
        "search"
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
        let place_task = |task: &SpanTask| -> Result<Result<Placed, PlaceError>, Error> {
            task.text()?;
            let Some(answer) = &task.answer else { return Ok(Err(PlaceError::NoAnswer)) };
            let length = task.source.chars().count().max(1);
            let position = task.span.start as f64 / length as f64;
            Ok(match search(&task.target, answer, position, &self.config) {
                Ok(answer) => Ok(Placed {
                    span: answer.span().expect("a found answer has an offset"),
                    score: 1.0,
                    method: self.name(),
                    runners_up: Vec::new(),
                }),
                Err(SearchError::NotFound) => Err(PlaceError::NotFound),
                Err(SearchError::Ambiguous) => Err(PlaceError::Ambiguous),
            })
        };
        tasks.iter().map(place_task).collect()
    }
}
