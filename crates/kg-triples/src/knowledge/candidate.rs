//! Candidate descriptions of a probe.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::jsonl::Record;
use crate::{Language, seed};

/// A description that is a candidate answer to the queries of a probe (XLM-K, appendix B).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The described entity.
    pub entity: String,
    /// Language of the description.
    pub language: Language,
    /// Token ids of the description, `<s> … </s>`.
    pub input_ids: Vec<u32>,
}

impl Record for Candidate {
    const NAME: &'static str = "candidate";

    fn invalid_reason(&self) -> Option<String> {
        self.input_ids.is_empty().then(|| "a description without tokens".into())
    }
}

/// Returns all `gold_ids`, followed by random other `entities` up to `max_candidates` ids in total.
/// The selection and order of the other entities depend only on `seed` and their ids.
pub(super) fn choose_candidates<'e>(
    gold_ids: &BTreeSet<&'e str>,
    entities: impl Iterator<Item = &'e str>,
    max_candidates: usize,
    seed: u64,
) -> Vec<&'e str> {
    let rank = |entity: &str| seed::hash_to_unit(seed, &format!("candidate {entity}")).to_bits();
    let other_entities = entities.filter(|entity| !gold_ids.contains(entity));
    let mut other_entities: Vec<(u64, &str)> =
        other_entities.map(|entity| (rank(entity), entity)).collect();
    other_entities.sort_unstable();
    other_entities.truncate(max_candidates.saturating_sub(gold_ids.len()));
    gold_ids.iter().copied().chain(other_entities.into_iter().map(|(_, entity)| entity)).collect()
}
