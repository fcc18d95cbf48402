//! Scores cross-lingual extractive QA from the command line; see `mlqa-eval --help`.
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mlqa_eval::Error;
use whole_file::cli::{self, say};

mod boundary;
mod check;
#[cfg(feature = "windows")]
mod coverage;
#[cfg(feature = "windows")]
mod decode;
mod matrix;
mod report;
mod runs;
mod score;
mod tables;
#[cfg(feature = "windows")]
mod tensors;
mod types;
#[cfg(feature = "windows")]
mod windows;

/// Scores cross-lingual extractive question answering: MLQA, XQuAD, SQuAD v1.1.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  mlqa-eval score crates/testkit/fixtures/scorer/zh/dataset.json \\
    crates/testkit/fixtures/scorer/zh/predictions.json zh
  mlqa-eval matrix --data crates/testkit/fixtures/matrix/data \\
    --predictions crates/testkit/fixtures/matrix/predictions --out run
  mlqa-eval check data/xquad/xquad.*.json
  mlqa-eval tables --table 001-1 --model xlm-k --format csv
With data and predictions of your own:
  mlqa-eval score - predictions.json en < test-context-en-question-de.json
  mlqa-eval types mtqa-test.en.jsonl predictions.json en
  mlqa-eval boundary test-context-de-question-de.json de predictions.json
  mlqa-eval compare --table 000-1 --run run/matrix.json
  mlqa-eval report --data MLQA_V1/test before=a after=b --out report.html

A file may be - for standard input or output, and inputs may be packed by gzip.
Exit code: 0, or 2 with one line on standard error.";

#[derive(Subcommand)]
enum Command {
    Score(score::Args),
    Types(types::Args),
    Check(check::Args),
    Matrix(matrix::Args),
    Report(report::Args),
    Boundary(boundary::Args),
    #[cfg(feature = "windows")]
    Windows(windows::Args),
    #[cfg(feature = "windows")]
    Decode(decode::Args),
    #[cfg(feature = "windows")]
    Coverage(coverage::Args),
    Tables(tables::Args),
    Compare(tables::CompareArgs),
}

/// What stops a command.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Eval(#[from] Error),
    #[error("{0}")]
    Usage(String),
}

fn main() -> ExitCode {
    whole_file::protect_inputs();
    let command = match cli::parse() {
        Ok(Args { command }) => command,
        Err(code) => return code,
    };
    let done = match command {
        Command::Score(args) => score::run(&args),
        Command::Types(args) => types::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Report(_) => report::run(),
        Command::Boundary(args) => boundary::run(&args),
        #[cfg(feature = "windows")]
        Command::Windows(args) => windows::run(&args),
        #[cfg(feature = "windows")]
        Command::Decode(args) => decode::run(&args),
        #[cfg(feature = "windows")]
        Command::Coverage(args) => coverage::run(&args),
        Command::Tables(args) => tables::run(&args),
        Command::Compare(args) => tables::run_compare(&args),
    };
    cli::end(done)
}

/// Prints to standard output, or to standard error if a file goes to standard output; a closed
/// reader (`| head`) is no error.
fn print(text: &str) -> Result<(), Stop> {
    cli::print(&whole_file::lines(text))
        .map_err(|error| Stop::Usage(format!("cannot write to standard output: {error}")))
}

/// Pretty JSON for standard output.
fn json(value: &impl serde::Serialize) -> Result<String, Stop> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Stop::Usage(format!("cannot write JSON: {error}"))),
    }
}
