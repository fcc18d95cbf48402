//! Candidates of cross-lingual entity retrieval.
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use kg_triples::knowledge::{Candidate, EntailmentExample, MentionExample};
use serde::{Deserialize, Serialize};
use transfer_eval::retrieval::{CandidateConfig, CandidateList, Description, GoldLanguage, Query};

use crate::Result;

/// Options of the probes.
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
    /// Maximum number of candidates in entity and object retrieval; gold candidates are selected
    /// first.
    pub candidates: NonZeroUsize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { candidates: const { NonZeroUsize::new(32_768).expect("not zero") } }
    }
}

/// Creates the candidate list for queries about mentions: one description for each entity.
///
/// For an entity with queries, the list contains the description in the language of the first
/// query's description. Queries whose description is in another language are excluded.
///
/// A query's `id` in the list is its index in `queries`.
pub(super) fn mention_candidates(
    candidates: &[Candidate],
    queries: &[MentionExample],
    config: &ProbeConfig,
) -> Result<CandidateList> {
    let mut gold_language = BTreeMap::new();
    for example in queries {
        gold_language.entry(example.entity.as_str()).or_insert(example.description_language);
    }
    let has_gold_language = |candidate: &&Candidate| {
        gold_language.get(candidate.entity.as_str()).is_none_or(|gold| *gold == candidate.language)
    };
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
    draw_candidates(candidates.iter().filter(has_gold_language), &queries, config)
}

/// Creates the candidate list for held-out triples, from all candidate objects.
pub(super) fn object_candidates(
    candidates: &[Candidate],
    queries: &[EntailmentExample],
    config: &ProbeConfig,
) -> Result<CandidateList> {
    let query = |(number, example): (usize, &EntailmentExample)| Query {
        id: number.to_string(),
        entity: example.object.clone(),
        language: example.subject_language.to_string(),
    };
    let queries: Vec<Query> = queries.iter().enumerate().map(query).collect();
    draw_candidates(candidates.iter(), &queries, config)
}

/// Returns the query with an `id` of a list from [`mention_candidates`] or [`object_candidates`].
pub(super) fn query_by_id<'q, T>(queries: &'q [T], id: &str) -> &'q T {
    let number: usize = id.parse().expect("the id of a listed query is its index");
    &queries[number]
}

fn draw_candidates<'c>(
    candidates: impl Iterator<Item = &'c Candidate>,
    queries: &[Query],
    config: &ProbeConfig,
) -> Result<CandidateList> {
    let description = |candidate: &Candidate| Description {
        entity: candidate.entity.clone(),
        language: candidate.language.to_string(),
    };
    let descriptions: Vec<Description> = candidates.map(description).collect();
    let entities: BTreeSet<&str> =
        descriptions.iter().map(|description| description.entity.as_str()).collect();
    let size = config.candidates.get().min(entities.len());
    let config = CandidateConfig { size, gold_language: GoldLanguage::Any, seed: 0 };
    Ok(CandidateList::draw(&descriptions, queries, &config)?)
}
