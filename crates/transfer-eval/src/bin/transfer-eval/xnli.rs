//! `transfer-eval xnli`: accuracy by language.
use std::path::{Path, PathBuf};

use transfer_eval::xnli::{NliLabel, read_nli, score_nli};

use crate::{CommandResult, print_json, print_stderr};

/// Print the accuracy of each language and their mean as JSON, in percent.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval xnli crates/testkit/fixtures/transfer/xnli.tsv \\
    crates/testkit/fixtures/transfer/labels.txt
With XNLI:
  transfer-eval xnli xnli.test.tsv predictions.txt
  transfer-eval xnli xnli.dev.jsonl predictions.txt")]
pub struct Args {
    /// xnli.dev or xnli.test, .tsv or .jsonl
    gold: PathBuf,
    /// One label per line, in the order of the gold file: a name (entailment, neutral,
    /// contradiction) or the class number (0, 1, 2)
    predicted: PathBuf,
}

pub fn run(args: &Args) -> CommandResult {
    let data = read_nli(&args.gold)?;
    if data.unlabelled > 0 {
        print_stderr(&format!("{} pairs without a gold label were skipped", data.unlabelled));
    }
    print_json(&score_nli(&data.examples, &read_labels(&args.predicted)?)?)
}

fn read_labels(path: &Path) -> CommandResult<Vec<NliLabel>> {
    let file = path.display();
    let text = atomic_file::read_to_string(path)?;
    atomic_file::note_missing_newline(path, text.as_bytes());
    let label = |(k, line): (usize, &str)| {
        let class = line.parse().ok().and_then(NliLabel::from_class);
        class
            .map_or_else(|| line.parse(), Ok)
            .map_err(|message: String| format!("{file}:{}: {message}, or 0, 1, 2", k + 1).into())
    };
    // Blank lines are allowed only at the end of the file.
    text.trim_end().lines().map(str::trim_end).enumerate().map(label).collect()
}
