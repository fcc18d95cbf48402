//! Resampling compared with exhaustive enumeration of all samples.
use mlqa_eval::{Resampling, bootstrap, holm, paired_test};

/// Returns the means of all n^n samples with replacement, sorted.
fn all_means(values: &[f64]) -> Vec<f64> {
    let count = values.len();
    let mut means: Vec<f64> = (0..count.pow(count as u32))
        .map(|mut code| {
            let mut sum = 0.0;
            for _ in 0..count {
                sum += values[code % count];
                code /= count;
            }
            sum / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    means
}

/// Returns the share of all 2^n swaps whose sum is at least as far from zero as the sum without
/// swaps.
fn share_of_extreme_swaps(differences: &[f64]) -> f64 {
    let count = differences.len();
    let observed: f64 = differences.iter().sum();
    let extreme = (0..1u32 << count).filter(|swaps| {
        let indexed = differences.iter().enumerate();
        let sum: f64 = indexed.map(|(k, d)| if swaps >> k & 1 == 1 { -d } else { *d }).sum();
        sum.abs() >= observed.abs() - 1e-9
    });
    extreme.count() as f64 / f64::from(1u32 << count)
}

const RESAMPLING: Resampling = Resampling { samples: 8_000, level: 0.9, seed: 7 };

#[test]
fn intervals_agree_with_all_samples() {
    for values in [vec![0.0, 1.0, 1.0, 0.0, 1.0], vec![0.1, 0.25, 0.9, 0.4], vec![3.0]] {
        let interval = bootstrap(&values, &RESAMPLING).unwrap();
        let all = all_means(&values);
        let share_up_to = |end: f64| {
            let below = all.iter().filter(|&&mean| mean <= end + 1e-9).count();
            below as f64 / all.len() as f64
        };
        let share_below = |end: f64| share_up_to(end - 2e-9);
        // 5 % of the means are at or below the lower end, 95 % at or below the upper end.
        for (end, tail) in [(interval.low, 0.05), (interval.high, 0.95)] {
            assert!(
                share_up_to(end) >= tail - 0.02 && share_below(end) <= tail + 0.02,
                "{values:?}: {end}"
            );
        }
    }
}

#[test]
fn p_values_agree_with_all_swaps_and_samples() {
    for differences in [
        vec![1.0, 1.0, 1.0, 1.0, -1.0, 0.0, 1.0],
        vec![0.2, -0.4, 0.1, 0.7, 0.3],
        vec![0.5, -0.5],
        vec![0.0, 0.0, 0.0],
    ] {
        let pairs: Vec<(f64, f64)> = differences.iter().map(|d| (0.25, 0.25 + d)).collect();
        let test = paired_test(&pairs, &RESAMPLING).unwrap();
        let exact = share_of_extreme_swaps(&differences);
        assert!((test.p_randomisation - exact).abs() < 0.02, "{differences:?}: {test:?} {exact}");
        let mean = differences.iter().sum::<f64>() / differences.len() as f64;
        let all = all_means(&differences);
        let extreme_count = all
            .iter()
            .filter(|&&sample_mean| (sample_mean - mean).abs() >= mean.abs() - 1e-9)
            .count();
        let exact = extreme_count as f64 / all.len() as f64;
        assert!((test.p_bootstrap - exact).abs() < 0.02, "{differences:?}: {test:?} {exact}");
        assert!((test.difference.mean - mean).abs() < 1e-12);
        // Swapping the runs changes only the sign of the difference.
        let swapped: Vec<(f64, f64)> = pairs.iter().map(|&(a, b)| (b, a)).collect();
        let swapped_test = paired_test(&swapped, &RESAMPLING).unwrap();
        assert_eq!(swapped_test.p_randomisation, test.p_randomisation);
        assert_eq!(swapped_test.difference.mean, -test.difference.mean);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let pairs: Vec<(f64, f64)> =
        (0..300).map(|k| (f64::from(k % 7), f64::from(k * k % 11))).collect();
    let config = Resampling { samples: 500, ..Resampling::default() };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| paired_test(&pairs, &config).unwrap())
    };
    assert_eq!(run(1), run(3));
    let other = Resampling { seed: 1, ..config };
    assert_ne!(run(1), paired_test(&pairs, &other).unwrap());
}

#[test]
fn holm_equals_hand_computed_values() {
    // The hand-computed values are 0.01·4, 0.02·3, max(0.06, 0.03·2) and max(0.06, 0.9·1).
    assert_eq!(holm(&[0.02, 0.9, 0.01, 0.03]), [0.06, 0.9, 0.04, 0.06]);
    assert_eq!(holm(&[0.5, 0.6]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}

#[test]
fn invalid_resampling_is_an_error() {
    let default = Resampling::default();
    for (values, config, key) in [
        (&[][..], default, "values"),
        (&[1.0][..], Resampling { samples: 0, ..default }, "samples"),
        (&[1.0][..], Resampling { level: 1.0, ..default }, "level"),
        (&[1.0][..], Resampling { level: f64::NAN, ..default }, "level"),
    ] {
        let error = bootstrap(values, &config).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key} = ")), "{error}");
    }
}
