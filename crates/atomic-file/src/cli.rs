//! Shared code of command-line programs: arguments, messages, exit codes and progress bars (feature
//! `cli`).
//!
//! Progress bars and spinners are hidden if standard error is not a terminal.
use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use clap_complete::Shell;

use crate::{help, one_line, stdout_is_reserved, take_notes};

/// Parses the program's arguments; prints one `error:` line if they are invalid.
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
    let mut command = help::fit_to_terminal(add_completions(command));
    let matches = command.try_get_matches_from_mut(arguments);
    let matches = matches.map_err(|error| report_clap_error(&error))?;
    let Some((COMPLETIONS, shell)) = matches.subcommand() else { return Ok(matches) };
    // The program's own command of this name has other arguments.
    let Ok(Some(&shell)) = shell.try_get_one::<Shell>(SHELL) else { return Ok(matches) };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    match print(&String::from_utf8_lossy(&script)) {
        Ok(()) => Err(ExitCode::SUCCESS),
        Err(error) => Err(end(Err(format!("cannot write to standard output: {error}")))),
    }
}

const COMPLETIONS: &str = "completions";
const SHELL: &str = "completed shell";

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

/// Prints the notes about files and, for an error, one `error:` line. Returns the exit code, 0 or
/// 2.
pub fn end<E: Display>(result: Result<(), E>) -> ExitCode {
    for note in take_notes() {
        print_stderr(&format!("note: {note}"));
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_stderr(&format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Prints one line on standard error, with control characters escaped.
pub fn print_stderr(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", one_line(line));
}

/// Returns standard output, or standard error if an [`AtomicFile`](crate::AtomicFile) was created
/// for standard output.
pub fn output() -> Box<dyn Write> {
    match stdout_is_reserved() {
        false => Box::new(io::stdout().lock()),
        true => Box::new(io::stderr().lock()),
    }
}

/// Prints to [`output`]; a closed pipe (`| head`) is not an error.
///
/// # Errors
/// If the output cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = output();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Creates a progress bar for `length` steps.
pub fn progress(length: usize, message: impl Into<Cow<'static, str>>) -> ProgressBar {
    // A `usize` fits into 64 bits.
    let bar = ProgressBar::new(length as u64).with_message(message);
    with_template(bar, "{msg} {wide_bar} {human_pos}/{human_len} {eta}")
}

/// Creates a progress bar for the bytes of a file. Without `length`, only the number of bytes and
/// the rate are displayed.
pub fn byte_progress(length: Option<u64>) -> ProgressBar {
    let template = "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
    match length {
        Some(length) => with_template(ProgressBar::new(length), template),
        None => {
            with_template(ProgressBar::new_spinner(), "{spinner} {bytes}, {binary_bytes_per_sec}")
        }
    }
}

/// Creates a spinner with a message.
pub fn spinner(message: impl Into<Cow<'static, str>>) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message);
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    bar
}

fn with_template(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
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
