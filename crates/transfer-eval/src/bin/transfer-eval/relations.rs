//! `transfer-eval relations`: micro-averaged F1 of relations.
use std::path::PathBuf;

use transfer_eval::relations::{read_relation_names, score_relations};

use crate::{CommandResult, print_json};

/// Print precision, recall and F1 of relations as JSON, in percent, without no_relation. The values
/// equal those of TACRED's official scorer.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval relations crates/testkit/fixtures/transfer/relations.json \\
    crates/testkit/fixtures/transfer/relations.txt
With MultiTACRED:
  transfer-eval relations test_de.json predictions.txt")]
pub struct Args {
    /// TACRED's JSON, or one relation per line
    gold: PathBuf,
    /// One relation per line, in the order of the gold file
    predicted: PathBuf,
}

pub fn run(args: &Args) -> CommandResult {
    let (gold, predicted) =
        (read_relation_names(&args.gold)?, read_relation_names(&args.predicted)?);
    print_json(&score_relations(&gold, &predicted)?)
}
