//! Scores cross-lingual transfer from the command line; see `transfer-eval --help`.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli::{TextOutput, print_stderr};

mod lama;
mod map;
mod names;
mod ner;
mod oie;
mod relations;
mod retrieval;
mod table;
mod xnli;

/// Scores cross-lingual transfer: named entities, XNLI, relations, open information extraction, LAMA,
/// entity retrieval, word translation and names.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  transfer-eval ner data/uner/de_pud.test.iob2.gz \\
    data/uner/de_pud.test.iob2.gz
  transfer-eval xnli crates/testkit/fixtures/transfer/xnli.tsv \\
    crates/testkit/fixtures/transfer/labels.txt
  transfer-eval relations crates/testkit/fixtures/transfer/relations.json \\
    crates/testkit/fixtures/transfer/relations.txt
  transfer-eval oie crates/testkit/fixtures/transfer/oie/gold.tsv \\
    crates/testkit/fixtures/transfer/oie/predicted.tsv
  transfer-eval lama clozes --data crates/testkit/fixtures/transfer/lama \\
    --corpus t-rex --tokenizer data/base/tokenizer.json --out clozes.jsonl
  transfer-eval lama score clozes.jsonl \\
    crates/testkit/fixtures/transfer/best.jsonl
  transfer-eval retrieval list --size 5 --out xep.json \\
    --descriptions crates/testkit/fixtures/transfer/descriptions.jsonl \\
    --queries crates/testkit/fixtures/transfer/queries.jsonl
  transfer-eval retrieval score xep.json \\
    crates/testkit/fixtures/transfer/vectors.safetensors
  transfer-eval names table data/wikikge-10
  transfer-eval table 001-2 --run crates/testkit/fixtures/transfer/run.jsonl

Inputs may be compressed with gzip.
Exit codes: 0 for success, 2 for an error, which is one line on standard error.";

#[derive(Subcommand)]
enum Command {
    Ner(ner::Args),
    Xnli(xnli::Args),
    Relations(relations::Args),
    Oie(oie::Args),
    #[command(subcommand)]
    Lama(lama::Command),
    #[command(subcommand)]
    Retrieval(retrieval::Command),
    Map(map::Args),
    #[command(subcommand)]
    Names(names::Command),
    Table(table::Args),
}

/// The result of a command.
type CommandResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    cli::protect_inputs();
    let command = match cli::parse() {
        Ok(Args { command }) => command,
        Err(code) => return code,
    };
    let result = match command {
        Command::Ner(args) => ner::run(&args),
        Command::Xnli(args) => xnli::run(&args),
        Command::Relations(args) => relations::run(&args),
        Command::Oie(args) => oie::run(&args),
        Command::Lama(command) => lama::run(&command),
        Command::Retrieval(command) => retrieval::run(&command),
        Command::Map(args) => map::run(&args),
        Command::Names(command) => names::run(&command),
        Command::Table(args) => table::run(&args),
    };
    cli::end(result)
}

/// Prints to standard output. A closed pipe (`| head`) is not an error.
fn print(text: &str) -> CommandResult {
    print_to(TextOutput::Stdout, text)
}

fn print_to(output: TextOutput, text: &str) -> CommandResult {
    output.print(text).map_err(|error| format!("cannot write to standard output: {error}").into())
}

/// Prints pretty JSON to standard output.
fn print_json(value: &impl serde::Serialize) -> CommandResult {
    print_json_next_to(&None, value)
}

/// Prints pretty JSON to standard output, or to standard error if the output file is standard
/// output.
fn print_json_next_to(output: &Option<PathBuf>, value: &impl serde::Serialize) -> CommandResult {
    let text = serde_json::to_string_pretty(value);
    print_to(
        TextOutput::next_to(output),
        &(text.map_err(|error| format!("cannot write JSON: {error}"))? + "\n"),
    )
}
