//! `transfer-eval table`: prints a table of a paper with the results of a run.
use std::path::PathBuf;

use results::{Measured, PrintedTable};

use crate::{CommandResult, print};

/// Print a result table of XLM-K: the published results, and the results of a run.
///
/// 001-1 MLQA, 001-2 NER, 001-3 XNLI, 001-4 ablations, 001-5 LAMA, 001-7 XEP and XOR.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval table 001-3
  transfer-eval table 001-2 --run crates/testkit/fixtures/transfer/run.jsonl

A line of --run:
  {\"model\": \"ours\", \"setting\": \"NER\", \"language\": \"de\",
   \"metric\": \"f1\", \"value\": 72.9, \"sd\": 0.2}")]
pub struct Args {
    /// Id of the paper and number of the table, such as 001-3
    id: String,
    /// JSONL file of results; may be repeated
    #[arg(long, value_name = "FILE")]
    run: Vec<PathBuf>,
}

pub fn run(args: &Args) -> CommandResult {
    let mut results = Vec::new();
    for path in &args.run {
        results.extend(Measured::read(path)?);
    }
    print(&PrintedTable::new(&args.id, &results)?.to_markdown())
}
