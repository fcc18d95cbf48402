//! Parsing of arguments.
use std::ffi::OsString;
use std::process::ExitCode;

use clap_complete::Shell;

use crate::TextOutput;
use crate::help::fit_to_terminal;
use crate::messages::end;
use crate::notes::collect_notes;

/// Name of the subcommand that prints shell completions.
const COMPLETIONS: &str = "completions";
/// Id of its argument.
const SHELL: &str = "completed shell";

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
/// `--help` and `--version` print their text and end the process. In help texts, examples are broken
/// between options, so that they can be copied from a terminal of any width. A program with
/// subcommands gets the subcommand `completions`, which prints shell completions.
///
/// # Errors
/// The exit code 2 for invalid arguments; 0 after `completions`.
pub fn parse<A: clap::Parser>() -> Result<A, ExitCode> {
    let matches = parse_command(A::command(), std::env::args_os())?;
    A::from_arg_matches(&matches).map_err(|error| report_clap_error(&error))
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
    let mut command = fit_to_terminal(add_completions(command));
    let matches = command.try_get_matches_from_mut(arguments);
    let matches = matches.map_err(|error| report_clap_error(&error))?;
    let Some((COMPLETIONS, shell)) = matches.subcommand() else { return Ok(matches) };
    // The program's own command of this name has other arguments.
    let Ok(Some(&shell)) = shell.try_get_one::<Shell>(SHELL) else { return Ok(matches) };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    match TextOutput::Stdout.print(&String::from_utf8_lossy(&script)) {
        Ok(()) => Err(ExitCode::SUCCESS),
        Err(error) => Err(end(Err(format!("cannot write to standard output: {error}")))),
    }
}

/// Adds the subcommand `completions` to a program that has subcommands.
fn add_completions(command: clap::Command) -> clap::Command {
    if !command.has_subcommands() || command.find_subcommand(COMPLETIONS).is_some() {
        return command;
    }
    let shell = clap::Arg::new(SHELL).value_name("SHELL").required(true).help("Shell");
    let shell = shell.value_parser(clap::value_parser!(Shell));
    command.subcommand(clap::Command::new(COMPLETIONS).about("Print shell completions").arg(shell))
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
