//! Python environments with other projects' packages, which `cargo xtask peers` installs.
use std::io::Write;
use std::path::{Path, PathBuf};

/// Sets of Python packages for comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PythonPackages {
    /// numpy, safetensors, pytest: `cargo xtask peers`.
    Light,
    /// transformers and tokenizers without torch: `cargo xtask peers`.
    Tokenizers,
    /// transformers 4 without torch, in a separate environment: `cargo xtask peers --transformers-4`.
    OlderTokenizers,
    /// The packages of [`PythonPackages::Tokenizers`] and torch, for the models of transformers: `cargo
    /// xtask peers --torch`.
    Torch,
}

/// Returns the path of a Python interpreter with the packages of the set `packages`. If they are not
/// installed, prints a line to standard error and returns `None`.
pub fn python_with(packages: PythonPackages) -> Option<PathBuf> {
    let (folder, package, option) = match packages {
        PythonPackages::Light => (".peers", "numpy==", ""),
        PythonPackages::Tokenizers => (".peers", "transformers==", ""),
        PythonPackages::OlderTokenizers => (".peers-4", "transformers==4.", " --transformers-4"),
        PythonPackages::Torch => (".peers", "torch==", " --torch"),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    // `pinned.txt` is written at the end of the installation; without this file, the installation
    // is incomplete.
    let pinned_packages = std::fs::read_to_string(folder.join("pinned.txt"));
    let is_pinned =
        pinned_packages.is_ok_and(|text| text.lines().any(|line| line.starts_with(package)));
    let python = folder.join("bin/python");
    if is_pinned && python.exists() {
        return Some(python);
    }
    // The test harness captures `eprintln!`, so the line is written directly to standard error.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: a comparison requires Python packages; `cargo xtask peers{option}` installs them"
    );
    None
}

/// Returns a folder for `PYTHONPATH` with transformers 4, which takes precedence over the version
/// installed with torch. If transformers 4 is not installed, prints a line to standard error and
/// returns `None`.
pub fn transformers_4_packages() -> Option<PathBuf> {
    let python = python_with(PythonPackages::OlderTokenizers)?;
    let python_lib_folders = python.parent()?.with_file_name("lib").read_dir().ok()?;
    python_lib_folders
        .flatten()
        .map(|folder| folder.path().join("site-packages"))
        .find(|path| path.is_dir())
}
