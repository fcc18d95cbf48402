//! The candidates of cross-lingual entity retrieval.
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use kg_triples::knowledge::{MentionDataset, MentionExample};
use serde::{Deserialize, Serialize};
use transfer_eval::retrieval::{CandidateConfig, CandidateList, Description, GoldLanguage, Query};

use crate::Result;

/// What is ranked.
///
/// # Example
/// ```
/// use tasks::knowledge::ProbeConfig;
///
/// assert_eq!(toml::from_str::<ProbeConfig>("")?.candidates.get(), 32_768); // appendix B
/// assert!(toml::from_str::<ProbeConfig>("candidates = 0").is_err());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Candidates of entity and of object retrieval; fewer where there are fewer entities or
    /// objects.
    pub candidates: NonZeroUsize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { candidates: NonZeroUsize::new(32_768).unwrap_or(NonZeroUsize::MIN) }
    }
}

/// The list of candidates for some queries: one description for each entity, for those that are
/// queried in the language of the entity's first query. Queries that expect another are left out.
///
/// A query's `id` in the list is its index in `queries`.
pub(super) fn mention_candidates(
    mentions: &MentionDataset,
    queries: &[MentionExample],
    config: &ProbeConfig,
) -> Result<CandidateList> {
    let mut gold_language = BTreeMap::new();
    for example in queries {
        gold_language.entry(example.entity.as_str()).or_insert(example.description_language);
    }
    let mut descriptions = Vec::new();
    for entity in &mentions.entities {
        for (language, _) in mentions.descriptions.get(entity) {
            if gold_language.get(entity.as_str()).is_none_or(|gold| gold == language) {
                let language = language.to_string();
                descriptions.push(Description { entity: entity.clone(), language });
            }
        }
    }
    let queries: Vec<Query> = queries
        .iter()
        .enumerate()
        .filter(|(_, example)| {
            gold_language.get(example.entity.as_str()) == Some(&example.description_language)
        })
        .map(|(number, example)| Query {
            id: number.to_string(),
            entity: example.entity.clone(),
            language: example.language.to_string(),
        })
        .collect();
    let config = CandidateConfig {
        size: config.candidates.get().min(mentions.entities.len()),
        gold_language: GoldLanguage::Any,
        seed: 0,
    };
    Ok(CandidateList::draw(&descriptions, &queries, &config)?)
}
