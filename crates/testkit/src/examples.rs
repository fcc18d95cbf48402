//! Runs the example commands of a program's `--help`.
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Width of the terminal for `--help`, in columns.
const COLUMNS: &str = "80";

/// Returns the example commands of `program subcommand… --help`, each as one line, in two lists:
/// the commands of the first paragraph and the commands of later paragraphs. The help is formatted
/// for a terminal of 80 columns. Panics for a wider line, because a wrapped command cannot be
/// copied.
fn read_example_commands(program: &Path, subcommand: &[&str]) -> [Vec<String>; 2] {
    let mut process = Command::new(program);
    let output = process.args(subcommand).arg("--help").env("COLUMNS", COLUMNS).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut commands = [Vec::<String>::new(), Vec::new()];
    let (mut paragraph, mut is_continued) = (0, false);
    for line in text.lines().skip_while(|line| *line != "Examples:").skip(1) {
        let command = line.trim().trim_end_matches(" \\").to_owned();
        match (line.starts_with("  "), is_continued) {
            (true, true) => {
                let last_command = commands[paragraph].last_mut().unwrap();
                *last_command = format!("{last_command} {command}");
            }
            (true, false) if !command.starts_with(['{', '"']) => commands[paragraph].push(command),
            (true, false) => (),
            (false, _) => paragraph = 1,
        }
        assert!(line.chars().count() <= 80, "wider than the terminal: {line}");
        is_continued = line.ends_with('\\');
    }
    commands
}

/// Runs the examples in the first paragraph of `program subcommand… --help` in a new folder, and
/// returns the folder.
///
/// The folder contains links to this workspace's `data` and `crates`. The data of examples in later
/// paragraphs is not available, so only their arguments are checked.
///
/// # Panics
/// If the number of examples in the first paragraph is not `expected`, or an example fails or
/// prints nothing to standard output and standard error.
#[cfg(unix)]
#[track_caller]
pub fn run_examples(program: &str, subcommand: &[&str], expected: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["data", "crates"] {
        std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
    }
    let program = Path::new(program);
    let old_path = std::env::var("PATH").expect("PATH is set");
    let path = format!("{}:{old_path}", program.parent().unwrap().display());
    let [runnable, not_runnable] = read_example_commands(program, subcommand);
    assert_eq!(runnable.len(), expected, "{runnable:#?}");
    let run_example = |example: &str, folder: &Path| {
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", example]).current_dir(folder).env("PATH", &path);
        shell.output().unwrap()
    };
    for example in runnable {
        let output = run_example(&example, folder.path());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{example}: {stderr}");
        assert!(!output.stdout.is_empty() || !stderr.is_empty(), "{example} prints nothing");
    }
    // Each command must fail because of missing files. Errors for invalid arguments contain
    // `--help`.
    let empty_folder = tempfile::tempdir().unwrap();
    for example in not_runnable {
        let output = run_example(&example, empty_folder.path());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !stderr.contains("--help"), "{example}: {stderr}");
    }
    folder
}
