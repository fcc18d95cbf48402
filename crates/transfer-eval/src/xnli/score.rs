//! Accuracy by language.
use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::check_counts;
use crate::xnli::{NliExample, NliLabel};
use crate::{Error, Result};

/// The accuracy of one language.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LanguageAccuracy {
    /// Accuracy in percent.
    pub accuracy: f64,
    /// Number of correct predictions.
    pub correct: usize,
    /// Number of pairs.
    pub examples: usize,
}

/// The accuracy of a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NliScore {
    /// Mean of the accuracies of the languages, in percent, with equal weights. This is the papers'
    /// "Avg".
    pub mean: f64,
    /// Accuracy by language.
    pub languages: BTreeMap<String, LanguageAccuracy>,
}

impl NliScore {
    /// Accuracy by language, in percent.
    pub fn by_language(&self) -> BTreeMap<String, f64> {
        self.languages.iter().map(|(code, score)| (code.clone(), score.accuracy)).collect()
    }
}

/// Scores one prediction per pair, in the order of the pairs.
///
/// ```
/// use transfer_eval::xnli::{NliExample, NliLabel, score_nli};
///
/// let example = |language: &str, label| NliExample {
///     language: language.into(),
///     premise: "a".into(),
///     hypothesis: "b".into(),
///     label,
///     line: 1,
/// };
/// let (neutral, entailment) = (NliLabel::Neutral, NliLabel::Entailment);
/// let examples = [example("en", neutral), example("en", entailment), example("sw", neutral)];
/// let score = score_nli(&examples, &[NliLabel::Neutral; 3])?;
/// assert_eq!((score.languages["en"].accuracy, score.languages["sw"].accuracy), (50.0, 100.0));
/// assert_eq!(score.mean, 75.0);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Count`] naming the first unmatched pair (and its line); [`Error::Nothing`] without any
/// pair.
pub fn score_nli(examples: &[NliExample], predicted: &[NliLabel]) -> Result<NliScore> {
    if examples.is_empty() {
        return Err(Error::Nothing { what: "pair" });
    }
    let line = |at: usize| examples.get(at).map(|example| format!("line {}", example.line));
    check_counts(("pair", "pairs"), examples.len(), predicted.len(), line)?;
    let mut languages: BTreeMap<String, LanguageAccuracy> = BTreeMap::new();
    for (example, &predicted) in examples.iter().zip(predicted) {
        let language = languages.entry(example.language.clone()).or_default();
        language.examples += 1;
        language.correct += usize::from(example.label == predicted);
    }
    for score in languages.values_mut() {
        score.accuracy = 100.0 * score.correct as f64 / score.examples as f64;
    }
    let sum: f64 = languages.values().map(|score| score.accuracy).sum();
    Ok(NliScore { mean: sum / languages.len() as f64, languages })
}
