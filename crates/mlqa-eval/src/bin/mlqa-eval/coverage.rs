//! `mlqa-eval coverage`: how much of the questions' vocabulary a text covers.
use std::path::PathBuf;

use mlqa_eval::{
    CoverageConfig, CoverageDenominator, CoverageWeight, Dataset, EvalError, coverage,
    load_tokenizer,
};

use crate::{Stop, json, print};

/// Print the share of the questions' tokens that a text has shown.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  mlqa-eval coverage --tokenizer xlmr/tokenizer.json --questions test-context-de-question-de.json \\
    --text triples.de.txt")]
pub struct Args {
    /// Hugging Face tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// SQuAD-style file whose questions count
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// Text, each line tokenised for itself
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Count every occurrence instead of every token of the vocabulary once
    #[arg(long)]
    occurrences: bool,
    /// Take the share of the text's tokens instead of the questions'
    #[arg(long)]
    of_text: bool,
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let tokenizer = load_tokenizer(&args.tokenizer)?;
    let dataset = Dataset::read(&args.questions)?;
    let questions: Vec<&str> = dataset.questions.iter().map(|q| q.question.as_str()).collect();
    let text = std::fs::read_to_string(&args.text)
        .map_err(|source| EvalError::Read { path: args.text.clone(), source })?;
    let lines: Vec<&str> = text.lines().collect();
    let config = CoverageConfig {
        weight: match args.occurrences {
            true => CoverageWeight::Occurrences,
            false => CoverageWeight::Types,
        },
        denominator: match args.of_text {
            true => CoverageDenominator::Text,
            false => CoverageDenominator::Questions,
        },
    };
    print(&json(&coverage(&questions, &lines, &tokenizer, &config)?)?)
}
