//! Mapping between tags and class indices.
use std::collections::BTreeSet;

use crate::ner::{Sentence, tag};

/// The tags that a tagger predicts; the index of a tag is its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    tags: Vec<String>,
}

impl Labels {
    /// Creates the IOB2 tags of entity types: `O`, then `B-` and `I-` of each type in order.
    ///
    /// ```
    /// let labels = transfer_eval::ner::Labels::iob2(&["LOC", "PER"]);
    /// assert_eq!(labels.tags(), ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]);
    /// assert_eq!((labels.label("B-PER"), labels.tag(2)), (Some(3), Some("I-LOC")));
    /// ```
    pub fn iob2<T: AsRef<str>>(kinds: &[T]) -> Self {
        let pairs =
            kinds.iter().flat_map(|kind| ["B", "I"].map(|p| format!("{p}-{}", kind.as_ref())));
        Self { tags: std::iter::once("O".to_owned()).chain(pairs).collect() }
    }

    /// Creates the IOB2 tags of all types in the sentences, in sorted order.
    pub fn of(sentences: &[Sentence]) -> Self {
        let tags = sentences.iter().flat_map(|sentence| &sentence.tags);
        let kinds: BTreeSet<&str> =
            tags.filter(|tag| *tag != "O").map(|tag| tag::split(tag).1).collect();
        Self::iob2(&Vec::from_iter(kinds))
    }

    /// The number of tags, C, which is the width of the classifier.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether there are no tags.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// The tags in label order.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// The tag of a label.
    pub fn tag(&self, label: usize) -> Option<&str> {
        self.tags.get(label).map(String::as_str)
    }

    /// The label of a tag.
    pub fn label(&self, tag: &str) -> Option<usize> {
        self.tags.iter().position(|one| one == tag)
    }
}
