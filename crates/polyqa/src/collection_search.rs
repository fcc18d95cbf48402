//! Answers to questions over a collection.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use collection::{Encoder, Hit, Snapshot};
use mlqa_eval::LanguageCounts;

use crate::answer::{Collector, Query};
use crate::first_pass::{BM25_WEIGHT, Selection, passage_language};
use crate::passage::Passage;
use crate::reader::{BATCH_BYTES, PairBatch, QUESTIONS_PER_PASS};
use crate::{Answers, Error, Reader, Result, Retriever};

/// Minimum share of selected passages in other languages than the question for a warning.
const FOREIGN_PERCENT: usize = 90;

/// The passages that are read for each question, best first, and the penalties on the scores of
/// their answers.
#[derive(Debug)]
pub(crate) struct SelectedPassages {
    pub passages: Vec<Vec<Passage>>,
    pub selection: Selection,
}

/// Selects at most `max_passages` passages of a collection for each question: by BM25, or by BM25
/// and the retriever.
pub(crate) fn select_passages(
    snapshot: &Snapshot,
    retriever: Option<&Retriever>,
    queries: &[Query],
    max_passages: usize,
) -> Result<SelectedPassages> {
    let (mut passages, mut all_penalties) = (Vec::new(), Vec::new());
    for (id, text) in queries {
        let query = collection::Query { id: id.clone(), text: text.clone() };
        let vector = match retriever {
            Some(retriever) => retriever.embed_question(text)?.map(|vector| (retriever, vector)),
            None => None,
        };
        let (hits, penalties) = match vector {
            Some((retriever, vector)) => {
                let question = LanguageCounts::of(text);
                let is_foreign = |passage: &collection::Passage| {
                    question.differs_from(passage_language(&passage.text)).is_some()
                };
                let hits = snapshot.select_hybrid(&query, &vector, max_passages, &is_foreign)?;
                let cosines = hits.iter().map(|hit| hit.cosine);
                let penalties = penalties(cosines, retriever.penalty_weight);
                (hits, penalties)
            }
            // A question without words has no embedding, and no passage has its words.
            None => {
                let hits = snapshot.select(&query, max_passages)?;
                let penalties = penalties(hits.iter().map(|hit| hit.words), BM25_WEIGHT);
                (hits, penalties)
            }
        };
        passages.push(hits.iter().map(|Hit { passage, .. }| Passage::stored(passage)).collect());
        all_penalties.push(penalties);
    }
    Ok(SelectedPassages { passages, selection: Selection::of_separate_passages(all_penalties) })
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

/// Sets the page numbers of answers in documents of a collection. The selected passages do not have
/// the text before them.
pub(crate) fn set_pages(answers: &mut [Answers], snapshot: &Snapshot) -> Result<()> {
    for answers in answers {
        let mut texts: HashMap<Arc<str>, Option<Arc<str>>> = HashMap::new();
        for answer in &mut answers.answers {
            let text = match texts.entry(answer.document.clone()) {
                Entry::Occupied(text) => text.into_mut(),
                Entry::Vacant(vacant) => {
                    let document = snapshot.document(&answer.document)?;
                    vacant.insert(document.map(|document| document.text))
                }
            };
            let text = text.as_ref().expect("a snapshot has the documents of its passages");
            answer.page = documents::page_of(text, answer.start_byte);
        }
    }
    Ok(())
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
pub(crate) fn language_mismatch(question: &str, passages: &[Passage]) -> Option<[&'static str; 2]> {
    let question = LanguageCounts::of(question);
    let differences = passages
        .iter()
        .filter_map(|passage| question.differs_from(passage_language(&passage.text)));
    let differences: Vec<[&'static str; 2]> = differences.collect();
    let is_mismatch = 100 * differences.len() >= FOREIGN_PERCENT * passages.len();
    differences.first().copied().filter(|_| is_mismatch)
}

impl Reader {
    /// Answers questions over a collection. For each question, the `max_passages` best passages are
    /// read: those by BM25, or those by BM25 and a retriever whose embeddings the collection has.
    ///
    /// Calls `on_answers` with the answers to consecutive groups of questions, in order. Only the
    /// selected passages of a group of questions are in memory.
    ///
    /// # Errors
    /// The errors of `on_answers`; [`Error::Collection`] if the collection is empty, cannot be read,
    /// or has no embeddings although there is a retriever; the errors of
    /// [`QaPredictor::predict`](tasks::question_answering::QaPredictor::predict).
    pub fn answer_collection<E: From<Error>>(
        &self,
        questions: &[(Option<String>, String)],
        snapshot: &Snapshot,
        retriever: Option<&Retriever>,
        max_passages: usize,
        on_answers: &mut dyn FnMut(Vec<Answers>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for batch in questions.chunks(QUESTIONS_PER_PASS) {
            let selected = select_passages(snapshot, retriever, batch, max_passages)?;
            on_answers(self.answer_selected(batch, &selected, snapshot)?)?;
        }
        Ok(())
    }

    /// Answers questions over their selected passages.
    pub(crate) fn answer_selected(
        &self,
        questions: &[Query],
        SelectedPassages { passages, selection }: &SelectedPassages,
        snapshot: &Snapshot,
    ) -> Result<Vec<Answers>> {
        let mut collectors: Vec<Collector> =
            questions.iter().map(|(_, question)| self.collector(question)).collect();
        let mut pairs = PairBatch::default();
        for (question_index, (_, question)) in questions.iter().enumerate() {
            for (index, passage) in passages[question_index].iter().enumerate() {
                pairs.push(question_index, question, index, passage);
                if pairs.bytes >= BATCH_BYTES {
                    let pairs = std::mem::take(&mut pairs);
                    self.read_pairs(pairs, Some(selection), &mut collectors)?;
                }
            }
        }
        self.read_pairs(pairs, Some(selection), &mut collectors)?;
        let answers = questions.iter().zip(collectors);
        let answers = answers.map(|(query, collector)| self.finish(collector, query.clone()));
        let mut answers = answers.collect::<Result<Vec<_>>>()?;
        set_pages(&mut answers, snapshot)?;
        Ok(answers)
    }
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
