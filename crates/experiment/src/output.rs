//! How a program starts, prints and ends.
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::args::Args;
use crate::error::one_line;
use crate::leaves::Leaves;
use crate::{Error, Experiment, Recipe};

/// The `main` of a recipe: reads the command line, opens the run folder and calls `run`. Ends with
/// 0, with 2 after printing `error: …` with its causes on one line, or as [`exit`] says after a
/// signal.
///
/// The crate's first page has a complete program.
pub fn main<R: Recipe>(run: impl FnOnce(&Experiment<R>) -> anyhow::Result<()>) -> ExitCode {
    let args = match Args::parse::<R>(std::env::args_os()) {
        Ok(args) => args,
        // Also the text of --help. Nobody may be listening.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    torch_ext::passive_omp_wait();
    exit(start(&args, run))
}

/// How a program with a command line of its own ends: 0, or 2 after printing `error: …` with its
/// causes on one line. Where SIGINT or SIGTERM stopped a stage of training, it says how to go on
/// and ends with 130 or 143.
///
/// ```
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     experiment::exit(run())
/// }
///
/// fn run() -> anyhow::Result<()> {
///     Ok(())
/// }
/// ```
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (prefix, code) = match stopped_by(&error) {
                Some(signal) => ("", signal.saturating_add(128)),
                None => ("error: ", 2),
            };
            let _ = writeln!(std::io::stderr(), "{prefix}{}", one_line(&error));
            ExitCode::from(u8::try_from(code).unwrap_or(2))
        }
    }
}

/// The signal that stopped training, where that is why a program ends.
fn stopped_by(error: &anyhow::Error) -> Option<i32> {
    error.chain().find_map(|cause| {
        let train = match cause.downcast_ref::<Error>() {
            Some(Error::Train(train)) => Some(train),
            _ => cause.downcast_ref::<trainer::Error>(),
        };
        match train? {
            trainer::Error::Stopped { signal, .. } => Some(*signal),
            _ => None,
        }
    })
}

/// [`main`] with arguments of the caller's choice, the program's name first; for tests.
///
/// # Errors
/// What stops the run; wrong arguments, and `--help`, are an error too.
pub fn run_with<R: Recipe>(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    run: impl FnOnce(&Experiment<R>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    start(&Args::parse::<R>(arguments)?, run)
}

fn start<R: Recipe>(
    args: &Args,
    run: impl FnOnce(&Experiment<R>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (recipe, preparations) = args.recipe::<R>()?;
    if args.show {
        log(preparations.comments() + &toml::to_string_pretty(&recipe)?);
        return Ok(());
    }
    let inputs = Leaves::of(&recipe)?.inputs();
    if args.prepare {
        preparations.run(&inputs)?;
    }
    preparations.check(&inputs)?;
    run(&Experiment::open(recipe, args.folder::<R>())?)
}

/// Prints text on standard output, with control characters escaped but for line ends. A reader that
/// has gone, a closed terminal or a full disk never ends a run: the first failure is
/// reported on standard error, and the run goes on in silence.
///
/// ```
/// experiment::log(format!("{} facts in {} languages", 627, 7));
/// ```
pub fn log(line: impl Display) {
    if crate::ranks::is_silent() {
        return;
    }
    static FAILED: AtomicBool = AtomicBool::new(false);
    let mut out = std::io::stdout().lock();
    let line = line.to_string();
    let line = whole_file::lines(&line);
    let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) else { return };
    if error.kind() != ErrorKind::BrokenPipe && !FAILED.swap(true, Ordering::Relaxed) {
        let text = format!("standard output cannot be written ({error}); the run goes on");
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// The Markdown up to its second table or the heading after the first, notes on the first included.
pub(crate) fn first_table(markdown: &str) -> &str {
    let (mut end, mut begun, mut ended) = (0, false, false);
    for line in markdown.split_inclusive('\n') {
        let is_row = line.starts_with('|');
        ended |= begun && !is_row;
        begun |= is_row;
        if ended && (is_row || line.starts_with('#')) {
            return markdown.get(..end).unwrap_or(markdown);
        }
        end += line.len();
    }
    markdown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_table_has_its_heading_and_its_notes() {
        let first = "# F1\n\n| a |\n|---|\n| 1 |\n\nOf nine.\n\n";
        for more in ["| b |\n|---|\n", "## EM\n\n| b |\n|---|\n"] {
            assert_eq!(first_table(&format!("{first}{more}")), first);
        }
        assert_eq!(first_table(first), first);
        assert_eq!(first_table("nothing\n"), "nothing\n");
    }
}
