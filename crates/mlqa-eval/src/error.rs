//! The errors of this crate; each message says what to do.
use std::path::PathBuf;

use language::LanguageError;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file could not be written; `path` is left as it was.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not the JSON that is expected of it.
    #[error("{}:{line}:{column}: {message}; expected {expected}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line of the first fault, from 1.
        line: usize,
        /// Column of the first fault, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
        /// What the file should hold.
        expected: &'static str,
    },
    /// Two questions of one file share an id, so one prediction would answer both.
    #[error("{}: question id `{id}` occurs twice; ids must be unique", path.display())]
    DuplicateQuestion {
        /// The file.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// An answer is not in its context where `answer_start` says.
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
        /// What the context holds there, as many code points; empty past its end.
        found: String,
    },
    /// A text that is no language code.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// A file name that is not MLQA's.
    #[error("`{name}` is not named `{{split}}-context-{{c}}-question-{{q}}.json` ({reason})")]
    DatasetName {
        /// The name.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// Two files have no question id in common.
    #[error("{} and {} share no question id; are both files of one parallel set?", context.display(), question.display())]
    NothingPaired {
        /// The file that gives contexts.
        context: PathBuf,
        /// The file that gives questions.
        question: PathBuf,
    },
    /// A configured value is out of range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// A tokenizer could not be loaded or used.
    #[error("tokenizer {name}: {message}")]
    Tokenizer {
        /// The file, or what was being tokenised.
        name: String,
        /// The cause.
        message: String,
    },
    /// The tokenizer lacks a special token, or lays texts out in a way that is not understood.
    #[error("tokenizer: {message}")]
    SpecialToken {
        /// What it lacks, or how it lays texts out, and what is understood.
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
        /// Its tokens after truncation.
        question: usize,
        /// Tokens that are left for the context.
        budget: usize,
        /// The configured overlap.
        doc_stride: usize,
    },
    /// Logits do not fit the windows.
    #[error("question `{id}`, window {window}: {tensor} {problem}")]
    Logits {
        /// The question's id, or `?` where the window names none.
        id: String,
        /// The window's index.
        window: usize,
        /// `start_logits` or `end_logits`.
        tensor: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Counts of windows and logits differ.
    #[error("{got} rows of {tensor} for {expected} windows; one row per window is needed")]
    LogitsCount {
        /// `start_logits` or `end_logits`.
        tensor: &'static str,
        /// Windows.
        expected: usize,
        /// Rows given.
        got: usize,
    },
    /// There is nothing to score.
    #[error("{}: no questions, so there is no score", path.display())]
    NoQuestions {
        /// The file.
        path: PathBuf,
    },
    /// A question cannot be scored because it has no gold answer.
    #[error(
        "{}: question `{id}` has no gold answer, so it cannot be scored; where questions may have \
         none, as in SQuAD 2.0, `mlqa-eval score --squad2` does",
        path.display()
    )]
    NoGold {
        /// The file.
        path: PathBuf,
        /// The question's id.
        id: String,
    },
    /// No rules were given, and the ids of the questions do not name their languages.
    #[error(
        "{}: LANGUAGE is missing: give that of contexts and answers, such as en (only ids such as \
         `arabic-2387335860751143628-1`, TyDi's, tell it, and these do not)",
        path.display()
    )]
    NoLanguage {
        /// The file.
        path: PathBuf,
    },
    /// One language's rules were to score several languages.
    #[error(
        "{}: its questions are in several languages, and not all in `{language}`; leave the language \
         out, and each is scored by its own rules",
        path.display()
    )]
    SeveralLanguages {
        /// The file.
        path: PathBuf,
        /// The language that was given.
        language: language::Language,
    },
    /// A folder holds no file that could be scored.
    #[error("no {what} in {}", path.display())]
    NothingFound {
        /// What is missing.
        what: String,
        /// The folder.
        path: PathBuf,
    },
    /// A file's content breaks a rule of its format.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// No published table has the given id, or it cannot be compared.
    #[error("published table `{given}`: {message}")]
    Table {
        /// The id.
        given: String,
        /// What is wrong; names the ids there are.
        message: String,
    },
    /// Token coverage cannot be computed because the questions, or the text, have no tokens.
    #[error("{what} gave no tokens, so there is no coverage")]
    NoTokens {
        /// The questions or the text.
        what: &'static str,
    },
}

impl Error {
    /// A configured value that is out of range.
    pub(crate) fn config(key: &'static str, value: impl ToString, rule: impl Into<String>) -> Self {
        Self::Config { key, value: value.to_string(), rule: rule.into() }
    }
}
