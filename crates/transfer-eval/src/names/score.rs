//! Coverage and precision of names.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{GoldNames, PredictedNames, normalize_name};
use crate::{Error, Result};

/// Coverage: precision, recall and F1 of predicted names in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CoverageScore {
    /// Share of right names among the names predicted for entities that have a right name.
    pub precision: f64,
    /// Share of the right names that were predicted.
    pub recall: f64,
    /// Harmonic mean of `precision` and `recall`.
    pub f1: f64,
    /// Number of entities with a right name.
    pub entities: usize,
    /// Number of entities with a prediction.
    pub predicted_entities: usize,
    /// Number of right names; names of an entity that are equal after normalising count once.
    pub gold: usize,
    /// Number of names predicted for entities with a right name.
    pub predicted: usize,
    /// Number of right names that were predicted.
    pub found: usize,
}

/// Separation of right and wrong names by predictions, in percent.
///
/// Names are counted as listed; names that are equal after normalising count separately.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct PrecisionScore {
    /// Share of the judged names that are treated correctly: right and predicted, or wrong and
    /// not predicted. The authors print this accuracy as "P".
    pub accuracy: f64,
    /// Share of the wrong names that are not predicted, the authors' "R".
    pub recall: f64,
    /// Harmonic mean of `accuracy` and `recall`, the authors' "F1".
    pub f1: f64,
    /// Number of entities with judged names or predictions.
    pub entities: usize,
    /// Number of entities with judged names.
    pub gold_entities: usize,
    /// Number of entities with a prediction.
    pub predicted_entities: usize,
    /// Number of wrong names.
    pub incorrect: usize,
    /// Number of wrong names that are not predicted.
    pub rejected_incorrect: usize,
    /// Number of right names.
    pub correct: usize,
    /// Number of right names that are not predicted.
    pub rejected_correct: usize,
    /// Share of wrong names among the predicted names that were judged, after normalising. A name
    /// that is both right and wrong counts as right.
    pub wrong: f64,
}

/// Scores the coverage of right names.
///
/// # Errors
/// [`Error::Nothing`] without a right name.
pub fn score_coverage(gold: &[GoldNames], predicted: &PredictedNames) -> Result<CoverageScore> {
    let (mut entities, mut right, mut candidates, mut found) = (0, 0, 0, 0);
    for GoldNames { entity, correct, .. } in gold.iter().filter(|gold| !gold.correct.is_empty()) {
        let correct: BTreeSet<String> = correct.iter().map(|name| normalize_name(name)).collect();
        entities += 1;
        right += correct.len();
        if let Some(names) = predicted.get(entity) {
            candidates += names.len();
            found += correct.intersection(names).count();
        }
    }
    if right == 0 {
        return Err(Error::Nothing { what: "right name" });
    }
    let (precision, recall) = (percent(found, candidates), percent(found, right));
    Ok(CoverageScore {
        precision,
        recall,
        f1: harmonic_mean(precision, recall),
        entities,
        predicted_entities: predicted.len(),
        gold: right,
        predicted: candidates,
        found,
    })
}

/// Scores how well predictions separate right names from wrong ones.
///
/// # Errors
/// [`Error::Nothing`] without a wrong name.
pub fn score_precision(gold: &[GoldNames], predicted: &PredictedNames) -> Result<PrecisionScore> {
    let mut entities: BTreeSet<&str> = predicted.keys().map(String::as_str).collect();
    let [mut correct, mut rejected_correct, mut incorrect, mut rejected_incorrect] = [0; 4];
    let [mut right, mut wrong] = [0; 2];
    let none = BTreeSet::new();
    for gold in gold {
        entities.insert(&gold.entity);
        let names = predicted.get(&gold.entity).unwrap_or(&none);
        let normalized = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| normalize_name(name)).collect()
        };
        let rejects = |name: &&String| !names.contains(*name);
        let [is_right, is_wrong] = [&gold.correct, &gold.incorrect].map(|list| normalized(list));
        correct += is_right.len();
        rejected_correct += is_right.iter().filter(rejects).count();
        incorrect += is_wrong.len();
        rejected_incorrect += is_wrong.iter().filter(rejects).count();
        let (right_names, other_names): (Vec<_>, Vec<_>) =
            names.iter().partition(|&n| is_right.contains(n));
        right += right_names.len();
        wrong += other_names.into_iter().filter(|&name| is_wrong.contains(name)).count();
    }
    if incorrect == 0 {
        return Err(Error::Nothing { what: "wrong name" });
    }
    let accepted = correct - rejected_correct;
    let accuracy = percent(accepted + rejected_incorrect, correct + incorrect);
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
        wrong: percent(wrong, right + wrong),
    })
}

/// The share in percent; 0 if `whole` is 0.
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn harmonic_mean(a: f64, b: f64) -> f64 {
    if a + b > 0.0 { 2.0 * a * b / (a + b) } else { 0.0 }
}
