//! Bootstrap sampling.
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Returns the sorted means of `n_samples` bootstrap samples of `values`. Each sample draws
/// `values.len()` values with replacement (Efron and Tibshirani 1993). A sample depends only on
/// `seed` and the sample's index, so results do not depend on the number of threads. Without
/// values, the result is empty.
///
/// ```
/// use results::{bootstrap_means, percentile_interval};
///
/// // Exact match of ten questions, in percent.
/// let values = [100.0, 0.0, 100.0, 100.0, 0.0, 100.0, 0.0, 100.0, 100.0, 100.0];
/// assert_eq!(percentile_interval(&bootstrap_means(&values, 10_000, 42), 0.95), (40.0, 100.0));
/// ```
pub fn bootstrap_means(values: &[f64], n_samples: usize, seed: u64) -> Vec<f64> {
    let weighted: Vec<(f64, f64)> = values.iter().map(|&value| (value, 1.0)).collect();
    bootstrap_weighted_means(&weighted, n_samples, seed)
}

/// Returns the sorted weighted means of `n_samples` bootstrap samples of pairs of a value and its
/// weight. A sample draws pairs as [`bootstrap_means`] draws values, and its mean is `Σ w v / Σ w`
/// over the drawn pairs.
///
/// Weights are positive. If the values are means of clusters of observations, such as articles with
/// their questions, the weights are the clusters' shares of the overall mean.
///
/// ```
/// use results::{bootstrap_weighted_means, percentile_interval};
///
/// // Article means: 74 questions with 50 % exact match, 8 questions with 100 %.
/// let articles = [(50.0, 74.0), (100.0, 8.0)];
/// let means = bootstrap_weighted_means(&articles, 1000, 42);
/// let overall = 50.0 * 74.0 / 82.0 + 100.0 * 8.0 / 82.0;
/// // A sample has the first article twice, both, or the second twice.
/// assert!(means.iter().all(|mean| [50.0, overall, 100.0].iter().any(|m| (m - mean).abs() < 1e-9)));
/// assert_eq!(percentile_interval(&means, 0.95), (50.0, 100.0));
/// ```
pub fn bootstrap_weighted_means(pairs: &[(f64, f64)], n_samples: usize, seed: u64) -> Vec<f64> {
    let n_pairs = pairs.len();
    let mean = |sample: usize| {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(sample as u64);
        let (mut sum, mut weight_sum) = (0.0, 0.0);
        for _ in 0..n_pairs {
            let (value, weight) = pairs[generator.random_range(0..n_pairs)];
            sum += value * weight;
            weight_sum += weight;
        }
        sum / weight_sum
    };
    let n_samples = if pairs.is_empty() { 0 } else { n_samples };
    let mut means: Vec<f64> = (0..n_samples).into_par_iter().map(mean).collect();
    means.sort_by(f64::total_cmp);
    means
}

/// Returns the ends of the central interval that contains the fraction `level` of the sorted
/// values; both are 0 without values.
pub fn percentile_interval(sorted: &[f64], level: f64) -> (f64, f64) {
    if sorted.is_empty() {
        return (0.0, 0.0);
    }
    let tail = (1.0 - level) / 2.0;
    let percentile = |fraction: f64| {
        // Nearest-rank percentile: the smallest value `v` such that at least `fraction` of all
        // values are at most `v`.
        let rank = (fraction * sorted.len() as f64).ceil().max(1.0) as usize;
        sorted[rank.min(sorted.len()) - 1]
    };
    (percentile(tail), percentile(1.0 - tail))
}
