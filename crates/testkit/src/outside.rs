//! Crates outside the workspace, as a user's are.
use std::path::{Path, PathBuf};
use std::process::Command;

/// Copies a crate out of the workspace to `folder`, turns the relative `path = "…"` of its manifest
/// into absolute ones, builds it with this workspace's versions and no network, runs it in its
/// folder with `arguments`, and returns what it printed.
///
/// # Panics
/// If it does not build, or does not end with 0.
pub fn run_outside(template: &Path, folder: &Path, arguments: &[&str]) -> String {
    let template = template.canonicalize().unwrap();
    copy(&template, folder);
    let manifest = folder.join("Cargo.toml");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let text = with_absolute_paths(&std::fs::read_to_string(&manifest).unwrap(), &template);
    // As this workspace, so that what it has built is not built again: libtorch's bindings take a
    // minute.
    std::fs::write(&manifest, text + &profiles(&root)).unwrap();
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let libtorch = std::env::var_os("LIBTORCH").unwrap_or(root.join(".libtorch/torch").into());
    let output = Command::new(env!("CARGO"))
        .args(["run", "--offline", "--quiet"])
        .arg("--")
        .args(arguments)
        .current_dir(folder)
        .env("LIBTORCH", libtorch)
        .env("CARGO_TARGET_DIR", target())
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {err}", template.display());
    String::from_utf8(output.stdout).unwrap()
}

fn with_absolute_paths(manifest: &str, template: &Path) -> String {
    let mut parts = manifest.split("path = \"");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (path, rest) = part.split_once('"').unwrap();
        let path = template.join(path).canonicalize().unwrap();
        text.push_str(&format!("path = {path:?}{rest}"));
    }
    assert_ne!(text, manifest, "the template depends on no crate of this workspace");
    text
}

/// How the workspace compiles its tests: the tables that stand last in its manifest.
fn profiles(root: &Path) -> String {
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    manifest.split_at(manifest.find("\n[profile.").unwrap()).1.to_owned()
}

/// The folder that holds this build's artefacts.
fn target() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    while !path.ends_with("debug") && !path.ends_with("release") {
        assert!(path.pop(), "the test does not run from a target folder");
    }
    path.pop();
    path
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
