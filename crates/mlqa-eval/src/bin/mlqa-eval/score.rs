//! `mlqa-eval score`: the official scripts' output.
use std::path::PathBuf;

use clap::ValueEnum;
use mlqa_eval::{Dataset, EvalError, Language, MLQA_LANGUAGES, Normalization, Predictions, score};

use crate::{Stop, print, say};

/// Print exact match and F1 as the official script does.
///
/// One JSON line on standard output; on standard error a line for each unanswered question.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval score crates/testkit/fixtures/scorer/zh/dataset.json \\
    crates/testkit/fixtures/scorer/zh/predictions.json zh
  mlqa-eval score - crates/testkit/fixtures/scorer/zh/predictions.json zh \\
    < crates/testkit/fixtures/scorer/zh/dataset.json
With data of your own:
  mlqa-eval score test-context-zh-question-en.json predictions.json zh
  mlqa-eval score --norm squad xquad.ru.json predictions.json")]
pub struct Args {
    /// Questions with gold answers, SQuAD-style JSON
    dataset: PathBuf,
    /// {"<question id>": "<answer>", …}
    predictions: PathBuf,
    /// Language of context and answer: en, es, de, ar, hi, vi or zh as MLQA has them, or any other
    /// code (not used by --norm squad)
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
    /// MLQA's rules for the language; without articles for one that is not MLQA's
    Mlqa,
    /// SQuAD v1.1's English rules for every language, as XQuAD prescribes
    Squad,
}

impl NormArg {
    pub fn rules(&self, language: Language) -> Normalization {
        match self.norm {
            Some(Norm::Squad) => Normalization::SquadEn,
            _ => Normalization::Mlqa(language),
        }
    }

    /// The same for a language code, which SQuAD's rules do not look at. A language that is not
    /// MLQA's is named on standard error, since it may be a typing error.
    pub fn rules_for(&self, code: Option<&str>) -> Result<Normalization, Stop> {
        if matches!(self.norm, Some(Norm::Squad)) {
            return Ok(Normalization::SquadEn);
        }
        let Some(code) = code else {
            let message = "--norm mlqa needs the language of context and answer, such as en";
            return Err(Stop::Usage(message.into()));
        };
        let language: Language = code.parse().map_err(EvalError::from)?;
        if !MLQA_LANGUAGES.iter().any(|known| known.as_str() == language.base()) {
            let known = MLQA_LANGUAGES.map(|known| known.to_string()).join(", ");
            say(&format!(
                "Language {language} is none of MLQA's ({known}); its articles are not removed."
            ));
        }
        Ok(self.rules(language))
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
