//! Entity-level precision, recall and F1, bit-identical to `seqeval`'s.
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::error::check_counts;
use crate::ner::{Entity, Scheme, Sentence, average, find_entities};
use crate::{Error, Result};

/// Precision, recall and F1, each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EntityScore {
    /// Share of the predicted entities that are gold; 0 without predicted entities.
    pub precision: f64,
    /// Share of the gold entities that were predicted; 0 without gold entities.
    pub recall: f64,
    /// Harmonic mean of precision and recall; 0 if both are 0.
    pub f1: f64,
    /// Number of gold entities.
    pub support: usize,
}

/// The scores of a data set, with the values of `seqeval`'s `classification_report`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NerScore {
    /// Score over all entities. Papers report the F1 of this score, in percent.
    pub micro: EntityScore,
    /// Mean over types; 0 if there is no entity (`seqeval` returns NaN).
    #[serde(rename = "macro")]
    pub macro_average: EntityScore,
    /// Mean over types, weighted by the number of gold entities of each type.
    pub weighted: EntityScore,
    /// Scores by type of gold or predicted entities.
    pub types: BTreeMap<String, EntityScore>,
    /// Number of scored sentences.
    pub sentences: usize,
}

/// Counts of gold, predicted and correctly predicted entities.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    gold: usize,
    predicted: usize,
    correct: usize,
}

impl Counts {
    fn score(self) -> EntityScore {
        let share =
            |count: usize| if count == 0 { 0.0 } else { self.correct as f64 / count as f64 };
        let (precision, recall) = (share(self.predicted), share(self.gold));
        let sum = precision + recall;
        let f1 = if sum == 0.0 { 0.0 } else { 2.0 * precision * recall / sum };
        EntityScore { precision, recall, f1, support: self.gold }
    }
}

/// Scores predicted tags against gold tags; both contain one vector per sentence.
pub(super) fn score_tags<G: AsRef<str>, P: AsRef<str>>(
    gold: &[Vec<G>],
    predicted: &[Vec<P>],
    scheme: Scheme,
) -> Result<NerScore> {
    if gold.is_empty() {
        return Err(Error::Nothing { what: "sentence" });
    }
    check_counts(("sentence", "sentences"), gold.len(), predicted.len(), |_| None)?;
    let mut entities = Vec::with_capacity(gold.len());
    for (k, (gold, predicted)) in gold.iter().zip(predicted).enumerate() {
        if gold.len() != predicted.len() {
            let message = format!("{} predicted tags for {} words", predicted.len(), gold.len());
            return Err(Error::mismatch("sentence", k, None, message));
        }
        let mut tags = gold.iter().map(AsRef::as_ref).zip(predicted.iter().map(AsRef::as_ref));
        if let Some(word) =
            tags.position(|(gold, predicted)| gold.is_empty() || predicted.is_empty())
        {
            let message = format!("word {} has an empty tag", word + 1);
            return Err(Error::mismatch("sentence", k, None, message));
        }
        entities.push((find_entities(gold, scheme), find_entities(predicted, scheme)));
    }
    Ok(score_entities(&entities))
}

/// Scores the predicted entities of each sentence, given after its gold entities.
pub(super) fn score_entities(
    sentences: &[(BTreeSet<Entity<'_>>, BTreeSet<Entity<'_>>)],
) -> NerScore {
    let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
    for (gold, predicted) in sentences {
        for Entity { kind, .. } in gold {
            counts.entry(kind).or_default().gold += 1;
        }
        for entity in predicted {
            let count = counts.entry(entity.kind).or_default();
            count.predicted += 1;
            count.correct += usize::from(gold.contains(entity));
        }
    }
    summarize(&counts, sentences.len())
}

fn summarize(counts: &BTreeMap<&str, Counts>, sentences: usize) -> NerScore {
    let micro = counts.values().fold(Counts::default(), |total, count| Counts {
        gold: total.gold + count.gold,
        predicted: total.predicted + count.predicted,
        correct: total.correct + count.correct,
    });
    let scores: Vec<EntityScore> = counts.values().map(|count| count.score()).collect();
    let weights: Vec<usize> = scores.iter().map(|score| score.support).collect();
    let average_by = |mean: &dyn Fn(&[f64]) -> f64| {
        let mean_of =
            |part: fn(&EntityScore) -> f64| mean(&Vec::from_iter(scores.iter().map(part)));
        EntityScore {
            precision: mean_of(|score| score.precision),
            recall: mean_of(|score| score.recall),
            f1: mean_of(|score| score.f1),
            support: micro.gold,
        }
    };
    NerScore {
        micro: micro.score(),
        macro_average: average_by(&average::mean),
        weighted: average_by(&|values| average::weighted(values, &weights)),
        types: counts.keys().map(|&kind| kind.to_owned()).zip(scores.iter().copied()).collect(),
        sentences,
    }
}

/// Scores the result of [`sentence_tags`](crate::ner::sentence_tags). Words without a predicted tag
/// (`None`), for example words that were cut off from the tagger's input, are scored as `O`.
///
/// ```
/// use transfer_eval::ner::{Scheme, Sentence, score_ner};
///
/// let sentences = [Sentence::new(&["Paris", "and", "Rome"], &["B-LOC", "O", "B-LOC"])];
/// let tags = [vec![Some("B-LOC".to_owned()), Some("O".to_owned()), None]]; // `Rome` was cut off
/// assert_eq!(score_ner(&sentences, &tags, Scheme::Lenient)?.micro.recall, 0.5);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Count`] if the numbers of sentences differ, [`Error::Mismatch`] with the number and
/// line of the first sentence whose numbers of gold and predicted tags differ, [`Error::Nothing`]
/// without any sentence.
pub fn score_ner(
    sentences: &[Sentence],
    predicted: &[Vec<Option<String>>],
    scheme: Scheme,
) -> Result<NerScore> {
    let line = |at: usize| sentences.get(at)?.line().map(|line| format!("line {line}"));
    check_counts(("sentence", "sentences"), sentences.len(), predicted.len(), line)?;
    let (mut gold_tags, mut predicted_tags) = (Vec::new(), Vec::<Vec<&str>>::new());
    for (k, (sentence, tags)) in sentences.iter().zip(predicted).enumerate() {
        if sentence.tags.len() != tags.len() {
            let message =
                format!("{} predicted tags for {} words", tags.len(), sentence.tags.len());
            return Err(Error::mismatch("sentence", k, sentence.line(), message));
        }
        gold_tags.push(sentence.tags.clone());
        predicted_tags.push(tags.iter().map(|tag| tag.as_deref().unwrap_or("O")).collect());
    }
    score_tags(&gold_tags, &predicted_tags, scheme)
}
