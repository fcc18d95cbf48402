#![doc = include_str!("../README.md")]

#[cfg(test)]
mod check;

use std::env;
use std::path::{Path, PathBuf};

/// Sets the run path of the package's programs and tests to libtorch's folder. Call this function in
/// `build.rs`.
///
/// Without libtorch, for example with the feature `doc-only`, the function only prints the variables
/// that cause the build script to run again.
pub fn set_run_path() {
    // torch-sys sets the first variable for its direct dependents.
    let variables = ["DEP_TCH_LIBTORCH_LIB", "LIBTORCH_LIB", "LIBTORCH"];
    for name in variables {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let [from_torch_sys, lib, root] = variables.map(|name| env::var_os(name).map(PathBuf::from));
    let folder = from_torch_sys.or_else(|| lib.or(root).map(|folder| folder.join("lib")));
    if let Some(line) = folder.as_deref().and_then(run_path) {
        println!("{line}");
    }
}

/// Returns the instruction to cargo for a folder, or `None` if it does not exist.
fn run_path(folder: &Path) -> Option<String> {
    folder.is_dir().then(|| format!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_existing_folders_are_run_paths() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let expected = format!("cargo::rustc-link-arg=-Wl,-rpath,{path}");
        assert_eq!(run_path(folder.path()), Some(expected));
        assert_eq!(run_path(&folder.path().join("none")), None);
    }
}
