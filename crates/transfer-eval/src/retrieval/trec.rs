//! Scores of TREC runs.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::files::{numbered_lines, read_text_with_note};
use crate::{Error, Result};

/// The relevant documents of queries, as in a TREC qrels file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qrels {
    /// The documents with a relevance above 0. A query may have none.
    pub relevant: BTreeMap<String, BTreeSet<String>>,
}

impl Qrels {
    /// Reads lines `query iteration document relevance`; the second column is ignored.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] for a wrong number of columns, a relevance that is not an
    /// integer, or a document that occurs twice; [`Error::Nothing`] if no document is relevant.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut qrels = Self::default();
        let mut seen = BTreeSet::new();
        for_each_row(
            path,
            "query iteration document relevance",
            |[query, _, document, relevance]| {
                let is_relevant = parse::<i64>(relevance, "relevance: an integer")? > 0;
                if !seen.insert((query.to_owned(), document.to_owned())) {
                    return Err(format!("document `{document}` of query `{query}` occurs twice"));
                }
                let relevant = qrels.relevant.entry(query.to_owned()).or_default();
                if is_relevant {
                    relevant.insert(document.to_owned());
                }
                Ok(())
            },
        )?;
        match qrels.relevant.values().all(BTreeSet::is_empty) {
            true => Err(Error::Nothing { what: "relevant document" }),
            false => Ok(qrels),
        }
    }
}

/// Ranked documents of queries, as in a TREC run file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The documents of each query, best first.
    pub rankings: BTreeMap<String, Vec<String>>,
}

impl Run {
    /// Reads lines `query Q0 document rank score tag`. As in `trec_eval`, documents are ranked by
    /// their scores, and by descending id if scores are equal; the column `rank` is ignored.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] for a wrong number of columns, a score that is not a finite
    /// number, or a document that occurs twice for a query; [`Error::Nothing`] for an empty file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut scores: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for_each_row(
            path,
            "query Q0 document rank score tag",
            |[query, _, document, _, score, _]| {
                let value: f64 = parse(score, "score: a number")?;
                if !value.is_finite() {
                    return Err(format!("score: expected a finite number, got `{score}`"));
                }
                let documents = scores.entry(query.to_owned()).or_default();
                match documents.insert(document.to_owned(), value) {
                    Some(_) => {
                        Err(format!("document `{document}` of query `{query}` occurs twice"))
                    }
                    None => Ok(()),
                }
            },
        )?;
        if scores.is_empty() {
            return Err(Error::Nothing { what: "ranked document" });
        }
        let sort = |documents: BTreeMap<String, f64>| {
            let mut ranking: Vec<(String, f64)> = documents.into_iter().collect();
            ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| b.0.cmp(&a.0)));
            ranking.into_iter().map(|(document, _)| document).collect()
        };
        let rankings = scores.into_iter().map(|(query, documents)| (query, sort(documents)));
        Ok(Self { rankings: rankings.collect() })
    }
}

/// Scores of the first k documents of each ranking, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct CutoffScore {
    /// Mean average precision, divided by the number of relevant documents (`map_cut` of
    /// `trec_eval`).
    pub map: f64,
    /// Mean of 1 / rank of the first relevant document.
    pub mrr: f64,
    /// Mean share of the relevant documents.
    pub recall: f64,
    /// Share of queries with a relevant document (`success` of `trec_eval`, "HasPositive" in
    /// TDmatch).
    pub success: f64,
}

/// Scores of a run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RunScore {
    /// Number of scored queries: those with a relevant document.
    pub queries: usize,
    /// Number of scored queries without a ranking; their scores are 0.
    pub without_ranking: usize,
    /// Number of rankings of queries without a relevant document, which are ignored.
    pub unjudged: usize,
    /// Scores of complete rankings.
    pub all: CutoffScore,
    /// Scores of the first k documents, by k.
    pub cutoffs: BTreeMap<usize, CutoffScore>,
}

