//! Coverage and precision of names.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{GoldNames, PredictedNames, normalize_name};
use crate::{Error, Result};

/// Coverage: precision, recall and F1 of predicted names in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CoverageScore {
    /// Share of correct names among the names predicted for entities that have a correct name.
    pub precision: f64,
    /// Share of the correct names that were predicted.
    pub recall: f64,
    /// Harmonic mean of `precision` and `recall`.
    pub f1: f64,
    /// Number of entities with a correct name.
    pub entities: usize,
    /// Number of entities with a prediction.
    pub predicted_entities: usize,
    /// Number of correct names; names of an entity that are equal after normalising count once.
    pub gold: usize,
    /// Number of names predicted for entities with a correct name.
    pub predicted: usize,
    /// Number of correct names that were predicted.
    pub found: usize,
}

/// Separation of correct and incorrect names by predictions, in percent.
///
/// Counts of names include every judged name, even if several names of an entity are equal after
/// normalisation. Only `incorrect_share` counts such names once.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct PrecisionScore {
    /// Share of the judged names that are classified correctly: correct and predicted, or incorrect
    /// and not predicted. The authors print this accuracy as "P".
    pub accuracy: f64,
    /// Share of the incorrect names that are not predicted, the authors' "R".
    pub recall: f64,
    /// Harmonic mean of `accuracy` and `recall`, the authors' "F1".
    pub f1: f64,
    /// Number of entities with judged names or predictions.
    pub entities: usize,
    /// Number of entities with judged names.
    pub gold_entities: usize,
    /// Number of entities with a prediction.
    pub predicted_entities: usize,
    /// Number of incorrect names.
    pub incorrect: usize,
    /// Number of incorrect names that are not predicted.
    pub rejected_incorrect: usize,
    /// Number of correct names.
    pub correct: usize,
    /// Number of correct names that are not predicted.
    pub rejected_correct: usize,
    /// Share of incorrect names among the predicted names that were judged. Names of an entity that
    /// are equal after normalisation count once. A name that was judged both correct and incorrect
    /// counts as correct.
    #[serde(rename = "wrong")]
    pub incorrect_share: f64,
}

/// Scores the coverage of correct names.
///
/// # Errors
/// [`Error::Nothing`] without a correct name.
pub fn score_coverage(gold: &[GoldNames], predicted: &PredictedNames) -> Result<CoverageScore> {
    let (mut entities, mut gold_names, mut predicted_names, mut found) = (0, 0, 0, 0);
    for GoldNames { entity, correct, .. } in gold.iter().filter(|gold| !gold.correct.is_empty()) {
        let correct: BTreeSet<String> = correct.iter().map(|name| normalize_name(name)).collect();
        entities += 1;
        gold_names += correct.len();
        if let Some(names) = predicted.get(entity) {
            predicted_names += names.len();
            found += correct.intersection(names).count();
        }
    }
    if gold_names == 0 {
        return Err(Error::Nothing { what: "correct name" });
    }
    let (precision, recall) = (percent(found, predicted_names), percent(found, gold_names));
    Ok(CoverageScore {
        precision,
        recall,
        f1: harmonic_mean(precision, recall),
        entities,
        predicted_entities: predicted.len(),
        gold: gold_names,
        predicted: predicted_names,
        found,
    })
}

/// Scores how well predictions separate correct from incorrect names.
///
/// # Errors
/// [`Error::Nothing`] without an incorrect name.
pub fn score_precision(gold: &[GoldNames], predicted: &PredictedNames) -> Result<PrecisionScore> {
    let mut entities: BTreeSet<&str> = predicted.keys().map(String::as_str).collect();
    let [mut correct, mut rejected_correct, mut incorrect, mut rejected_incorrect] = [0; 4];
    let [mut predicted_correct, mut predicted_incorrect] = [0; 2];
    let no_names = BTreeSet::new();
    for gold in gold {
        entities.insert(&gold.entity);
        let names = predicted.get(&gold.entity).unwrap_or(&no_names);
        let normalize_all = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| normalize_name(name)).collect()
        };
        let is_rejected = |name: &&String| !names.contains(*name);
        let [correct_names, incorrect_names] =
            [&gold.correct, &gold.incorrect].map(|list| normalize_all(list));
        correct += correct_names.len();
        rejected_correct += correct_names.iter().filter(is_rejected).count();
        incorrect += incorrect_names.len();
        rejected_incorrect += incorrect_names.iter().filter(is_rejected).count();
        let (accepted_names, remaining_names): (Vec<_>, Vec<_>) =
            names.iter().partition(|&n| correct_names.contains(n));
        predicted_correct += accepted_names.len();
        predicted_incorrect +=
            remaining_names.into_iter().filter(|&name| incorrect_names.contains(name)).count();
    }
    if incorrect == 0 {
        return Err(Error::Nothing { what: "incorrect name" });
    }
    let accepted_correct = correct - rejected_correct;
    let accuracy = percent(accepted_correct + rejected_incorrect, correct + incorrect);
    let recall = percent(rejected_incorrect, incorrect);
    Ok(PrecisionScore {
        accuracy,
        recall,
        f1: harmonic_mean(accuracy, recall),
        entities: entities.len(),
        gold_entities: gold.len(),
        predicted_entities: predicted.len(),
        incorrect,
        rejected_incorrect,
        correct,
        rejected_correct,
        incorrect_share: percent(predicted_incorrect, predicted_correct + predicted_incorrect),
    })
}

/// Returns `part / whole` in percent; 0 if `whole` is 0.
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn harmonic_mean(a: f64, b: f64) -> f64 {
    if a + b > 0.0 { 2.0 * a * b / (a + b) } else { 0.0 }
}
