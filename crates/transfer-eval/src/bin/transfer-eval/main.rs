//! Scores cross-lingual transfer from the command line; see `transfer-eval --help`.
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use transfer_eval::Error;

mod lama;
mod ner;
mod retrieval;
mod table;
mod xnli;

/// Scores cross-lingual transfer: named entities, XNLI, LAMA, entity retrieval.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  transfer-eval ner de_pud.test.iob2.gz predictions.iob2
  transfer-eval xnli xnli.test.tsv predictions.txt
  transfer-eval lama clozes --data data --corpus t-rex --tokenizer xlmr/tokenizer.json \\
    --vocabulary common_vocab_cased.txt --out clozes.jsonl
  transfer-eval lama score clozes.jsonl best.jsonl --relations data/relations.jsonl
  transfer-eval retrieval list --descriptions descriptions.jsonl --queries queries.jsonl --out xep.json
  transfer-eval retrieval score xep.json vectors.safetensors
  transfer-eval table 001-2 --run run.jsonl

Exit code: 0, or 2 with one line on standard error.";

#[derive(Subcommand)]
enum Command {
    Ner(ner::Args),
    Xnli(xnli::Args),
    #[command(subcommand)]
    Lama(lama::Command),
    #[command(subcommand)]
    Retrieval(retrieval::Command),
    Table(table::Args),
}

/// What stops a command.
enum Stop {
    Eval(Error),
    Usage(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Eval(error)
    }
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Ner(args) => ner::run(&args),
        Command::Xnli(args) => xnli::run(&args),
        Command::Lama(command) => lama::run(&command),
        Command::Retrieval(command) => retrieval::run(&command),
        Command::Table(args) => table::run(&args),
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

/// Prints pretty JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Stop> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => Err(Stop::Usage(format!("cannot write JSON: {error}"))),
    }
}

/// One line on standard error.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
