//! `mlqa-eval check`: validation of question files.
use std::path::PathBuf;

use crate::{FileCheck, Finding, check_file};

use super::{Failure, format_json, print, print_stderr};

/// Validate question files: MLQA, XQuAD, SQuAD, and rows from the Hugging Face Hub.
///
/// Prints one line per error to standard error: file, question id, position, kind and message. The
/// checks cover the format, ids, empty texts, the offset of every gold answer (including offsets in
/// bytes or UTF-16 units), and whether the languages in the file name match the texts.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval check data/xquad/*.json
  mlqa-eval check --json crates/testkit/fixtures/matrix/data/*.json

Exit codes: 0 without errors, 2 otherwise.")]
pub struct Args {
    /// Question files: SQuAD-style JSON, or rows as JSON, JSON lines or Parquet
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the results as JSON to standard output
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut checks = Vec::new();
    for file in &args.files {
        let check = check_file(file)?;
        if !args.json {
            print_check(&check)?;
        }
        checks.push(check);
    }
    if args.json {
        print(&format_json(&checks)?)?;
    }
    let findings: usize = checks.iter().map(|check| check.findings.len()).sum();
    let n_invalid = checks.iter().filter(|check| !check.findings.is_empty()).count();
    match (findings, checks.len()) {
        (0, _) => Ok(()),
        (1, 1) => Err(Failure::Usage("1 error".into())),
        (n, files) => Err(Failure::Usage(format!("{n} errors in {n_invalid} of {files} files"))),
    }
}

fn print_check(check: &FileCheck) -> Result<(), Failure> {
    let path = check.path.display();
    for Finding { kind, id, place, message } in &check.findings {
        let id = id.as_ref().map_or_else(String::new, |id| format!(" `{id}`:"));
        let kind = serde_json::to_value(kind).expect("a kind is a JSON value");
        let kind = kind.as_str().expect("a kind is a text");
        print_stderr(&format!("{path}:{id} {place}: {kind}: {message}"));
    }
    if !check.findings.is_empty() {
        return Ok(());
    }
    print(&format!("{path}: {} questions, {} answers\n", check.questions, check.answers))
}
