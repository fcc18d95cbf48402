//! Placement of source spans in finished translations: a trait with several implementations.
mod alignment;
mod candidates;
mod codec;
mod links;
mod score;
mod search_span;
mod units;

use std::ops::Range;

use mlqa_eval::Language;
use serde::Serialize;

use crate::Error;

pub use alignment::{Alignment, ByAlignment};
pub use candidates::{
    ByCandidates, CandidateScoringConfig, Candidates, Windows, translation_similarity,
};
pub use codec::{ByConstrainedDecoding, CodecConfig, spelling_similarity};
pub use links::{ByLinks, ParallelTexts};
pub use score::{ScoreRequest, ScoreText, TextScore};
pub use search_span::BySearch;
pub(crate) use units::is_written_without_spaces;
pub use units::word_ranges;

/// A span of a source text, and the translation of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTask {
    /// The source's language.
    pub from: Language,
    /// The translation's language.
    pub to: Language,
    /// The source text.
    pub source: String,
    /// The span in the source text, in code points.
    pub span: Range<usize>,
    /// The translation.
    pub target: String,
    /// The separate translation of the span; `None` if it is missing.
    pub answer: Option<String>,
}

impl SpanTask {
    /// Returns the span's text.
    ///
    /// # Errors
    /// [`Error::Span`] if the span is empty or exceeds the source.
    pub fn text(&self) -> Result<String, Error> {
        slice(&self.source, &self.span).ok_or_else(|| {
            let Range { start, end } = self.span;
            Error::Span { start, end, length: self.source.chars().count() }
        })
    }
}

/// A span that was found in a translation.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Range in code points of the translation.
    pub span: Range<usize>,
    /// Score of the span; comparable only with scores of the same method.
    pub score: f64,
    /// Name of the method ([`PlaceSpans::name`]).
    pub method: &'static str,
    /// Candidates that were not selected, best first, with their scores.
    pub runners_up: Vec<(Range<usize>, f64)>,
}

/// Reason why a span was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlaceError {
    /// The task lacks a separate translation of the span, which the method requires.
    NoAnswer,
    /// The translation does not contain the span's translation.
    NotFound,
    /// The translation contains the span's translation more than once.
    Ambiguous,
    /// The translation has no candidate for the span.
    NoCandidate,
    /// All candidates were rejected.
    Rejected,
    /// The texts are too long for the method's model.
    TooLong,
}

/// A method that finds spans in translations.
pub trait PlaceSpans {
    /// Returns the method's name for tables and counts.
    fn name(&self) -> &'static str;

    /// Returns one result for each task, in order.
    ///
    /// A placed span is a range of the translation; the text itself is never changed.
    ///
    /// # Errors
    /// The errors of the scorer; [`Error::Span`] for a task whose span exceeds its source.
    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error>;
}

/// Checks that a span ends inside a text.
///
/// # Errors
/// [`Error::Span`].
fn check_end(text: &str, span: &Range<usize>) -> Result<(), Error> {
    let (&Range { start, end }, length) = (span, text.chars().count());
    if end <= length { Ok(()) } else { Err(Error::Span { start, end, length }) }
}

/// Returns the part of a text in `span`, in code points; `None` if the part is blank or `span`
/// exceeds the text.
pub(crate) fn slice(text: &str, span: &Range<usize>) -> Option<String> {
    let length = span.end.checked_sub(span.start)?;
    let part: String = text.chars().skip(span.start).take(length).collect();
    (part.chars().count() == length && !part.trim().is_empty()).then_some(part)
}
