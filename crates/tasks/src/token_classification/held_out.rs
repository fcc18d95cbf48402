//! Split of sentences into training and held-out development sentences.
use serde::{Deserialize, Serialize};
use transfer_eval::ner::Sentence;

use crate::held_out::held_out_groups;
use crate::{Error, Result};

/// Options of held-out documents.
///
/// # Example
/// ```
/// use tasks::token_classification::HeldOut;
/// use transfer_eval::ner::Sentence;
///
/// let paris = Sentence::new(&["Paris"], &["B-LOC"]);
/// let sentence = |id: &str| Sentence { id: Some(id.into()), ..paris.clone() };
/// let sentences = ["a-1", "a-2", "b-1", "b-2"].map(sentence).to_vec();
/// let (train, held_out) = HeldOut { share: 0.5, seed: 7 }.split(sentences)?;
/// assert_eq!((train.len(), held_out.len()), (2, 2)); // one document each
/// assert_eq!(train[0].id.as_ref().map(|id| &id[..1]), train[1].id.as_ref().map(|id| &id[..1]));
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeldOut {
    /// Minimum share of held-out sentences, above 0 and below 1.
    pub share: f64,
    /// Seed of the held-out documents.
    pub seed: u64,
}

impl Default for HeldOut {
    fn default() -> Self {
        Self { share: 0.2, seed: 1234 }
    }
}

impl HeldOut {
    /// Splits sentences into training and held-out sentences without dividing a document. The order
    /// of `sentences` is preserved.
    ///
    /// Sentences belong to one document if their ids differ only after the last hyphen, as in
    /// Universal Dependencies; a sentence without such an id is a separate document.
    ///
    /// # Errors
    /// [`Error::Config`] if `share` is out of range, or no training sentence remains.
    pub fn split(&self, sentences: Vec<Sentence>) -> Result<(Vec<Sentence>, Vec<Sentence>)> {
        if !(self.share > 0.0 && self.share < 1.0) {
            return Err(Error::config("held_out.share", self.share, "above 0 and below 1"));
        }
        let documents: Vec<String> = sentences
            .iter()
            .enumerate()
            .map(|(index, sentence)| document_id(index, sentence))
            .collect();
        let held_out_documents = held_out_groups(&documents, self.share, self.seed);
        let (mut train_sentences, mut held_out) = (Vec::new(), Vec::new());
        for (sentence, document) in sentences.into_iter().zip(&documents) {
            let subset = if held_out_documents.contains(document) {
                &mut held_out
            } else {
                &mut train_sentences
            };
            subset.push(sentence);
        }
        if train_sentences.is_empty() {
            let rule = "smaller: no training data remain";
            return Err(Error::config("held_out.share", self.share, rule));
        }
        Ok((train_sentences, held_out))
    }
}

fn document_id(index: usize, sentence: &Sentence) -> String {
    let id = sentence.id.as_deref().and_then(|id| id.rsplit_once('-'));
    id.map_or_else(|| format!("{index:09}"), |(document, _)| document.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sentences(ids: &[Option<&str>]) -> Vec<Sentence> {
        let sentence = |id: &Option<&str>| Sentence {
            id: id.map(str::to_owned),
            ..Sentence::new(&["Lima"], &["B-LOC"])
        };
        ids.iter().map(sentence).collect()
    }

    #[test]
    fn documents_are_not_split() {
        let ids: Vec<String> = (0..60).map(|k| format!("d-{}-{k:04}", k % 7)).collect();
        let ids: Vec<Option<&str>> = ids.iter().map(|id| Some(id.as_str())).collect();
        for seed in 0..20 {
            let held_out = HeldOut { share: 0.3, seed };
            let (train_sentences, held_out_sentences) = held_out.split(sentences(&ids)).unwrap();
            assert_eq!(train_sentences.len() + held_out_sentences.len(), 60);
            assert!(
                held_out_sentences.len() >= 18 && held_out_sentences.len() < 18 + 9,
                "{}",
                held_out_sentences.len()
            );
            let documents = |sentences: &[Sentence]| -> BTreeSet<String> {
                sentences
                    .iter()
                    .enumerate()
                    .map(|(index, sentence)| document_id(index, sentence))
                    .collect()
            };
            assert!(documents(&train_sentences).is_disjoint(&documents(&held_out_sentences)));
            let is_in_input_order = |sentences: &[Sentence]| {
                let position =
                    |sentence: &Sentence| ids.iter().position(|id| *id == sentence.id.as_deref());
                sentences.iter().map(position).is_sorted()
            };
            assert!(is_in_input_order(&train_sentences) && is_in_input_order(&held_out_sentences));
            assert_eq!(held_out.split(sentences(&ids)).unwrap().1, held_out_sentences);
        }
    }

    #[test]
    fn sentences_without_a_document_are_separate_documents() {
        let sentences = sentences(&[None; 10]);
        let (train_sentences, held_out) = HeldOut { share: 0.2, seed: 3 }.split(sentences).unwrap();
        assert_eq!((train_sentences.len(), held_out.len()), (8, 2));
    }

    #[test]
    fn a_share_without_training_data_is_rejected() {
        let error_of = |share: f64| {
            let sentences = sentences(&[Some("a-1"), Some("a-2")]);
            HeldOut { share, seed: 0 }.split(sentences).unwrap_err().to_string()
        };
        for share in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(error_of(share).contains("held_out.share"), "{share}");
        }
        assert!(error_of(0.1).contains("no training data remain"));
    }
}
