//! Scores cross-lingual extractive QA from the command line; see `mlqa-eval --help`.
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mlqa_eval::program;

mod report;

/// Evaluate cross-lingual extractive question answering (MLQA, XQuAD, SQuAD).
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
  mlqa-eval tables --table 001-1 --model xlm-k
With your own data and predictions:
  mlqa-eval score - predictions.json en < test-context-en-question-de.json
  mlqa-eval compare --table 000-1 --run run/matrix.json
  mlqa-eval report --data MLQA_V1/test before=a after=b --out report.html

A file may be `-` for standard input or output. Inputs may be compressed with gzip.
Exit codes: 0 for success, 2 for an error, which is one line on standard error.";

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Program(Box<program::Command>),
    Report(report::Args),
}

fn main() -> ExitCode {
    cli::protect_inputs();
    match cli::parse() {
        Ok(Args { command: Command::Program(command) }) => cli::end(command.run()),
        Ok(Args { command: Command::Report(_) }) => cli::end(report::run()),
        Err(code) => code,
    }
}
