//! Collection of queries about entities from held-out passages.
use std::collections::{BTreeMap, BTreeSet};

use super::{HeldOut, MentionExample, Split};
use crate::{Error, seed};

/// Ratio of stored to requested queries. More queries are stored than requested, because unsuitable
/// queries are removed at the end (see [`MentionQueries::finish`]).
const RESERVE_FACTOR: usize = 4;

/// Collects the queries of the three probes (unseen texts, language pairs and entities) from
/// examples of held-out texts. Memory is bounded by a multiple of the requested number of queries.
///
/// The selection depends on [`HeldOut::seed`] and the passages' numbers, not on the order of the
/// examples.
#[derive(Clone, Debug)]
pub(super) struct MentionQueries {
    held_out: HeldOut,
    query_sets: BTreeMap<Split, QuerySet>,
}

/// A random number and the number of the passage. Queries with the lowest ranks are selected.
type Rank = (u64, u64);

#[derive(Clone, Debug, Default)]
struct QuerySet {
    queries: BTreeMap<Rank, MentionExample>,
    by_entity: BTreeMap<String, BTreeSet<Rank>>,
}

impl QuerySet {
    fn remove(&mut self, rank: Rank) {
        let query = self.queries.remove(&rank).expect("a rank of a query");
        self.by_entity.get_mut(&query.entity).expect("the ranks of the entity").remove(&rank);
    }

    /// Adds a query. If the entity then has too many queries, the entity's query with the highest
    /// rank is removed. If the probe then has too many queries, the query with the highest rank in
    /// the probe is removed.
    fn add(&mut self, rank: Rank, query: MentionExample, held_out: &HeldOut) {
        if self.queries.contains_key(&rank) {
            return;
        }
        let ranks = self.by_entity.entry(query.entity.clone()).or_default();
        ranks.insert(rank);
        let over_limit = held_out.per_entity.is_some_and(|max_queries| ranks.len() > max_queries);
        let highest_rank = ranks.last().copied().filter(|_| over_limit);
        self.queries.insert(rank, query);
        if let Some(highest_rank) = highest_rank {
            self.remove(highest_rank);
        }
        if self.queries.len() > held_out.queries.saturating_mul(RESERVE_FACTOR)
            && let Some((&highest_rank, _)) = self.queries.last_key_value()
        {
            self.remove(highest_rank);
        }
    }
}

impl MentionQueries {
    /// Creates an empty collection.
    pub(super) fn new(held_out: &HeldOut) -> Self {
        Self { held_out: held_out.clone(), query_sets: BTreeMap::new() }
    }

    /// Adds an example to the probe of its split; examples of other splits are ignored. A second
    /// query of a passage in a probe is ignored.
    pub(super) fn add(&mut self, example: MentionExample) {
        let split = self.held_out.split_of(&example);
        if [Split::Train, Split::Unused].contains(&split) {
            return;
        }
        let name = format!("query {}", example.passage);
        let rank = (seed::hash_to_unit(self.held_out.seed, &name).to_bits(), example.passage);
        self.query_sets.entry(split).or_default().add(rank, example, &self.held_out);
    }

    /// Returns the queries about unseen texts, unseen language pairs and unseen entities.
    /// `is_trained` must be true for the entity of a query in the first two lists, and false for
    /// the entity of a query in the third list.
    ///
    /// # Errors
    /// [`Error::Empty`] with the responsible option, if there is no query.
    pub(super) fn finish(
        self,
        is_trained: impl Fn(&str) -> bool,
    ) -> Result<[Vec<MentionExample>; 3], Error> {
        let Self { held_out, mut query_sets } = self;
        let splits = [Split::UnseenTexts, Split::UnseenPairs, Split::UnseenEntities];
        let queries = splits.map(|split| -> Vec<MentionExample> {
            // A split without examples has no set of queries.
            let queries = query_sets.remove(&split).into_iter().flat_map(|set| set.queries);
            let is_unseen = split == Split::UnseenEntities;
            let suitable = queries
                .map(|(_rank, query)| query)
                .filter(|query| is_unseen != is_trained(&query.entity));
            suitable.take(held_out.queries).collect()
        });
        if queries.iter().all(Vec::is_empty) {
            return Err(Error::Empty {
                what: "queries for the probes".into(),
                hint: format!(
                    "hold_out.texts = {} holds out no text with a suitable mention; hold out more, \
                     or add texts",
                    held_out.texts
                ),
            });
        }
        Ok(queries)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // test helpers
mod tests;
