//! The program `polyqa`; see `polyqa --help`.
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use mlqa_eval::program;

mod answer;
mod doctor;
mod index;
mod model;
#[cfg(feature = "serve")]
mod serve;
mod show;
mod text;
mod train;

/// Cross-lingual extractive question answering: answers questions over documents, trains and scores
/// readers.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  polyqa answer --question 'Where is Lima?' peru.txt
  polyqa index --documents docs.jsonl --out library
  polyqa train --model xlm-roberta-base --train train.json --dev dev.json --out runs/mine
  polyqa serve
  polyqa score dev.json runs/mine/predictions.json de
  polyqa report runs/mine --out report.html
  polyqa text manual.pdf
  polyqa doctor --model runs/mine/model
  polyqa completions bash > ~/.local/share/bash-completion/completions/polyqa

Exit code: 0, or 2 with one line on standard error.";

#[derive(Subcommand)]
enum Command {
    Answer(Box<answer::Args>),
    Index(Box<index::Args>),
    Train(Box<train::Args>),
    #[cfg(feature = "serve")]
    Serve(Box<serve::Args>),
    #[command(flatten)]
    Evaluate(Box<program::Command>),
    Text(text::Args),
    Report(Box<qa_report::program::Args>),
    Doctor(doctor::Args),
    /// Print shell completions
    #[command(after_help = "Example:\n  polyqa completions zsh > ~/.zfunc/_polyqa")]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

/// Commands of `mlqa-eval` that are rarely used, so the help does not list them.
const HIDDEN_COMMANDS: [&str; 4] = ["windows", "decode", "coverage", "tables"];

/// Builds the command line. Some commands are shared with the programs `mlqa-eval` and `qa-report`;
/// in their help texts, the program's name is replaced by `polyqa`.
fn command() -> clap::Command {
    Args::command().mut_subcommands(|command| {
        let is_hidden = HIDDEN_COMMANDS.contains(&command.get_name());
        let help = command.get_after_help().map(|help| {
            let help = help.to_string().replace("mlqa-eval ", "polyqa ");
            help.replace("  qa-report ", "  polyqa report ")
        });
        let command = command.hide(is_hidden);
        match help {
            Some(help) => command.after_help(help),
            None => command,
        }
    })
}

/// Runs the program and returns its exit code: 0 for success, 2 for an error, or 128 plus the
/// number of the signal that stopped the program. The first argument is the program's name.
/// `--help` and `--version` end the process. `package` is a folder that may contain the default
/// reader, see [`default_model`](crate::default_model).
pub fn main(arguments: impl IntoIterator<Item = OsString>, package: Option<&Path>) -> ExitCode {
    torch_ext::configure_process();
    let parsed_args = cli::parse_command(command(), arguments)
        .and_then(|matches| Args::from_arg_matches(&matches).map_err(|_| ExitCode::from(2)));
    let mut command = match parsed_args {
        Ok(Args { command }) => command,
        Err(code) => return code,
    };
    let package = package.map(Path::to_owned);
    match &mut command {
        Command::Answer(args) => args.reader.package = package,
        #[cfg(feature = "serve")]
        Command::Serve(args) => args.reader.package = package,
        Command::Doctor(args) => args.package = package,
        _ => (),
    }
    // Overwriting an input is an error, except in `train`, which reads and rewrites files of its
    // run folder.
    if !matches!(command, Command::Train(_)) {
        cli::protect_inputs();
    }
    let result = match command {
        Command::Answer(args) => answer::run(&args),
        Command::Index(args) => index::run(&args),
        Command::Train(args) => train::run(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args),
        Command::Evaluate(command) => return cli::end(command.run()),
        Command::Report(args) => qa_report::program::run(&args).map_err(|error| anyhow!(error)),
        Command::Text(args) => text::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut self::command(), "polyqa", &mut std::io::stdout());
            Ok(())
        }
    };
    cli::print_notes();
    experiment::exit(result)
}
