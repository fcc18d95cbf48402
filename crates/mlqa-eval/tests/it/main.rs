//! Integration tests, compiled into one binary.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod boundary;
mod by_key;
mod check;
mod cli;
mod cli_examples;
mod cli_files;
mod cli_languages;
mod cli_rows;
#[cfg(feature = "windows")]
mod cli_windows;
mod common;
mod compare;
#[cfg(feature = "windows")]
mod coverage;
mod dataset;
#[cfg(feature = "windows")]
mod decode;
mod evidence;
mod matrix;
mod metric;
#[cfg(feature = "parquet")]
mod parquet_file;
mod peers;
mod published;
#[cfg(unix)]
mod report;
mod rows;
#[cfg(feature = "windows")]
mod run_qa;
mod squad;
mod squad2;
mod top_k;
#[cfg(feature = "windows")]
mod window_families;
#[cfg(feature = "windows")]
mod windows;

fn program() -> testkit::Program {
    testkit::Program::new(env!("CARGO_BIN_EXE_mlqa-eval"))
}
