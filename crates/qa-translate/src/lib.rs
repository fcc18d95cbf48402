#![doc = include_str!("../README.md")]

mod checked;
mod error;
mod lines;
mod markers;
mod mix;
mod notation;
mod output;
mod parallel;
mod place;
mod place_answers;
mod project;
mod provider;
mod read;
mod search;
mod sentences;
mod spans;
mod transfer;
mod translate;

pub use error::Error;
pub use markers::{MarkedText, MarkerError, MarkerNotation, RecoveredText, mark};
pub use mix::{MixConfig, MixReport, Mixed, MixedRow, Pairs, mix};
pub use notation::{NotationScore, best_notation, compare_notations, sample_sentences};
pub use output::TranslatedFolder;
pub use parallel::align_by_id;
pub use place::{
    Alignment, ByAlignment, ByCandidates, ByConstrainedDecoding, ByLinks, BySearch,
    CandidateScoringConfig, Candidates, CodecConfig, ParallelTexts, PlaceError, PlaceSpans, Placed,
    ScoreRequest, ScoreText, SpanTask, TextScore, Windows, spelling_similarity,
    translation_similarity, word_ranges,
};
pub use place_answers::{place_answers, translate_plain};
pub use project::{ProjectionConfig, Symmetrization, project, project_links};
pub use provider::{
    Cached, ChatTranslator, FileTranslator, HttpTranslator, Identity, MissingText, Protected,
    RejectedText, Rejection, RemovedPart, ReplyReport, ServerConfig, Translations, Translator,
};
pub use read::{MixedQuestions, read_translations};
pub use search::{Occurrence, SearchConfig, SearchError, search};
pub use sentences::sentence_ranges;
pub use spans::{
    SpanReport, TranslatedSpans, TypedSpan, TypedText, translate_spans, translate_spans_with,
};
pub use transfer::{MarkerErrorCounts, SpanLoss, Stage};
pub use translate::{Discarded, TranslateConfig, TranslateReport, Translated, translate};
