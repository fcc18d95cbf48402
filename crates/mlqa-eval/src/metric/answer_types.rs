//! Scores by answer type (`subtype` in the data; mixMRC + LAKM, section 4.1 and Fig. 5).
use std::collections::BTreeMap;
use std::path::Path;

use results::{Table, cell, select};

use super::score::mean_percent;
use crate::{Dataset, Error, QuestionScore, Score, squad};

/// Minimum number of questions of a type; smaller types are marked in tables.
pub const MIN_TYPE_QUESTIONS: usize = 10;

/// Questions with answer types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedDataset {
    /// The questions.
    pub dataset: Dataset,
    /// Answer types, such as `full name`, by question id; not empty after [`TypedDataset::read`].
    pub types: BTreeMap<String, String>,
}

impl TypedDataset {
    /// Reads MTQA's rows: `question`, `passage`, `answer` with `start`, `end` (exclusive) and
    /// `text`, offsets in Unicode code points, and `subtype`; a JSON array or one row per line. A
    /// row may have an `id`; the default is `row-` and the row's number from 1. Other keys are
    /// ignored.
    ///
    /// The other formats of [`Dataset::read`] are supported as well if questions have a `subtype`.
    ///
    /// # Errors
    /// As [`Dataset::read`]; [`Error::AnswerMismatch`] if the answer of an MTQA row is not at
    /// `start`; [`Error::Content`] if its `end` is not where the text ends, a type is blank, or
    /// no question has one.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let typed = Self::read_any(path)?;
        typed.check(path)?;
        Ok(typed)
    }

    /// Reads a file like [`TypedDataset::read`], but allows missing and blank types.
    ///
    /// # Errors
    /// As [`TypedDataset::read`], except for missing or blank types.
    pub fn read_any(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = squad::File::read(path)?;
        let mut types = BTreeMap::new();
        for question in file.questions() {
            let subtype: Option<String> = question.field("subtype", path)?;
            types.extend(subtype.map(|subtype| (question.id.clone(), subtype)));
        }
        Ok(Self { dataset: Dataset::from_squad(file, path)?, types })
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        let refuse = |message| Err(Error::Content { path: path.to_path_buf(), message });
        if self.types.is_empty() {
            return refuse(
                "no question has a `subtype`; expected a type for at least one question".into(),
            );
        }
        match self.types.iter().find(|(_, subtype)| subtype.trim().is_empty()) {
            Some((id, _)) => refuse(format!("question `{id}`: `subtype` is blank")),
            None => Ok(()),
        }
    }
}

/// The scores of one type of answer, in percent.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeScore {
    /// The type; empty for questions without one.
    pub subtype: String,
    /// Questions of the type.
    pub questions: usize,
    /// Exact match.
    pub exact_match: f64,
    /// Mean F1.
    pub f1: f64,
    /// Whether the type has fewer than [`MIN_TYPE_QUESTIONS`] questions.
    pub few: bool,
}

/// Scores by type, ordered by decreasing size and then by name.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerTypes {
    /// The scores of each type.
    pub types: Vec<TypeScore>,
    /// All questions together; `subtype` is `all`.
    pub all: TypeScore,
}

/// Splits a score by the type of the answer. Questions without a type form one type with an empty
/// name.
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
    for question in &score.per_question {
        let subtype = types.get(&question.id).map_or("", String::as_str);
        by_type.entry(subtype).or_default().push(question);
    }
    let mut types: Vec<TypeScore> =
        by_type.into_iter().map(|(name, scores)| type_score(name, scores)).collect();
    types.sort_by_key(|score| std::cmp::Reverse(score.questions));
    AnswerTypes { types, all: type_score("all", &score.per_question) }
}

fn type_score<'a>(name: &str, scores: impl IntoIterator<Item = &'a QuestionScore>) -> TypeScore {
    let (exact_match, f1, questions) = mean_percent(scores);
    let few = questions < MIN_TYPE_QUESTIONS;
    TypeScore { subtype: name.to_owned(), questions, exact_match, f1, few }
}

