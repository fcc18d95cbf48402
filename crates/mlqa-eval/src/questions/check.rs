//! Validates question files and reports every error with its position.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer_position::Context;
use super::language_check::{LanguageCounts, expected_languages};
use super::record::{Record, parse_value};
use super::rows::{Form, has_records_of_several_lines, is_parquet, read_parquet_records};
use crate::files::read_text;
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
    /// An answer has no offset: `answer_start` is -1 or null. It is used for scoring only.
    NoOffset,
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
/// [`Error::File`]; all other errors are findings.
pub fn check_file(path: impl AsRef<Path>) -> Result<FileCheck, Error> {
    let path = path.as_ref();
    let mut check = Checker::default();
    match is_parquet(path) {
        true => check.check_parquet(path)?,
        false => check.check_text(&read_text(path)?, path),
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

    fn check_text(&mut self, text: &str, path: &Path) {
        match Form::parse(text, path) {
            Ok(Form::Squad(file)) => self.check_squad(&file),
            Ok(Form::Rows { .. }) => self.check_records(text),
            Err(error) => self.check_invalid(text, &error),
        }
    }

    /// Checks the rows of a Parquet file. An error of a row does not end the check.
    fn check_parquet(&mut self, path: &Path) -> Result<(), Error> {
        let mut row_number = 0;
        let result = read_parquet_records(path, |record| {
            row_number += 1;
            self.check_record(record, &format!("row {row_number}"));
        });
        match result {
            Err(error @ Error::File(_)) => return Err(error),
            Err(error) => self.add_format_error(&error),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Checks the valid parts of a file that cannot be read, and adds a finding for each invalid
    /// part.
    fn check_invalid(&mut self, text: &str, error: &Error) {
        let first_finding = self.findings.len();
        let value: Option<Value> = serde_json::from_str(text).ok();
        let articles = value.as_ref().and_then(|file| file.get("data")?.as_array());
        match articles {
            Some(articles) if articles.iter().any(|one| one.get("paragraphs").is_some()) => {
                self.check_articles(articles);
            }
            // A file in an unsupported form has one finding, not one for each record.
            _ if matches!(error, Error::Json { .. }) => self.check_records(text),
            _ => {}
        }
        // The error may concern another part of the file, such as `version`. If no record is valid
        // and all have the same error, the file has another form, which one finding describes.
        let new_findings = &self.findings[first_finding..];
        let is_same = new_findings.windows(2).all(|pair| pair[0].message == pair[1].message);
        if new_findings.is_empty() || (self.questions == 0 && is_same) {
            self.findings.truncate(first_finding);
            self.add_format_error(error);
        }
    }

    fn check_articles(&mut self, articles: &[Value]) {
        let list = |value: &'_ Value, key: &str| value.get(key).and_then(Value::as_array).cloned();
        for (a, article) in articles.iter().enumerate() {
            let Some(paragraphs) = list(article, "paragraphs") else {
                let message = "expected a list `paragraphs`";
                self.add(FindingKind::Format, None, &format!("data[{a}]"), message);
                continue;
            };
            for (p, paragraph) in paragraphs.iter().enumerate() {
                let place = format!("data[{a}].paragraphs[{p}]");
                let text = paragraph.get("context").and_then(Value::as_str);
                let (Some(text), Some(qas)) = (text, list(paragraph, "qas")) else {
                    let message = "expected a text `context` and a list `qas`";
                    self.add(FindingKind::Format, None, &place, message);
                    continue;
                };
                let context = self.check_context(text, &place);
                for (q, qa) in qas.into_iter().enumerate() {
                    let place = format!("{place}.qas[{q}]");
                    let id = qa.get("id").map(|id| match id.as_str() {
                        Some(id) => id.to_owned(),
                        None => id.to_string(),
                    });
                    match parse_value::<squad::Qa>(qa) {
                        Ok(qa) => {
                            self.check_question(&context, &qa, &place, |k| {
                                format!("{place}.answers[{k}]")
                            });
                        }
                        Err(message) => {
                            self.questions += 1;
                            self.add(FindingKind::Format, id.as_deref(), &place, message);
                        }
                    }
                }
            }
        }
    }

    /// Checks the records of a list, of an object's list `data`, or of lines.
    fn check_records(&mut self, text: &str) {
        let mut check = |value: serde_json::Result<Value>, place: String| {
            let record = value.and_then(Record::deserialize).map_err(|error| error.to_string());
            self.check_record(record, &place);
        };
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Array(rows)) => {
                let numbered_rows = rows.into_iter().enumerate();
                numbered_rows.for_each(|(k, row)| check(Ok(row), format!("row {}", k + 1)));
            }
            Ok(Value::Object(mut file)) if file.get("data").is_some_and(Value::is_array) => {
                let rows = file.remove("data");
                let rows = rows.as_ref().and_then(Value::as_array).into_iter().flatten();
                for (k, row) in rows.enumerate() {
                    check(Ok(row.clone()), format!("row {}", k + 1));
                }
            }
            Ok(record) => check(Ok(record), "row 1".to_owned()),
            Err(_) if has_records_of_several_lines(text) => {
                let values = serde_json::Deserializer::from_str(text).into_iter();
                values.enumerate().for_each(|(k, value)| check(value, format!("row {}", k + 1)));
            }
            Err(_) => {
                let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
                for (k, line) in lines {
                    check(serde_json::from_str(line), format!("line {}", k + 1));
                }
            }
        }
    }

    fn check_record(&mut self, record: Result<Record, String>, place: &str) {
        let Record { context, qas, .. } = match record {
            Ok(record) => record,
            Err(message) => return self.add(FindingKind::Format, None, place, message),
        };
        if qas.is_empty() {
            return;
        }
        let context = self.check_context(&context, place);
        let is_row = qas.len() == 1;
        for (q, qa) in qas.iter().enumerate() {
            let qa_place = if is_row { place.to_owned() } else { format!("{place}, qas[{q}]") };
            self.check_question(&context, qa, &qa_place, |k| format!("{qa_place}, answers[{k}]"));
        }
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
        let answers = qa.answers.as_deref().unwrap_or(&[]);
        match (qa.is_impossible(""), answers.is_empty()) {
            (Err(_), _) => {
                let value = qa.extra.get("is_impossible").expect("only a present value is invalid");
                let message = format!("`is_impossible` is {value}; expected true or false");
                self.add(FindingKind::Format, Some(&qa.id), place, message);
            }
            (Ok(Some(true)), false) => {
                let message = "`is_impossible` is true, but the question has answers";
                self.add(FindingKind::ImpossibleAnswered, Some(&qa.id), place, message);
            }
            (Ok(None | Some(false)), true) => {
                let message = "the question has no answer, and `is_impossible` is not true";
                self.add(FindingKind::NoAnswers, Some(&qa.id), place, message);
            }
            _ => {}
        }
        for (k, answer) in answers.iter().enumerate() {
            self.check_answer(&qa.id, context, answer, &answer_place(k));
        }
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

    fn check_answer(
        &mut self,
        id: &str,
        context: &Context<'_>,
        answer: &squad::Answer,
        place: &str,
    ) {
        self.answers += 1;
        let squad::Answer { text, answer_start, .. } = answer;
        if is_blank(text) {
            let message = "the answer has no text";
            self.add(FindingKind::EmptyAnswer, Some(id), place, message);
            return;
        }
        let Some(start) = *answer_start else {
            let message = format!(
                "the answer `{text}` has no offset (`answer_start` is -1 or null); it is used for \
                 scoring only"
            );
            self.add(FindingKind::NoOffset, Some(id), place, message);
            return;
        };
        if let Some((kind, message)) = context.check_answer(text, start) {
            self.add(kind, Some(id), place, message);
        }
    }

    /// Adds findings that concern the whole file.
    fn add_file_findings(&mut self, path: &Path) {
        if self.questions == 0 && self.findings.is_empty() {
            self.add(FindingKind::NoQuestions, None, "file", "the file has no questions");
        }
        // A name that is not UTF-8 has no languages.
        let name = path.file_name().and_then(|name| name.to_str());
        let expected = match name.map(expected_languages).transpose() {
            Ok(expected) => expected,
            Err(message) => return self.add(FindingKind::Language, None, "file", message),
        };
        let Some((context, question)) = expected.flatten() else { return };
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
