//! Times the formulations of each loss with criterion, one after another.
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use tch::Device;

use crate::case::{Spec, Step};
use crate::summary::{Timed, results_folder};

/// Returns whether the command line has `--quick`.
pub fn is_quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// Times every comparison, prints the ratios, and writes the times for the program `summary`.
///
/// # Errors
/// If a libtorch operation fails, two formulations have different losses, or the times cannot be
/// written.
pub fn run() -> Result<()> {
    tch::set_num_threads(1);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut times_by_bench: BTreeMap<&str, Vec<Timed>> = BTreeMap::new();
    for spec in crate::specs(is_quick(), Device::Cpu) {
        times_by_bench.entry(spec.bench).or_default().extend(compare(&mut criterion, &spec)?);
    }
    criterion.final_summary();
    // A bench has no times if the filter excludes it, or if criterion runs with `--test`.
    for (bench, timed) in times_by_bench.iter().filter(|(_, timed)| !timed.is_empty()) {
        write_times(&results_folder().join("times").join(format!("{bench}.json")), timed)?;
    }
    Ok(())
}

fn write_times(path: &Path, timed: &[Timed]) -> Result<()> {
    let folder = path.parent().context("no folder")?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(atomic_file::write(path, serde_json::to_vec_pretty(timed)?)?)
}

fn compare(criterion: &mut Criterion, spec: &Spec) -> Result<Vec<Timed>> {
    let name = spec.name();
    let case = (spec.build)().with_context(|| name.clone())?;
    let mut group = criterion.benchmark_group(&name);
    group.sampling_mode(SamplingMode::Flat);
    let ours = measure(&mut group, &case.ours)?;
    let unit = case.unit.as_ref().map(|unit| measure(&mut group, unit)).transpose()?.flatten();
    let mut baselines = Vec::new();
    for baseline in &case.baselines {
        let Some((seconds, value)) = measure(&mut group, baseline)? else { continue };
        if let Some((_, our_loss)) = ours {
            case.check_agreement(our_loss, baseline.name, value).with_context(|| name.clone())?;
        }
        baselines.push((baseline.name, seconds));
    }
    group.finish();
    let Some((ours_seconds, _)) = ours else { return Ok(Vec::new()) };
    let unit = match (&case.unit, unit) {
        (Some(step), Some((seconds, _))) => Some((step.name, seconds)),
        _ => None,
    };
    let ours = (case.ours.name, ours_seconds);
    let timed: Vec<Timed> =
        baselines.into_iter().map(|baseline| spec.timed(ours, baseline, unit)).collect();
    for times in &timed {
        println!(
            "{name}: ours {:.4} s, {} {:.4} s, {} {:.4} s; ratio {:.3}{}",
            times.ours_seconds,
            times.peer,
            times.peer_seconds,
            times.unit,
            times.unit_seconds,
            times.ratio,
            times.goal.map_or_else(String::new, |goal| format!(", goal {goal}")),
        );
    }
    Ok(timed)
}

/// Steps that take longer than this are slow. After the warm-up run, a slow step is run only three
/// times; criterion receives the median for each of the ten samples that it requires.
const SLOW: Duration = Duration::from_secs(3);

/// Returns a step's median seconds and its loss; `None` if criterion's filter excludes the step.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, step: &Step) -> Result<Option<(f64, f64)>> {
    let mut times = Vec::new();
    let mut last_loss = Ok(f64::NAN);
    let mut is_warm = false;
    let mut slow_median: Option<Duration> = None;
    group.bench_function(step.name, |bencher| {
        bencher.iter_custom(|count| {
            let mut run = |count: u64| {
                let start = Instant::now();
                for _ in 0..count {
                    last_loss = black_box((step.run)());
                }
                let elapsed = start.elapsed();
                times.push(elapsed.as_secs_f64() / count as f64);
                elapsed
            };
            // The first run is not measured, because the step `Case::unit` may create its inputs
            // in its first run, and because criterion has no warm-up in short runs.
            if !is_warm {
                is_warm = true;
                run(1);
                let mut trials = [run(1), run(1), run(1)];
                trials.sort();
                slow_median = trials.get(1).copied().filter(|&median| median > SLOW);
            }
            let steps = u32::try_from(count).unwrap_or(u32::MAX);
            slow_median.map_or_else(|| run(count), |median| median * steps)
        });
    });
    if times.is_empty() {
        return Ok(None);
    }
    let mut times = times.split_off(1);
    times.sort_by(f64::total_cmp);
    let Some(&median) = times.get(times.len() / 2) else { return Ok(None) };
    Ok(Some((median, last_loss.with_context(|| step.name)?)))
}
