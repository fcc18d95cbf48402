//! `mlqa-eval boundary`: boundary errors of predictions.
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{
    BoundaryCounts, Dataset, Error, Language, Predictions, boundary_classes, boundary_table,
};

use super::score::NormArg;
use super::{Stop, print};

/// Count predictions by boundary class: exact, superset, subset, overlap or disjoint.
///
/// Spans are compared by position with the gold answers, after white space, punctuation and
/// articles at their ends are removed. The table has one row per prediction file. The output is
/// Markdown.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval boundary crates/testkit/fixtures/scorer/de/dataset.json de \\
    crates/testkit/fixtures/scorer/de/predictions.json
With two runs:
  mlqa-eval boundary test-context-de-question-de.json de before.json after.json")]
pub struct Args {
    /// Question file with gold answers: SQuAD-style JSON or rows
    dataset: PathBuf,
    /// Language code of contexts and answers (MLQA: en, es, de, ar, hi, vi, zh)
    language: String,
    /// Prediction files {"<question id>": "<answer>", …}, one per run
    #[arg(required = true)]
    predictions: Vec<PathBuf>,
    #[command(flatten)]
    norm: NormArg,
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let language: Language = args.language.parse().map_err(Error::from)?;
    let rules = args.norm.rules_for(Some(&args.language))?;
    let dataset = Dataset::read(&args.dataset)?;
    let mut runs = Vec::new();
    for path in &args.predictions {
        let classes = boundary_classes(&dataset, &Predictions::read(path)?, rules)?;
        let counts = BoundaryCounts::of(&classes);
        runs.push((path.display().to_string(), BTreeMap::from([(language, counts)])));
    }
    let runs: Vec<_> = runs.iter().map(|(name, counts)| (name.as_str(), counts)).collect();
    print(&boundary_table(&runs))
}
