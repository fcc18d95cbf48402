//! Confidence intervals and significance tests by resampling of questions.
//!
//! Each sample has a separate random generator. Its seed is computed from [`Resampling::seed`] and
//! the sample's index, so results do not depend on the number of threads.
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::Error;

/// Options of the bootstrap and the randomisation test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// Number of samples of the bootstrap and of the randomisation test; at least 1.
    pub samples: usize,
    /// Confidence level, between 0 and 1.
    pub level: f64,
    /// Random seed.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self { samples: 10_000, level: 0.95, seed: 42 }
    }
}

/// Maximum of [`Resampling::samples`]. It limits the memory for the means of the samples.
const MAX_SAMPLES: usize = 10_000_000;

impl Resampling {
    fn check(&self) -> Result<(), Error> {
        let Self { samples, level, .. } = *self;
        match samples {
            0 => Err(Error::config("samples", 0, "at least 1")),
            1..=MAX_SAMPLES if level > 0.0 && level < 1.0 => Ok(()),
            1..=MAX_SAMPLES => Err(Error::config("level", level, "between 0 and 1, such as 0.95")),
            _ => Err(Error::config("samples", samples, "at most 10000000")),
        }
    }

    /// Creates the random generator of one sample of the randomisation test.
    fn create_generator(&self, sample: usize) -> ChaCha8Rng {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(1 << 32));
        generator.set_stream(sample as u64);
        generator
    }

    /// Returns the sorted means of all bootstrap samples of `values`, and the ends of the central
    /// interval that contains the fraction `level` of these means.
    fn means_and_interval(&self, values: &[f64]) -> (Vec<f64>, (f64, f64)) {
        let means = results::bootstrap_means(values, self.samples, self.seed);
        let interval = results::percentile_interval(&means, self.level);
        (means, interval)
    }
}

/// A mean over questions and its bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Computes the mean of one value per question and its percentile bootstrap interval (Efron and
/// Tibshirani 1993).
///
/// Questions are drawn with replacement and are assumed to be independent. Questions of one
/// paragraph are not fully independent, so the interval is slightly too narrow.
///
/// ```
/// use mlqa_eval::{Resampling, bootstrap};
///
/// // Exact match of ten questions, in percent.
/// let values = [100.0, 0.0, 100.0, 100.0, 0.0, 100.0, 0.0, 100.0, 100.0, 100.0];
/// let interval = bootstrap(&values, &Resampling::default())?;
/// assert_eq!((interval.mean, interval.low, interval.high), (70.0, 40.0, 100.0));
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if a field of `config` is out of range, or `values` is empty.
pub fn bootstrap(values: &[f64], config: &Resampling) -> Result<Interval, Error> {
    config.check()?;
    check_not_empty(values.len())?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let (_, (low, high)) = config.means_and_interval(values);
    Ok(Interval { mean, low, high })
}

/// Difference of two runs on the same questions, with p-values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedTest {
    /// Mean difference, second run minus first, with its bootstrap interval.
    pub difference: Interval,
    /// Two-sided p-value of approximate randomisation (Noreen 1989; Yeh 2000). Each sample swaps
    /// the two runs' values of randomly chosen questions. The p-value is the share of samples whose
    /// absolute difference is at least the observed absolute difference.
    pub p_randomisation: f64,
    /// Two-sided p-value of the bootstrap: the share of samples with |d* − d| ≥ |d|, where d is the
    /// observed mean difference and d* is the sample's mean difference.
    pub p_bootstrap: f64,
}

/// Compares two runs by one value per question. Each pair has the first run's value and the second
/// run's value for one question.
///
/// Both p-values count the observed difference as one of the samples, so the smallest p-value is 1
/// / (samples + 1). For several comparisons, correct the p-values with [`holm`].
///
/// ```
/// use mlqa_eval::{Resampling, paired_test};
///
/// let better = [(0.0, 1.0); 12];
/// let test = paired_test(&better, &Resampling::default())?;
/// assert_eq!(test.difference.mean, 1.0);
/// assert!(test.p_randomisation < 0.01);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// The errors of [`bootstrap`].
pub fn paired_test(pairs: &[(f64, f64)], config: &Resampling) -> Result<PairedTest, Error> {
    let differences: Vec<f64> = pairs.iter().map(|(first, second)| second - first).collect();
    config.check()?;
    check_not_empty(differences.len())?;
    let count = differences.len() as f64;
    let sum: f64 = differences.iter().sum();
    let mean = sum / count;
    let (means, (low, high)) = config.means_and_interval(&differences);
    // Rounding depends on the order of the terms, so two sums of equal exact value can differ in
    // the last digits. The tolerance makes such sums equal.
    let absolute_sum: f64 = differences.iter().map(|difference| difference.abs()).sum();
    let tolerance = 1e-12 * absolute_sum;
    let is_extreme = |value: f64| value.abs() * count >= sum.abs() - tolerance;
    let extreme_means = means.iter().filter(|&&m| is_extreme(m - mean)).count();

    let nonzero: Vec<f64> =
        differences.into_iter().filter(|&difference| difference != 0.0).collect();
    let is_extreme_swap = |sample: &usize| {
        let mut generator = config.create_generator(*sample);
        let mut total = 0.0;
        for block in nonzero.chunks(64) {
            let swap_bits = generator.next_u64();
            for (at, difference) in block.iter().enumerate() {
                total += if swap_bits >> at & 1 == 1 { -difference } else { *difference };
            }
        }
        total.abs() >= sum.abs() - tolerance
    };
    let extreme_swaps = (0..config.samples).into_par_iter().filter(is_extreme_swap).count();
    let p = |extreme: usize| (extreme + 1) as f64 / (config.samples + 1) as f64;
    Ok(PairedTest {
        difference: Interval { mean, low, high },
        p_randomisation: p(extreme_swaps),
        p_bootstrap: p(extreme_means),
    })
}

fn check_not_empty(count: usize) -> Result<(), Error> {
    match count {
        0 => Err(Error::config("values", "[]", "at least one value, one per question")),
        _ => Ok(()),
    }
}

/// Corrects the p-values of several comparisons by Holm's method (1979). The results have the order
/// of `p_values`.
///
/// ```
/// let adjusted = mlqa_eval::holm(&[0.01, 0.04, 0.03]);
/// assert_eq!(adjusted, [0.03, 0.06, 0.06]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = p_values.iter().copied().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, (index, p)) in order.into_iter().enumerate() {
        largest = largest.max(p * (p_values.len() - rank) as f64).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}
