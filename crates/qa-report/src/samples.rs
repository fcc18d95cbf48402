//! Reads the output of lm-evaluation-harness with `--log_samples`: `samples_<task>_<time>.jsonl`,
//! with a line for each question of a task that has the question and the model's response.
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use mlqa_eval::{Answer, Dataset, Error, Language, Question};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

const EXPECTED: &str = "lines of lm-evaluation-harness's `--log_samples`: {\"doc_id\": 0, \"doc\": \
    {\"context\": \"…\", \"question\": \"…\", \"answers\": …}, \"filtered_resps\": [\"…\"], …}";
/// Keys of `doc` in tasks with questions about a text.
const KEYS: [&str; 3] = ["context", "question", "answers"];

/// The name of a file of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SamplesName {
    pub task: String,
    /// The time at the end of the run, also part of the name `results_<time>.json`.
    pub time: String,
}

impl SamplesName {
    /// Parses a file name; `None` for any other name.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_suffix(".gz").unwrap_or(name);
        let stem = name.strip_prefix("samples_")?.strip_suffix(".jsonl")?;
        let (task, time) = stem.rsplit_once('_')?;
        Some(Self { task: task.to_owned(), time: time.to_owned() })
    }

    /// The set: the first part of the name for tasks of MLQA and XQuAD, otherwise the whole name.
    pub fn set(&self) -> &str {
        let set = self.task.split_once('_').map_or("", |(set, _)| set);
        if matches!(set, "mlqa" | "xquad") { set } else { &self.task }
    }

    /// The languages of context and question in names such as `mlqa_en_de` and `xquad_de`.
    pub fn languages(&self) -> Option<(Language, Language)> {
        let parts: Vec<&str> = self.task.split('_').collect();
        let (context, question) = match parts.as_slice() {
            ["mlqa", context, question] => (context, question),
            ["xquad", language] => (language, language),
            _ => return None,
        };
        Some((context.parse().ok()?, question.parse().ok()?))
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// From 1.
    pub line: usize,
    /// The question; without an id in `doc`, the id is a hash of context and question.
    pub question: Question,
    has_id: bool,
    /// The response, without white space around it.
    pub response: String,
}

/// A file's lines.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    pub path: PathBuf,
    pub all: Vec<Sample>,
    /// Response filters whose lines are skipped.
    pub other_filters: BTreeSet<String>,
}

/// The keys of a line that are needed for scores.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    doc_id: Json,
    doc: Option<Map<String, Json>>,
    #[serde(default)]
    resps: Json,
    #[serde(default)]
    filtered_resps: Json,
    #[serde(default)]
    filter: Json,
}

/// The question of a line.
#[derive(Deserialize)]
struct Doc {
    #[serde(default)]
    id: Json,
    #[serde(default)]
    title: Json,
    context: String,
    question: String,
    answers: Golds,
}

/// Gold answers in the forms of different tasks: SQuAD's lists, only texts (`mlqa_*`), or objects.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`answers`: lists `text` and `answer_start`, texts, or objects")]
enum Golds {
    Lists {
        text: Vec<String>,
        #[serde(default)]
        answer_start: Vec<i64>,
    },
    Texts(Vec<String>),
    Objects(Vec<Gold>),
}

#[derive(Deserialize)]
struct Gold {
    text: String,
    answer_start: Option<i64>,
}

impl Samples {
    /// Reads a file; `None` if the task of its first line has no questions about a text.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Read { path: path.to_path_buf(), source };
        let text = atomic_file::read_to_string(path).map_err(failed)?;
        let content = |message| Error::Content { path: path.to_path_buf(), message };
        let mut samples =
            Self { path: path.to_path_buf(), all: Vec::new(), other_filters: BTreeSet::new() };
        let (mut ids, mut docs, mut filter) = (HashMap::new(), HashMap::new(), None);
        let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (index, json) in numbered {
            let line = index + 1;
            let wrong = |message: String, column| Error::Json {
                path: path.to_path_buf(),
                line,
                column,
                message,
                expected: EXPECTED,
            };
            let is_cut = !text.ends_with('\n') && text.ends_with(json);
            let Line { doc_id, doc, resps, filtered_resps, filter: own } =
                parse(json, is_cut).map_err(|(message, column)| wrong(message, column))?;
            let Some(doc) = doc else { return Err(wrong("no `doc`".into(), 1)) };
            if let Some(key) = KEYS.into_iter().find(|key| !doc.contains_key(*key)) {
                if samples.all.is_empty() {
                    return Ok(None);
                }
                let message = format!(
                    "`doc` has no `{key}`, unlike the lines above; expected one task per file"
                );
                return Err(wrong(message, 1));
            }
            let own = own.as_str().unwrap_or_default().to_owned();
            if *filter.get_or_insert_with(|| own.clone()) != own {
                samples.other_filters.insert(own);
                continue;
            }
            let Some(response) = first_text(&filtered_resps).or_else(|| first_text(&resps)) else {
                let message = "neither `filtered_resps` nor `resps` has a text";
                return Err(wrong(message.into(), 1));
            };
            let response = response.trim().to_owned();
            let (question, has_id) = question(doc).map_err(|message| wrong(message, 1))?;
            let twice = |what: String, first, more| {
                let rule = "expected one task of one run per file";
                content(format!("line {line}: {what} is also in line {first}{more}; {rule}"))
            };
            if let Some(first) = ids.insert(question.id.clone(), line) {
                return Err(twice(format!("question `{}`", question.id), first, ""));
            }
            let known = docs.insert(doc_id.to_string(), line).filter(|_| !doc_id.is_null());
            if let Some(first) = known {
                return Err(twice(format!("doc_id {doc_id}"), first, ", with another question"));
            }
            samples.all.push(Sample { line, question, has_id, response });
        }
        match samples.all.is_empty() {
            true => Err(content(format!("is empty; expected {EXPECTED}"))),
            false => Ok(Some(samples)),
        }
    }
}

