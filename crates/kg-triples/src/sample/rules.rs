//! Label requirements of facts.
use serde::Deserialize;

use super::{SampleConfig, SampleReport};
use crate::{LabelSource, Language};

/// Languages in which a fact must have labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// Head, relation and tail must have labels in all languages.
    #[default]
    All,
    /// There must be two different languages such that the head has a label in one of them, the
    /// tail in the other, and the relation in both. XLM-K's cross-lingual queries require such
    /// labels.
    Pairs,
}

/// Maximum number of languages for [`Coverage::Pairs`], which are represented as bits of one
/// integer.
pub(super) const MAX_PAIR_LANGUAGES: usize = 31;

/// Result of checking the labels of a fact: complete, or the first element (head, tail, relation)
/// without the required labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LabelCheck {
    Complete,
    NoHead,
    NoTail,
    NoRelation,
}

impl SampleReport {
    pub(super) fn count_fact(&mut self, check: LabelCheck) {
        *match check {
            LabelCheck::Complete => &mut self.available,
            LabelCheck::NoHead => &mut self.without_head_label,
            LabelCheck::NoTail => &mut self.without_tail_label,
            LabelCheck::NoRelation => &mut self.without_relation_label,
        } += 1;
    }
}

/// Label requirements. The labels of an id are represented as bits. With [`Coverage::All`], there
/// is one bit, which is set if the id has labels in all languages. With [`Coverage::Pairs`], there
/// is one bit per language.
#[derive(Clone, Debug)]
pub(super) struct LabelRules {
    languages: Vec<Language>,
    coverage: Coverage,
    sources: Vec<LabelSource>,
}

/// A label of an id: its language, its text and its source.
pub(super) type SourcedLabel<'a> = (Language, &'a str, LabelSource);

impl LabelRules {
    pub(super) fn new(config: &SampleConfig, languages: &[Language]) -> Self {
        let mut languages = languages.to_owned();
        languages.sort_unstable();
        languages.dedup();
        Self { languages, coverage: config.coverage, sources: config.label_sources.clone() }
    }

    /// Returns the number of bits used by [`LabelRules::label_bits`].
    pub(super) fn bit_count(&self) -> usize {
        match self.coverage {
            Coverage::All => 1,
            Coverage::Pairs => self.languages.len(),
        }
    }

    /// Returns the label bits of an id; `labels` has at most one label per language.
    /// Labels of other sources than the requested ones are ignored.
    pub(super) fn label_bits(&self, labels: &[SourcedLabel<'_>]) -> u64 {
        let has = |language: &Language| {
            let mut labels = labels.iter();
            labels.any(|(code, _, source)| code == language && self.sources.contains(source))
        };
        match self.coverage {
            Coverage::All => u64::from(self.languages.iter().all(has)),
            Coverage::Pairs => {
                let bits = self.languages.iter().enumerate();
                let bits = bits.filter(|(_, language)| has(language));
                bits.fold(0, |bits, (index, _)| bits | 1 << (index % 64))
            }
        }
    }

    /// Checks a fact by the label bits of its head, relation and tail.
    pub(super) fn check(&self, [head, relation, tail]: [u64; 3]) -> LabelCheck {
        match () {
            () if head == 0 => LabelCheck::NoHead,
            () if !self.covers(head, tail) => LabelCheck::NoTail,
            () if !self.covers(head & relation, tail & relation) => LabelCheck::NoRelation,
            () => LabelCheck::Complete,
        }
    }

    /// Whether the label bits of head and tail meet the requirements.
    fn covers(&self, head: u64, tail: u64) -> bool {
        match self.coverage {
            Coverage::All => head & tail != 0,
            // At least one label of the head is in another language than at least one label of the
            // tail.
            Coverage::Pairs => head != 0 && tail != 0 && (head != tail || head.count_ones() > 1),
        }
    }
}
