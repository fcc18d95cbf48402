//! The error type of this crate.
use std::path::PathBuf;

use mlqa_eval::Language;

/// An error of this crate.
///
/// A text that cannot be aligned is not an error; reports count such texts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    File(#[from] atomic_file::Error),
    /// A line of a JSONL file is not a translation.
    #[error("{}:{line}: expected {{\"from\": \"en\", \"to\": \"de\", \"source\": \"…\", \"target\": \"…\"}}, got {got}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// The problem.
        got: String,
    },
    /// A file of translations lacks a text.
    #[error("{}: no translation from {from} to {to} of {text:?}; add it, or skip missing texts", path.display())]
    Untranslated {
        /// The file.
        path: PathBuf,
        /// The text's language.
        from: Language,
        /// The requested target language.
        to: Language,
        /// The text, truncated to 80 code points.
        text: String,
    },
    /// A file of word alignments does not belong to the texts.
    #[error("{}:{line}: expected {expected}, got {got}", path.display())]
    Alignment {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// The requirement.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// Texts are too long for a scorer.
    #[error(
        "{count} of {requests} pairs of texts are too long to be scored: the longest pair has {longest_request} tokens, but at most {max_tokens} are supported"
    )]
    TooLong {
        /// Number of requests that are too long.
        count: usize,
        /// Total number of requests.
        requests: usize,
        /// Tokens of the longest request, both texts together.
        longest_request: usize,
        /// Maximum number of tokens.
        max_tokens: usize,
    },
    /// A model that scores or aligns texts failed.
    #[error(transparent)]
    Model(Box<dyn std::error::Error + Send + Sync>),
    /// A translation server could not be reached or did not return translations.
    #[error("{url}: {problem} (tried {attempts} times)")]
    Server {
        /// The requested URL.
        url: String,
        /// The server's response or the cause of the failure.
        problem: String,
        /// Number of attempts of the failed request.
        attempts: u32,
    },
    /// A translator, a scorer or a method that places spans returned a different number of results
    /// than it received inputs.
    #[error("expected {expected} translations, scores or spans, got {got}")]
    Count {
        /// Number of inputs.
        expected: usize,
        /// Number of returned results.
        got: usize,
    },
    /// A span, such as an answer, is blank or outside its text.
    #[error(
        "the answer at code points {start}..{end} is outside a text of length {length}, or blank"
    )]
    Span {
        /// First code point of the answer.
        start: usize,
        /// End of the answer (exclusive), in code points.
        end: usize,
        /// Length of the text in code points.
        length: usize,
    },
    /// Overlapping spans cannot be marked in one text.
    #[error("the spans {first:?} and {second:?} overlap; mark each in a separate text")]
    Overlap {
        /// The first span, in code points.
        first: std::ops::Range<usize>,
        /// The second span, which begins inside the first span.
        second: std::ops::Range<usize>,
    },
    /// A similarity matrix or a span in it is invalid for projection.
    #[error("{name}: expected {expected}, got {got}")]
    Projection {
        /// `similarity` or `span`.
        name: &'static str,
        /// The requirement.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// A configuration value is out of range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The configuration key.
        key: &'static str,
        /// The value.
        value: String,
        /// The requirement.
        rule: &'static str,
    },
    /// Languages are incompatible, for example a language that is listed twice.
    #[error("language {language}: {problem}")]
    Language {
        /// The language.
        language: Language,
        /// The problem and how to fix it.
        problem: String,
    },
    /// There is no data to write.
    #[error("no data to write: {hint}")]
    Empty {
        /// A hint about the cause.
        hint: String,
    },
    /// A question file is invalid.
    #[error(transparent)]
    Eval(#[from] mlqa_eval::Error),
    /// A prepared folder cannot be written.
    #[error(transparent)]
    Prepared(#[from] shards::Error),
}