/// Parses a line. An error has a message and a column; `is_last` marks a last line without a line
/// end.
fn parse(json: &str, is_last: bool) -> Result<Line, (String, usize)> {
    serde_json::from_str(json).map_err(|error| {
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&place).unwrap_or(&message);
        let cut = match error.is_eof() && is_last {
            true => {
                "; the last line is incomplete, so the program that wrote the file was interrupted"
            }
            false => "",
        };
        (format!("{message}{cut}"), error.column().max(1))
    })
}

/// The first text in nested lists.
fn first_text(responses: &Json) -> Option<&str> {
    match responses {
        Json::String(text) => Some(text),
        Json::Array(all) => first_text(all.first()?),
        _ => None,
    }
}

/// The question of a `doc`, and whether the `doc` has an id.
fn question(doc: Map<String, Json>) -> Result<(Question, bool), String> {
    let doc: Doc = serde_json::from_value(Json::Object(doc)).map_err(|error| error.to_string())?;
    let id = match doc.id {
        Json::String(id) => Some(id),
        Json::Number(id) => Some(id.to_string()),
        Json::Null => None,
        _ => return Err("`id` in `doc` is neither a string nor a number".into()),
    };
    let answers: Vec<(String, Option<i64>)> = match doc.answers {
        Golds::Lists { text, answer_start } => {
            if !answer_start.is_empty() && answer_start.len() != text.len() {
                let (texts, starts) = (text.len(), answer_start.len());
                return Err(format!(
                    "`answers`: `text` has {texts} values, `answer_start` has {starts}"
                ));
            }
            let starts = answer_start.into_iter().map(Some).chain(std::iter::repeat(None));
            text.into_iter().zip(starts).collect()
        }
        Golds::Texts(texts) => texts.into_iter().map(|text| (text, None)).collect(),
        Golds::Objects(all) => all.into_iter().map(|one| (one.text, one.answer_start)).collect(),
    };
    let answer = |(text, start): (String, Option<i64>)| {
        let answer_start = place(&doc.context, &text, start);
        Answer { text, answer_start }
    };
    let answers = answers.into_iter().map(answer).collect();
    let has_id = id.is_some();
    let id = id.unwrap_or_else(|| text_id(&doc.context, &doc.question));
    let title = doc.title.as_str().unwrap_or_default().into();
    let context = doc.context.into();
    Ok((Question { id, question: doc.question, context, answers, title }, has_id))
}

/// The start of an answer in code points: the file's offset if the answer is there, otherwise its
/// first occurrence, otherwise an offset past the context.
fn place(context: &str, text: &str, start: Option<i64>) -> usize {
    let start = start.and_then(|start| usize::try_from(start).ok());
    let rest = |start| context.char_indices().nth(start).and_then(|(at, _)| context.get(at..));
    let is_there = |start: &usize| rest(*start).is_some_and(|rest| rest.starts_with(text));
    let before = || context.split_once(text).map_or(context, |(before, _)| before);
    start.filter(is_there).unwrap_or_else(|| before().chars().count())
}

/// An id for a question without one, determined by context and question only.
fn text_id(context: &str, question: &str) -> String {
    let words = format!("{}\0{}", context.trim(), question.trim());
    let digest = Sha256::digest(words);
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("text-{hex}")
}

/// Index of the questions of a file, by id and by text.
#[derive(Default)]
pub(crate) struct Places {
    by_id: HashMap<String, usize>,
    by_text: HashMap<String, usize>,
}

impl Places {
    pub fn of(dataset: &Dataset) -> Self {
        let mut places = Self::default();
        for (at, question) in dataset.questions.iter().enumerate() {
            places.insert(question, at);
        }
        places
    }

    pub fn insert(&mut self, question: &Question, at: usize) {
        self.by_id.insert(question.id.clone(), at);
        self.by_text.insert(text_id(&question.context, &question.question), at);
    }

    /// The index of a sample's question: by id, or by text if the sample has no id.
    pub fn find(&self, sample: &Sample) -> Option<usize> {
        let id = &sample.question.id;
        let found = if sample.has_id { self.by_id.get(id) } else { self.by_text.get(id) };
        found.copied()
    }
}

/// Whether two questions have equal texts and contexts, ignoring surrounding white space, which
/// data hubs remove.
pub(crate) fn same_words(a: &Question, b: &Question) -> bool {
    a.question.trim() == b.question.trim() && a.context.trim() == b.context.trim()
}
