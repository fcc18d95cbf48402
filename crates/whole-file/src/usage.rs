//! What a program says of arguments that it cannot take.

/// The message of `clap` as one line, without its `error: ` and its usage, and with the way to the
/// help; a control character in an argument is escaped by [`one_line`](crate::one_line).
///
/// ```
/// let message = "error: the following required arguments were not provided:\n  --out <DIR>\n\n\
///     Usage: program --out <DIR>\n\nFor more information, try '--help'.\n";
/// let line = "the following required arguments were not provided: --out <DIR>; try '--help'";
/// assert_eq!(whole_file::usage_error(message), line);
/// let tip = "error: unexpected argument '--ou'\n\n  tip: say '--out'\n\nUsage: program\n";
/// let line = "unexpected argument '--ou'; tip: say '--out'; try '--help'";
/// assert_eq!(whole_file::usage_error(tip), line);
/// // Without a subcommand it is the help.
/// let help = "What it does\n\nUsage: program <COMMAND>\n\nCommands:\n";
/// assert_eq!(whole_file::usage_error(help), "no command is given; try '--help'");
/// ```
pub fn usage_error(message: &str) -> String {
    let Some(message) = message.strip_prefix("error: ") else {
        return "no command is given; try '--help'".into();
    };
    let message = message.split("\n\nFor more information").next().unwrap_or_default();
    let message = message.split("\n\nUsage: ").next().unwrap_or_default();
    let line = |part: &str| part.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let message: Vec<String> = message.split("\n\n").map(line).collect();
    format!("{}; try '--help'", crate::one_line(&message.join("; ")))
}
