//! Fits the examples in help texts to the width of the terminal.
use clap::Command;

/// Width of help texts without a terminal, and their maximum width.
const MAX_WIDTH: usize = 100;

/// Indentation of examples.
const INDENT: &str = "  ";

/// Fits the texts at the end of the help of a command and its subcommands to the terminal. clap
/// wraps lines anywhere, so that a wrapped example could not be copied. [`parse`](crate::parse) and
/// [`parse_command`](crate::parse_command) call this function.
pub fn fit_to_terminal(command: Command) -> Command {
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = width.or_else(columns).unwrap_or(MAX_WIDTH).min(MAX_WIDTH); // no terminal
    fit_command(command.term_width(width), width)
}

fn fit_command(command: Command, width: usize) -> Command {
    let text = command.get_after_help().map(|text| fit(&text.to_string(), width));
    let command = match text {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(|subcommand| fit_command(subcommand, width))
}

/// Joins lines of prose, which clap wraps, and breaks examples that are longer than `width`.
fn fit(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    let mut is_open = false;
    for line in text.lines() {
        let is_prose = !line.is_empty() && !line.starts_with(' ');
        let separator = match () {
            () if fitted.is_empty() => "",
            () if is_open && is_prose => " ",
            () => "\n",
        };
        fitted.push_str(separator);
        match line.starts_with(INDENT) {
            true => fitted.push_str(&break_example(line, width)),
            false => fitted.push_str(line),
        }
        is_open = is_prose && !line.ends_with(['.', ':', '!', '?']);
    }
    fitted
}

/// Breaks a command between its arguments, with a backslash at the end of each line.
fn break_example(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let indent = &line[..line.len() - line.trim_start().len()];
    let (mut lines, mut current) = (Vec::new(), indent.to_owned());
    for argument in arguments(line.trim_start()) {
        let length = current.chars().count() + 1 + argument.chars().count();
        let has_argument = current.trim_start() != "";
        // Two columns are needed for the backslash.
        if has_argument && length + 2 > width {
            lines.push(current + " \\");
            current = format!("{indent}  {argument}");
        } else {
            if has_argument {
                current.push(' ');
            }
            current.push_str(argument);
        }
    }
    lines.push(current);
    lines.join("\n")
}

/// Splits a command before options and after quoted text, so that an option stays with its value.
fn arguments(command: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (index, char) in command.char_indices() {
        match (quote, char) {
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            (None, ' ') if command[index + 1..].starts_with(['-', '|', '<', '>']) => {
                parts.push(&command[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&command[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_broken_between_options() {
        let text = "Examples:\n  polyqa answer --model runs/mine -q 'Wo - in Peru - liegt Lima?' --json a.txt\n  \
                    polyqa text a\n\nA long line of prose that goes on\nand on. It ends\nhere.\nNext line.";
        let expected = "Examples:\n  polyqa answer --model runs/mine \\\n    -q 'Wo - in Peru - liegt Lima?' \\\n    \
                        --json a.txt\n  polyqa text a\n\nA long line of prose that goes on and on. It ends here.\n\
                        Next line.";
        assert_eq!(fit(text, 40), expected);
        assert_eq!(fit(expected, 40), expected);
        let joined = fit(text, 100);
        assert!(joined.contains("--json a.txt\n") && !joined.contains('\\'), "{joined}");
    }

    #[test]
    fn each_command_of_a_program_is_fitted() {
        let inner = Command::new("b").after_help("Examples:\n  a b --one two --three four");
        let mut command = fit_command(Command::new("a").subcommand(inner).term_width(20), 20);
        let help = command.find_subcommand_mut("b").expect("b").render_long_help().to_string();
        assert!(help.contains("  a b --one two \\\n    --three four"), "{help}");
    }
}
