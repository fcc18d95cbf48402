//! Folders that this crate writes, opened by transformers, where `.peers` holds it.
#![allow(clippy::unwrap_used)] // helpers of tests
use std::process::Command;

use testkit::{Peers, peers_python};

#[allow(dead_code)] // its `main`
#[path = "../examples/fresh.rs"]
mod fresh;

#[test]
fn transformers_opens_what_is_written_and_gives_the_same_outputs() {
    let Some(python) = peers_python(Peers::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    fresh::write(folder.path()).unwrap();
    let mut folders: Vec<_> =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert_eq!(folders.len(), 21);
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check_with_transformers.py"))
        .args(["--program", env!("CARGO_BIN_EXE_xlmr-model")])
        .args(&folders)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert_eq!(text.matches(": ok, largest difference").count(), 21, "{text}");
}
