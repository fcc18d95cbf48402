//! Times every loss and its baselines alternately on one device. Intended for GPUs and for machines
//! without cargo; on other machines, use the criterion benches.
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::{Line, Spec, Step, median, print_table, results_folder, specs};
use clap::Parser;
use tch::Device;
use torch_ext::{
    MatmulPrecision, peak_device_memory, reset_peak_device_memory, resolve_device,
    set_float32_matmul_precision,
};

/// Prints a table of all losses and their baselines, with times of the forward and backward passes
/// on equal inputs. Fails if a loss and its baseline have different values.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  losses --device cuda
  losses --device cuda --seconds 300
  losses --device cuda --only info_nce --only masked_lm")]
struct Args {
    /// Device: cpu, cuda or cuda:N; on a GPU, peak tensor memory is also measured
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Run the short list of comparisons
    #[arg(long)]
    quick: bool,
    /// Run only comparisons whose name contains this text; may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// Measured runs of each formulation, after three warm-up runs
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Time limit in seconds; when it is reached, the running comparison ends after its current
    /// round, and the remaining comparisons are skipped and listed
    #[arg(long)]
    seconds: Option<u64>,
    /// Folder for losses_cpu.json or losses_cuda.json [default: bench/ in the target folder]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Number of rounds before the measured rounds. In these rounds, libtorch selects kernels and
/// allocates memory.
const WARM_UP: usize = 3;

fn main() -> ExitCode {
    benches::exit_code(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let device = resolve_device(args.device.parse()?)?;
    tch::set_num_threads(1);
    set_float32_matmul_precision(MatmulPrecision::Highest)?;
    let is_selected = |spec: &Spec| {
        args.only.is_empty() || args.only.iter().any(|part| spec.name().contains(part.as_str()))
    };
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (mut lines, mut skipped) = (Vec::new(), Vec::new());
    for spec in specs(args.quick, device).into_iter().filter(is_selected) {
        if is_past(end) {
            skipped.push(spec.name());
            continue;
        }
        eprintln!("{}", spec.name());
        lines.extend(measure(&spec, device, args.rounds, end).with_context(|| spec.name())?);
    }
    ensure!(
        !lines.is_empty() || !skipped.is_empty(),
        "--only {}: no such comparison",
        args.only.join(" ")
    );
    print_table(&lines);
    if !skipped.is_empty() {
        println!("skipped after the time limit: {}", skipped.join(", "));
    }
    let out = args.out.clone().unwrap_or_else(results_folder);
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let path = out.join(format!("losses_{}.json", args.device.replace(':', "_")));
    atomic_file::write(&path, serde_json::to_vec_pretty(&lines)?)?;
    println!("\n{}", path.display());
    Ok(())
}

fn is_past(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}

/// Measurements of a formulation.
#[derive(Default)]
struct Measurements {
    seconds: Vec<f64>,
    loss: f64,
    mib: Option<f64>,
}

impl Measurements {
    fn run_once(&mut self, step: &Step, device: Device, is_measured: bool) -> Result<()> {
        let memory_before = match device {
            Device::Cuda(_) => Some(reset_peak_device_memory(device)?),
            _ => None,
        };
        let start = Instant::now();
        self.loss = (step.run)().with_context(|| step.name)?;
        if let Device::Cuda(index) = device {
            tch::Cuda::synchronize(i64::try_from(index)?);
        }
        if is_measured {
            self.seconds.push(start.elapsed().as_secs_f64());
        }
        if let Some(memory_before) = memory_before {
            let bytes_above_inputs = peak_device_memory(device)?.saturating_sub(memory_before);
            self.mib = Some(bytes_above_inputs as f64 / f64::from(1 << 20));
        }
        Ok(())
    }
}

/// Compares a loss with its baselines; returns a line for each baseline. No round starts after
/// `end`, except the first measured round.
fn measure(spec: &Spec, device: Device, rounds: usize, end: Option<Instant>) -> Result<Vec<Line>> {
    let case = (spec.build)()?;
    let steps: Vec<&Step> =
        std::iter::once(&case.ours).chain(&case.baselines).chain(&case.unit).collect();
    let mut measured: Vec<Measurements> = steps.iter().map(|_| Measurements::default()).collect();
    for round in 0..WARM_UP + rounds {
        if round > WARM_UP && is_past(end) {
            break;
        }
        for (step, measured) in steps.iter().zip(&mut measured) {
            measured.run_once(step, device, round >= WARM_UP)?;
        }
    }
    let median_seconds = |measured: &Measurements| median(measured.seconds.clone());
    let our_measurements = measured.first().context("no measurements of this project")?;
    let ours = (case.ours.name, median_seconds(our_measurements));
    let unit = case.unit.as_ref().zip(measured.last());
    let unit = unit.map(|(unit, measured)| (unit.name, median_seconds(measured)));
    let mut lines = Vec::new();
    for (baseline, measurements) in case.baselines.iter().zip(measured.iter().skip(1)) {
        case.check_agreement(our_measurements.loss, baseline.name, measurements.loss)?;
        let mut timed = spec.timed(ours, (baseline.name, median_seconds(measurements)), unit);
        timed.goal = timed.goal.filter(|_| device == Device::Cpu);
        lines.push(Line {
            timed,
            ours_mib: our_measurements.mib,
            peer_mib: measurements.mib,
            goal_mib: spec.goal_mib.filter(|_| device == Device::Cpu),
        });
    }
    Ok(lines)
}
