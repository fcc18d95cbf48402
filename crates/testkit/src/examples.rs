//! Runs the examples of a program's `--help` as a user would copy them.
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Width of the terminal for `--help`, in columns.
const COLUMNS: &str = "80";

/// Returns the example commands of `program subcommand… --help`, each as one line: those of the
/// first paragraph, and all others. The help is formatted for a terminal of 80 columns. A wider
/// line is an error, because a wrapped command cannot be copied.
fn examples(program: &Path, subcommand: &[&str]) -> [Vec<String>; 2] {
    let mut help = Command::new(program);
    let output = help.args(subcommand).arg("--help").env("COLUMNS", COLUMNS).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut all = [Vec::<String>::new(), Vec::new()];
    let (mut which, mut open) = (0, false);
    for line in text.lines().skip_while(|line| *line != "Examples:").skip(1) {
        let command = line.trim().trim_end_matches(" \\").to_owned();
        match (line.starts_with("  "), open) {
            (true, true) => {
                let last = all[which].last_mut().unwrap();
                *last = format!("{last} {command}");
            }
            (true, false) if !command.starts_with(['{', '"']) => all[which].push(command),
            (true, false) => (),
            (false, _) => which = 1,
        }
        assert!(line.chars().count() <= 80, "wider than the terminal: {line}");
        open = line.ends_with('\\');
    }
    all
}

/// Runs the examples of `program subcommand… --help`, one after the other, in a new folder that
/// holds this workspace's `data` and `crates`; returns the folder. For the examples of later
/// paragraphs, whose data is not available, only the arguments are checked.
///
/// # Panics
/// If there are not `expected` examples, or one fails or prints nothing on standard output and
/// standard error.
#[cfg(unix)]
#[track_caller]
pub fn run_examples(program: &str, subcommand: &[&str], expected: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["data", "crates"] {
        std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
    }
    let program = Path::new(program);
    let paths = std::env::var("PATH").unwrap_or_default();
    let paths = format!("{}:{paths}", program.parent().unwrap().display());
    let [run, others] = examples(program, subcommand);
    assert_eq!(run.len(), expected, "{run:#?}");
    let output = |example: &str, folder: &Path| {
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", example]).current_dir(folder).env("PATH", &paths);
        shell.output().unwrap()
    };
    for example in run {
        let output = output(&example, folder.path());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{example}: {error}");
        assert!(!output.stdout.is_empty() || !error.is_empty(), "{example} says nothing");
    }
    // Their files do not exist, but their options are valid.
    let empty = tempfile::tempdir().unwrap();
    for example in others {
        let output = output(&example, empty.path());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !error.contains("--help"), "{example}: {error}");
    }
    folder
}
