//! `mlqa-eval score`: the official scripts' output.
use std::path::PathBuf;

use clap::ValueEnum;
use mlqa_eval::{Dataset, EvalError, Language, Normalization, Predictions, score};

use crate::{Stop, print, say};

/// Print exact match and F1 as the official script does.
///
/// One JSON line on standard output; on standard error a line for each unanswered question.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval score test-context-zh-question-en.json predictions.json zh
  mlqa-eval score --norm squad xquad.ru.json predictions.json")]
pub struct Args {
    /// Questions with gold answers, SQuAD-style JSON
    dataset: PathBuf,
    /// {"<question id>": "<answer>", …}
    predictions: PathBuf,
    /// Language of context and answer: en, es, de, ar, hi, vi or zh (not used by --norm squad)
    #[arg(required_unless_present = "norm")]
    language: Option<String>,
    #[command(flatten)]
    norm: NormArg,
    /// Stop if a gold answer is not in its context at its answer_start (the official scripts do not
    /// look)
    #[arg(long)]
    check_answers: bool,
    /// Also write every question's result to this JSON file
    #[arg(long, value_name = "FILE")]
    per_question: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct NormArg {
    /// How answers are normalised before they are compared [default: mlqa]
    #[arg(long)]
    norm: Option<Norm>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Norm {
    /// MLQA's rules for the language
    Mlqa,
    /// SQuAD v1.1's English rules for every language, as XQuAD prescribes
    Squad,
}

impl NormArg {
    pub fn rules(&self, language: Option<Language>) -> Result<Normalization, Stop> {
        match (self.norm, language) {
            (Some(Norm::Squad), _) => Ok(Normalization::SquadEn),
            (_, Some(language)) => Ok(Normalization::Mlqa(language)),
            (_, None) => Err(EvalError::UnknownLanguage { given: String::new() }.into()),
        }
    }

    /// The same for a language code, which SQuAD's rules do not look at.
    pub fn rules_for(&self, code: Option<&str>) -> Result<Normalization, Stop> {
        match code {
            Some(code) if !matches!(self.norm, Some(Norm::Squad)) => {
                self.rules(Some(code.parse()?))
            }
            _ => self.rules(None),
        }
    }
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let rules = args.norm.rules_for(args.language.as_deref())?;
    let dataset = Dataset::read(&args.dataset)?;
    let predictions = Predictions::read(&args.predictions)?;
    if args.check_answers {
        dataset.check_answers()?;
    }
    if let Some(version) = dataset.version.as_deref()
        && version != rules.expected_version()
    {
        say(&format!(
            "Evaluation expects v-{}, but got dataset with v-{version}",
            rules.expected_version()
        ));
    }
    let score = score(&dataset, &predictions, rules)?;
    for id in &score.unanswered {
        say(&format!("Unanswered question {id} will receive score 0."));
    }
    if let Some(path) = &args.per_question {
        score.write_per_question(path)?;
    }
    print(&format!("{}\n", score.official_json()))
}
