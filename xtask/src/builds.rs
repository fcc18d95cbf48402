//! Cargo arguments of the test steps, and of builds that reuse their build outputs.

/// Feature that is checked and tested although no other crate enables it.
pub const PARQUET: &str = "mlqa-eval/parquet";

/// Arguments of `cargo test` for the packages that require libtorch, which a plain `cargo test`
/// skips, followed by the macro's arguments. `--exclude` retains the features of the whole
/// workspace, so libtorch's bindings are not rebuilt.
macro_rules! libtorch_tests {
    ($($word:expr),*) => {
        &[
            "test", "--workspace",
            "--exclude", "atomic-file", "--exclude", "demo-data", "--exclude", "kg-triples",
            "--exclude", "mlqa-eval", "--exclude", "polyqa-hub", "--exclude", "polyqa-language",
            "--exclude", "polyqa-results", "--exclude", "polyqa-shards", "--exclude", "qa-report",
            "--exclude", "qa-translate", "--exclude", "testkit", "--exclude", "tokenizer-file",
            "--exclude", "transfer-eval", "--exclude", "xtask", $($word),*
        ]
    };
}

pub(crate) use libtorch_tests;

/// Builds the tests of the step "libtorch-free tests", and the programs of their packages.
pub const BUILD_LIBTORCH_FREE: &[&str] = &["test", "--features", PARQUET, "--no-run"];

/// Builds the tests of the step "libtorch tests", and the programs and recipes of their packages.
/// `cargo build` would compile these packages again with other features, because it omits
/// dev-dependencies.
pub const BUILD_LIBTORCH: &[&str] = libtorch_tests!["--no-run"];
