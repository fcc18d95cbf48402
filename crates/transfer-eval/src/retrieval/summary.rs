//! Retrieval scores over several seeds.
use std::collections::BTreeMap;

use results::{MeanInterval, over_seeds};
use serde::{Deserialize, Serialize};

use crate::retrieval::{RankSummary, RetrievalScore};

/// Scores of one retrieval task over models that were trained with different seeds and evaluated on
/// the same queries. All scores except `mrr` are in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RetrievalSummary {
    /// Share of queries whose gold candidate has rank 1.
    pub accuracy: MeanInterval,
    /// Share of queries whose gold candidate is among the first ten.
    pub hits_at_10: MeanInterval,
    /// Mean of 1 / rank, 0 to 1.
    pub mrr: MeanInterval,
    /// Accuracy of random guessing: 100 / number of candidates.
    pub chance: f64,
    /// Number of queries per seed.
    pub queries: usize,
    /// Number of candidates.
    pub candidates: usize,
    /// Accuracy by language of the query.
    pub languages: BTreeMap<String, MeanInterval>,
}

impl RetrievalSummary {
    /// Summarises several seeds; `None` without a seed, or if a seed has no score.
    ///
    /// ```
    /// use transfer_eval::retrieval::{
    ///     CandidateConfig, CandidateList, Description, GoldLanguage, Query, RetrievalSummary,
    ///     score_retrieval,
    /// };
    ///
    /// let text = |language: &str| (String::from("Q1"), language.to_owned());
    /// let description = |(entity, language)| Description { entity, language };
    /// let query = |(entity, language)| Query { id: "0".into(), entity, language };
    /// let config = CandidateConfig { size: 1, gold_language: GoldLanguage::Any, seed: 0 };
    /// let (descriptions, queries) = ([description(text("en"))], [query(text("de"))]);
    /// let list = CandidateList::draw(&descriptions, &queries, &config)?;
    ///
    /// let seeds = [Some(score_retrieval(&list, &[1])?), Some(score_retrieval(&list, &[1])?)];
    /// let summary = RetrievalSummary::over_seeds(seeds.iter().map(Option::as_ref)).unwrap();
    /// assert_eq!((summary.accuracy.mean, summary.accuracy.half_width), (100.0, Some(0.0)));
    /// assert!(RetrievalSummary::over_seeds([seeds[0].as_ref(), None]).is_none());
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    pub fn over_seeds<'a>(
        seeds: impl IntoIterator<Item = Option<&'a RetrievalScore>>,
    ) -> Option<Self> {
        let scores: Vec<&RetrievalScore> = seeds.into_iter().collect::<Option<_>>()?;
        let first = scores.first()?;
        let interval_of = |value: fn(&RankSummary) -> f64| {
            MeanInterval::of(scores.iter().map(|score| value(&score.all)))
        };
        let accuracies = scores.iter().map(|score| {
            score.languages.iter().map(|(code, ranks)| (code.clone(), ranks.accuracy)).collect()
        });
        let accuracies: Vec<BTreeMap<String, f64>> = accuracies.collect();
        Some(Self {
            accuracy: interval_of(|ranks| ranks.accuracy),
            hits_at_10: interval_of(|ranks| ranks.hits_at_10),
            mrr: interval_of(|ranks| ranks.mrr),
            chance: first.chance,
            queries: first.all.queries,
            candidates: first.candidates,
            languages: over_seeds(&accuracies),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(accuracy: f64) -> RankSummary {
        RankSummary { queries: 4, accuracy, hits_at_10: 2.0 * accuracy, mrr: accuracy / 100.0 }
    }

    fn score(all: f64, de: f64) -> RetrievalScore {
        RetrievalScore {
            all: summary(all),
            candidates: 50,
            chance: 2.0,
            languages: BTreeMap::from([("de".to_owned(), summary(de))]),
            pairs: Vec::new(),
        }
    }

    #[test]
    fn values_have_means_and_intervals_over_seeds() {
        let seeds = [score(20.0, 0.0), score(40.0, 50.0)];
        let summary = RetrievalSummary::over_seeds(seeds.iter().map(Some)).unwrap();
        assert_eq!(summary.accuracy, MeanInterval::of([20.0, 40.0]));
        assert_eq!(summary.hits_at_10, MeanInterval::of([40.0, 80.0]));
        assert_eq!(summary.mrr, MeanInterval::of([0.2, 0.4]));
        assert_eq!((summary.queries, summary.candidates, summary.chance), (4, 50, 2.0));
        assert_eq!(
            summary.languages,
            BTreeMap::from([("de".into(), MeanInterval::of([0.0, 50.0]))])
        );
        assert_eq!(RetrievalSummary::over_seeds([]), None);
    }
}
