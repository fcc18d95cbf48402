//! Label requirements of facts.
use serde::Deserialize;

use super::{MissingRelation, SampleConfig, SampleReport};
use crate::Language;

/// Languages in which a fact needs labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// Head, relation and tail in all languages.
    #[default]
    All,
    /// The head in one language, the tail in another, and the relation in both, as required by
    /// XLM-K's cross-lingual queries.
    Pairs,
}

/// The most languages for [`Coverage::Pairs`]: labels, long labels and the English one are bits of
/// one number.
pub(super) const MOST_FOR_PAIRS: usize = 31;

/// What a fact lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Usable,
    NoHead,
    NoTail,
    NoRelation,
    Short,
}

impl SampleReport {
    pub(super) fn count(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Usable => &mut self.available,
            Verdict::NoHead => &mut self.without_head_label,
            Verdict::NoTail => &mut self.without_tail_label,
            Verdict::NoRelation => &mut self.without_relation_label,
            Verdict::Short => &mut self.short_labels,
        } += 1;
    }
}

/// Says of the labels of an id, as bits, what a fact lacks.
///
/// The lowest bits are its labels: with [`Coverage::All`] one bit for all of them, with
/// [`Coverage::Pairs`] one for each language. Then come, where a length is required, those that
/// are long enough, and last the English label, where it may stand in.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    languages: Vec<Language>,
    coverage: Coverage,
    min_chars: usize,
    english: bool,
}

impl Rules {
    pub(super) fn new(config: &SampleConfig, languages: &[Language]) -> Self {
        let mut languages = languages.to_owned();
        languages.sort_unstable();
        languages.dedup();
        Self {
            languages,
            coverage: config.coverage,
            min_chars: config.min_label_chars,
            english: config.missing_relation == MissingRelation::English,
        }
    }

    /// Bits of the labels.
    fn units(&self) -> usize {
        match self.coverage {
            Coverage::All => 1,
            Coverage::Pairs => self.languages.len(),
        }
    }

    /// Whether a label may be too short; none is empty.
    fn has_lengths(&self) -> bool {
        self.min_chars > 1
    }

    fn english_bit(&self) -> usize {
        self.units() * (1 + usize::from(self.has_lengths()))
    }

    /// How many bits [`Rules::bits`] gives.
    pub(super) fn width(&self) -> usize {
        self.english_bit() + usize::from(self.english)
    }

    /// The labels of an id, at most one for each language.
    pub(super) fn bits(&self, labels: &[(Language, &str)]) -> u64 {
        let is_long = |label: &str| label.chars().take(self.min_chars).count() == self.min_chars;
        let (mut known, mut long) = (0_u64, 0_u64);
        for (at, language) in self.languages.iter().enumerate() {
            if let Some((_, label)) = labels.iter().find(|(code, _)| code == language) {
                // With `All` there may be any number of languages; all that counts is their number.
                let bit = 1 << (at % 64);
                match self.coverage {
                    Coverage::All => (known, long) = (known + 1, long + u64::from(is_long(label))),
                    Coverage::Pairs => {
                        known |= bit;
                        long |= if is_long(label) { bit } else { 0 };
                    }
                }
            }
        }
        if self.coverage == Coverage::All {
            let all = self.languages.len() as u64;
            (known, long) = (u64::from(known == all), u64::from(long == all));
        }
        let mut bits = known;
        if self.has_lengths() {
            bits |= long << self.units();
        }
        let english = self.english && labels.iter().any(|(code, _)| *code == Language::EN);
        bits | u64::from(english) << self.english_bit()
    }

    /// What a fact lacks whose head, relation and tail have these bits.
    pub(super) fn judge(&self, [head, relation, tail]: [u64; 3]) -> Verdict {
        let all = (1 << self.units()) - 1;
        let long = |bits: u64| match self.has_lengths() {
            true => (bits >> self.units()) & all,
            false => bits & all,
        };
        let relation = match self.english && relation >> self.english_bit() & 1 == 1 {
            true => all,
            false => relation & all,
        };
        let (first, second) = (head & all, tail & all);
        match () {
            () if first == 0 => Verdict::NoHead,
            () if !self.covers(first, second) => Verdict::NoTail,
            () if !self.covers(first & relation, second & relation) => Verdict::NoRelation,
            () if !self.covers(long(head) & relation, long(tail) & relation) => Verdict::Short,
            () => Verdict::Usable,
        }
    }

    /// Whether head and tail are labelled as they should be.
    fn covers(&self, head: u64, tail: u64) -> bool {
        match self.coverage {
            Coverage::All => head & tail != 0,
            // Two languages that differ: not, if both have one alone, and the same.
            Coverage::Pairs => head != 0 && tail != 0 && (head != tail || head.count_ones() > 1),
        }
    }
}
