//! `qa-translate`: translate question-answering data with its answers, mix its languages.
mod mix;
mod translate;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use qa_translate::TranslateError;

/// Translated, re-aligned and mixed question-answering data.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  qa-translate translate --in train-v1.1.json --to de,es --server http://localhost:5000 --split train --out translated
  qa-translate translate --in train-v1.1.json --to de --file translations.jsonl --missing skip --out translated
  qa-translate translate --in xquad.en.json --parallel de=xquad.de.json,es=xquad.es.json --out translated
  qa-translate mix --in train-v1.1.json --translated translated --split train --out mixed

Exit code: 0, or 2 with one line on standard error. No output file is ever half-written.";

#[derive(Subcommand)]
enum Command {
    Translate(translate::Args),
    Mix(mix::Args),
}

/// The result of a command.
type Done = Result<(), TranslateError>;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Translate(args) => translate::run(&args),
        Command::Mix(args) => mix::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints a line; a reader that has gone (`| head`) is no error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A bar that shows a message; hidden where stderr is no terminal.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}");
    let bar = ProgressBar::new(0);
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}
