//! The program `polyqa`; see `polyqa --help`.
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use whole_file::cli;

mod answer;
mod doctor;
mod model;
mod show;
mod train;

/// Answers questions over your documents with any extractive reader, in any language; trains and
/// scores readers.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  polyqa answer --model runs/mine/model --question 'Where is Lima?' peru.txt
  polyqa train --model xlm-roberta-base --train train.json --dev dev.json --out runs/mine
  polyqa doctor --model runs/mine/model
  polyqa completions bash > ~/.local/share/bash-completion/completions/polyqa

Exit code: 0, or 2 with one line on standard error.";

#[derive(Subcommand)]
enum Command {
    Answer(Box<answer::Args>),
    Train(Box<train::Args>),
    Doctor(doctor::Args),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    whole_file::protect_inputs();
    torch_ext::passive_omp_wait();
    let command = match cli::parse() {
        Ok(Args { command }) => command,
        Err(code) => return code,
    };
    let done = match command {
        Command::Answer(args) => answer::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "polyqa", &mut cli::output());
            Ok(())
        }
    };
    experiment::exit(done)
}