impl TypeScore {
    /// The type's name in a table, with `*` if it has few questions.
    fn display_name(&self) -> String {
        let name = if self.subtype.is_empty() { "(none)" } else { &self.subtype };
        let flag = if self.few { " *" } else { "" };
        format!("{name}{flag}")
    }
}

impl AnswerTypes {
    /// Returns a Markdown table with a row per type and one for all questions. [`TypeScore::few`]
    /// types have a `*`.
    pub fn to_markdown(&self) -> String {
        let mut table = Table::new("subtype", ["questions", "EM", "F1"]);
        for score in self.types.iter().chain([&self.all]) {
            let percent = [score.exact_match, score.f1].map(|value| format!("{value:.2}"));
            table.row(
                score.display_name(),
                [score.questions.to_string()].into_iter().chain(percent),
            );
        }
        table.to_string() + &self.note()
    }

    /// The explanation of `*`, if a type is marked.
    fn note(&self) -> String {
        match self.types.iter().any(|score| score.few) {
            true => format!("\n\\* fewer than {MIN_TYPE_QUESTIONS} questions\n"),
            false => String::new(),
        }
    }
}

/// Formats the exact match of several runs by type of answer, as in Fig. 5 of mixMRC + LAKM.
///
/// For two runs, a column has the difference, second minus first.
///
/// `paper` adds the differences that the paper states (LAKM minus mixMRC, French, multilingual
/// BERT). It states them for two types; the figure's bars have no numbers.
///
/// ```
/// use mlqa_eval::{AnswerTypes, TypeScore, exact_match_by_type};
///
/// let score = |subtype: &str, exact_match| {
///     let (subtype, f1) = (subtype.to_owned(), exact_match);
///     TypeScore { subtype, questions: 20, exact_match, f1, few: false }
/// };
/// let run = |em| AnswerTypes { types: vec![score("animal", em)], all: score("all", em) };
/// let (mixed, lakm) = (run(40.0), run(55.0));
/// let table = exact_match_by_type(&[("mixMRC", &mixed), ("LAKM", &lakm)], true);
/// assert!(table.contains("| animal | 20 | 40.00 | 55.00 | +15.00 | +9.1 |"));
/// ```
pub fn exact_match_by_type(runs: &[(&str, &AnswerTypes)], paper: bool) -> String {
    let Some((_, first)) = runs.first() else { return String::new() };
    let has_difference = runs.len() == 2;
    let extra_columns = [(has_difference, "difference"), (paper, "paper: LAKM minus mixMRC, fr")];
    let extra_columns = extra_columns.iter().filter(|(shown, _)| *shown).map(|(_, name)| *name);
    let names = runs.iter().map(|(name, _)| *name);
    let mut table =
        Table::new("EM by subtype", ["questions"].into_iter().chain(names).chain(extra_columns));
    for row in first.types.iter().chain([&first.all]) {
        let exact_match_of = |types: &AnswerTypes| {
            let mut all = types.types.iter().chain([&types.all]);
            all.find(|score| score.subtype == row.subtype).map(|score| score.exact_match)
        };
        let values: Vec<Option<f64>> =
            runs.iter().map(|(_, types)| exact_match_of(types)).collect();
        let mut cells = vec![row.questions.to_string()];
        cells.extend(values.iter().map(|value| cell(value.map(|em| format!("{em:.2}")))));
        if has_difference {
            let points = match values.as_slice() {
                [Some(before), Some(after)] => Some(format!("{:+.2}", after - before)),
                _ => None,
            };
            cells.push(cell(points));
        }
        if paper {
            let metric = format!("em {}", row.subtype);
            let published = select(Some("002-f5"), None, Some("fr"));
            let value = published.iter().find(|row| row.metric == metric).map(|row| row.value);
            cells.push(cell(value.map(|value| format!("{value:+}"))));
        }
        table.row(row.display_name(), cells);
    }
    table.to_string() + &first.note()
}
