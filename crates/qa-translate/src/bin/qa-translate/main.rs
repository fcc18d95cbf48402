//! The program `qa-translate`: translates question-answering data and sentences with entities, and
//! mixes languages.
mod mix;
mod ner;
mod place;
mod provider;
mod translate;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli::TextOutput;
use qa_translate::{Error, SpanLoss};

/// Translate question-answering data, re-align answers and mix languages
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  qa-translate translate --in data/xquad/xquad.en.json --split xquad \\
    --parallel de=data/xquad/xquad.de.json,es=data/xquad/xquad.es.json \\
    --out translated
  qa-translate translate --in crates/testkit/fixtures/translate/en.json \\
    --to fr --file crates/testkit/fixtures/translate/fr.jsonl --out french
  qa-translate mix --in data/xquad/xquad.en.json --translated translated \\
    --split xquad --out mixed
With a LibreTranslate-compatible server:
  qa-translate translate --in train-v1.1.json --to de,es \\
    --server http://localhost:5000 --split train --out translated
  qa-translate translate --in train-v1.1.json --to de --missing skip \\
    --file translations.jsonl --out translated

Exit code: 0, or 2 with one line on standard error. Output files are replaced
atomically.";

#[derive(Subcommand)]
enum Command {
    Translate(Box<translate::Args>),
    Ner(Box<ner::Args>),
    Place(Box<place::Args>),
    Mix(mix::Args),
}

/// The result of a command.
type CommandResult = Result<(), Error>;

fn main() -> ExitCode {
    cli::protect_inputs();
    let command = match cli::parse() {
        Ok(Cli { command }) => command,
        Err(code) => return code,
    };
    let result = match command {
        Command::Translate(args) => translate::run(&args),
        Command::Ner(args) => return cli::end(ner::run(&args)),
        Command::Place(args) => place::run(&args),
        Command::Mix(args) => mix::run(&args),
    };
    cli::end(result)
}

/// Parses a value from its serialised name.
fn parse_name<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Formats the counts of dropped items by reason, to append to a line.
fn format_dropped(item: &str, counts: &BTreeMap<SpanLoss, usize>) -> String {
    counts.iter().map(|(loss, count)| format!("; {item} {loss}: {count}")).collect()
}

/// Prints a line on standard output, and ignores errors.
fn print_line(line: &str) {
    let _ = TextOutput::Stdout.print(&format!("{line}\n"));
}
