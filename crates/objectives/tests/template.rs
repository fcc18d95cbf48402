//! A crate outside the workspace uses `objectives` by the documented lines.
#![allow(clippy::unwrap_used)] // helpers of tests
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folder that holds this build's artefacts, so that libtorch's bindings need not be built again.
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

#[test]
fn the_template_builds_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    copy(&root().join("crates/objectives/template"), &outside);
    let manifest = outside.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let objectives = root().join("crates/objectives");
    let pointed = text.replace("path = \"..\"", &format!("path = {objectives:?}"));
    assert_ne!(pointed, text, "the template's path dependency has moved");
    std::fs::write(&manifest, pointed).unwrap();
    // The same versions as here, and nothing from the network.
    std::fs::copy(root().join("Cargo.lock"), outside.join("Cargo.lock")).unwrap();
    let libtorch = std::env::var_os("LIBTORCH").unwrap_or(root().join(".libtorch/torch").into());
    let output = Command::new(env!("CARGO"))
        .args(["run", "--offline", "--quiet"])
        .current_dir(&outside)
        .env("LIBTORCH", libtorch)
        .env("CARGO_TARGET_DIR", target())
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    // Zero states know nothing: ln 5 for the tokens, ln 8 for the queue.
    for line in ["loss 3.6889 nats", "mlm 1.6094", "mep 2.0794", "the queue holds 8 of 8 keys"] {
        assert!(out.contains(line), "no {line:?} in:\n{out}");
    }
}
