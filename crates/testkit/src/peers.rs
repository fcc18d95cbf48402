//! Python environments with other projects' packages, which `cargo xtask peers` installs.
use std::io::Write;
use std::path::{Path, PathBuf};

/// Python packages that a comparison needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// numpy, safetensors, pytest: `cargo xtask peers`.
    Light,
    /// transformers and tokenizers without torch: `cargo xtask peers`.
    Tokenizers,
    /// transformers 4 without torch, in a separate environment: `cargo xtask peers --older`.
    OlderTokenizers,
    /// The packages of [`Peers::Tokenizers`] and torch, for the models of transformers: `cargo
    /// xtask peers --torch`.
    Torch,
}

/// Returns the path of a Python interpreter with these packages. If they are not installed, prints
/// a line to standard error and returns `None`.
pub fn peers_python(needed: Peers) -> Option<PathBuf> {
    let name = match needed {
        Peers::OlderTokenizers => ".peers-4",
        _ => ".peers",
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    let python = python_in(&folder, needed);
    if python.is_none() {
        let option = match needed {
            Peers::Light | Peers::Tokenizers => "",
            Peers::OlderTokenizers => " --older",
            Peers::Torch => " --torch",
        };
        // Written directly to standard error, because the test harness captures `eprintln!`.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a comparison needs Python packages; `cargo xtask peers{option}` installs them"
        );
    }
    python
}

/// Returns a folder for `PYTHONPATH` with transformers 4, which takes precedence over the version
/// installed with torch. If transformers 4 is not installed, prints a line to standard error and
/// returns `None`.
pub fn transformers_4_packages() -> Option<PathBuf> {
    let python = peers_python(Peers::OlderTokenizers)?;
    let versions = python.parent()?.with_file_name("lib").read_dir().ok()?;
    versions
        .flatten()
        .map(|version| version.path().join("site-packages"))
        .find(|path| path.is_dir())
}

/// Returns the interpreter of the environment `folder` if the packages are installed. The list
/// `pinned.txt` is written last: without it, the installation is not complete.
fn python_in(folder: &Path, needed: Peers) -> Option<PathBuf> {
    let pinned = std::fs::read_to_string(folder.join("pinned.txt")).ok()?;
    let name = match needed {
        Peers::Light => "numpy==",
        Peers::Tokenizers => "transformers==",
        Peers::OlderTokenizers => "transformers==4.",
        Peers::Torch => "torch==",
    };
    let python = folder.join("bin/python");
    (pinned.lines().any(|line| line.starts_with(name)) && python.exists()).then_some(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_environment_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::fs::write(folder.path().join("bin/python"), "").unwrap();
        assert_eq!(python_in(folder.path(), Peers::Light), None);
        std::fs::write(folder.path().join("pinned.txt"), "numpy==2.2.6\n").unwrap();
        assert!(python_in(folder.path(), Peers::Light).is_some());
        for missing in [Peers::Tokenizers, Peers::Torch] {
            assert_eq!(python_in(folder.path(), missing), None);
        }
        std::fs::write(folder.path().join("pinned.txt"), "transformers==5.1\n").unwrap();
        assert!(python_in(folder.path(), Peers::Tokenizers).is_some());
        assert_eq!(python_in(folder.path(), Peers::OlderTokenizers), None);
    }
}
