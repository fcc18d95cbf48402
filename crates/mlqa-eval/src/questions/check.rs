//! Validates question files and reports every error with its position.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::language_check::{LanguageCounts, expected_languages};
use super::rows::{Form, Row};
use crate::metric::unicode::is_space;
use crate::{Error, squad};

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// The file is neither SQuAD-style JSON nor supported rows.
    Format,
    /// The file has no question.
    NoQuestions,
    /// An earlier question of the file has the same id as this question.
    DuplicateId,
    /// The text of a question, an id or a context is empty or white space.
    Empty,
    /// The text of an answer is empty or white space.
    EmptyAnswer,
    /// A question has no answer, and its `is_impossible` is not true.
    NoAnswers,
    /// `is_impossible` is true, but the question has an answer.
    ImpossibleAnswered,
    /// An answer begins or ends after the end of its context.
    AnswerBeyond,
    /// `answer_start` counts UTF-8 bytes instead of code points.
    ByteOffset,
    /// `answer_start` counts UTF-16 code units, as JavaScript and Java do.
    Utf16Offset,
    /// An answer is not at its `answer_start`, but occurs elsewhere in its context.
    AnswerElsewhere,
    /// An answer does not occur in its context.
    AnswerMissing,
    /// The file's name has the form of MLQA's or XQuAD's names, but its languages are missing, are
    /// invalid or do not match the texts.
    Language,
}

/// An error in a question file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind.
    pub kind: FindingKind,
    /// Id of the question; `None` if the error does not concern a single question.
    pub id: Option<String>,
    /// The position: `data[2].paragraphs[0].qas[1].answers[0]`, `row 7`, `line 3 column 9`, or
    /// `file`.
    pub place: String,
    /// Description of the error.
    pub message: String,
}

/// The result of validating a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileCheck {
    /// The file.
    #[serde(serialize_with = "crate::files::path_as_text")]
    pub path: PathBuf,
    /// Number of questions.
    pub questions: usize,
    /// Number of gold answers.
    pub answers: usize,
    /// The errors in file order, followed by errors that concern the whole file.
    pub findings: Vec<Finding>,
}

