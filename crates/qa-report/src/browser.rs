//! Selects the questions shown in a page and serialises them for the page's script.
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use mlqa_eval::{BoundaryClass, Dataset, Question, read_json};
use serde::{Deserialize, Serialize};

use crate::answers::Answers;
use crate::input::Pair;

/// Maximum number of n-best candidates that are stored with each answer.
const MAX_CANDIDATES: usize = 5;
/// Maximum number of characters of a shown answer, because generated answers may be long.
const MAX_ANSWER_CHARACTERS: usize = 1000;

/// Answers of a run's first seed, with n-best lists.
pub(crate) struct FirstSeedAnswers {
    pub answers: Answers,
    pub n_best: Option<NBestFile>,
}

/// Content of an n-best file: candidates and their probabilities by question id.
pub(crate) type NBestFile = BTreeMap<String, Vec<(String, f64)>>;

/// Reads a file written by [`mlqa_eval::write_n_best`], or `nbest_predictions.json` of Hugging
/// Face's `run_qa`.
pub(crate) fn read_n_best(path: &Path) -> Result<NBestFile, mlqa_eval::Error> {
    #[derive(Deserialize)]
    struct CandidateRow {
        text: String,
        #[serde(default)]
        probability: f64,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NBestRow {
        MlqaEval { candidates: Vec<CandidateRow> },
        RunQa(Vec<CandidateRow>),
    }
    let expected_format = "n-best lists: {\"<question id>\": {\"candidates\": [{\"text\": \"…\", \
                    \"probability\": 0.5}]}, …}";
    let lists: BTreeMap<String, NBestRow> = read_json(path, expected_format)?;
    let first_candidates = |(id, list)| {
        let (NBestRow::MlqaEval { candidates } | NBestRow::RunQa(candidates)) = list;
        let first = candidates.into_iter().take(MAX_CANDIDATES);
        (id, first.map(|candidate| (candidate.text, candidate.probability)).collect())
    };
    Ok(lists.into_iter().map(first_candidates).collect())
}

/// The questions of a page with their details, serialised as the JSON input of the page's script.
/// Positions are in UTF-16 code units, as in JavaScript.
#[derive(Default, Serialize)]
pub(crate) struct QuestionBrowser {
    pairs: Vec<PairHeader>,
    contexts: Vec<Arc<str>>,
    classes: Vec<&'static str>,
    items: Vec<ShownQuestion>,
    /// Number of questions of all pairs, including questions that are not shown.
    total: usize,
    /// The index of each context in `contexts`; pairs may share contexts.
    #[serde(skip)]
    context_indices: HashMap<Arc<str>, usize>,
}

#[derive(Serialize)]
struct PairHeader {
    label: String,
    #[serde(rename = "context")]
    context_language: String,
    #[serde(rename = "question")]
    question_language: String,
}

#[derive(Serialize)]
struct ShownQuestion {
    pair: usize,
    context: usize,
    id: String,
    question: String,
    /// Start and length of each gold answer, with its text. The position is `None` if the context
    /// does not contain the text at the answer's offset.
    gold: Vec<(Option<(usize, usize)>, String)>,
    /// The answer of each run.
    answers: Vec<Option<ShownAnswer>>,
}

/// A run's answer as shown in a page.
#[derive(Serialize)]
struct ShownAnswer {
    /// `None` if there is no prediction.
    text: Option<String>,
    /// Number of characters of the complete answer; `None` if `text` is not truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    answered: bool,
    at: Option<(usize, usize)>,
    f1: f64,
    em: bool,
    class: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    n_best: Vec<(String, f64)>,
}

impl QuestionBrowser {
    /// Returns the number of questions shown.
    pub fn num_shown(&self) -> usize {
        self.items.len()
    }

    /// Returns the number of questions of all pairs.
    pub fn num_questions(&self) -> usize {
        self.total
    }

    /// Adds at most `quota` questions of a pair, evenly spaced in the file. Questions that at least
    /// one run answers incorrectly take precedence over all other questions.
    pub fn add(
        &mut self,
        pair: &Pair,
        dataset: &Dataset,
        answers: &[Option<FirstSeedAnswers>],
        quota: usize,
    ) {
        self.classes = BoundaryClass::ALL.iter().map(|class| class.name()).collect();
        self.total += dataset.questions.len();
        let pair_index = self.pairs.len();
        self.pairs.push(PairHeader {
            label: pair.label(),
            context_language: pair.context.to_string(),
            question_language: pair.question.to_string(),
        });
        let has_error = |at: &usize| {
            answers.iter().flatten().any(|run| !run.answers.question_score(*at).exact_match)
        };
        let (with_errors, correct): (Vec<usize>, Vec<usize>) =
            (0..dataset.questions.len()).partition(has_error);
        let mut selected = select_evenly(&with_errors, quota);
        selected.extend(select_evenly(&correct, quota - selected.len()));
        selected.sort_unstable();
        for at in selected {
            let question = &dataset.questions[at];
            let next_index = self.contexts.len();
            let context =
                *self.context_indices.entry(Arc::clone(&question.context)).or_insert(next_index);
            if context == next_index {
                self.contexts.push(Arc::clone(&question.context));
            }
            let answers = answers.iter().map(|run| Some(shown_answer(question, at, run.as_ref()?)));
            self.items.push(ShownQuestion {
                pair: pair_index,
                context,
                id: question.id.clone(),
                question: question.question.clone(),
                gold: distinct_golds(question),
                answers: answers.collect(),
            });
        }
    }
}

/// Selects at most `count` evenly spaced elements.
fn select_evenly(indices: &[usize], count: usize) -> Vec<usize> {
    if indices.len() <= count {
        return indices.to_vec();
    }
    (0..count).map(|at| indices[at * indices.len() / count]).collect()
}

/// Returns the start and length in UTF-16 code units of `text` at code point `start`; `None` if
/// `context` does not contain `text` at `start`.
fn utf16_span(context: &str, start: usize, text: &str) -> Option<(usize, usize)> {
    let (byte, _) = context.char_indices().nth(start)?;
    let (before, after) = context.split_at_checked(byte)?;
    let utf16_len = |text: &str| text.encode_utf16().count();
    (!text.is_empty() && after.starts_with(text)).then(|| (utf16_len(before), utf16_len(text)))
}

fn distinct_golds(question: &Question) -> Vec<(Option<(usize, usize)>, String)> {
    let mut golds: Vec<(Option<(usize, usize)>, String)> = Vec::new();
    for answer in &question.answers {
        let span = answer
            .answer_start
            .and_then(|start| utf16_span(&question.context, start, &answer.text));
        let gold = (span, answer.text.clone());
        if !golds.contains(&gold) {
            golds.push(gold);
        }
    }
    golds
}

/// Returns a run's answer for display; `None` if the run does not include the question.
fn shown_answer(question: &Question, at: usize, first_seed: &FirstSeedAnswers) -> ShownAnswer {
    let answers = &first_seed.answers;
    let score = answers.question_score(at);
    let text = answers.texts.get(&question.id);
    let class = answers.class(at);
    let n_best = first_seed.n_best.as_ref().and_then(|lists| lists.get(&question.id));
    // If the text occurs several times, the occurrence nearest to the first gold answer is marked.
    let gold_start = question.located_answer().and_then(|answer| answer.answer_start).unwrap_or(0);
    let position = text.map(str::trim).filter(|text| !text.is_empty()).and_then(|text| {
        let positions = question.context.char_indices().enumerate();
        let answer_starts_at = |byte: usize| question.context[byte..].starts_with(text);
        let starts =
            positions.filter(|(_, (byte, _))| answer_starts_at(*byte)).map(|(start, _)| start);
        let start = starts.min_by_key(|start| start.abs_diff(gold_start))?;
        utf16_span(&question.context, start, text)
    });
    let end = |text: &str| text.char_indices().nth(MAX_ANSWER_CHARACTERS).map(|(end, _)| end);
    let length = text.filter(|text| end(text).is_some()).map(|text| text.chars().count());
    let truncate = |text: &str| text[..end(text).unwrap_or(text.len())].to_owned();
    ShownAnswer {
        text: text.map(truncate),
        length,
        answered: score.answered,
        at: position,
        f1: (10_000.0 * score.f1).round() / 100.0,
        em: score.exact_match,
        class: class.and_then(|class| BoundaryClass::ALL.iter().position(|c| *c == class)),
        n_best: n_best.map_or_else(Vec::new, Clone::clone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_spaced_evenly() {
        assert_eq!(select_evenly(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 3), [0, 3, 6]);
        assert_eq!(select_evenly(&[4, 5], 3), [4, 5]);
        assert!(select_evenly(&[4, 5], 0).is_empty());
    }

    #[test]
    fn positions_are_in_utf16_units() {
        let context = "𝔸 سلام 中文";
        assert_eq!(utf16_span(context, 7, "中文"), Some((8, 2)));
        assert_eq!(utf16_span(context, 2, "سلام"), Some((3, 4)));
        assert_eq!(utf16_span(context, 3, "سلام"), None);
        assert_eq!(utf16_span(context, 99, "中"), None);
    }

    #[test]
    fn both_formats_of_n_best_lists_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n-best.json");
        let text = r#"{"a": {"id": "a", "candidates": [{"text": "x", "probability": 0.5}],
            "null": false}, "b": [{"text": "y", "probability": 0.25, "start_logit": 1.0}]}"#;
        std::fs::write(&path, text).unwrap();
        let lists = read_n_best(&path).unwrap();
        assert_eq!(lists["a"], [("x".to_owned(), 0.5)]);
        assert_eq!(lists["b"], [("y".to_owned(), 0.25)]);
    }
}
