//! `transfer-eval table`: prints a table of the paper with the results of a run.
use std::path::PathBuf;

use clap::ValueEnum;
use results::{Measured, PrintedTable};

use crate::{Done, print};

/// Print a result table of XLM-K with a run's numbers beside the printed ones.
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
    /// Paper and table
    id: String,
    /// JSONL file of results; may be repeated
    #[arg(long, value_name = "FILE")]
    run: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Md,
    Json,
}

pub fn run(args: &Args) -> Done {
    let mut numbers = Vec::new();
    for path in &args.run {
        numbers.extend(Measured::read(path)?);
    }
    let table = PrintedTable::new(&args.id, &numbers)?;
    print(&match args.format {
        Format::Md => table.to_markdown(),
        Format::Json => table.to_json()?,
    })
}
