use std::collections::BTreeSet;

use serde::Serialize;

use super::description::text_budget;
use crate::{Error, Language};

/// Options of the examples of object entailment and their held-out set.
#[derive(Clone, Debug, PartialEq)]
pub struct EntailmentConfig {
    /// Languages of the descriptions, or an empty list for all languages. With `multilingual`, the
    /// list must have two or more languages.
    pub languages: Vec<Language>,
    /// Whether subject and object are described in different languages; `false` is an ablation.
    pub multilingual: bool,
    /// Smoothing exponent α from 0 to 1. A subject language with n triples is sampled in proportion
    /// to n^α (XLM-K, §4.1, as in XLM-R).
    pub smoothing: f64,
    /// Maximum length of a synthetic description in tokens, including special tokens.
    pub description_tokens: usize,
    /// Fraction of held-out triples, from 0 to below 1. With 0, there are no queries.
    pub hold_out: f64,
    /// Seed of the held-out set and the probe's candidates.
    pub seed: u64,
}

impl Default for EntailmentConfig {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            multilingual: true,
            smoothing: 0.3,
            description_tokens: 256,
            hold_out: 0.0,
            seed: 42,
        }
    }
}

impl EntailmentConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] with the first value that is out of its range.
    ///
    /// ```
    /// use kg_triples::knowledge::EntailmentConfig;
    ///
    /// let config = EntailmentConfig { hold_out: 1.5, ..EntailmentConfig::default() };
    /// assert_eq!(
    ///     config.validate().unwrap_err().to_string(),
    ///     "hold_out = 1.5: must be from 0 to below 1"
    /// );
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |key, value: String, rule| Err(Error::Config { key, value, rule });
        text_budget(self.description_tokens, "description_tokens")?;
        if !(0.0..1.0).contains(&self.hold_out) {
            return invalid("hold_out", self.hold_out.to_string(), "from 0 to below 1");
        }
        if !(0.0..=1.0).contains(&self.smoothing) {
            return invalid("smoothing", self.smoothing.to_string(), "from 0 to 1");
        }
        let distinct: BTreeSet<&Language> = self.languages.iter().collect();
        let too_few = distinct.len() == 1 && self.multilingual;
        if too_few || distinct.len() != self.languages.len() {
            let rule = "two languages or more, each once; omit it for all languages";
            return invalid("languages", format!("{:?}", self.languages), rule);
        }
        Ok(())
    }
}

/// Counts of the triples of [`EntailmentExamples`](super::EntailmentExamples).
///
/// `triples` is the sum of `without_subject`, `without_object`, `without_language`, `ambiguous`,
/// `train` and `test`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EntailmentReport {
    /// Triples of the graph.
    pub triples: usize,
    /// Triples skipped because the subject has no description in a requested language.
    pub without_subject: usize,
    /// Triples skipped because the object has no description in a requested language, while the
    /// subject has one.
    pub without_object: usize,
    /// Triples skipped because `multilingual` requires two different languages, but subject and
    /// object are described only in one common language.
    pub without_language: usize,
    /// Held-out triples skipped because the graph has several objects for their subject and
    /// relation.
    pub ambiguous: usize,
    /// Training triples.
    pub train: usize,
    /// Number of relations of the graph (R in the paper).
    pub relations: usize,
    /// Held-out triples for whose subject and relation the graph has a single object. They can be
    /// queries.
    pub test: usize,
}
