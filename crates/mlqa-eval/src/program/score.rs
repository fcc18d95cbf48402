//! `mlqa-eval score`: the official scripts' output.
use std::path::PathBuf;

use crate::{
    Dataset, Error, Language, LanguageScores, MLQA_LANGUAGES, Normalization, NullOdds, Predictions,
    Resampling, ScoreIntervals, ScoredFile, score_by_language, score_files, score_squad2,
};
use clap::ValueEnum;

use super::{Stop, json, print, say};

/// Print exact match and F1 as the official script does.
///
/// One JSON line on standard output (more with --intervals or for several languages); on standard
/// error a line for each unanswered question.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval score crates/testkit/fixtures/scorer/zh/dataset.json \\
    crates/testkit/fixtures/scorer/zh/predictions.json zh
  mlqa-eval score - crates/testkit/fixtures/scorer/zh/predictions.json zh \\
    < crates/testkit/fixtures/scorer/zh/dataset.json
  mlqa-eval score crates/testkit/fixtures/scorer/zh/dataset.json \\
    crates/testkit/fixtures/scorer/zh/predictions.json zh --intervals
With data of your own:
  mlqa-eval score test-context-zh-question-en.json predictions.json zh
  mlqa-eval score --norm squad xquad.ru.json predictions.json
  mlqa-eval score --norm squad tydiqa-goldp-v1.1-dev.json predictions.json
  mlqa-eval score validation-00000-of-00001.parquet predictions.jsonl zh
  mlqa-eval score --squad2 dev-v2.0.json predictions.json \\
    --null-odds null_odds.json --null-threshold 0

--norm squad scores as SQuAD v1.1, XQuAD and TyDi's gold passages prescribe.
Several languages in one file, which ids tell as TyDi's do (arabic-23873-1),
have a score each, and means over languages, the second without English, as
TyDi's are reported; exact_match and f1 are those of all questions. Intervals are
percentiles of samples of the questions, with replacement.")]
pub struct Args {
    /// Questions with gold answers: SQuAD-style JSON, or rows (id, context, question, answers) in
    /// JSON, JSON lines or Parquet
    dataset: PathBuf,
    /// {"<question id>": "<answer>", …}, or rows {"id": "…", "prediction_text": "…"}
    predictions: PathBuf,
    /// Language of context and answer: en, es, de, ar, hi, vi or zh as MLQA has them, or any other
    /// code (not used by --norm squad). Where the ids of the questions tell languages as TyDi's do,
    /// it is left out, and each language is scored by its own rules
    language: Option<String>,
    #[command(flatten)]
    norm: NormArg,
    /// Stop if a gold answer is not in its context at its answer_start (the official scripts do not
    /// check)
    #[arg(long)]
    check_answers: bool,
    /// Score as the official script of SQuAD 2.0: an empty prediction says that there is no answer
    #[arg(long, conflicts_with_all = ["norm", "language", "per_question", "intervals"])]
    squad2: bool,
    /// {"<question id>": 0.25, …}: how sure it is that a question has no answer; also gives the
    /// best thresholds [default: no_answer_probability of predictions that are rows]
    #[arg(long, value_name = "FILE", requires = "squad2")]
    null_odds: Option<PathBuf>,
    /// Questions with larger odds count as having no answer
    #[arg(
        long,
        value_name = "T",
        default_value_t = 1.0,
        requires = "squad2",
        allow_negative_numbers = true
    )]
    null_threshold: f64,
    /// Also print bootstrap intervals of both scores
    #[arg(long)]
    intervals: bool,
    #[command(flatten)]
    resampling: ResamplingArgs,
    /// Also write every question's result to this JSON file
    #[arg(long, value_name = "FILE")]
    per_question: Option<PathBuf>,
}

/// How questions are drawn.
#[derive(clap::Args)]
pub struct ResamplingArgs {
    /// Samples of the questions
    #[arg(long, value_name = "N", default_value_t = Resampling::default().samples)]
    samples: usize,
    /// Share of the samples that an interval holds
    #[arg(long, value_name = "SHARE", default_value_t = Resampling::default().level)]
    level: f64,
    /// Decides what is drawn
    #[arg(long, default_value_t = Resampling::default().seed)]
    seed: u64,
}

impl ResamplingArgs {
    pub fn config(&self) -> Resampling {
        Resampling { samples: self.samples, level: self.level, seed: self.seed }
    }
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

    /// Whether the user chose SQuAD's rules, or MLQA's.
    pub fn squad(&self) -> Option<bool> {
        self.norm.map(|norm| matches!(norm, Norm::Squad))
    }

    /// The same for a language code, which SQuAD's rules ignore. A language that is not
    /// MLQA's is named on standard error, since it may be a typing error.
    pub fn rules_for(&self, code: Option<&str>) -> Result<Normalization, Stop> {
        if matches!(self.norm, Some(Norm::Squad)) {
            return Ok(Normalization::SquadEn);
        }
        let Some(code) = code else {
            let message = "--norm mlqa needs the language of context and answer, such as en";
            return Err(Stop::Usage(message.into()));
        };
        let language: Language = code.parse().map_err(Error::from)?;
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
    if args.squad2 {
        return squad2(args);
    }
    let rules = match (&args.language, args.norm.squad()) {
        (None, None) => None,
        (code, _) => Some(args.norm.rules_for(code.as_deref())?),
    };
    let ScoredFile { version, score, languages } = match args.check_answers {
        false => score_files(&args.dataset, &args.predictions, rules),
        true => {
            let dataset = Dataset::read(&args.dataset)?;
            let predictions = Predictions::read(&args.predictions)?;
            dataset.check_answers()?;
            let (score, languages) = score_by_language(&dataset, &predictions, rules)?;
            Ok(ScoredFile { version: dataset.version, score, languages })
        }
    }?;
    let several = languages.as_ref().map_or(0, |by| by.languages.len()) > 1;
    if let (Some(version), Some(rules)) = (version.as_deref(), rules)
        && version != rules.expected_version()
    {
        say(&format!(
            "Evaluation expects v-{}, but got dataset with v-{version}",
            rules.expected_version()
        ));
    }
    for id in &score.unanswered {
        say(&format!("Unanswered question {id} will receive score 0."));
    }
    if let Some(path) = &args.per_question {
        score.write_per_question(path)?;
    }
    let languages = languages.filter(|_| several || rules.is_none());
    if !args.intervals && languages.is_none() {
        return print(&format!("{}\n", score.official_json()));
    }
    let intervals = args.intervals.then(|| score.intervals(&args.resampling.config()));
    let (exact_match, f1, questions) = (score.exact_match, score.f1, score.questions);
    let intervals = intervals.transpose()?;
    print(&json(&Scores { exact_match, f1, questions, intervals, languages })?)
}

/// Scores with the requested extras.
#[derive(serde::Serialize)]
struct Scores {
    exact_match: f64,
    f1: f64,
    questions: usize,
    #[serde(flatten)]
    intervals: Option<ScoreIntervals>,
    #[serde(flatten)]
    languages: Option<LanguageScores>,
}

fn squad2(args: &Args) -> Result<(), Stop> {
    let dataset = Dataset::read(&args.dataset)?;
    if args.check_answers {
        dataset.check_answers()?;
    }
    let odds = args.null_odds.as_ref().map(NullOdds::read).transpose()?;
    let (predictions, own) = Predictions::read_with_odds(&args.predictions)?;
    let odds = odds.or(own);
    let score = score_squad2(&dataset, &predictions, odds.as_ref(), args.null_threshold)?;
    for id in &score.unanswered {
        say(&format!("Missing prediction for {id}"));
    }
    print(&score.official_json())
}
