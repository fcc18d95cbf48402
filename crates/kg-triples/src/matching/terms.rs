//! Terms of a text.
use std::collections::BTreeMap;

use language::{fold, for_each_term};

use super::labels::LabelPhrases;
use crate::phrases::{StopWords, Word, words};

/// The terms of a text that are nodes of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermKind {
    /// Sequences of 1 to `max` words of the [folded](fold()) text, without stop words. The paper's
    /// terms are sequences of up to three words.
    WordNgrams {
        /// Maximum number of words.
        max: usize,
    },
    /// The terms of [`language::for_each_term`]: words and their prefixes, pairs of Han characters.
    Index,
}

/// Options for the terms of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermConfig {
    /// The kind of terms.
    pub kind: TermKind,
    /// Stop words, one list per language. They are only used for [`TermKind::WordNgrams`].
    pub stop_words: Vec<StopWords>,
}

impl Default for TermConfig {
    fn default() -> Self {
        Self { kind: TermKind::WordNgrams { max: 3 }, stop_words: Vec::new() }
    }
}

impl TermConfig {
    pub(super) fn is_stop_word(&self, word: &Word) -> bool {
        self.stop_words.iter().any(|list| list.contains(&word.text))
    }

    /// Counts the terms of a text, and the labels that occur in the text as a sequence of words. A
    /// label that is not a term otherwise is counted once.
    pub(super) fn count_terms(&self, text: &str, labels: &LabelPhrases) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        let words = words(fold(text).as_str());
        match self.kind {
            TermKind::WordNgrams { max } => {
                let kept = words.iter().filter(|word| !self.is_stop_word(word));
                let kept: Vec<&str> = kept.map(|word| word.text.as_str()).collect();
                for start in 0..kept.len() {
                    for_each_prefix(kept[start..].iter().take(max).copied(), |term| {
                        *counts.entry(term.to_owned()).or_default() += 1;
                    });
                }
            }
            TermKind::Index => for_each_term(text, |term| {
                *counts.entry(term.to_owned()).or_default() += 1;
            }),
        }
        for start in 0..words.len() {
            let following = words[start..].iter().take(labels.max_words());
            for_each_prefix(following.map(|word| word.text.as_str()), |phrase| {
                if labels.contains(phrase) {
                    counts.entry(phrase.to_owned()).or_insert(1);
                }
            });
        }
        counts
    }
}

/// Visits the first word, the first two words and so on, separated by spaces.
fn for_each_prefix<'w>(words: impl Iterator<Item = &'w str>, mut visit: impl FnMut(&str)) {
    let mut prefix = String::new();
    for word in words {
        if !prefix.is_empty() {
            prefix.push(' ');
        }
        prefix.push_str(word);
        visit(&prefix);
    }
}

/// Returns the words of a folded text, separated by spaces: the form of a term that contains the
/// whole text.
pub(super) fn whole_term(words: &[Word]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}
