//! `mlqa-eval types`: scores by type of answer.
use std::path::PathBuf;

use clap::ValueEnum;
use mlqa_eval::{Predictions, TypedDataset, answer_types, score};

use crate::score::NormArg;
use crate::{Stop, json, print, say};

/// Exact match and F1 by type of answer (`subtype`).
///
/// Types with fewer than ten questions are flagged. Reads MTQA's rows (question, passage, answer
/// with start, end and text, subtype; a JSON array or one a line), and SQuAD-style JSON with
/// `subtype` beside each question.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval types crates/testkit/fixtures/typed/questions.jsonl \\
    crates/testkit/fixtures/typed/predictions.json en
With MTQA:
  mlqa-eval types mtqa-test.en.jsonl predictions.json en
  mlqa-eval types --norm squad --format csv mtqa-test.fr.jsonl predictions.json

Rows without an id are called row-1, row-2 and so on, in predictions too.")]
pub struct Args {
    /// Questions with gold answers and their types
    data: PathBuf,
    /// {"<question id>": "<answer>", …}
    predictions: PathBuf,
    /// Language of context and answer: en, es, de, ar, hi, vi or zh as MLQA has them, or any other
    /// code (not used by --norm squad)
    #[arg(required_unless_present = "norm")]
    language: Option<String>,
    #[command(flatten)]
    norm: NormArg,
    /// What to print
    #[arg(long, default_value = "markdown")]
    format: Format,
    /// Also write the scores to this JSON file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Markdown,
    Csv,
    Json,
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let rules = args.norm.rules_for(args.language.as_deref())?;
    let typed = TypedDataset::read(&args.data)?;
    let score = score(&typed.dataset, &Predictions::read(&args.predictions)?, rules)?;
    for id in &score.unanswered {
        say(&format!("Unanswered question {id} will receive score 0."));
    }
    let types = answer_types(&score, &typed.types);
    if let Some(path) = &args.out {
        types.write_json(path)?;
    }
    match args.format {
        Format::Markdown => print(&types.to_markdown()),
        Format::Csv => print(&types.to_csv()),
        Format::Json => print(&json(&types)?),
    }
}