/// Validates a question file: format, ids, texts, answers and their offsets, and languages.
///
/// Supports MLQA, XQuAD, SQuAD v1.1 and 2.0, and rows as in
/// [`Dataset::read`](crate::Dataset::read). The languages in the file's name
/// (`test-context-de-question-en`, `xquad.de`) are compared with the script of the texts and, for
/// Latin script, with frequent words.
///
/// ```
/// let checked = mlqa_eval::check_file("../../data/xquad/xquad.de.json")?;
/// assert_eq!((checked.questions, checked.answers), (1190, 1190));
/// assert!(checked.findings.is_empty());
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Read`]; all other errors are findings.
pub fn check_file(path: impl AsRef<Path>) -> Result<FileCheck, Error> {
    let path = path.as_ref();
    let mut check = Checker::default();
    match Form::read(path) {
        Ok(Form::Squad(file)) => check.check_squad(&file),
        Ok(Form::Rows { rows, .. }) => {
            rows.iter().enumerate().for_each(|(k, row)| check.check_row(k, row));
        }
        Err(error @ Error::Read { .. }) => return Err(error),
        Err(error) => check.add_format_error(&error),
    }
    check.add_file_findings(path);
    let Checker { questions, answers, findings, .. } = check;
    Ok(FileCheck { path: path.to_path_buf(), questions, answers, findings })
}

#[derive(Default)]
struct Checker {
    questions: usize,
    answers: usize,
    findings: Vec<Finding>,
    /// The position of the first question with each id.
    first_positions: HashMap<String, String>,
    contexts: LanguageCounts,
    question_texts: LanguageCounts,
}

impl Checker {
    fn add(
        &mut self,
        kind: FindingKind,
        id: Option<&str>,
        place: &str,
        message: impl Into<String>,
    ) {
        let id = id.map(str::to_owned);
        self.findings.push(Finding { kind, id, place: place.to_owned(), message: message.into() });
    }

    fn add_format_error(&mut self, error: &Error) {
        let (place, message) = match error {
            Error::Json { line, column, message, expected, .. } => {
                (format!("line {line} column {column}"), format!("{message}; expected {expected}"))
            }
            Error::Content { message, .. } => ("file".to_owned(), message.clone()),
            other => ("file".to_owned(), other.to_string()),
        };
        self.add(FindingKind::Format, None, &place, message);
    }

    fn check_squad(&mut self, file: &squad::File) {
        for (a, article) in file.data.iter().enumerate() {
            for (p, paragraph) in article.paragraphs.iter().enumerate() {
                let place = format!("data[{a}].paragraphs[{p}]");
                let context = self.check_context(&paragraph.context, &place);
                for (q, qa) in paragraph.qas.iter().enumerate() {
                    let place = format!("{place}.qas[{q}]");
                    self.check_question(&context, qa, &place, |k| format!("{place}.answers[{k}]"));
                }
            }
        }
    }

    fn check_context<'a>(&mut self, text: &'a str, place: &str) -> Context<'a> {
        self.contexts.add(text);
        if is_blank(text) {
            self.add(FindingKind::Empty, None, place, "the context has no text");
        }
        Context::new(text)
    }

    fn check_question(
        &mut self,
        context: &Context<'_>,
        qa: &squad::Qa,
        place: &str,
        answer_place: impl Fn(usize) -> String,
    ) {
        self.check_question_text(&qa.id, &qa.question, place);
        let is_impossible = qa.extra.get("is_impossible").and_then(Value::as_bool) == Some(true);
        match (is_impossible, qa.answers.is_empty()) {
            (true, false) => {
                let message = "`is_impossible` is true, but the question has answers";
                self.add(FindingKind::ImpossibleAnswered, Some(&qa.id), place, message);
            }
            (false, true) => {
                let message = "the question has no answer, and `is_impossible` is not true";
                self.add(FindingKind::NoAnswers, Some(&qa.id), place, message);
            }
            _ => {}
        }
        for (k, answer) in qa.answers.iter().enumerate() {
            self.check_answer(&qa.id, context, &answer.text, answer.answer_start, &answer_place(k));
        }
    }

    fn check_row(&mut self, index: usize, row: &Row) {
        let place = format!("row {}", index + 1);
        let context = self.check_context(&row.context, &place);
        self.check_question(&context, &row.qa, &place, |k| format!("{place}, answers[{k}]"));
    }

    fn check_question_text(&mut self, id: &str, question: &str, place: &str) {
        self.questions += 1;
        self.question_texts.add(question);
        for (what, text) in [("id", id), ("question", question)] {
            if is_blank(text) {
                let message = format!("the {what} has no text");
                self.add(FindingKind::Empty, Some(id), place, message);
            }
        }
        match self.first_positions.get(id) {
            Some(first) => {
                let message = format!("question id `{id}` occurs twice; first at {first}");
                self.add(FindingKind::DuplicateId, Some(id), place, message);
            }
            None => {
                self.first_positions.insert(id.to_owned(), place.to_owned());
            }
        }
    }

    fn check_answer(&mut self, id: &str, context: &Context, text: &str, start: usize, place: &str) {
        self.answers += 1;
        if is_blank(text) {
            let message = "the answer has no text";
            self.add(FindingKind::EmptyAnswer, Some(id), place, message);
        } else if let Some((kind, message)) = context.check_answer(text, start) {
            self.add(kind, Some(id), place, message);
        }
    }

    /// Adds findings that concern the whole file.
    fn add_file_findings(&mut self, path: &Path) {
        if self.questions == 0 && self.findings.is_empty() {
            self.add(FindingKind::NoQuestions, None, "file", "the file has no questions");
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let expected = match expected_languages(name) {
            Ok(expected) => expected,
            Err(message) => return self.add(FindingKind::Language, None, "file", message),
        };
        let Some((context, question)) = expected else { return };
        let contexts = ("contexts", context, self.contexts.contradicts(context));
        let questions = ("questions", question, self.question_texts.contradicts(question));
        for (what, language, contradiction) in [contexts, questions] {
            if let Some(contradiction) = contradiction {
                let message = format!(
                    "according to the file name, {what} are in `{language}`, but {contradiction}"
                );
                self.add(FindingKind::Language, None, "file", message);
            }
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// A context, with the byte positions of its code points and of its end.
struct Context<'a> {
    text: &'a str,
    byte_positions: Vec<usize>,
}

impl<'a> Context<'a> {
    fn new(text: &'a str) -> Self {
        let positions = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
        Self { text, byte_positions: positions.collect() }
    }

    /// Returns whether the context has `text` at a byte position.
    fn has_text_at(&self, text: &str, byte: usize) -> bool {
        self.text.get(byte..).is_some_and(|rest| rest.starts_with(text))
    }

    /// Checks whether the context has the answer `text` at code point `start`. If not, returns the
    /// kind and the message of the error.
    fn check_answer(&self, text: &str, start: usize) -> Option<(FindingKind, String)> {
        let start_byte = self.byte_positions.get(start).copied();
        if start_byte.is_some_and(|byte| self.has_text_at(text, byte)) {
            return None;
        }
        let length = self.byte_positions.len() - 1;
        let end = start.saturating_add(text.chars().count());
        let actual = match (start_byte, self.byte_positions.get(end)) {
            (Some(from), Some(&to)) => {
                let actual = self.text.get(from..to).unwrap_or_default();
                format!("the context has `{actual}` there; offsets count Unicode code points")
            }
            _ => format!("the answer would end at {end}, and the context has {length} code points"),
        };
        let mismatch = format!("answer_start {start} should hold `{text}`, but {actual}");
        if self.has_text_at(text, start) {
            let hint = "the offset is correct in UTF-8 bytes";
            return Some((FindingKind::ByteOffset, format!("{mismatch}; {hint}")));
        }
        if self.byte_at_utf16(start).is_some_and(|byte| self.has_text_at(text, byte)) {
            let hint = "the offset is correct in UTF-16 units";
            return Some((FindingKind::Utf16Offset, format!("{mismatch}; {hint}")));
        }
        let nearest = self
            .text
            .match_indices(text)
            .map(|(byte, _)| self.byte_positions.partition_point(|&position| position < byte))
            .min_by_key(|at| at.abs_diff(start));
        let kind = match (nearest, end > length) {
            (_, true) => FindingKind::AnswerBeyond,
            (Some(_), false) => FindingKind::AnswerElsewhere,
            (None, false) => FindingKind::AnswerMissing,
        };
        let hint = match nearest {
            Some(at) => format!("the answer occurs at {at}"),
            None => "the answer does not occur in the context".to_owned(),
        };
        Some((kind, format!("{mismatch}; {hint}")))
    }

    /// Converts a UTF-16 offset into a byte position.
    fn byte_at_utf16(&self, start: usize) -> Option<usize> {
        let mut units = 0;
        for (byte, c) in self.text.char_indices() {
            if units == start {
                return Some(byte);
            }
            units += c.len_utf16();
        }
        None
    }
}
