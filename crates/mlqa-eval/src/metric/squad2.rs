//! Computes SQuAD 2.0 scores, for questions that may have no answer. The scores equal the official
//! script's in every digit.
use std::collections::HashMap;
use std::fmt::Write;

use super::score::{format_as_python, overlap_f1};
use super::token_buffer::TokenBuffer;
use crate::{Dataset, Error, Normalization, NullOdds, Predictions};

/// Scores of a subset of the questions, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquadPart {
    /// Exact match.
    pub exact: f64,
    /// F1.
    pub f1: f64,
    /// Number of questions.
    pub total: usize,
}

/// The best score over all thresholds, with the threshold of this score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestThreshold {
    /// The score, in percent.
    pub score: f64,
    /// Questions whose null odds do not exceed this threshold are answered.
    pub threshold: f64,
}

/// The output of the official SQuAD 2.0 script.
#[derive(Clone, Debug, PartialEq)]
pub struct Squad2Score {
    /// Scores of all questions that have a prediction.
    pub all: SquadPart,
    /// Scores of answerable questions; `None` if there are no answerable questions.
    pub has_answer: Option<SquadPart>,
    /// Scores of unanswerable questions; `None` if there are no unanswerable questions.
    pub no_answer: Option<SquadPart>,
    /// Exact match and F1 at their best thresholds; `None` without null odds.
    pub best: Option<[BestThreshold; 2]>,
    /// Ids of questions without a prediction, in file order. These questions are excluded from the
    /// scores; only `best` counts the unanswerable ones among them.
    pub unanswered: Vec<String>,
}

/// A question's result. Applying the threshold may replace `exact` and `f1`.
struct QuestionResult<'a> {
    id: &'a str,
    has_answer: bool,
    predicts_answer: bool,
    exact: f64,
    f1: f64,
}

