//! Search of a collection.
use std::path::Path;

use collection::{Encoder, Hit, Query, Snapshot};
use mlqa_eval::LanguageCounts;

use crate::language_check::passage_language;
use crate::search::{BM25_WEIGHT, Candidate, Candidates, PassageSearch};
use crate::{Error, Result, Retriever};

/// Minimum share of selected passages in other languages than the question for a warning.
const FOREIGN_PERCENT: usize = 90;

/// A search of one state of a collection.
///
/// Selects the best passages by BM25, or by BM25 and the embeddings of the collection's retriever.
#[derive(Clone, Copy)]
pub struct CollectionSearch<'a> {
    snapshot: &'a Snapshot,
    /// Weight of the retriever's similarities in the scores of answers.
    penalty_weight: f32,
}

impl<'a> CollectionSearch<'a> {
    /// Creates a search. The retriever is that of the questions' embeddings, if they have any.
    pub fn new(snapshot: &'a Snapshot, retriever: Option<&Retriever>) -> Self {
        let penalty_weight = retriever.map_or(0.0, |retriever| retriever.penalty_weight);
        Self { snapshot, penalty_weight }
    }
}

impl PassageSearch for CollectionSearch<'_> {
    /// Selects at most `max_passages` passages, best first.
    ///
    /// # Errors
    /// [`Error::Collection`] if the collection is empty, cannot be read, or has no embeddings although
    /// there is a `vector`.
    fn search(
        &self,
        query: &Query,
        vector: Option<&[f32]>,
        max_passages: usize,
    ) -> Result<Candidates<'_>> {
        let (hits, penalties) = match vector {
            Some(vector) => {
                let question = LanguageCounts::of(&query.text);
                let is_foreign = |passage: &collection::Passage| {
                    question.differs_from(passage_language(&passage.text)).is_some()
                };
                let hits = self.snapshot.select_hybrid(query, vector, max_passages, &is_foreign)?;
                let cosines = hits.iter().map(|hit| hit.cosine);
                let penalties = penalties(cosines, self.penalty_weight);
                (hits, penalties)
            }
            None => {
                let hits = self.snapshot.select(query, max_passages)?;
                let penalties = penalties(hits.iter().map(|hit| hit.words), BM25_WEIGHT);
                (hits, penalties)
            }
        };
        let candidate = |(Hit { passage, .. }, penalty)| Ok(Candidate { passage, penalty });
        Ok(Box::new(hits.into_iter().zip(penalties).map(candidate)))
    }
}

/// Computes `weight` times the difference between the highest score and each score. Passages whose
/// embedding has not been computed yet have the lowest score.
fn penalties(scores: impl Iterator<Item = Option<f32>> + Clone, weight: f32) -> Vec<f32> {
    let best = scores.clone().flatten().fold(f32::NEG_INFINITY, f32::max);
    let worst = scores.clone().flatten().fold(f32::INFINITY, f32::min);
    let penalty = |score: Option<f32>| match score.unwrap_or(worst) {
        score if best > f32::NEG_INFINITY => weight * (best - score),
        // No passage has a score.
        _ => 0.0,
    };
    scores.map(penalty).collect()
}

/// Checks that a collection has embeddings of this retriever.
///
/// # Errors
/// [`Error::Content`] naming the collection's folder.
pub(crate) fn check_retriever(
    folder: &Path,
    snapshot: &Snapshot,
    retriever: &Retriever,
) -> Result<()> {
    let problem = match snapshot.encoder() {
        None => {
            let command = format!("polyqa index --retriever MODEL --out {}", folder.display());
            format!("the collection has no embeddings; compute them with `{command}`")
        }
        Some(encoder) => match encoder.check(&retriever.encoder()?) {
            Ok(()) => return Ok(()),
            Err(error) => error.to_string(),
        },
    };
    Err(Error::Content { path: folder.to_owned(), problem })
}

/// Returns the scripts or languages of a question and of a selected passage if nearly all selected
/// passages seem to be in other languages than the question.
pub(crate) fn language_mismatch(
    question: &str,
    candidates: &[Candidate],
) -> Option<[&'static str; 2]> {
    let question = LanguageCounts::of(question);
    let difference = |one: &Candidate| question.differs_from(passage_language(&one.passage.text));
    let differences: Vec<[&'static str; 2]> = candidates.iter().filter_map(difference).collect();
    let is_mismatch = 100 * differences.len() >= FOREIGN_PERCENT * candidates.len();
    differences.first().copied().filter(|_| is_mismatch)
}

impl Retriever {
    /// Returns the identity of this encoder, for a collection with its embeddings.
    ///
    /// # Errors
    /// [`Error::Tasks`] if the encoder fails.
    pub fn encoder(&self) -> Result<Encoder> {
        Ok(Encoder { options: self.options(), probe: self.probe()?.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_are_differences_to_the_best_score() {
        let of = |scores: &[Option<f32>]| penalties(scores.iter().copied(), 2.0);
        assert_eq!(of(&[Some(0.5), None, Some(0.75)]), [0.5, 0.5, 0.0]);
        assert_eq!(of(&[None, None]), [0.0, 0.0]);
        assert_eq!(of(&[]), [0.0; 0]);
    }
}
