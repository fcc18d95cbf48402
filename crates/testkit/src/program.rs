//! Runs programs from their command line and checks output and exit code.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A program of this workspace with a new working directory. The directory contains two links:
/// `fixtures` to this crate's fixtures and `data` to the workspace's data.
pub struct Program {
    path: &'static str,
    folder: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

/// Output and exit code of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct RunOutput {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// The exit code.
    pub code: Option<i32>,
}

/// Arguments of a program, as a list or as a text that is split at white space.
pub trait Arguments {
    /// Returns the arguments as a list.
    fn to_list(&self) -> Vec<String>;
}

impl Arguments for str {
    fn to_list(&self) -> Vec<String> {
        self.split_whitespace().map(str::to_owned).collect()
    }
}

impl Arguments for String {
    fn to_list(&self) -> Vec<String> {
        self.as_str().to_list()
    }
}

impl<const N: usize> Arguments for [&str; N] {
    fn to_list(&self) -> Vec<String> {
        self.map(str::to_owned).into()
    }
}

impl Program {
    /// Creates a working directory for the program at `path` (`env!("CARGO_BIN_EXE_…")`).
    pub fn new(path: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        link(&root.join("fixtures"), &folder.path().join("fixtures"));
        link(&root.join("../../data"), &folder.path().join("data"));
        Self { path, folder, environment: Vec::new() }
    }

    /// Sets an environment variable in every run.
    #[must_use]
    pub fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Returns the path of a file or folder in the program's working directory.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and creates its parent folders. Panics for paths below the links `fixtures`
    /// and `data`.
    #[track_caller]
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let first_folder = name.split('/').next();
        assert!(
            !matches!(first_folder, Some("fixtures" | "data")),
            "{name} is outside the working directory"
        );
        let path = self.path_of(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Reads a file as text.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        String::from_utf8(self.read_bytes(name)).unwrap()
    }

    /// Reads a file as bytes.
    #[track_caller]
    pub fn read_bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path_of(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Copies a file and creates its parent folders.
    #[track_caller]
    pub fn copy(&self, from: &str, to: &str) {
        self.write(to, self.read_bytes(from));
    }

    /// Returns a command with these arguments, for tests that require more control than
    /// [`run`](Self::run).
    pub fn command(&self, arguments: &(impl Arguments + ?Sized)) -> Command {
        let mut command = Command::new(self.path);
        command.args(arguments.to_list()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().copied());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &(impl Arguments + ?Sized)) -> RunOutput {
        run_command(&mut self.command(arguments))
    }

    /// Runs the program and asserts that it exits with code 0.
    #[track_caller]
    pub fn expect_success(&self, arguments: &(impl Arguments + ?Sized)) -> RunOutput {
        let output = self.run(arguments);
        assert_eq!(output.code, Some(0), "{:?}: {}", arguments.to_list(), output.err);
        output
    }

    /// Runs the program and asserts that it exits with code 2 and prints exactly one `error:` line
    /// and every text of `parts` to standard error.
    #[track_caller]
    pub fn expect_error(&self, arguments: &(impl Arguments + ?Sized), parts: &[&str]) -> RunOutput {
        let output = self.run(arguments);
        let arguments = arguments.to_list();
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.err);
        let errors = output.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{arguments:?}: {}", output.err);
        for part in parts {
            assert!(output.err.contains(part), "{arguments:?}: `{part}` is not in: {}", output.err);
        }
        output
    }

    /// Calls [`expect_error`](Self::expect_error) and asserts that standard output is empty.
    #[track_caller]
    pub fn expect_only_error(
        &self,
        arguments: &(impl Arguments + ?Sized),
        parts: &[&str],
    ) -> RunOutput {
        let output = self.expect_error(arguments, parts);
        assert_eq!(output.out, "", "{:?}", arguments.to_list());
        output
    }

    /// Calls [`expect_only_error`](Self::expect_only_error) with every pair of `cases`: arguments,
    /// and texts of the error message.
    #[track_caller]
    pub fn expect_only_errors(&self, cases: &[(&str, &[&str])]) {
        for (arguments, parts) in cases {
            self.expect_only_error(*arguments, parts);
        }
    }
}

/// Runs a command to its end.
pub fn run_command(command: &mut Command) -> RunOutput {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    RunOutput { out: text(output.stdout), err: text(output.stderr), code: output.status.code() }
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) {
    std::os::unix::fs::symlink(from, to).unwrap();
}

#[cfg(windows)]
fn link(from: &Path, to: &Path) {
    std::os::windows::fs::symlink_dir(from, to).unwrap();
}
