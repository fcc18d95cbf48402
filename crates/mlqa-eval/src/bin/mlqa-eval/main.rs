//! Scores cross-lingual extractive QA from the command line; see `mlqa-eval --help`.
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mlqa_eval::EvalError;

mod boundary;
mod check;
mod coverage;
mod matrix;
mod score;
mod tables;
mod types;

/// Scores cross-lingual extractive question answering: MLQA, XQuAD, SQuAD v1.1.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  mlqa-eval score test-context-en-question-de.json predictions.json en
  mlqa-eval matrix --data MLQA_V1/test --predictions run/predictions --out run
  mlqa-eval types mtqa-test.en.jsonl predictions.json en
  mlqa-eval check dev-context-vi-question-vi.json
  mlqa-eval compare --table 000-1 --run run/matrix.json
  mlqa-eval tables --table 001-1 --model xlm-k --format csv
  mlqa-eval coverage --tokenizer xlmr/tokenizer.json --questions dev-context-de-question-de.json \\
    --text triples.de.txt

Exit code: 0, or 2 with one line on standard error.";

#[derive(Subcommand)]
enum Command {
    Score(score::Args),
    Types(types::Args),
    Check(check::Args),
    Matrix(matrix::Args),
    Boundary(boundary::Args),
    Coverage(coverage::Args),
    Tables(tables::Args),
    Compare(tables::CompareArgs),
}

/// What stops a command.
enum Stop {
    Eval(EvalError),
    Usage(String),
}

impl From<EvalError> for Stop {
    fn from(error: EvalError) -> Self {
        Self::Eval(error)
    }
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Score(args) => score::run(&args),
        Command::Types(args) => types::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Boundary(args) => boundary::run(&args),
        Command::Coverage(args) => coverage::run(&args),
        Command::Tables(args) => tables::run(&args),
        Command::Compare(args) => tables::run_compare(&args),
    };
    let message = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Stop::Eval(error)) => error.to_string(),
        Err(Stop::Usage(message)) => message,
    };
    say(&format!("error: {message}"));
    ExitCode::from(2)
}

/// Prints to standard output; a reader that has gone (`| head`) is no error.
fn print(text: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Stop::Usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// One line on standard error.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Pretty JSON for standard output.
fn json(value: &impl serde::Serialize) -> Result<String, Stop> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Stop::Usage(format!("cannot write JSON: {error}"))),
    }
}
