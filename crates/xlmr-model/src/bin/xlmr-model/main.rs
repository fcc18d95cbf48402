//! Creates, runs and inspects models in Hugging Face folders.
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod export;
mod info;
mod init;
mod quantize;
mod run;
mod trim;

/// Create, run and inspect models in Hugging Face folders
#[derive(Parser)]
#[command(name = "xlmr-model", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a model on token ids: safetensors in, safetensors out
    Run(run::Args),
    /// Describe a model folder: configuration, parameters, missing and unexpected tensors
    Info(info::Args),
    /// Write a randomly initialised model
    Init(init::Args),
    /// Write a model whose vocabulary is reduced to the tokens of given texts
    Trim(trim::Args),
    /// Write a model whose matrices are stored in 8 or 4 bits, for inference
    Quantize(quantize::Args),
    /// Write a model for transformers and other programs, also from a quantised one
    Export(export::Args),
}

const EXAMPLES: &str = "\
Examples:
  xlmr-model info --model models/xlm-roberta-base
  xlmr-model init --config data/base/config.json --tokenizer data/base/tokenizer.json \\
      --heads mlm,qa --out runs/new
  xlmr-model run --model models/qa --inputs ids.safetensors --out logits.safetensors
  xlmr-model run --model models/qa --inputs ids.safetensors --out logits.safetensors \\
      --device cuda:0 --batch-size 64";

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(Cli { command }) => command,
        Err(code) => return code,
    };
    torch_ext::configure_process();
    let outcome = match command {
        Command::Run(args) => run::run(&args),
        Command::Info(args) => info::info(&args),
        Command::Init(args) => init::init(&args),
        Command::Trim(args) => trim::trim(&args),
        Command::Quantize(args) => quantize::quantize(&args),
        Command::Export(args) => export::export(&args),
    };
    cli::end(outcome)
}
