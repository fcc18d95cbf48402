//! The examples of `--help`, run as printed.
#![cfg(unix)]
use testkit::run_examples;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mlqa-eval");

#[test]
fn examples_of_help_run() {
    // Command, number of examples that run on the repository's files, a file that they write.
    for (command, count, output) in [
        ("", 4, "run/matrix.json"),
        ("score", 3, ""),
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
