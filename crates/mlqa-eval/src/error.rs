//! Errors of this crate. Each message states how to fix the problem.
use std::path::PathBuf;

use language::{LanguageError, UnknownLanguage};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written. An existing file is unchanged.
    #[error(transparent)]
    File(#[from] atomic_file::Error),
    /// The content of a file is not the expected JSON.
    #[error("{}:{line}:{column}: {message}; expected {expected}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line of the error, starting at 1.
        line: usize,
        /// Column of the error, starting at 1.
        column: usize,
        /// Description of the error.
        message: String,
        /// The expected content.
        expected: &'static str,
    },
    /// No question of a file has the key by which questions are grouped.
    #[error("{}: no question has a value of `{key}`; {}", path.display(), keys_text(keys))]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The keys by which questions of the file can be grouped.
        keys: Vec<String>,
    },
    /// Two questions of a file have the same id.
    #[error("{}: question id `{id}` occurs twice; ids must be unique", path.display())]
    DuplicateQuestion {
        /// The file.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// An answer is not at its `answer_start` in the context.
    #[error(
        "{}: question `{id}`: answer_start {offset} should hold `{expected}`, but the context has \
         `{found}` there; offsets count Unicode code points",
        path.display()
    )]
    AnswerMismatch {
        /// The file.
        path: PathBuf,
        /// The question's id.
        id: String,
        /// `answer_start`, in code points.
        offset: usize,
        /// The answer's text.
        expected: String,
        /// The context's text at `offset` with the length of the answer; empty if `offset` is after
        /// the end of the context.
        found: String,
    },
    /// A question has gold answers, but none of them has an offset.
    #[error(
        "{}: question `{id}`: no answer has an offset (`answer_start` is -1 or absent), which training \
         needs",
        path.display()
    )]
    NoOffset {
        /// The file.
        path: PathBuf,
        /// The question's id.
        id: String,
    },
    /// The keys `answers` and `is_impossible` of a training question contradict each other, or both
    /// are absent.
    #[error("{}: question `{id}` {problem}", path.display())]
    InvalidLabels {
        /// The file.
        path: PathBuf,
        /// The question's id.
        id: String,
        /// Description of the error.
        problem: &'static str,
    },
    /// A text is not a language code.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// A text is not a language code of ISO 639.
    #[error(transparent)]
    UnknownLanguage(#[from] UnknownLanguage),
    /// A file name does not have MLQA's form.
    #[error("`{name}` is not named `{{split}}-context-{{c}}-question-{{q}}.json` ({reason})")]
    DatasetName {
        /// The name.
        name: String,
        /// The reason why the name is invalid.
        reason: String,
    },
    /// Two files have no question id in common.
    #[error("{} and {} have no question id in common; expected two files of one parallel data set", context.display(), question.display())]
    NothingPaired {
        /// The file that provides the contexts.
        context: PathBuf,
        /// The file that provides the question texts.
        question: PathBuf,
    },
    /// A configured value is out of range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        rule: String,
    },
    /// A tokenizer could not be loaded or used.
    #[error("tokenizer {name}: {message}")]
    Tokenizer {
        /// The tokenizer file, or the operation that failed: `truncation`, or `on` and a
        /// description of the text.
        name: String,
        /// The cause.
        message: String,
    },
    /// The tokenizer lacks a special token, or its template is not supported.
    #[error("tokenizer: {message}")]
    SpecialToken {
        /// Name of the missing token, or the unsupported template with the supported templates.
        message: String,
    },
    /// A question leaves too few tokens for its context.
    #[error(
        "question `{id}`: {question} question tokens leave room for {budget} context tokens, which \
         must be more than doc_stride = {doc_stride}; lower doc_stride or max_question_length, or \
         raise max_length"
    )]
    NoRoom {
        /// The question's id.
        id: String,
        /// Number of question tokens after truncation.
        question: usize,
        /// Number of tokens available for the context.
        budget: usize,
        /// The configured `doc_stride`.
        doc_stride: usize,
    },
    /// A window does not belong to the questions, or its parts have different lengths.
    #[error("window {window} {problem}; pass windows and the questions that they were made of")]
    Window {
        /// The window's index.
        window: usize,
        /// Description of the error.
        problem: String,
    },
    /// Logits do not match the windows.
    #[error("question `{id}`, window {window}: {tensor} {problem}")]
    Logits {
        /// The question's id.
        id: String,
        /// The window's index.
        window: usize,
        /// `start_logits` or `end_logits`.
        tensor: &'static str,
        /// Description of the error.
        problem: String,
    },
    /// The number of rows of logits differs from the number of windows.
    #[error("{got} rows of {tensor} for {expected} windows; one row per window is needed")]
    LogitsCount {
        /// `start_logits` or `end_logits`.
        tensor: &'static str,
        /// Number of windows.
        expected: usize,
        /// Number of rows.
        got: usize,
    },
    /// There are no questions to score.
    #[error("{}: no questions to score", path.display())]
    NoQuestions {
        /// The file.
        path: PathBuf,
    },
    /// A question cannot be scored because it has no gold answer.
    #[error(
        "{}: question `{id}` has no gold answer, so it cannot be scored; for SQuAD 2.0 use \
         `mlqa-eval score --squad2`",
        path.display()
    )]
    NoGold {
        /// The file.
        path: PathBuf,
        /// The question's id.
        id: String,
    },
    /// The language argument is missing, and the question ids do not name languages.
    #[error(
        "{}: LANGUAGE is missing, and the question ids do not name languages as in TyDi \
         (`arabic-2387335860751143628-1`); give the language of contexts and answers, such as en",
        path.display()
    )]
    NoLanguage {
        /// The file.
        path: PathBuf,
    },
    /// The language argument is set, but the question ids name several languages.
    #[error(
        "{}: the question ids name several languages, but LANGUAGE is `{language}`; omit LANGUAGE to \
         score each language by its own rules",
        path.display()
    )]
    SeveralLanguages {
        /// The file.
        path: PathBuf,
        /// The language argument.
        language: language::Language,
    },
    /// MLQA's rules were requested for a language whose words are not separated by spaces.
    #[error(
        "MLQA has no scoring rules for `{language}`, whose words are not separated by spaces: an answer would be one \
         token, and F1 nearly exact match; score by the rules of zh, which make each Chinese character a token, or by \
         SQuAD's rules (`--norm squad`)"
    )]
    NoRules {
        /// The language.
        language: language::Language,
    },
    /// A folder has no file to score.
    #[error("no {what} in {}", path.display())]
    NothingFound {
        /// Description of the missing files.
        what: String,
        /// The folder.
        path: PathBuf,
    },
    /// A file's content violates its format.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Description of the error, with a fix.
        message: String,
    },
    /// There is no published table with this id, or the table has no comparable values.
    #[error("published table `{id}`: {message}")]
    Table {
        /// The id.
        id: String,
        /// Description of the error, with the valid ids.
        message: String,
    },
    /// Token coverage cannot be computed because the questions have no tokens.
    #[error("coverage: no tokens in the questions")]
    NoTokens,
}

impl Error {
    /// Creates [`Error::Config`] for a value that is out of range.
    pub(crate) fn config(key: &'static str, value: impl ToString, rule: impl Into<String>) -> Self {
        Self::Config { key, value: value.to_string(), rule: rule.into() }
    }
}

/// Describes the keys by which questions can be grouped.
fn keys_text(keys: &[String]) -> String {
    match keys {
        [] => "its questions have no keys by which they can be grouped".to_owned(),
        keys => format!("questions can be grouped by: {}", keys.join(", ")),
    }
}
