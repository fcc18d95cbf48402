//! Scores by the type of the answer, for data that gives it (`subtype`; mixMRC + LAKM, section 4.1
//! and Fig. 5).
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::files::{parse_json, read_text};
use crate::predictions::write_json;
use crate::{Answer, Dataset, EvalError, Question, QuestionScore, Score, squad};

const EXPECTED: &str = "SQuAD-style JSON with `subtype` beside each question, or rows (a JSON array, or one a line) as \
    {\"question\": \"…\", \"passage\": \"…\", \"answer\": {\"start\": 0, \"end\": 1, \"text\": \"…\"}, \
    \"subtype\": \"…\"}";

/// Types with fewer questions than this are marked as too small.
pub const MIN_TYPE_QUESTIONS: usize = 10;

/// Questions whose answers have a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedDataset {
    /// The questions.
    pub dataset: Dataset,
    /// The answer's type, as `full name`, by question id; at least one question has one.
    pub types: BTreeMap<String, String>,
}

impl TypedDataset {
    /// Reads MTQA's rows: `question`, `passage`, `answer` with `start`, `end` (exclusive) and
    /// `text`, offsets in Unicode code points, and `subtype`; a JSON array or one row per line. A
    /// row may have an `id`; without, it is `row-` and its number from 1. Keys beyond these are
    /// ignored.
    ///
    /// SQuAD-style JSON is read as well, where questions carry `subtype`.
    ///
    /// # Errors
    /// [`EvalError::Read`]; [`EvalError::Json`] with line and column;
    /// [`EvalError::DuplicateQuestion`]; [`EvalError::AnswerMismatch`] if a row's answer is not at
    /// `start`; [`EvalError::Content`] if its `end` is not where the text ends, a type is blank, or
    /// no question has one.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        let text = &read_text(path)?;
        let typed = match parse_json::<serde_json::Value>(text, path, EXPECTED) {
            Ok(serde_json::Value::Object(object)) if object.contains_key("data") => {
                let file = squad::File::parse(text, path)?;
                let mut types = BTreeMap::new();
                for question in file.questions() {
                    let subtype: Option<String> = question.field("subtype", path)?;
                    types.extend(subtype.map(|subtype| (question.id.clone(), subtype)));
                }
                Self { dataset: Dataset::from_squad(file, path)?, types }
            }
            Ok(value) => from_rows(rows(text, Some(&value), path)?, path)?,
            Err(_) => from_rows(rows(text, None, path)?, path)?,
        };
        typed.check(path)?;
        Ok(typed)
    }

    fn check(&self, path: &Path) -> Result<(), EvalError> {
        let refuse = |message| Err(EvalError::Content { path: path.to_path_buf(), message });
        if self.types.is_empty() {
            return refuse(
                "no question has a `subtype`, so there are no types to tell apart".into(),
            );
        }
        match self.types.iter().find(|(_, subtype)| subtype.trim().is_empty()) {
            Some((id, _)) => refuse(format!("question `{id}`: its `subtype` is blank")),
            None => Ok(()),
        }
    }
}

/// The rows of a text: a JSON array, which `value` is then, or one row per line.
pub(crate) fn rows(
    text: &str,
    value: Option<&serde_json::Value>,
    path: &Path,
) -> Result<Vec<Row>, EvalError> {
    match value {
        Some(serde_json::Value::Array(_)) => parse_json(text, path, EXPECTED),
        // A file of one row is an object.
        _ => lines(text, path),
    }
}

fn lines(text: &str, path: &Path) -> Result<Vec<Row>, EvalError> {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered
        .map(|(index, line)| {
            parse_json(line, path, EXPECTED).map_err(|error| match error {
                EvalError::Json { path, column, message, expected, .. } => {
                    EvalError::Json { path, line: index + 1, column, message, expected }
                }
                other => other,
            })
        })
        .collect()
}

fn from_rows(rows: Vec<Row>, path: &Path) -> Result<TypedDataset, EvalError> {
    let mut types = BTreeMap::new();
    let mut questions = Vec::with_capacity(rows.len());
    let mut passages: HashMap<String, Arc<str>> = HashMap::new();
    for (index, row) in rows.into_iter().enumerate() {
        let id = row.id.unwrap_or_else(|| format!("row-{}", index + 1));
        let RowAnswer { start, end, text } = row.answer;
        let length = text.chars().count();
        let context =
            passages.entry(row.passage).or_insert_with_key(|passage| Arc::from(passage.as_str()));
        let answers = vec![Answer { text, answer_start: start }];
        let (context, title) = (Arc::clone(context), Arc::from(""));
        let question = Question { id: id.clone(), question: row.question, context, answers, title };
        question.check_answers(path)?;
        if start.checked_add(length) != Some(end) {
            let message = format!(
                "question `{id}`: answer.end is {end}, but {length} code points from {start} end \
                 elsewhere; `end` is one past the answer's last"
            );
            return Err(EvalError::Content { path: path.to_path_buf(), message });
        }
        questions.push(question);
        types.extend(row.subtype.map(|subtype| (id, subtype)));
    }
    let dataset = Dataset { path: path.to_path_buf(), version: None, questions };
    dataset.check_ids()?;
    Ok(TypedDataset { dataset, types })
}

