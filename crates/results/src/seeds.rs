//! Summaries over several seeds, as in the "(avg)" and "(max)" rows of the papers' tables.
use std::collections::BTreeMap;

use crate::{MeanInterval, Measured, over_seeds};

/// The key of the mean in maps from language codes to values. The mean is over languages, or over
/// the data files of an evaluation set.
pub const AVERAGE: &str = "average";

/// Values in percent by metric (`f1`, `accuracy`) and language.
type Metrics<T> = BTreeMap<String, BTreeMap<String, T>>;

/// Means and intervals over several seeds, and the best seed.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use results::SeedSummary;
///
/// let scores = |en, de| {
///     let languages = BTreeMap::from([("en".to_owned(), en), ("de".to_owned(), de)]);
///     BTreeMap::from([("f1".to_owned(), languages)])
/// };
/// let seeds = [(0, scores(80.0, 60.0)), (1, scores(82.0, 64.0))];
/// let summary = SeedSummary::of(seeds, "f1").unwrap();
/// assert_eq!(summary.scores["f1"]["de"].to_string(), "62.0 ± 25.4");
/// assert_eq!(summary.scores["f1"]["average"].mean, 71.5);
/// assert_eq!((summary.best_seed, summary.best["f1"]["average"]), (1, 73.0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SeedSummary {
    /// The papers' "(avg)" row. The entry for [`AVERAGE`] is the mean and interval of the seeds'
    /// means over languages, as in XLM-K's tables.
    pub scores: Metrics<MeanInterval>,
    /// The seed with the highest average of the selected metric; the first of equally good seeds.
    pub best_seed: u64,
    /// The papers' "(max)" row: the numbers of the best seed.
    pub best: Metrics<f64>,
    /// The numbers of each seed, including [`AVERAGE`], in the order of the seeds.
    pub seeds: Vec<Metrics<f64>>,
}

impl SeedSummary {
    /// Summarises the scores of the seeds. The metric `select_by` determines the best seed. Returns
    /// `None` if `seeds` is empty.
    pub fn of(
        seeds: impl IntoIterator<Item = (u64, Metrics<f64>)>,
        select_by: &str,
    ) -> Option<Self> {
        let mut seeds: Vec<(u64, Metrics<f64>)> = seeds.into_iter().collect();
        for scores in seeds.iter_mut().flat_map(|(_, metrics)| metrics.values_mut()) {
            let average = MeanInterval::of(scores.values().copied()).mean;
            scores.insert(AVERAGE.to_owned(), average);
        }
        let average = |metrics: &Metrics<f64>| metrics.get(select_by)?.get(AVERAGE).copied();
        let mut best = seeds.first()?;
        for seed in &seeds {
            if average(&seed.1) > average(&best.1) {
                best = seed;
            }
        }
        Some(Self {
            scores: over_seeds(seeds.iter().map(|(_, metrics)| metrics)),
            best_seed: best.0,
            best: best.1.clone(),
            seeds: seeds.into_iter().map(|(_, metrics)| metrics).collect(),
        })
    }

    /// Returns the numbers of two rows of a result table: `model (avg)`, with intervals, and `model
    /// (max)`. If there is only one seed, returns the numbers of the single row `model`. The
    /// average has the language code `avg`, as in the papers.
    pub fn measured(&self, model: &str, setting: &str) -> Vec<Measured> {
        if self.seeds.len() < 2 {
            return summarize_metrics(model, setting, &self.seeds);
        }
        let mut numbers = summarize_metrics(&format!("{model} (avg)"), setting, &self.seeds);
        let best = std::slice::from_ref(&self.best);
        numbers.extend(summarize_metrics(&format!("{model} (max)"), setting, best));
        numbers
    }
}

/// Computes the numbers of each metric over `seeds`. Within a metric, the numbers are sorted by
/// language code, with the average last. As in [`over_seeds`], numbers that a seed lacks are
/// excluded.
fn summarize_metrics(model: &str, setting: &str, seeds: &[Metrics<f64>]) -> Vec<Measured> {
    let mut numbers = Vec::new();
    for (metric, by_language) in seeds.first().into_iter().flatten() {
        let number = |code: &str, name: &str| {
            let seed_value = |seed: &Metrics<f64>| seed.get(metric)?.get(code).copied();
            let values = seeds.iter().map(seed_value).collect::<Option<Vec<f64>>>()?;
            Some(Measured::of_seeds(model, setting, name, metric, values))
        };
        let languages = by_language.keys().filter(|code| *code != AVERAGE);
        numbers.extend(languages.filter_map(|code| number(code, code)));
        numbers.extend(number(AVERAGE, "avg"));
    }
    numbers
}
