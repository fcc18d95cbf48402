//! `summary.json`, which lists every comparison with its times, ratio and memory.
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Times of this project's formulation and one baseline.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Timed {
    /// `bench/size`.
    pub name: String,
    /// This project's formulation.
    pub ours: String,
    /// Median seconds per run of this project's formulation.
    pub ours_seconds: f64,
    /// The baseline formulation.
    pub peer: String,
    /// Median seconds per run of the baseline formulation.
    pub peer_seconds: f64,
    /// The step whose time is the ratio's denominator.
    pub unit: String,
    /// Median seconds per run of the step `unit`.
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
    /// Peak memory of this project's formulation in MiB, not counting its inputs; `None` if not
    /// measured.
    pub ours_mib: Option<f64>,
    /// Peak memory of the baseline in MiB, not counting its inputs; `None` if not measured.
    pub peer_mib: Option<f64>,
    /// The maximum peak memory that meets the goal, in MiB.
    pub goal_mib: Option<f64>,
}

/// Returns the folder of the benches' results: `bench/` in the target folder in which this program
/// was built.
pub fn results_folder() -> PathBuf {
    let mut path = std::env::current_exe().expect("the path of the running bench");
    while path.pop() {
        if path.file_name().is_some_and(|name| name == "release" || name == "debug") {
            path.pop();
            break;
        }
    }
    path.join("bench")
}

/// Prints the table; returns whether every goal is met.
pub fn print_table(lines: &[Line]) -> bool {
    println!("| case | peer | ours | peer | unit | ratio | goal | MiB ours | MiB peer | goal |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut goals_met = true;
    let format_number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    for Line { timed, ours_mib, peer_mib, goal_mib } in lines {
        println!(
            "| `{}` | {} | {} | {} | {}, {} | {:.3} | {} | {} | {} | {} |",
            timed.name,
            timed.peer,
            format_time(timed.ours_seconds),
            format_time(timed.peer_seconds),
            timed.unit,
            format_time(timed.unit_seconds),
            timed.ratio,
            format_number(timed.goal, 2),
            format_number(*ours_mib, 0),
            format_number(*peer_mib, 0),
            format_number(*goal_mib, 0),
        );
        if timed.goal.is_some_and(|goal| timed.ratio > goal) {
            println!("\nmissed: {} takes {:.3} of its unit\n", timed.name, timed.ratio);
            goals_met = false;
        }
        if let (Some(mib), Some(goal)) = (ours_mib, goal_mib)
            && mib > goal
        {
            println!("\nmissed: {} takes {mib:.0} MiB\n", timed.name);
            goals_met = false;
        }
    }
    goals_met
}

/// Formats a time in seconds, or in milliseconds if it is below 0.1 seconds.
fn format_time(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.3} ms", seconds * 1e3) } else { format!("{seconds:.3} s") }
}
