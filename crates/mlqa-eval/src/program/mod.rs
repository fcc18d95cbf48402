//! The commands of the program `mlqa-eval`, shared with `polyqa`.
#![allow(rustdoc::invalid_html_tags)] // help for a terminal

use std::path::PathBuf;

use clap::Subcommand;
use cli::{TextOutput, print_stderr};

use crate::Error;

mod check;
#[cfg(feature = "windows")]
mod coverage;
#[cfg(feature = "windows")]
mod decode;
mod matrix;
mod runs;
mod score;
mod tables;
#[cfg(feature = "windows")]
mod tensors;
#[cfg(feature = "windows")]
mod windows;

pub use score::{Norm, ResamplingArgs};

/// The commands of the program.
#[derive(Subcommand)]
#[allow(missing_docs)] // documented by the help of each command
pub enum Command {
    Score(score::Args),
    Check(check::Args),
    Matrix(matrix::Args),
    #[cfg(feature = "windows")]
    Windows(windows::Args),
    #[cfg(feature = "windows")]
    Decode(decode::Args),
    #[cfg(feature = "windows")]
    Coverage(coverage::Args),
    Tables(tables::Args),
    Compare(tables::CompareArgs),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`], whose message is one line.
    pub fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Score(args) => score::run(args),
            Self::Check(args) => check::run(args),
            Self::Matrix(args) => matrix::run(args),
            #[cfg(feature = "windows")]
            Self::Windows(args) => windows::run(args),
            #[cfg(feature = "windows")]
            Self::Decode(args) => decode::run(args),
            #[cfg(feature = "windows")]
            Self::Coverage(args) => coverage::run(args),
            Self::Tables(args) => tables::run(args),
            Self::Compare(args) => tables::run_compare(args),
        }
    }
}

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An invalid file or value.
    #[error(transparent)]
    Eval(#[from] Error),
    /// Invalid arguments or a failed output.
    #[error("{0}")]
    Usage(String),
}

/// Prints to standard output; a closed pipe (`| head`) is not an error.
fn print(text: &str) -> Result<(), Failure> {
    print_to(TextOutput::Stdout, text)
}

/// Prints like [`print`] to standard output, or to standard error if one of the output files
/// `outputs` is standard output.
fn print_next_to<'a>(
    outputs: impl IntoIterator<Item = &'a PathBuf>,
    text: &str,
) -> Result<(), Failure> {
    print_to(TextOutput::next_to(outputs), text)
}

fn print_to(output: TextOutput, text: &str) -> Result<(), Failure> {
    output
        .print(&atomic_file::printable_lines(text))
        .map_err(|error| Failure::Usage(format!("cannot write to standard output: {error}")))
}

/// Formats indented JSON for standard output.
fn format_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Failure::Usage(format!("cannot write JSON: {error}"))),
    }
}
