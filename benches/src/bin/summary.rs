//! Measures the peak memory of every comparison that sets `memory`, and merges it with the times
//! that the benches measured. The memory of each formulation is measured in a separate process.
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use benches::{Case, Line, Spec, Timed, print_table, resident_mib, results_folder, specs};
use clap::Parser;
use tch::Device;

/// Writes `bench/summary.json` in the target folder: times of the last bench run, ratios, goals and
/// peak memory.
#[derive(Parser)]
#[command(
    name = "summary",
    after_help = "\
Examples:
  summary --quick                                        after `cargo bench -p benches -- --quick`
  summary --case masked_lm/V=250002,4x256 --step chunked  one formulation, in this process"
)]
struct Args {
    /// Run the short list of comparisons
    #[arg(long)]
    quick: bool,
    /// Internal: print the memory of this comparison, measured in this process
    #[arg(long, requires = "step")]
    case: Option<String>,
    /// Internal: name of the formulation in the comparison --case
    #[arg(long, requires = "case")]
    step: Option<String>,
    /// Exit with an error if a goal is missed
    #[arg(long)]
    strict: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match (&args.case, &args.step) {
        (Some(case), Some(step)) => measure_in_this_process(case, step).map(|mib| {
            println!("{mib:.1}");
            true
        }),
        _ => summarise(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Writes and prints the summary. Returns false if `--strict` is set and a goal is missed.
fn summarise(args: &Args) -> Result<bool> {
    let mut lines = Vec::new();
    for spec in specs(args.quick, Device::Cpu) {
        let name = spec.name();
        let timed: Vec<Timed> =
            read_times(&spec)?.into_iter().filter(|times| times.name == name).collect();
        for timed in timed {
            let (mut ours_mib, mut peer_mib) = (None, None);
            if spec.memory {
                ours_mib = Some(measure_in_new_process(&name, &timed.ours)?);
                peer_mib = Some(measure_in_new_process(&name, &timed.peer)?);
            }
            lines.push(Line { timed, ours_mib, peer_mib, goal_mib: spec.goal_mib });
        }
    }
    ensure!(!lines.is_empty(), "{}: no times; run the benches first", results_folder().display());
    let path = results_folder().join("summary.json");
    atomic_file::write(&path, serde_json::to_vec_pretty(&lines)?)?;
    let goals_met = print_table(&lines);
    println!("\n{}", path.display());
    Ok(goals_met || !args.strict)
}

fn read_times(spec: &Spec) -> Result<Vec<Timed>> {
    let path = results_folder().join("times").join(format!("{}.json", spec.bench));
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Measures the peak memory of a formulation in a new process.
fn measure_in_new_process(case: &str, step: &str) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--case", case, "--step", step])
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("starting a process for {case}, {step}"))?;
    ensure!(output.status.success(), "{case}, {step}: its process ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

fn measure_in_this_process(name: &str, step: &str) -> Result<f64> {
    tch::set_num_threads(1);
    let all_specs = [false, true].into_iter().flat_map(|quick| specs(quick, Device::Cpu));
    let Some(spec) = all_specs.into_iter().find(|spec| spec.name() == name) else {
        bail!("no comparison {name}");
    };
    let Case { ours, baselines, .. } = (spec.build)()?;
    let Some(step) = std::iter::once(ours).chain(baselines).find(|other| other.name == step) else {
        bail!("{name} has no formulation {step}");
    };
    // Lowers the process's peak memory in the kernel's statistics to its current memory.
    std::fs::write("/proc/self/clear_refs", "5")
        .context("/proc/self/clear_refs: peak memory requires Linux")?;
    let before = resident_mib("VmRSS:")?;
    (step.run)()?;
    Ok(resident_mib("VmHWM:")? - before)
}
