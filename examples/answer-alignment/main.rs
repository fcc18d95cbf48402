//! Projects answer spans into finished translations with an encoder, and compares methods of
//! projection on XQuAD's English answers.
mod cases;
mod compare;
mod encoder;
mod methods;
mod place;
mod placements;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use qa_translate::Symmetrization;

/// Project answer spans into finished translations
///
/// Without a command, the program compares the methods on parallel data with known answers. The
/// command `place` writes questions with the answers that a method finds.
#[derive(Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  answer-alignment --out runs/answer-alignment
  answer-alignment --model xlm-roberta-base --layers 6,8 --methods alignment --out runs/layers
  answer-alignment place --in train-v1.1.json --to de --file plain/cache.de.jsonl \\
    --model xlm-roberta-base --layer 8 --out placed"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: compare::Args,
}

#[derive(Subcommand)]
enum Command {
    Place(place::Args),
}

fn main() -> ExitCode {
    let args: Arguments = match cli::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    torch_ext::configure_process();
    let result = match &args.command {
        Some(Command::Place(args)) => place::run(args),
        None => compare::run(&args.compare),
    };
    cli::print_notes();
    experiment::exit(result)
}

/// Parses the name of a symmetrization.
fn parse_symmetrization(name: &str) -> Result<Symmetrization, String> {
    match name {
        "intersection" => Ok(Symmetrization::Intersection),
        "grow_diag" => Ok(Symmetrization::GrowDiag),
        _ => Err("expected intersection or grow_diag".into()),
    }
}
