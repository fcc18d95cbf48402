//! `mlqa-eval check`: are the files what they should be?
use std::path::PathBuf;

use crate::{FileCheck, Finding, check_file};

use super::{Stop, json, print, say};

/// Check question files of MLQA, XQuAD, SQuAD and MTQA, and rows as data hubs have them.
///
/// A line for each finding on standard error: file, question's id, place, kind, and what is wrong.
/// It checks the format, ids, texts, whether every gold answer is in its context at its
/// answer_start (and if not, whether bytes or UTF-16 were counted), and whether the languages in
/// the file's name can be those of its texts.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval check data/xquad/*.json
  mlqa-eval check --json crates/testkit/fixtures/matrix/data/*.json

Exit code: 0 without findings, otherwise 2.")]
pub struct Args {
    /// SQuAD-style JSON, or rows in JSON, JSON lines or Parquet
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print everything as JSON on standard output
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let mut checks = Vec::new();
    for file in &args.files {
        let check = check_file(file)?;
        if !args.json {
            report(&check)?;
        }
        checks.push(check);
    }
    if args.json {
        print(&json(&checks)?)?;
    }
    let findings: usize = checks.iter().map(|check| check.findings.len()).sum();
    let faulty = checks.iter().filter(|check| !check.findings.is_empty()).count();
    match (findings, checks.len()) {
        (0, _) => Ok(()),
        (1, 1) => Err(Stop::Usage("1 finding".into())),
        (n, files) => Err(Stop::Usage(format!("{n} findings in {faulty} of {files} files"))),
    }
}

fn report(check: &FileCheck) -> Result<(), Stop> {
    let path = check.path.display();
    for Finding { kind, id, place, message } in &check.findings {
        let id = id.as_ref().map(|id| format!(" `{id}`:")).unwrap_or_default();
        let kind = serde_json::to_value(kind).ok();
        let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default();
        say(&format!("{path}:{id} {place}: {kind}: {message}"));
    }
    if !check.findings.is_empty() {
        return Ok(());
    }
    print(&format!("{path}: {} questions, {} answers\n", check.questions, check.answers))
}
