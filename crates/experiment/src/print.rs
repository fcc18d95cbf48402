//! Printing on standard output.
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process prints nothing, because it is not rank 0.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Sets whether this process prints nothing.
pub(crate) fn set_silent(silent: bool) {
    SILENT.store(silent, Ordering::Relaxed);
}

/// Prints text on standard output, with control characters other than line ends escaped. Write
/// errors do not end a run: the first one is reported on standard error, and a closed pipe is
/// ignored.
///
/// ```
/// experiment::log(format!("{} facts in {} languages", 627, 7));
/// ```
pub fn log(line: impl Display) {
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    static HAS_FAILED: AtomicBool = AtomicBool::new(false);
    let mut out = std::io::stdout().lock();
    let line = line.to_string();
    let line = atomic_file::printable_lines(&line);
    let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) else { return };
    if error.kind() != ErrorKind::BrokenPipe && !HAS_FAILED.swap(true, Ordering::Relaxed) {
        let text = format!("cannot write to standard output ({error}); the run continues");
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// The Markdown text up to the second table or to the first heading after the first table,
/// whichever comes first. Notes below the first table are included.
pub(crate) fn first_table(markdown: &str) -> &str {
    let (mut end, mut has_begun, mut has_ended) = (0, false, false);
    for line in markdown.split_inclusive('\n') {
        let is_row = line.starts_with('|');
        has_ended |= has_begun && !is_row;
        has_begun |= is_row;
        if has_ended && (is_row || line.starts_with('#')) {
            return &markdown[..end];
        }
        end += line.len();
    }
    markdown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_table_includes_its_heading_and_notes() {
        let first = "# F1\n\n| a |\n|---|\n| 1 |\n\nOf nine.\n\n";
        for following in ["| b |\n|---|\n", "## EM\n\n| b |\n|---|\n"] {
            assert_eq!(first_table(&format!("{first}{following}")), first);
        }
        assert_eq!(first_table(first), first);
        assert_eq!(first_table("nothing\n"), "nothing\n");
    }
}