/// Scores predictions as the official SQuAD 2.0 script does (Rajpurkar et al. 2018).
///
/// A prediction means "no answer" if it is empty or its odds exceed `threshold`.
///
/// ```
/// use mlqa_eval::{Dataset, Predictions, score_squad2, squad};
///
/// let text = r#"{"version": "v2.0", "data": [{"paragraphs": [{"context": "A red house.", "qas": [
///     {"id": "a", "question": "What?", "answers": [{"text": "red house", "answer_start": 2}]},
///     {"id": "b", "question": "Who?", "answers": [], "is_impossible": true}]}]}]}"#;
/// let dataset = Dataset::from_squad(squad::File::parse(text, "dev.json")?, "dev.json")?;
/// let predictions = [("a", "the red house"), ("b", "")];
/// let predictions = predictions.map(|(id, text)| (id.into(), text.into()));
/// let score = score_squad2(&dataset, &Predictions(predictions.into()), None, 1.0)?;
/// assert_eq!((score.all.exact, score.all.total), (100.0, 2));
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::NoQuestions`] if no question has a prediction; [`Error::Config`] if `odds` lacks a
/// question that has a prediction, or if `threshold` is NaN.
pub fn score_squad2(
    dataset: &Dataset,
    predictions: &Predictions,
    odds: Option<&NullOdds>,
    threshold: f64,
) -> Result<Squad2Score, Error> {
    if threshold.is_nan() {
        return Err(Error::config("null threshold", threshold, "a number"));
    }
    let mut results = Vec::with_capacity(dataset.questions.len());
    let mut unanswered = Vec::new();
    for question in &dataset.questions {
        let Some(prediction) = predictions.get(&question.id) else {
            unanswered.push(question.id.clone());
            continue;
        };
        let rules = Normalization::SquadEn;
        let predicted = TokenBuffer::of(rules, prediction);
        let mut golds: Vec<TokenBuffer> =
            question.answers.iter().map(|one| TokenBuffer::of(rules, &one.text)).collect();
        golds.retain(|gold| !gold.is_empty());
        if golds.is_empty() {
            golds.push(TokenBuffer::default());
        }
        let gold_f1 = |gold: &TokenBuffer| match gold.is_empty() || predicted.is_empty() {
            true => f64::from(u8::from(*gold == predicted)),
            false => overlap_f1(&predicted, gold),
        };
        results.push(QuestionResult {
            id: &question.id,
            has_answer: !question.answers.is_empty(),
            predicts_answer: !prediction.is_empty(),
            exact: f64::from(u8::from(golds.contains(&predicted))),
            f1: golds.iter().map(gold_f1).fold(0.0, f64::max),
        });
    }
    if results.is_empty() {
        return Err(Error::NoQuestions { path: dataset.path.clone() });
    }
    // As in the official script, unanswerable questions without a prediction are counted as well.
    let unanswerable_count =
        dataset.questions.iter().filter(|question| question.answers.is_empty()).count();
    let best = odds.map(|odds| find_best_thresholds(&results, odds, unanswerable_count as f64));
    let by_id: HashMap<&str, f64> =
        odds.into_iter().flat_map(|odds| &odds.0).map(|(id, odds)| (id.as_str(), *odds)).collect();
    for result in &mut results {
        let null_odds = match (by_id.get(result.id), odds) {
            (Some(null_odds), _) => *null_odds,
            (None, None) => 0.0,
            (None, Some(_)) => {
                let rule = "an object with the null odds of every question that has a prediction";
                let value = format!("without `{}`", result.id);
                return Err(Error::config("null odds", value, rule));
            }
        };
        if null_odds > threshold {
            let correct = f64::from(u8::from(!result.has_answer));
            (result.exact, result.f1) = (correct, correct);
        }
    }
    let scores = |answerable: Option<bool>| {
        let selected = || {
            results
                .iter()
                .filter(|one| answerable.is_none_or(|answerable| one.has_answer == answerable))
        };
        let total = selected().count();
        // Like the official script, this sums in file order and starts at 0.0; `Iterator::sum`
        // starts at -0.0.
        let mean = |value: fn(&QuestionResult<'_>) -> f64| {
            100.0 * selected().fold(0.0, |sum, one| sum + value(one)) / total as f64
        };
        (total > 0).then(|| SquadPart {
            exact: mean(|one| one.exact),
            f1: mean(|one| one.f1),
            total,
        })
    };
    let zero = SquadPart { exact: 0.0, f1: 0.0, total: 0 };
    let (has_answer, no_answer) = (scores(Some(true)), scores(Some(false)));
    Ok(Squad2Score { all: scores(None).unwrap_or(zero), has_answer, no_answer, best, unanswered })
}

/// Finds the best thresholds for exact match and F1 in one pass over the sorted odds, as the script
/// does. `unanswerable` is the number of unanswerable questions.
fn find_best_thresholds(
    results: &[QuestionResult<'_>],
    odds: &NullOdds,
    unanswerable: f64,
) -> [BestThreshold; 2] {
    let by_id: HashMap<&str, &QuestionResult<'_>> =
        results.iter().map(|result| (result.id, result)).collect();
    let mut sorted: Vec<(&QuestionResult<'_>, f64)> = odds
        .0
        .iter()
        // Like the official script, this skips odds of questions that have no result.
        .filter_map(|(id, odds)| by_id.get(id.as_str()).map(|result| (*result, *odds)))
        .collect();
    sorted.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    [|result: &QuestionResult<'_>| result.exact, |result: &QuestionResult<'_>| result.f1].map(
        |value| {
            let (mut current, mut best, mut threshold) = (unanswerable, unanswerable, 0.0);
            for &(result, odds) in &sorted {
                current += match (result.has_answer, result.predicts_answer) {
                    (true, _) => value(result),
                    (false, true) => -1.0,
                    (false, false) => 0.0,
                };
                if current > best {
                    (best, threshold) = (current, odds);
                }
            }
            BestThreshold { score: 100.0 * best / results.len() as f64, threshold }
        },
    )
}

impl Squad2Score {
    /// Returns the JSON output of the official script, with keys in the script's order.
    pub fn official_json(&self) -> String {
        let mut lines = Vec::new();
        let mut add = |prefix: &str, scores: &SquadPart| {
            lines.push(format!("  \"{prefix}exact\": {}", format_as_python(scores.exact)));
            lines.push(format!("  \"{prefix}f1\": {}", format_as_python(scores.f1)));
            lines.push(format!("  \"{prefix}total\": {}", scores.total));
        };
        add("", &self.all);
        for (prefix, scores) in [("HasAns_", &self.has_answer), ("NoAns_", &self.no_answer)] {
            scores.iter().for_each(|scores| add(prefix, scores));
        }
        let mut text = lines.join(",\n");
        for (name, best) in ["exact", "f1"].into_iter().zip(self.best.into_iter().flatten()) {
            let BestThreshold { score, threshold } = best;
            let (score, threshold) = (format_as_python(score), format_as_python(threshold));
            let _ = write!(
                text,
                ",\n  \"best_{name}\": {score},\n  \"best_{name}_thresh\": {threshold}"
            );
        }
        format!("{{\n{text}\n}}\n")
    }
}
