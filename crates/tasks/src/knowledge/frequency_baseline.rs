//! Frequency baselines of entity retrieval.
use std::collections::BTreeMap;

use kg_triples::knowledge::MentionExample;
use transfer_eval::retrieval::{
    CandidateList, Description, ListedQuery, RetrievalScore, score_retrieval,
};

use super::candidates::mention_candidates;
use super::{MentionShards, ProbeConfig, TrainedPairs};
use crate::{Error, Result};

/// A baseline that ranks candidates by training frequency, independent of the query text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrequencyBaseline {
    /// Counts mentions of the candidate's entity in the query's language.
    Entity,
    /// Counts training mentions of the candidate's entity that are in the query's language and were
    /// paired with a description in the candidate's language.
    LanguagePair,
}

/// Number of training examples by entity, language of the mention and, for
/// [`FrequencyBaseline::LanguagePair`], language of the description.
type Counts<'a> = BTreeMap<(&'a str, &'a str, Option<&'a str>), u64>;

impl FrequencyBaseline {
    /// Ranks the candidates of each query by training frequency, and scores the ranks as
    /// [`KnowledgeProbe::score_entities`](super::KnowledgeProbe::score_entities) does.
    ///
    /// # Errors
    /// [`Error::Transfer`] if there is no query.
    pub fn score(
        self,
        mentions: &MentionShards,
        queries: &[MentionExample],
        config: &ProbeConfig,
    ) -> Result<RetrievalScore> {
        let list = mention_candidates(&mentions.probe.candidates, queries, config)?;
        Ok(score_retrieval(&list, &self.ranks(&mentions.trained_pairs, &list)?)?)
    }

    /// Computes the rank of the correct candidate of each query of `list`, from 1, in the list's
    /// order.
    fn ranks(self, trained: &TrainedPairs, list: &CandidateList) -> Result<Vec<usize>> {
        let mut counts = Counts::new();
        for ((entity, language, description_language), count) in trained {
            let description = self.counted_language(description_language.as_str());
            let key = (entity.as_str(), language.as_str(), description);
            *counts.entry(key).or_default() += count;
        }
        list.queries.iter().map(|query| self.rank(query, list, &counts)).collect()
    }

    fn counted_language(self, description_language: &str) -> Option<&str> {
        match self {
            Self::Entity => None,
            Self::LanguagePair => Some(description_language),
        }
    }

    fn rank(self, query: &ListedQuery, list: &CandidateList, counts: &Counts<'_>) -> Result<usize> {
        let count = |candidate: &Description| {
            let description = self.counted_language(&candidate.language);
            let key = (candidate.entity.as_str(), query.language.as_str(), description);
            counts.get(&key).copied().unwrap_or(0)
        };
        let gold_count = list.candidates.get(query.gold).map(count).ok_or_else(|| {
            let expected = format!("a candidate below {}", list.candidates.len());
            Error::data(format!("gold of query {}", query.id), expected, query.gold)
        })?;
        // Candidates are in random order, so ties are broken randomly.
        let more_frequent = list.candidates.iter().enumerate().filter(|(position, candidate)| {
            let count = count(candidate);
            count > gold_count || (count == gold_count && *position < query.gold)
        });
        Ok(1 + more_frequent.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::tests::candidate_list;

    #[test]
    fn ranks_equal_manual_counts() {
        let mut trained = TrainedPairs::new();
        for (entity, language, description_language, count) in [
            ("Q1", "de", "en", 2),
            ("Q1", "de", "es", 1),
            ("Q2", "de", "en", 2),
            ("Q3", "es", "en", 1),
        ] {
            let [mention_language, target_language] =
                [language, description_language].map(|code| code.parse().unwrap());
            trained.insert((entity.to_owned(), mention_language, target_language), count);
        }
        let candidates = [("Q4", "en"), ("Q2", "en"), ("Q1", "en"), ("Q3", "en"), ("Q1", "es")];
        let queries = [("de", 2), ("de", 1), ("de", 0), ("de", 3), ("es", 3), ("zh", 1)];
        let list = candidate_list(&candidates, &queries);
        // Counts for a German mention, by candidate: Q4 0, Q2 2, Q1 3, Q3 0, Q1 3. For a Spanish
        // mention, Q3 has count 1 and all other candidates have count 0. Chinese mentions have no
        // counts, so the order of the list determines the ranks.
        let entity_ranks = FrequencyBaseline::Entity.ranks(&trained, &list).unwrap();
        assert_eq!(entity_ranks, [1, 3, 4, 5, 1, 2]);
        // Counts by the description's language, too: Q4 0, Q2 2, Q1 in English 2, Q3 0, Q1 in
        // Spanish 1.
        let pair_ranks = FrequencyBaseline::LanguagePair.ranks(&trained, &list).unwrap();
        assert_eq!(pair_ranks, [2, 1, 4, 5, 1, 2]);
    }

    #[test]
    fn a_gold_index_outside_the_list_is_an_error() {
        let mut list = candidate_list(&[("Q1", "en")], &[("de", 0)]);
        list.candidates.clear();
        let error =
            FrequencyBaseline::Entity.ranks(&TrainedPairs::new(), &list).unwrap_err().to_string();
        assert_eq!(error, "gold of query 0: expected a candidate below 0, got 0");
    }
}
