//! Times formulations of the same loss one after the other and prints their ratio.
use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};

/// Criterion with settings that end within minutes, on one thread of libtorch.
pub fn quick() -> Criterion {
    tch::set_num_threads(1);
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

/// Times `cases`, ours first, and prints each peer's ratio: the median time of ours over the peer's.
///
/// Panics if a peer's loss differs from ours by more than `tolerance`: times of different sums mean nothing.
pub fn compare(
    criterion: &mut Criterion,
    loss: &str,
    size: &str,
    tolerance: f64,
    cases: &[(&str, &dyn Fn() -> f64)],
) {
    let mut group = criterion.benchmark_group(format!("{loss}/{size}"));
    group.sampling_mode(SamplingMode::Flat);
    let mut medians: Vec<(&str, f64, f64)> = Vec::new();
    for &(name, step) in cases {
        let times = RefCell::new(Vec::new());
        let value = RefCell::new(f64::NAN);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let start = Instant::now();
                for _ in 0..count {
                    *value.borrow_mut() = black_box(step());
                }
                let elapsed = start.elapsed();
                times.borrow_mut().push(elapsed.as_secs_f64() / count as f64);
                elapsed
            });
        });
        if let Some(median) = median(times.into_inner()) {
            medians.push((name, median, value.into_inner()));
        }
    }
    group.finish();
    let Some((&(ours, own_time, own_value), peers)) = medians.split_first() else { return };
    for &(peer, time, value) in peers {
        assert!(
            (own_value - value).abs() <= tolerance,
            "{loss}/{size}: {ours} gives {own_value} and {peer} {value}"
        );
        println!(
            "ratio {loss}/{size}: {ours} / {peer} = {:.3} ({:.3} ms / {:.3} ms)",
            own_time / time,
            own_time * 1e3,
            time * 1e3
        );
    }
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}
