//! Measures programs from outside: wall time, processor time and peak memory, from `/proc`.
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time and memory used by a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Seconds from start to end.
    pub wall: f64,
    /// Processor time of all threads of the process, user and system, in seconds.
    pub cpu: f64,
    /// Peak resident set size.
    pub peak_mib: f64,
}

/// Runs a program to its end; its output goes to a file.
///
/// # Errors
/// If it cannot be started or fails.
pub fn run(command: &mut Command, output: &Path) -> io::Result<Cost> {
    command.stdin(Stdio::null()).stdout(File::create(output)?);
    let begin = Instant::now();
    let mut child = command.spawn()?;
    let folder = format!("/proc/{}", child.id());
    let mut cost = Cost::default();
    loop {
        // The peak is not available after the process has ended; its times are available until it
        // is waited for.
        if let Ok(status) = fs::read_to_string(format!("{folder}/status")) {
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
            cost.peak_mib = kib.map_or(cost.peak_mib, |kib| kib / 1024.0);
        }
        let stat = fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        if let [state, .., user, system] = fields.get(..13).unwrap_or_default() {
            let ticks = |text: &str| text.parse::<f64>().unwrap_or_default() / 100.0;
            cost.cpu = ticks(user) + ticks(system);
            if *state == "Z" {
                cost.wall = begin.elapsed().as_secs_f64();
                break;
            }
        }
        // Short runs are polled more often, so that the relative error of all times is a few
        // percent. The minimum interval prevents the polling from occupying a core.
        let pause = begin.elapsed() / 20;
        std::thread::sleep(pause.clamp(Duration::from_micros(200), Duration::from_millis(2)));
    }
    match child.wait()?.success() {
        true => Ok(cost),
        false => Err(io::Error::other(format!("{command:?} failed"))),
    }
}

/// Returns the median over runs, separately for each field.
pub fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Cost { wall: middle(|c| c.wall), cpu: middle(|c| c.cpu), peak_mib: middle(|c| c.peak_mib) }
}

/// Returns whether a program is installed.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
