//! Labels of entities as terms.
use std::collections::{BTreeSet, HashSet};

use language::fold;

use super::terms::{TermConfig, whole_term};
use crate::phrases::words;
use crate::switch::EntityLabels;

/// Maximum number of words of a label; longer labels are ignored. A Han character is a word.
const MAX_WORDS: usize = 10;

/// The labels of entities in all languages, as sequences of folded words.
#[derive(Default)]
pub(super) struct LabelPhrases {
    /// The distinct labels of each entity, in the order of the ids.
    entities: Vec<Vec<String>>,
    phrases: HashSet<String>,
    max_words: usize,
}

impl LabelPhrases {
    /// Labels that consist of stop words, such as the name of the letter A, are ignored.
    pub(super) fn new(labels: &EntityLabels, config: &TermConfig) -> Self {
        let mut phrases = Self::default();
        for (_, labels) in labels.sorted() {
            let mut distinct = BTreeSet::new();
            for (_, label) in labels {
                let words = words(fold(label).as_str());
                if words.len() <= MAX_WORDS && !words.iter().all(|word| config.is_stop_word(word)) {
                    phrases.max_words = phrases.max_words.max(words.len());
                    distinct.insert(whole_term(&words));
                }
            }
            phrases.phrases.extend(distinct.iter().cloned());
            phrases.entities.push(distinct.into_iter().collect());
        }
        phrases
    }

    /// The distinct labels of each entity.
    pub(super) fn entities(&self) -> &[Vec<String>] {
        &self.entities
    }

    pub(super) fn contains(&self, phrase: &str) -> bool {
        self.phrases.contains(phrase)
    }

    /// Number of words of the longest label.
    pub(super) fn max_words(&self) -> usize {
        self.max_words
    }
}
