//! `summary.json`: every comparison with its times, its ratio and its memory.
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Times of our formulation and one baseline.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Timed {
    /// `bench/size`.
    pub name: String,
    /// Our formulation.
    pub ours: String,
    /// Median seconds of a step.
    pub ours_seconds: f64,
    /// The baseline formulation.
    pub peer: String,
    /// Median seconds of a step.
    pub peer_seconds: f64,
    /// The work whose time is the ratio's denominator.
    pub unit: String,
    /// Median seconds of the unit.
    pub unit_seconds: f64,
    /// `ours_seconds / unit_seconds`.
    pub ratio: f64,
    /// The maximum ratio that meets the goal.
    pub goal: Option<f64>,
}

/// A line of `summary.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Line {
    /// The times.
    #[serde(flatten)]
    pub timed: Timed,
    /// Peak memory of our step above its inputs, in MiB, if it was measured.
    pub ours_mib: Option<f64>,
    /// Peak memory of the baseline above its inputs, in MiB.
    pub peer_mib: Option<f64>,
    /// The maximum peak memory that meets the goal, in MiB.
    pub goal_mib: Option<f64>,
}

/// Returns the folder of the benches' results: `bench/` in the target folder in which this program
/// was built.
pub fn folder() -> PathBuf {
    let mut path = std::env::current_exe().unwrap_or_default();
    while path.pop() {
        if path.file_name().is_some_and(|name| name == "release" || name == "debug") {
            path.pop();
            break;
        }
    }
    path.join("bench")
}

/// Prints the table; returns whether every goal is met.
pub fn print(lines: &[Line]) -> bool {
    println!("| case | peer | ours | peer | unit | ratio | goal | MiB ours | MiB peer | goal |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut met = true;
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    for Line { timed, ours_mib, peer_mib, goal_mib } in lines {
        println!(
            "| `{}` | {} | {} | {} | {}, {} | {:.3} | {} | {} | {} | {} |",
            timed.name,
            timed.peer,
            time(timed.ours_seconds),
            time(timed.peer_seconds),
            timed.unit,
            time(timed.unit_seconds),
            timed.ratio,
            number(timed.goal, 2),
            number(*ours_mib, 0),
            number(*peer_mib, 0),
            number(*goal_mib, 0),
        );
        if timed.goal.is_some_and(|goal| timed.ratio > goal) {
            println!("\nmissed: {} takes {:.3} of its unit\n", timed.name, timed.ratio);
            met = false;
        }
        if let (Some(mib), Some(goal)) = (ours_mib, goal_mib)
            && mib > goal
        {
            println!("\nmissed: {} takes {mib:.0} MiB\n", timed.name);
            met = false;
        }
    }
    met
}

/// Formats a time in seconds, or in milliseconds if it is short.
fn time(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.3} ms", seconds * 1e3) } else { format!("{seconds:.3} s") }
}
