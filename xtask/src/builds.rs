//! Cargo arguments of the test steps, and of builds that reuse the outputs of the test steps.

/// Feature that is checked and tested although no crate of the workspace enables it.
pub const PARQUET: &str = "mlqa-eval/parquet";

/// Arguments of `cargo test`: they select the packages that require libtorch, and end with the
/// macro's arguments. A plain `cargo test` skips these packages. `--workspace` with `--exclude`
/// retains the features of the whole workspace, so libtorch's bindings are not rebuilt.
macro_rules! libtorch_tests {
    ($($word:expr),*) => {
        &[
            "test", "--workspace",
            "--exclude", "atomic-file", "--exclude", "demo-data", "--exclude", "kg-triples",
            "--exclude", "mlqa-eval", "--exclude", "polyqa-cli", "--exclude", "polyqa-collection", "--exclude",
            "polyqa-documents", "--exclude", "polyqa-hub", "--exclude", "polyqa-language",
            "--exclude", "polyqa-polar", "--exclude", "polyqa-results", "--exclude", "polyqa-shards", "--exclude", "qa-report",
            "--exclude", "qa-translate", "--exclude", "testkit", "--exclude", "tokenizer-file",
            "--exclude", "transfer-eval", "--exclude", "xtask", $($word),*
        ]
    };
}

pub(crate) use libtorch_tests;

/// Cargo arguments for building the tests of the step "libtorch-free tests", and the programs of
/// the tested packages.
pub const BUILD_LIBTORCH_FREE: &[&str] = &["test", "--features", PARQUET, "--no-run"];

/// Cargo arguments for building the tests of the step "libtorch tests", and the programs of the
/// tested packages. `cargo build` omits dev-dependencies, so it would compile these packages again,
/// with features that differ from those of the tests.
pub const BUILD_LIBTORCH: &[&str] = libtorch_tests!["--no-run"];