/// The scores of one type of answer, in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TypeScore {
    /// The type; empty for questions without one.
    pub subtype: String,
    /// Questions of the type.
    pub questions: usize,
    /// Exact match.
    pub exact_match: f64,
    /// Mean F1.
    pub f1: f64,
    /// Whether there are fewer than [`MIN_TYPE_QUESTIONS`], too few to
    /// conclude much from.
    pub few: bool,
}

/// Scores by type, the largest type first, types of one size by name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerTypes {
    /// Each type.
    pub types: Vec<TypeScore>,
    /// All questions together; `subtype` is `all`.
    pub all: TypeScore,
}

/// Splits a score by the type of the answer. Questions that `types` lacks are one type with an
/// empty name.
///
/// ```
/// use std::collections::BTreeMap;
/// use mlqa_eval::{QuestionScore, Score, answer_types};
///
/// let question = |id: &str, exact_match, f1| {
///     QuestionScore { id: id.into(), exact_match, f1, answered: true }
/// };
/// let per_question =
///     vec![question("1", true, 1.0), question("2", false, 0.5), question("3", false, 0.0)];
/// let (exact_match, f1, unanswered) = (100.0 / 3.0, 50.0, vec![]);
/// let score = Score { exact_match, f1, questions: 3, unanswered, per_question };
/// let types = [("1", "animal"), ("2", "animal"), ("3", "date")];
/// let types: BTreeMap<_, _> = types.map(|(id, name)| (id.to_owned(), name.to_owned())).into();
/// let split = answer_types(&score, &types);
/// assert_eq!((split.types[0].subtype.as_str(), split.types[0].f1), ("animal", 75.0));
/// ```
pub fn answer_types(score: &Score, types: &BTreeMap<String, String>) -> AnswerTypes {
    let mut by_type: BTreeMap<&str, Vec<&QuestionScore>> = BTreeMap::new();
    for one in &score.per_question {
        let subtype = types.get(&one.id).map_or("", String::as_str);
        by_type.entry(subtype).or_default().push(one);
    }
    let mut types: Vec<TypeScore> =
        by_type.into_iter().map(|(name, scores)| type_score(name, &scores)).collect();
    types.sort_by_key(|one| std::cmp::Reverse(one.questions));
    let all: Vec<&QuestionScore> = score.per_question.iter().collect();
    AnswerTypes { types, all: type_score("all", &all) }
}

fn type_score(name: &str, scores: &[&QuestionScore]) -> TypeScore {
    let questions = scores.len();
    let percent = |sum: f64| if questions == 0 { 0.0 } else { 100.0 * sum / questions as f64 };
    TypeScore {
        subtype: name.to_owned(),
        questions,
        exact_match: percent(scores.iter().filter(|one| one.exact_match).count() as f64),
        f1: percent(scores.iter().fold(0.0, |sum, one| sum + one.f1)),
        few: questions < MIN_TYPE_QUESTIONS,
    }
}

impl AnswerTypes {
    /// A table, a row for each type and one for all; types that are [`TypeScore::few`] have a `*`.
    pub fn to_markdown(&self) -> String {
        let mut out = String::from("| subtype | questions | EM | F1 |\n|---|---:|---:|---:|\n");
        for one in self.types.iter().chain([&self.all]) {
            let name = match one.subtype.as_str() {
                "" => "(none)".to_owned(),
                name => name.replace('|', "\\|"),
            };
            let flag = if one.few { " *" } else { "" };
            let TypeScore { questions, exact_match, f1, .. } = one;
            let _ = writeln!(out, "| {name}{flag} | {questions} | {exact_match:.2} | {f1:.2} |");
        }
        if self.types.iter().any(|one| one.few) {
            let _ = writeln!(out, "\n\\* fewer than {MIN_TYPE_QUESTIONS} questions");
        }
        out
    }

    /// `subtype,questions,exact_match,f1,few`, a line for each type and one for all.
    pub fn to_csv(&self) -> String {
        let mut out = String::from("subtype,questions,exact_match,f1,few\n");
        for one in self.types.iter().chain([&self.all]) {
            let name = if one.subtype.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", one.subtype.replace('"', "\"\""))
            } else {
                one.subtype.clone()
            };
            let TypeScore { questions, exact_match, f1, few, .. } = one;
            let _ = writeln!(out, "{name},{questions},{exact_match},{f1},{few}");
        }
        out
    }

    /// Writes the same as JSON, atomically.
    ///
    /// # Errors
    /// [`EvalError::Write`].
    pub fn write_json(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        write_json(path.as_ref(), self)
    }
}

/// A row of MTQA.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub id: Option<String>,
    pub question: String,
    pub passage: String,
    pub answer: RowAnswer,
    pub subtype: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct RowAnswer {
    pub start: usize,
    pub end: usize,
    pub text: String,
}
