//! Child processes, such as cargo and python3, started in the workspace root with the user's
//! environment.
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Returns the folder of the workspace's `Cargo.toml`.
pub fn workspace_root() -> Result<PathBuf> {
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest_dir.parent().filter(|root| root.join("Cargo.toml").is_file());
    root.map(Path::to_path_buf).with_context(|| {
        format!(
            "{}: not inside the workspace; run `cargo xtask` from its root",
            manifest_dir.display()
        )
    })
}

/// Returns the LIBTORCH set by the user, as opposed to the value in `.cargo/config.toml`.
pub fn user_libtorch(root: &Path) -> Option<PathBuf> {
    libtorch_override(std::env::var_os("LIBTORCH"), root)
}

fn libtorch_override(value: Option<OsString>, root: &Path) -> Option<PathBuf> {
    let value = PathBuf::from(value.filter(|value| !value.is_empty())?);
    (root.join(&value) != root.join(".libtorch/torch")).then(|| root.join(value))
}

/// Returns whether `cargo run` sets the variable `name`. Child processes must not inherit such
/// variables, because they differ from the variables of a manually started cargo and cause
/// rebuilds.
fn is_set_by_cargo_run(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || matches!(name, "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE")
        || name == "OUT_DIR"
}

/// Returns the library search path `path` without the folders of the target and the toolchain,
/// which `cargo run` adds.
fn without_build_folders(path: &OsStr, target: &Path, toolchain: Option<&Path>) -> OsString {
    let user_folders = std::env::split_paths(path).filter(|folder| {
        !folder.as_os_str().is_empty()
            && !folder.starts_with(target)
            && !toolchain.is_some_and(|toolchain| {
                let lib = toolchain.join("lib");
                *folder == lib || folder.starts_with(lib.join("rustlib"))
            })
    });
    std::env::join_paths(user_folders).unwrap_or_else(|_| path.to_owned())
}

/// Creates a command in the workspace root, with the environment of the user's shell.
pub fn command(program: impl AsRef<OsStr>, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_set_by_cargo_run) {
            command.env_remove(name);
        }
    }
    if user_libtorch(root).is_none() {
        command.env_remove("LIBTORCH");
    }
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        // The variable CARGO contains the path `<toolchain>/bin/cargo`.
        let toolchain = std::env::var_os("CARGO").map(PathBuf::from);
        let toolchain = toolchain.as_deref().and_then(Path::parent).and_then(Path::parent);
        let target = target_folder().unwrap_or_else(|_| root.join("target"));
        let user_folders = without_build_folders(&path, &target, toolchain);
        if user_folders.is_empty() {
            command.env_remove("LD_LIBRARY_PATH");
        } else {
            command.env("LD_LIBRARY_PATH", user_folders);
        }
    }
    command
}

/// Creates a command for the cargo that started this program.
pub fn cargo(root: &Path) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), root)
}

/// Returns the target triple of this machine, such as `x86_64-unknown-linux-gnu`.
pub fn host_triple(root: &Path) -> Result<String> {
    let version = read_stdout(cargo(root).arg("-vV")).context("`cargo -vV` failed")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`cargo -vV` printed no host")?.to_owned())
}

/// Returns the target folder; this program's path is `<target>/debug/xtask`.
pub fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot determine the path of this program")?;
    let folder = program.parent().and_then(Path::parent);
    Ok(folder.with_context(|| format!("{}: no target folder above it", program.display()))?.into())
}

/// Error for a child process that already printed the reason; this program exits with the exit code
/// of the child.
#[derive(Debug)]
pub struct Failed(pub u8);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}", self.0)
    }
}

impl std::error::Error for Failed {}

/// Runs a child in the same terminal; returns [`Failed`] if the child fails.
pub fn run_checked(command: &mut Command) -> Result<()> {
    match run(command)? {
        0 => Ok(()),
        code => Err(Failed(code).into()),
    }
}

/// Runs a child in the same terminal and returns its exit code; 128 + n for signal n.
pub fn run(command: &mut Command) -> Result<u8> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    Ok(exit_code(status))
}

fn exit_code(status: ExitStatus) -> u8 {
    let signal = {
        #[cfg(unix)]
        {
            std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| signal + 128)
        }
        #[cfg(not(unix))]
        {
            None
        }
    };
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Runs a child and returns its trimmed stdout, or `None` if it cannot be started or fails.
pub fn read_stdout(command: &mut Command) -> Option<String> {
    let output = command.stdin(std::process::Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the command of the C++ compiler that the crate `cc` selects for builds, and the first
/// line that `--version` prints; `None` if the compiler does not run.
pub fn cxx_compiler(root: &Path) -> (String, Option<String>) {
    let name = std::env::var("CXX").ok().filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "c++".to_owned());
    // CXX may contain a wrapper or flags: "ccache g++ -m64".
    let mut words = name.split_whitespace();
    let mut command = command(words.next().unwrap_or("c++"), root);
    let version = read_stdout(command.args(words).arg("--version"));
    (name, version.and_then(|text| text.lines().next().map(str::to_owned)))
}

/// Returns an error with install instructions if the C++ compiler is missing.
pub fn require_cxx(root: &Path) -> Result<()> {
    let (name, version) = cxx_compiler(root);
    if version.is_none() {
        bail!(
            "no C++ compiler: `{name} --version` does not run. Install one \
             (Debian, Ubuntu: `sudo apt install g++`; Fedora: `sudo dnf install gcc-c++`), \
             or set CXX to an installed compiler"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_libtorch_is_not_the_users() {
        let root = Path::new("/home/me/polyqa");
        for value in
            [None, Some(""), Some("/home/me/polyqa/.libtorch/torch"), Some(".libtorch/torch")]
        {
            assert_eq!(libtorch_override(value.map(OsString::from), root), None, "{value:?}");
        }
        let overridden = libtorch_override(Some("/opt/libtorch".into()), root);
        assert_eq!(overridden, Some(PathBuf::from("/opt/libtorch")));
    }

    #[test]
    fn only_variables_set_by_cargo_run_are_removed() {
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_BIN_NAME", "OUT_DIR"] {
            assert!(is_set_by_cargo_run(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO", "PATH", "CI"] {
            assert!(!is_set_by_cargo_run(name), "{name}");
        }
    }

    #[test]
    fn library_path_retains_the_users_folders() {
        let user_folders = without_build_folders(
            OsStr::new(
                "/w/target/debug/deps:/w/target/debug:/usr/lib/rustlib/x/lib:/usr/local/cuda/lib::",
            ),
            Path::new("/w/target"),
            Some(Path::new("/usr")),
        );
        assert_eq!(user_folders, "/usr/local/cuda/lib");
    }
}
