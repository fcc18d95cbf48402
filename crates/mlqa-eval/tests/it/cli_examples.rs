//! Runs the examples of `--help`.
#![cfg(unix)]
use testkit::run_examples;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mlqa-eval");

#[test]
fn examples_of_help_run() {
    // Each entry has a command, the number of its examples that run on the repository's files, and
    // a file that these examples write.
    for (command, count, output) in [
        ("", 4, "run/matrix.json"),
        ("score", 4, ""),
        ("matrix", 1, "tables/matrix.md"),
        ("check", 2, ""),
        ("tables", 2, ""),
        ("compare", 3, ""),
        #[cfg(feature = "windows")]
        ("coverage", 1, ""),
        #[cfg(feature = "windows")]
        ("windows", 1, "windows.safetensors"),
        #[cfg(feature = "windows")]
        ("decode", 0, ""),
    ] {
        let command: Vec<&str> =
            Some(command).into_iter().filter(|name| !name.is_empty()).collect();
        let folder = run_examples(PROGRAM, &command, count);
        assert!(folder.path().join(output).exists(), "{command:?}: {output}");
    }
}
