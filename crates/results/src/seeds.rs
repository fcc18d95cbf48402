//! Several seeds as the one row, or the two, that a paper prints.
use std::collections::BTreeMap;

use crate::{Measured, Spread, over_seeds};

/// The key of the mean over languages or files, beside the codes of languages.
pub const AVERAGE: &str = "average";

/// Numbers by metric (`f1`, `accuracy`) and language, in percent.
type Numbers<T> = BTreeMap<String, BTreeMap<String, T>>;

/// Means and spreads over several seeds, and the best seed.
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
    /// The papers' "(avg)" row. [`AVERAGE`] is the mean over languages of each seed, averaged over
    /// seeds; its spread is the one that XLM-K prints.
    pub scores: Numbers<Spread>,
    /// The seed with the best [`AVERAGE`]; the first of equals.
    pub best_seed: u64,
    /// The papers' "(max)" row: the numbers of this one seed.
    pub best: Numbers<f64>,
    /// The numbers of every seed, in their order; [`AVERAGE`] included.
    pub seeds: Vec<Numbers<f64>>,
}

impl SeedSummary {
    /// Summarises what each seed scored; `select_by` is the metric that makes a seed the best.
    /// `None` without a seed.
    pub fn of(
        seeds: impl IntoIterator<Item = (u64, Numbers<f64>)>,
        select_by: &str,
    ) -> Option<Self> {
        let mut seeds: Vec<(u64, Numbers<f64>)> = seeds.into_iter().collect();
        for scores in seeds.iter_mut().flat_map(|(_, metrics)| metrics.values_mut()) {
            let average = Spread::of(scores.values().copied()).mean;
            scores.insert(AVERAGE.to_owned(), average);
        }
        let average = |metrics: &Numbers<f64>| metrics.get(select_by)?.get(AVERAGE).copied();
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

    /// The rows of a result table: `model (avg)` with the spread of its averages and, if there are
    /// several seeds, `model (max)`. A single seed is plain `model`. The average is called `avg`,
    /// as in the papers.
    pub fn measured(&self, model: &str, setting: &str) -> Vec<Measured> {
        if self.seeds.len() < 2 {
            return rows(model, setting, &self.seeds);
        }
        let mut numbers = rows(&format!("{model} (avg)"), setting, &self.seeds);
        numbers.extend(rows(&format!("{model} (max)"), setting, std::slice::from_ref(&self.best)));
        numbers
    }
}

/// Languages by their codes, then the average.
fn rows(model: &str, setting: &str, seeds: &[Numbers<f64>]) -> Vec<Measured> {
    let mut numbers = Vec::new();
    for (metric, of) in seeds.first().into_iter().flatten() {
        let number = |code: &str, name: &str| {
            let of_seed = |seed: &Numbers<f64>| seed.get(metric)?.get(code).copied();
            Measured::of_seeds(model, setting, name, metric, seeds.iter().filter_map(of_seed))
        };
        let languages = of.keys().filter(|code| *code != AVERAGE);
        numbers.extend(languages.map(|code| number(code, code)));
        numbers.extend(of.contains_key(AVERAGE).then(|| number(AVERAGE, "avg")));
    }
    numbers
}
