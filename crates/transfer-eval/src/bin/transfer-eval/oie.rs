//! `transfer-eval oie`: scores of open information extraction.
use std::fmt::Write;
use std::path::PathBuf;

use transfer_eval::oie::{read_oie, read_oie_gold, score_oie};

use crate::{CommandResult, print_json_next_to};

/// Print F1, precision, recall and area under the curve of extractions as JSON, from 0 to 1. The
/// values equal those of CaRB's scorer with its default options.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval oie crates/testkit/fixtures/transfer/oie/gold.tsv \\
    crates/testkit/fixtures/transfer/oie/predicted.tsv
  transfer-eval oie crates/testkit/fixtures/transfer/oie/gold.json \\
    crates/testkit/fixtures/transfer/oie/predicted-re-oie.tsv \\
    --curve curve.tsv
With Re-OIE2016 in Spanish (Multi2OIE) and the extractions of a system:
  transfer-eval oie evaluate/Re-OIE2016-Spanish-Binary.json extraction.txt")]
pub struct Args {
    /// CaRB's gold file (sentence, predicate and arguments, separated by tabs), or Re-OIE2016's JSON
    gold: PathBuf,
    /// Extractions: sentence, confidence, predicate and arguments, separated by tabs
    predicted: PathBuf,
    /// Write precision and recall at each confidence to this file, separated by tabs
    #[arg(long, value_name = "FILE")]
    curve: Option<PathBuf>,
}

pub fn run(args: &Args) -> CommandResult {
    let score = score_oie(&read_oie_gold(&args.gold)?, &read_oie(&args.predicted)?)?;
    if let Some(path) = &args.curve {
        let mut text = "precision\trecall\tconfidence\n".to_owned();
        for point in score.curve.iter().rev() {
            writeln!(text, "{}\t{}\t{}", point.precision, point.recall, point.confidence)?;
        }
        atomic_file::create_folder_of(path)?;
        atomic_file::write(path, text.as_bytes())?;
    }
    print_json_next_to(&args.curve, &score)
}
