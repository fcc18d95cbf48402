//! Helpers of the bench programs: error output, medians, and values of `/proc`.
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// Converts the result of a program to its exit code. An error is printed as one line, and its exit
/// code is 1.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the median: the larger middle value for an even number of values, NaN for an empty list.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns two times of this process in seconds, with a resolution of 0.01: the sum of user and
/// system time, and the system time.
///
/// # Errors
/// If there is no `/proc`.
pub fn cpu_seconds() -> Result<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // The second field is a name in parentheses, which may contain spaces. The other fields follow
    // the last parenthesis.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (Some(Ok(user)), Some(Ok(system))) = (ticks.next(), ticks.next()) else {
        bail!("/proc/self/stat: no times");
    };
    Ok(((user + system) / 100.0, system / 100.0))
}

/// Returns the value of a line of `/proc/self/status`, such as `VmHWM:`, in MiB.
///
/// # Errors
/// If there is no such line.
pub fn resident_mib(key: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("/proc/self/status: peak memory requires Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.with_context(|| format!("/proc/self/status: no line {key}"))?.parse::<f64>()? / 1024.0)
}
