//! XLM-K: mentions and facts as training data, the joint task over them, and its two retrieval probes.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kg_triples::knowledge::MentionDataset;

mod config;
mod probe;
mod states;
mod task;

pub use config::{ContrastWithin, LossConfig, Parts, Pooling, TaskConfig};
pub use probe::{Guess, Probe, ProbeConfig, RankedBy, guess_entities};
pub use task::KnowledgeTask;

/// The languages of mentions and descriptions, each with a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Languages(BTreeMap<String, usize>);

impl Languages {
    /// All that occur, in alphabetical order.
    pub fn new(mentions: &MentionDataset) -> Self {
        let codes = mentions.languages().into_iter().map(|language| language.to_string());
        Self(codes.zip(0..).collect())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The number of each row's language.
    pub(crate) fn numbers<'a>(&self, codes: impl Iterator<Item = &'a str>) -> Result<Vec<usize>> {
        codes
            .map(|code| self.0.get(code).copied().with_context(|| format!("no language {code}")))
            .collect()
    }
}

/// The batch-norm sets of facts: one, since in a batch a language has too few of them to be normalised by themselves.
fn one_set(languages: Option<&Languages>, rows: usize) -> Vec<usize> {
    if languages.is_some() { vec![0; rows] } else { Vec::new() }
}
