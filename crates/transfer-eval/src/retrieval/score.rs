//! Accuracy and ranks by language.
use std::collections::BTreeMap;

use results::Measured;
use serde::{Deserialize, Serialize};

use crate::error::check_counts;
use crate::retrieval::CandidateList;
use crate::{Error, Result};

/// Accuracy, hits and mean reciprocal rank of queries.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct RankSummary {
    /// Number of queries.
    pub queries: usize,
    /// Share of queries with rank 1, in percent.
    pub accuracy: f64,
    /// Share of queries with rank 10 or better, in percent.
    pub hits_at_10: f64,
    /// Mean of 1 / rank, 0 to 1.
    pub mrr: f64,
}

impl RankSummary {
    /// Summarises ranks from 1; `None` without ranks.
    ///
    /// ```
    /// use transfer_eval::retrieval::RankSummary;
    ///
    /// let summary = RankSummary::of(&[1, 2, 20]).unwrap();
    /// assert!((summary.hits_at_10 - 200.0 / 3.0).abs() < 1e-12);
    /// ```
    pub fn of(ranks: &[usize]) -> Option<Self> {
        if ranks.is_empty() {
            return None;
        }
        let count = ranks.len() as f64;
        let share = |max_rank: usize| {
            100.0 * ranks.iter().filter(|&&r| r <= max_rank).count() as f64 / count
        };
        let mrr = ranks.iter().map(|&rank| 1.0 / rank as f64).sum::<f64>() / count;
        Some(Self { queries: ranks.len(), accuracy: share(1), hits_at_10: share(10), mrr })
    }
}

/// The summary of one pair of languages.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct LanguagePairScore {
    /// Language of the queries.
    pub query: String,
    /// Language of the gold candidates.
    pub candidate: String,
    /// Summary of the ranks.
    pub ranks: RankSummary,
}

/// The scores of all queries of a candidate list.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RetrievalScore {
    /// Summary over all queries.
    pub all: RankSummary,
    /// N, number of candidates.
    pub candidates: usize,
    /// Accuracy of random guessing in percent: 100 / N.
    pub chance: f64,
    /// Summary by language of the query.
    pub languages: BTreeMap<String, RankSummary>,
    /// Summary by language of the query and of the gold candidate, sorted.
    pub pairs: Vec<LanguagePairScore>,
}

impl RetrievalScore {
    /// Returns the accuracy as a row of XLM-K's Table 7; `task` is `XEP` or `XOR`.
    pub fn measured(&self, model: &str, task: &str) -> Measured {
        Measured::new(model, task, "all", "accuracy", self.all.accuracy)
    }
}

/// Computes the scores of a list from the rank of each query, in the order of the list.
///
/// # Errors
/// [`Error::Count`] naming the first query without a rank; [`Error::Mismatch`] if a rank is not
/// from 1 to N, or a query's candidate is not in the list; [`Error::Nothing`] without a query.
pub fn score_retrieval(list: &CandidateList, ranks: &[usize]) -> Result<RetrievalScore> {
    let id = |at: usize| list.queries.get(at).map(|query| format!("`{}`", query.id));
    check_counts(("query", "queries"), list.queries.len(), ranks.len(), id)?;
    let size = list.candidates.len();
    let mut languages: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut pairs: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (k, (query, &rank)) in list.queries.iter().zip(ranks).enumerate() {
        let query_error = |message: String| Error::mismatch("query", k, None, message);
        if rank == 0 || rank > size {
            return Err(query_error(format!("rank {rank}; expected 1 to {size}")));
        }
        let candidate = list.candidates.get(query.gold);
        let candidate =
            candidate.ok_or_else(|| query_error(format!("no candidate {}", query.gold)))?;
        languages.entry(&query.language).or_default().push(rank);
        pairs.entry((&query.language, &candidate.language)).or_default().push(rank);
    }
    let all = RankSummary::of(ranks).ok_or(Error::Nothing { what: "query" })?;
    let summary = |ranks: &[usize]| RankSummary::of(ranks).expect("a language has a rank");
    let by_language = languages.iter().map(|(&code, ranks)| (code.to_owned(), summary(ranks)));
    let by_pair = pairs.iter().map(|(&(query, candidate), ranks)| {
        let (query, candidate) = (query.to_owned(), candidate.to_owned());
        LanguagePairScore { query, candidate, ranks: summary(ranks) }
    });
    Ok(RetrievalScore {
        all,
        candidates: size,
        chance: 100.0 / size as f64,
        languages: by_language.collect(),
        pairs: by_pair.collect(),
    })
}
