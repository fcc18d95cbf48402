//! Several runs as the one row, or the two, that a paper prints.
use std::collections::BTreeMap;

use results::{Measured, Spread, over_seeds};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One number for each language, in percent.
pub type Scores = BTreeMap<String, f64>;

/// What is wrong with scores that should have the languages of the first ones.
pub(crate) fn same_keys(first: &Scores, scores: &Scores) -> Result<(), String> {
    if let Some((language, value)) = scores.iter().find(|(_, value)| !value.is_finite()) {
        return Err(format!("the score of `{language}` is {value}"));
    }
    if first.keys().ne(scores.keys()) {
        let list = |scores: &Scores| scores.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(format!("languages {}, but the first has {}", list(scores), list(first)));
    }
    Ok(())
}

/// The plain mean over languages, the papers' "Avg"; `None` without any.
pub fn mean(scores: &Scores) -> Option<f64> {
    (!scores.is_empty()).then(|| scores.values().sum::<f64>() / scores.len() as f64)
}

/// The test scores of one run, by metric and language, in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRun {
    /// The run's seed.
    pub seed: u64,
    /// `f1`, `em`, `accuracy` …, each with its languages.
    pub metrics: BTreeMap<String, Scores>,
}

/// Means and spreads over several runs, and the best run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedSummary {
    /// By metric and language: the papers' "(avg)" row.
    pub languages: BTreeMap<String, BTreeMap<String, Spread>>,
    /// By metric: the mean over languages of each run, averaged over runs. Its spread is the one
    /// that XLM-K prints.
    pub average: BTreeMap<String, Spread>,
    /// The single run with the best mean over languages: the papers' "(max)" row, all of whose
    /// numbers are of this one run. The first of equals.
    pub best: SeedRun,
    /// Runs.
    pub runs: usize,
}

/// Summarises runs; `select_by` is the metric whose mean over languages makes a run the best.
///
/// ```
/// use std::collections::BTreeMap;
/// use transfer_eval::{Scores, SeedRun, summarize_seeds};
///
/// let run = |seed, en, de| {
///     let scores = Scores::from([("en".to_owned(), en), ("de".to_owned(), de)]);
///     SeedRun { seed, metrics: BTreeMap::from([("f1".to_owned(), scores)]) }
/// };
/// let summary = summarize_seeds(&[run(0, 80.0, 60.0), run(1, 82.0, 64.0)], "f1")?;
/// assert_eq!(summary.languages["f1"]["de"].to_string(), "62.0 ± 2.8");
/// assert_eq!((summary.average["f1"].mean, summary.best.seed), (71.5, 1));
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Nothing`] without a run or a language; [`Error::Mismatch`] naming the run if its seed
/// occurs twice, its metrics or languages are not those of the first, it lacks `select_by`, or a
/// score is not finite.
pub fn summarize_seeds(runs: &[SeedRun], select_by: &str) -> Result<SeedSummary> {
    let first = runs.first().ok_or(Error::Nothing { what: "run" })?;
    let mut best: Option<(f64, &SeedRun)> = None;
    for (k, run) in runs.iter().enumerate() {
        check(runs, k, run, first)?;
        let scores =
            run.metrics.get(select_by).ok_or_else(|| wrong(k, run, format!("no `{select_by}`")))?;
        let mean = mean(scores).ok_or(Error::Nothing { what: "language" })?;
        if best.is_none_or(|(before, _)| mean > before) {
            best = Some((mean, run));
        }
    }
    // `check` made sure that every run has the metrics and languages of the first.
    let languages = over_seeds(runs.iter().map(|run| &run.metrics));
    let averages = runs.iter().map(|run| {
        let means = run.metrics.iter().map(|(name, scores)| Some((name.clone(), mean(scores)?)));
        means.flatten().collect()
    });
    let average = over_seeds(&averages.collect::<Vec<BTreeMap<String, f64>>>());
    let (_, best) = best.ok_or(Error::Nothing { what: "run" })?;
    Ok(SeedSummary { languages, average, best: best.clone(), runs: runs.len() })
}

fn wrong(k: usize, run: &SeedRun, message: String) -> Error {
    let message = format!("seed {}: {message}", run.seed);
    Error::Mismatch { what: "run", index: k + 1, line: None, message }
}

fn check(runs: &[SeedRun], k: usize, run: &SeedRun, first: &SeedRun) -> Result<()> {
    if runs.iter().take(k).any(|before| before.seed == run.seed) {
        return Err(wrong(k, run, "occurs twice".into()));
    }
    if run.metrics.keys().ne(first.metrics.keys()) {
        let list = |run: &SeedRun| run.metrics.keys().cloned().collect::<Vec<_>>().join(", ");
        let message = format!("metrics {}, but the first has {}", list(run), list(first));
        return Err(wrong(k, run, message));
    }
    for (scores, expected) in run.metrics.values().zip(first.metrics.values()) {
        same_keys(expected, scores).map_err(|message| wrong(k, run, message))?;
    }
    Ok(())
}

impl SeedSummary {
    /// The rows of a result table: `model (avg)` with the spread of its averages and, if there are
    /// several runs, `model (max)`. A single run is plain `model`.
    pub fn measured(&self, model: &str, setting: &str) -> Vec<Measured> {
        let several = self.runs > 1;
        let name = if several { format!("{model} (avg)") } else { model.to_owned() };
        let mut rows = Vec::new();
        for (metric, languages) in &self.languages {
            let average = self.average.get(metric).map(|one| ("avg", one));
            let spreads = languages.iter().map(|(code, one)| (code.as_str(), one)).chain(average);
            rows.extend(
                spreads.map(|(code, one)| Measured::new(&name, setting, code, metric, *one)),
            );
        }
        let name = format!("{model} (max)");
        for (metric, scores) in self.best.metrics.iter().filter(|_| several) {
            let average = mean(scores).map(|one| ("avg", one));
            let values = scores.iter().map(|(code, &one)| (code.as_str(), one)).chain(average);
            rows.extend(values.map(|(code, one)| Measured::new(&name, setting, code, metric, one)));
        }
        rows
    }
}
