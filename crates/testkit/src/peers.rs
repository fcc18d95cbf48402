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
    let (folder, package, option) = match needed {
        Peers::Light => (".peers", "numpy==", ""),
        Peers::Tokenizers => (".peers", "transformers==", ""),
        Peers::OlderTokenizers => (".peers-4", "transformers==4.", " --older"),
        Peers::Torch => (".peers", "torch==", " --torch"),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    // `pinned.txt` is written last: without it, the installation is not complete.
    let pinned = std::fs::read_to_string(folder.join("pinned.txt")).unwrap_or_default();
    let python = folder.join("bin/python");
    if pinned.lines().any(|line| line.starts_with(package)) && python.exists() {
        return Some(python);
    }
    // Written directly to standard error, because the test harness captures `eprintln!`.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: a comparison needs Python packages; `cargo xtask peers{option}` installs them"
    );
    None
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
