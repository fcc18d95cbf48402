//! `mlqa-eval report` starts `qa-report`.
use std::path::Path;
use std::process::{Command, Output};

/// Runs a shell script that writes the programs of a test. If the test itself wrote them, a child
/// process of another test could inherit an open file, which could then not be executed.
fn run_sh(folder: &Path, script: &str) {
    let mut command = Command::new("sh");
    let status = command.args(["-e", "-c", script]).current_dir(folder).status();
    assert!(status.unwrap().success(), "{script}");
}

fn run_report(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(folder.join("bin/mlqa-eval"));
    command.arg("report").args(args).env("PATH", folder.join("path")).output().unwrap()
}

#[test]
fn report_runs_qa_report_and_returns_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_sh(folder, &format!("mkdir bin path; cp '{}' bin", env!("CARGO_BIN_EXE_mlqa-eval")));
    let output = run_report(folder, &["run"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    assert!(error.contains("cargo install qa-report"), "{error}");
    // At first, `qa-report` is only in PATH; then also in the program's folder, which has precedence.
    for place in ["path", "bin"] {
        let lines = format!("#!/bin/sh\nprintf \"%s|\" {place} \"$@\"; echo said >&2; exit 7\n");
        run_sh(folder, &format!("printf '%s' '{lines}' > {place}/qa-report; chmod +x {place}/*"));
        let output = run_report(folder, &["--help", "a=b c", "--", "-x", ""]);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, format!("{place}|--help|a=b c|--|-x||"));
        assert_eq!((output.status.code(), &*output.stderr), (Some(7), &b"said\n"[..]));
    }
}
