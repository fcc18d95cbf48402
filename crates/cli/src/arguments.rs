//! Parsing of arguments.
use std::ffi::OsString;
use std::process::ExitCode;

use crate::messages::end;
use crate::notes::collect_notes;

/// Returns the arguments of this process without the program's name, for the manifest of a prepared
/// folder.
///
/// # Panics
/// If an argument is not UTF-8.
pub fn arguments() -> Vec<String> {
    std::env::args().skip(1).collect()
}

/// Parses the program's arguments, and starts to collect notes for [`end`]. Prints one `error:`
/// line if the arguments are invalid.
///
/// `--help` and `--version` print their text and end the process.
///
/// # Errors
/// The exit code 2 for invalid arguments.
pub fn parse<A: clap::Parser>() -> Result<A, ExitCode> {
    collect_notes();
    A::try_parse().map_err(|error| report_clap_error(&error))
}

/// Parses `arguments` with `command`, such as a command that was derived by `clap` and then
/// modified; otherwise like [`parse`].
///
/// # Errors
/// The errors of [`parse`].
pub fn parse_command(
    command: clap::Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<clap::ArgMatches, ExitCode> {
    collect_notes();
    command.try_get_matches_from(arguments).map_err(|error| report_clap_error(&error))
}

/// Prints the help or the version and ends the process, or prints an `error:` line and returns the
/// exit code.
fn report_clap_error(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    end(Err(format_usage_error(&error.to_string())))
}

/// Returns a message of `clap` as one line, without the prefix `error: ` and the usage, and with a
/// hint to `--help`.
fn format_usage_error(message: &str) -> String {
    let Some(message) = message.strip_prefix("error: ") else {
        return "no command is given; try '--help'".into();
    };
    let (message, _) = message.split_once("\n\nFor more information").unwrap_or((message, ""));
    let (message, _) = message.split_once("\n\nUsage: ").unwrap_or((message, ""));
    let join_lines = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let message: Vec<String> = message.split("\n\n").map(join_lines).collect();
    format!("{}; try '--help'", message.join("; "))
}

#[cfg(test)]
mod tests {
    use super::format_usage_error;

    #[test]
    fn a_usage_error_is_one_line() {
        let message = "error: the following required arguments were not provided:\n  --out <DIR>\n\n\
                       Usage: program --out <DIR>\n\nFor more information, try '--help'.\n";
        let line = "the following required arguments were not provided: --out <DIR>; try '--help'";
        assert_eq!(format_usage_error(message), line);
        let message = "error: unexpected argument '--ou'\n\n  tip: use '--out'\n\nUsage: program\n";
        let line = "unexpected argument '--ou'; tip: use '--out'; try '--help'";
        assert_eq!(format_usage_error(message), line);
        // Without a subcommand, the message of `clap` is the help.
        let message = "What it does\n\nUsage: program <COMMAND>\n\nCommands:\n";
        assert_eq!(format_usage_error(message), "no command is given; try '--help'");
    }
}
