//! Runs programs as a user does: arguments, output and exit code.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A program of this workspace and its new working directory, in which `fixtures` is a link to this
/// crate's fixtures and `data` a link to the workspace's data.
pub struct Program {
    path: &'static str,
    folder: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

/// Output and exit code of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// The exit code.
    pub code: Option<i32>,
}

/// The arguments of a run: a line, which is split at white space, or a list.
pub trait Arguments {
    /// Returns the arguments.
    fn list(&self) -> Vec<String>;
}

impl Arguments for str {
    fn list(&self) -> Vec<String> {
        self.split_whitespace().map(str::to_owned).collect()
    }
}

impl Arguments for String {
    fn list(&self) -> Vec<String> {
        self.as_str().list()
    }
}

impl<const N: usize> Arguments for [&str; N] {
    fn list(&self) -> Vec<String> {
        self.map(str::to_owned).into()
    }
}

impl Program {
    /// Creates a value for the program at `path`, which is `env!("CARGO_BIN_EXE_…")`.
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
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and creates its parent folders. Panics for paths below the links `fixtures`
    /// and `data`.
    #[track_caller]
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let first = name.split('/').next();
        assert!(!matches!(first, Some("fixtures" | "data")), "{name} lies outside the folder");
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Reads a file as text.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    /// Reads a file as bytes.
    #[track_caller]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Copies a file and creates its parent folders.
    #[track_caller]
    pub fn copy(&self, from: &str, to: &str) {
        self.write(to, self.bytes(from));
    }

    /// Returns a command with these arguments, for uses beyond `run`.
    pub fn command(&self, arguments: &(impl Arguments + ?Sized)) -> Command {
        let mut command = Command::new(self.path);
        command.args(arguments.list()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().copied());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &(impl Arguments + ?Sized)) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// Runs the program, and asserts that it exits with code 0.
    #[track_caller]
    pub fn done(&self, arguments: &(impl Arguments + ?Sized)) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{:?}: {}", arguments.list(), ended.err);
        ended
    }

    /// Runs the program, and asserts that it exits with code 2 and prints one `error:` line and
    /// every word of `words` to standard error.
    #[track_caller]
    pub fn failed(&self, arguments: &(impl Arguments + ?Sized), words: &[&str]) -> Ended {
        let ended = self.run(arguments);
        let arguments = arguments.list();
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        let errors = ended.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{arguments:?}: {}", ended.err);
        for word in words {
            assert!(ended.err.contains(word), "{arguments:?}: `{word}` is not in: {}", ended.err);
        }
        ended
    }

    /// Asserts the same as [`failed`](Self::failed), and that standard output is empty.
    #[track_caller]
    pub fn refused(&self, arguments: &(impl Arguments + ?Sized), words: &[&str]) -> Ended {
        let ended = self.failed(arguments, words);
        assert_eq!(ended.out, "", "{:?}", arguments.list());
        ended
    }

    /// Asserts that every row is rejected; a row has the arguments and words of the message.
    #[track_caller]
    pub fn refuses(&self, rows: &[(&str, &[&str])]) {
        for (arguments, words) in rows {
            self.refused(*arguments, words);
        }
    }
}

/// Runs a command to its end.
pub fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { out: text(output.stdout), err: text(output.stderr), code: output.status.code() }
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) {
    std::os::unix::fs::symlink(from, to).unwrap();
}

#[cfg(windows)]
fn link(from: &Path, to: &Path) {
    std::os::windows::fs::symlink_dir(from, to).unwrap();
}
