//! Measurement of wall time, processor time and peak memory of programs, read from `/proc`.
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time and memory used by a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceUse {
    /// Wall time from start to end, in seconds.
    pub wall: f64,
    /// User and system time of all threads of the process, in seconds.
    pub cpu: f64,
    /// Peak resident set size, in MiB.
    pub peak_mib: f64,
}

/// Runs a program to its end and writes its standard output to the file `output`.
///
/// # Errors
/// If the program cannot be started or fails.
pub fn run_measured(command: &mut Command, output: &Path) -> io::Result<ResourceUse> {
    command.stdin(Stdio::null()).stdout(File::create(output)?);
    let start = Instant::now();
    let mut child = command.spawn()?;
    let folder = format!("/proc/{}", child.id());
    let mut resources = ResourceUse::default();
    loop {
        // After the end of the process, its peak memory is not available; its times are available
        // until `wait` is called.
        if let Ok(status) = fs::read_to_string(format!("{folder}/status")) {
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
            resources.peak_mib = kib.map_or(resources.peak_mib, |kib| kib / 1024.0);
        }
        let stat = fs::read_to_string(format!("{folder}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').expect("the name of the program in parentheses");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let seconds = |field: usize| fields[field].parse::<f64>().expect("clock ticks") / 100.0;
        resources.cpu = seconds(11) + seconds(12);
        if fields[0] == "Z" {
            resources.wall = start.elapsed().as_secs_f64();
            break;
        }
        // Short runs are polled more often, so that the relative error of all times is a few
        // percent. The minimum interval prevents the polling from occupying a core.
        let interval = start.elapsed() / 20;
        std::thread::sleep(interval.clamp(Duration::from_micros(200), Duration::from_millis(2)));
    }
    match child.wait()?.success() {
        true => Ok(resources),
        false => Err(io::Error::other(format!("{command:?} failed"))),
    }
}

/// Returns the median of each field over the runs.
pub fn median(runs: &[ResourceUse]) -> ResourceUse {
    let field_median = |field: fn(&ResourceUse) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(field).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    ResourceUse {
        wall: field_median(|run| run.wall),
        cpu: field_median(|run| run.cpu),
        peak_mib: field_median(|run| run.peak_mib),
    }
}
