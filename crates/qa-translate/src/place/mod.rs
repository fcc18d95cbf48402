//! Where a span of the source stands in a finished translation: one trait over several ways.
mod alignment;
mod candidates;
mod codec;
mod score;
mod search_span;
mod units;

use std::ops::Range;

use mlqa_eval::Language;
use serde::Serialize;

use crate::Error;

pub use alignment::{Alignment, ByAlignment};
pub use candidates::{ByCandidates, CandidateConfig, Candidates, Windows, translation_similarity};
pub use codec::{ByConstrainedDecoding, CodecConfig, ratio};
pub use score::{FileScorer, ScoreRequest, ScoreText, TextScore};
pub use search_span::BySearch;
pub use units::units;

/// One span of a source text, and the text's translation.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanTask {
    /// The source's language.
    pub from: Language,
    /// The translation's language.
    pub to: Language,
    /// The source text.
    pub source: String,
    /// The span in it, in code points.
    pub span: Range<usize>,
    /// The translation.
    pub target: String,
    /// The translation of the span alone, where there is one.
    pub answer: Option<String>,
}

impl SpanTask {
    /// The span's text.
    ///
    /// # Errors
    /// [`Error::Span`] if it is empty or leaves the source.
    pub fn text(&self) -> Result<String, Error> {
        cut(&self.source, &self.span).ok_or_else(|| {
            let Range { start, end } = self.span;
            Error::Span { start, end, length: self.source.chars().count() }
        })
    }
}

/// A span that was found in a translation.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// In code points of the translation.
    pub span: Range<usize>,
    /// What decided; comparable only within one way.
    pub score: f64,
    /// The way, as [`PlaceSpans::name`].
    pub method: &'static str,
    /// Others, best first, with their scores.
    pub runners_up: Vec<(Range<usize>, f64)>,
}

/// Why a span was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlaceFault {
    /// The way needs the translation of the span alone.
    NoAnswer,
    /// The translation does not hold it.
    NotFound,
    /// It holds it more than once, and one is required.
    Ambiguous,
    /// Nothing in it could be the span.
    NoCandidate,
    /// What could be was judged to be something else.
    Rejected,
    /// The texts are longer than the way's model takes.
    TooLong,
}

/// Finds spans in translations.
pub trait PlaceSpans {
    /// A word for tables and counts.
    fn name(&self) -> &'static str;

    /// One result for each task, in order.
    ///
    /// What is placed is a part of the translation at its offsets; no text is made.
    ///
    /// # Errors
    /// [`Error`] where the way as a whole fails: a server, a file that lacks scores, a task whose
    /// span leaves its source.
    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceFault>>, Error>;
}

/// A part of a text, in code points; `None` if it is blank or leaves the text.
pub(crate) fn cut(text: &str, span: &Range<usize>) -> Option<String> {
    let length = span.end.checked_sub(span.start)?;
    let cut: String = text.chars().skip(span.start).take(length).collect();
    (cut.chars().count() == length && !cut.trim().is_empty()).then_some(cut)
}
