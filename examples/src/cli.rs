//! How a recipe program speaks and ends.
use std::io::Write;
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

/// Prints a line. A reader that has gone (`| head`) is no error.
///
/// # Errors
/// If standard output cannot be written for another reason.
pub fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
