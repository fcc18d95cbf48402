//! `mlqa-eval types`: scores by type of answer.
use std::path::{Path, PathBuf};

use crate::{AnswerTypes, Predictions, TypedDataset, answer_types, exact_match_by_type, score};

use super::score::NormArg;
use super::{Stop, print, say};

/// Print exact match and F1 by answer type (`subtype`).
///
/// Types with fewer than ten questions are marked. Question files are MTQA's rows (question,
/// passage, answer with start, end and text, subtype), or SQuAD-style JSON or other rows whose
/// questions have a `subtype`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval types crates/testkit/fixtures/typed/questions.jsonl \\
    crates/testkit/fixtures/typed/predictions.json en
With MTQA:
  mlqa-eval types mtqa-test.en.jsonl predictions.json en
  mlqa-eval types --norm squad mtqa-test.fr.jsonl predictions.json
Two runs and the paper's differences:
  mlqa-eval types mtqa-test.fr.jsonl mixmrc.json fr --name mixMRC \\
    --beside LAKM=lakm.json --paper

Rows without an id have the ids row-1, row-2 and so on, also in predictions.")]
pub struct Args {
    /// Question file with gold answers and types
    data: PathBuf,
    /// Predictions {"<question id>": "<answer>", …}
    predictions: PathBuf,
    /// Language code of contexts and answers (MLQA: en, es, de, ar, hi, vi, zh). Not
    /// needed with --norm squad
    #[arg(required_unless_present = "norm")]
    language: Option<String>,
    #[command(flatten)]
    norm: NormArg,
    /// Predictions of another run; prints a table of exact match with a column per run
    #[arg(long, value_name = "NAME=FILE", value_parser = parse_named)]
    beside: Vec<(String, PathBuf)>,
    /// Name of the first run in the table of several runs
    #[arg(long, default_value = "first", requires = "beside")]
    name: String,
    /// Add the differences that the paper reports (Fig. 5 of mixMRC + LAKM)
    #[arg(long, requires = "beside")]
    paper: bool,
}

fn parse_named(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = argument.split_once('=').ok_or("expected NAME=FILE")?;
    Ok((name.to_owned(), file.into()))
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let rules = args.norm.rules_for(args.language.as_deref())?;
    let typed = TypedDataset::read(&args.data)?;
    let score_types = |predictions: &Path| -> Result<AnswerTypes, Stop> {
        let score = score(&typed.dataset, &Predictions::read(predictions)?, rules)?;
        for id in &score.unanswered {
            say(&format!("Unanswered question {id} will receive score 0."));
        }
        Ok(answer_types(&score, &typed.types))
    };
    let types = score_types(&args.predictions)?;
    if !args.beside.is_empty() {
        let other_runs =
            args.beside.iter().map(|(name, file)| Ok((name.as_str(), score_types(file)?)));
        let other_runs: Vec<(&str, AnswerTypes)> = other_runs.collect::<Result<_, Stop>>()?;
        let mut runs = vec![(args.name.as_str(), &types)];
        runs.extend(other_runs.iter().map(|(name, types)| (*name, types)));
        return print(&exact_match_by_type(&runs, args.paper));
    }
    print(&types.to_markdown())
}
