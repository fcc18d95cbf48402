//! Writes an HTML report about runs; see `qa-report --help`. `mlqa-eval report` starts this
//! program.
use std::process::ExitCode;

use clap::Parser;
use qa_report::program;

#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(flatten)]
    program: program::Args,
}

fn main() -> ExitCode {
    cli::protect_inputs();
    match cli::parse::<CommandLine>() {
        Ok(args) => cli::end(program::run(&args.program)),
        Err(code) => code,
    }
}
