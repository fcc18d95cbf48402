//! How a recipe program ends: one clear line and a code.
use std::process::ExitCode;

/// 0, or 2 after printing `error: …` with its causes on one line.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
