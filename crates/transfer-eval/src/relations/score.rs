//! Micro-averaged precision, recall and F1 without `no_relation`.
use std::collections::BTreeMap;

use serde::Serialize;

use super::NO_RELATION;
use crate::error::check_counts;
use crate::{Error, Result};

/// Counts and scores of one relation or of all relations, in percent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RelationCounts {
    /// `correct / predicted`; 100 if nothing is predicted, as in the official scorer.
    pub precision: f64,
    /// `correct / gold`; 0 if the relation does not occur.
    pub recall: f64,
    /// Harmonic mean of precision and recall; 0 if both are 0.
    pub f1: f64,
    /// Number of correct predictions.
    pub correct: usize,
    /// Number of predictions.
    pub predicted: usize,
    /// Number of gold examples.
    pub gold: usize,
}

/// Scores over all relations other than [`NO_RELATION`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RelationScore {
    /// The micro-average, which is the papers' F1.
    pub micro: RelationCounts,
    /// Scores by relation of the gold examples.
    pub relations: BTreeMap<String, RelationCounts>,
}

/// Scores one predicted relation per gold relation, as TACRED's official scorer (`score.py` of
/// Zhang et al. 2017).
///
/// An example whose gold and predicted relations are both [`NO_RELATION`] is not counted. A relation
/// predicted for [`NO_RELATION`] lowers the precision. A missed relation lowers the recall, and a
/// wrong relation lowers both. Without any predicted relation, the precision is 100 and F1 is 0.
///
/// ```
/// use transfer_eval::relations::score_relations;
///
/// let gold = ["per:title", "per:title", "no_relation", "no_relation"];
/// let predicted = ["per:title", "no_relation", "org:founded", "no_relation"];
/// let score = score_relations(&gold, &predicted)?;
/// assert_eq!((score.micro.precision, score.micro.recall, score.micro.f1), (50.0, 50.0, 50.0));
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Count`] if the numbers of relations differ; [`Error::Nothing`] without an example.
pub fn score_relations<G, P>(gold: &[G], predicted: &[P]) -> Result<RelationScore>
where
    G: AsRef<str>,
    P: AsRef<str>,
{
    if gold.is_empty() {
        return Err(Error::Nothing { what: "example" });
    }
    let name = |index: usize| gold.get(index).map(|relation| relation.as_ref().to_owned());
    check_counts(("example", "examples"), gold.len(), predicted.len(), name)?;
    let mut relations: BTreeMap<&str, RelationCounts> = BTreeMap::new();
    for (gold, predicted) in gold.iter().zip(predicted) {
        let (gold, predicted) = (gold.as_ref(), predicted.as_ref());
        if gold != NO_RELATION {
            relations.entry(gold).or_default().gold += 1;
        }
        if predicted != NO_RELATION {
            let counts = relations.entry(predicted).or_default();
            counts.predicted += 1;
            counts.correct += usize::from(gold == predicted);
        }
    }
    let mut micro = RelationCounts::default();
    for counts in relations.values_mut() {
        micro.correct += counts.correct;
        micro.predicted += counts.predicted;
        micro.gold += counts.gold;
        counts.compute();
    }
    micro.compute();
    let gold_only = relations.into_iter().filter(|(_, counts)| counts.gold > 0);
    let relations = gold_only.map(|(name, counts)| (name.to_owned(), counts)).collect();
    Ok(RelationScore { micro, relations })
}

impl RelationCounts {
    /// Computes the scores from the counts.
    fn compute(&mut self) {
        let share = |count: usize, otherwise: f64| match count {
            0 => otherwise,
            count => 100.0 * self.correct as f64 / count as f64,
        };
        let (precision, recall) = (share(self.predicted, 100.0), share(self.gold, 0.0));
        let sum = precision + recall;
        let f1 = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
        (self.precision, self.recall, self.f1) = (precision, recall, f1);
    }
}