/// Scores the rankings of all queries that have a relevant document.
///
/// ```
/// use transfer_eval::retrieval::{Qrels, Run, score_run};
///
/// let fixture = |name: &str| format!("../testkit/fixtures/matching/{name}");
/// let (qrels, run) = (Qrels::read(fixture("qrels.txt"))?, Run::read(fixture("ranking.run"))?);
/// let score = score_run(&qrels, &run, &[1])?;
/// // The ranks are 2, 1, and none.
/// assert_eq!((score.all.mrr, score.cutoffs[&1].success), (0.5, 1.0 / 3.0));
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] for a cutoff of 0; [`Error::Nothing`] if no query has a relevant document, or
/// none of these queries has a ranking.
pub fn score_run(qrels: &Qrels, run: &Run, cutoffs: &[usize]) -> Result<RunScore> {
    if cutoffs.contains(&0) {
        return Err(Error::config("cutoffs", 0, "1 or more"));
    }
    let queries: Vec<(&String, &BTreeSet<String>)> =
        qrels.relevant.iter().filter(|(_, relevant)| !relevant.is_empty()).collect();
    if queries.is_empty() {
        return Err(Error::Nothing { what: "relevant document" });
    }
    let ranked = queries.iter().filter(|(query, _)| run.rankings.contains_key(*query)).count();
    if ranked == 0 {
        return Err(Error::Nothing { what: "ranking of a query with a relevant document" });
    }
    let mean = |limit: usize| {
        let mut sum = CutoffScore::default();
        for (query, relevant) in &queries {
            // A query without a ranking adds 0.
            let Some(ranking) = run.rankings.get(*query) else { continue };
            let score = score_ranking(ranking, relevant, limit);
            sum.map += score.map;
            sum.mrr += score.mrr;
            sum.recall += score.recall;
            sum.success += score.success;
        }
        let count = queries.len() as f64;
        let CutoffScore { map, mrr, recall, success } = sum;
        CutoffScore {
            map: map / count,
            mrr: mrr / count,
            recall: recall / count,
            success: success / count,
        }
    };
    Ok(RunScore {
        queries: queries.len(),
        without_ranking: queries.len() - ranked,
        unjudged: run.rankings.len() - ranked,
        all: mean(usize::MAX),
        cutoffs: cutoffs.iter().map(|limit| (*limit, mean(*limit))).collect(),
    })
}

/// Scores the first `limit` documents of one ranking.
fn score_ranking(ranking: &[String], relevant: &BTreeSet<String>, limit: usize) -> CutoffScore {
    let mut score = CutoffScore::default();
    let mut found = 0.0;
    for (index, document) in ranking.iter().take(limit).enumerate() {
        if relevant.contains(document) {
            let rank = (index + 1) as f64;
            found += 1.0;
            score.map += found / rank;
            if score.mrr == 0.0 {
                score.mrr = 1.0 / rank;
            }
        }
    }
    let count = relevant.len() as f64;
    score.map /= count;
    score.recall = found / count;
    score.success = f64::from(u8::from(found > 0.0));
    score
}

fn parse<T: FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{expected} expected, got `{text}`"))
}

/// Splits each line into columns at white space, and passes them to `visit`, whose error is the
/// message of an [`Error::Line`]. Blank lines are skipped.
fn for_each_row<const N: usize>(
    path: &Path,
    columns: &str,
    mut visit: impl FnMut([&str; N]) -> Result<(), String>,
) -> Result<()> {
    for (number, line) in numbered_lines(&read_text_with_note(path)?) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        if cells.is_empty() {
            continue;
        }
        let result = match <[&str; N]>::try_from(cells) {
            Ok(cells) => visit(cells),
            Err(cells) => Err(format!("{} columns; expected {N}: {columns}", cells.len())),
        };
        result.map_err(|message| Error::line(path, number, message))?;
    }
    Ok(())
}
