use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::description::text_budget;
use crate::{KgError, Language};

/// Where triples come from, and how they are divided.
///
/// `P` is the type of paths, for programs that have one of their own.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntailmentSource<P = PathBuf> {
    /// Folder with `triples.tsv` and `labels.tsv`.
    pub kg: P,
    /// Languages of the descriptions, two or more; empty: all of the graph. Triples are used whose
    /// subject is labelled in one of them and whose object in another.
    pub languages: Vec<Language>,
    /// Exponent of the number of triples in the share of each language of the subject, from 0 to 1
    /// (XLM-K, §4.1, as XLM-R).
    pub smoothing: f64,
    /// Longest description in tokens, special tokens counted.
    pub description_tokens: usize,
    /// Fraction of the triples that is never trained, above 0 and below 1.
    pub held_out_fraction: f64,
    /// Decides what is held out.
    pub seed: u64,
}

impl<P: Default> Default for EntailmentSource<P> {
    fn default() -> Self {
        Self {
            kg: P::default(),
            languages: Vec::new(),
            smoothing: 0.3,
            description_tokens: 256,
            held_out_fraction: 0.2,
            seed: 0,
        }
    }
}

impl<P> EntailmentSource<P> {
    /// Checks every key that can be checked without reading a file.
    ///
    /// # Errors
    /// [`KgError::Config`] naming the first key out of its range.
    ///
    /// ```
    /// use kg_triples::knowledge::EntailmentSource;
    ///
    /// let source =
    ///     EntailmentSource { held_out_fraction: 1.5, ..EntailmentSource::<String>::default() };
    /// assert_eq!(
    ///     source.validate().unwrap_err().to_string(),
    ///     "held_out_fraction = 1.5: must be above 0 and below 1"
    /// );
    /// ```
    pub fn validate(&self) -> Result<(), KgError> {
        let refuse = |key, value: String, rule| Err(KgError::Config { key, value, rule });
        text_budget(self.description_tokens, "description_tokens")?;
        if !(self.held_out_fraction > 0.0 && self.held_out_fraction < 1.0) {
            let value = self.held_out_fraction.to_string();
            return refuse("held_out_fraction", value, "above 0 and below 1");
        }
        if !(0.0..=1.0).contains(&self.smoothing) {
            return refuse("smoothing", self.smoothing.to_string(), "from 0 to 1");
        }
        let distinct: BTreeSet<&Language> = self.languages.iter().collect();
        if distinct.len() != self.languages.len() || distinct.len() == 1 {
            let rule = "two languages or more, each once; leave it out for all of the graph";
            return refuse("languages", format!("{:?}", self.languages), rule);
        }
        Ok(())
    }
}

/// What an [`EntailmentDataset`](super::EntailmentDataset) holds, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EntailmentDatasetReport {
    /// Triples of the graph.
    #[serde(default)]
    pub triples: usize,
    /// Left out: subject and object are not labelled in two languages, one each.
    #[serde(default)]
    pub without_labels: usize,
    /// Left out: held out, but subject and relation have several objects.
    #[serde(default)]
    pub ambiguous: usize,
    /// Triples to train on.
    pub train: usize,
    /// Relations of the graph, R.
    pub relations: usize,
    /// Held-out triples that are queries: subject and relation have one object only.
    pub test: usize,
}

impl fmt::Display for EntailmentDatasetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} facts of {} relations to train on, {} held out with a unique answer (of {}: {} \
             without labels in two languages, {} held out with several answers)",
            self.train,
            self.relations,
            self.test,
            self.triples,
            self.without_labels,
            self.ambiguous
        )
    }
}
