//! `mlqa-eval score`: computes scores and prints them in the format of the official scripts.
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{
    Dataset, Error, GroupScore, Language, LanguageScores, MLQA_LANGUAGES, Normalization, NullOdds,
    Predictions, Resampling, ScoreIntervals, ScoredFile, score_by_language, score_files,
    score_squad2, squad,
};
use clap::ValueEnum;
use results::Table;

use super::{Failure, format_json, print, print_next_to, print_stderr};

/// Print exact match and F1 in the format of the official MLQA script.
///
/// Prints one JSON line (more with --intervals, --by or several languages) to standard output, and
/// one line per unanswered question to standard error.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval score crates/testkit/fixtures/scorer/zh/dataset.json \\
    crates/testkit/fixtures/scorer/zh/predictions.json zh
  mlqa-eval score - crates/testkit/fixtures/scorer/zh/predictions.json zh \\
    < crates/testkit/fixtures/scorer/zh/dataset.json
  mlqa-eval score crates/testkit/fixtures/scorer/zh/dataset.json \\
    crates/testkit/fixtures/scorer/zh/predictions.json zh --intervals
  mlqa-eval score crates/testkit/fixtures/scorer/zh/dataset.json \\
    crates/testkit/fixtures/scorer/zh/predictions.json zh --by title --table
With your own data:
  mlqa-eval score test-context-zh-question-en.json predictions.json zh
  mlqa-eval score --norm squad xquad.ru.json predictions.json
  mlqa-eval score --norm squad tydiqa-goldp-v1.1-dev.json predictions.json
  mlqa-eval score validation-00000-of-00001.parquet predictions.jsonl zh
  mlqa-eval score --squad2 dev-v2.0.json predictions.json \\
    --null-odds null_odds.json --null-threshold 0

--norm squad is the official normalisation of SQuAD v1.1, XQuAD and TyDi's gold
passages. If the question ids name several languages (arabic-23873-1, as in
TyDi), the output has a score per language, their mean, and the mean without
English; exact_match and f1 cover all questions. --intervals prints percentile
bootstrap intervals over questions. --by prints scores with these intervals for
each value of a key, such as type or source: a key of the questions, of their
paragraphs or of their articles, a column of rows, or title.")]
pub struct Args {
    /// Question file with gold answers: SQuAD-style JSON, or rows (id, context, question, answers)
    /// as JSON, JSON lines or Parquet
    dataset: PathBuf,
    /// Predictions: {"<question id>": "<answer>", …}, or rows {"id": "…", "prediction_text": "…"}
    predictions: PathBuf,
    /// Language code of contexts and answers (MLQA: en, es, de, ar, hi, vi, zh). Not
    /// needed with --norm squad, or if the question ids name languages as in TyDi
    language: Option<String>,
    #[command(flatten)]
    norm: NormArg,
    /// Score like the official SQuAD 2.0 script: an empty prediction means "no answer"
    #[arg(long, conflicts_with_all = ["norm", "language", "per_question", "intervals", "by"])]
    squad2: bool,
    /// JSON file with a no-answer score per question, {"<question id>": 0.25, …}; prints the best
    /// thresholds as well [default: no_answer_probability in the rows of the predictions file]
    #[arg(long, value_name = "FILE", requires = "squad2")]
    null_odds: Option<PathBuf>,
    /// Questions with null odds above T count as predicted "no answer"
    #[arg(
        long,
        value_name = "T",
        default_value_t = 1.0,
        requires = "squad2",
        allow_negative_numbers = true
    )]
    null_threshold: f64,
    /// Also print bootstrap confidence intervals of both scores
    #[arg(long)]
    intervals: bool,
    /// Also print the scores for each value of this key of the questions; may be repeated
    #[arg(long, value_name = "KEY")]
    by: Vec<String>,
    /// Print the scores of --by as Markdown tables in place of JSON
    #[arg(long, requires = "by")]
    table: bool,
    #[command(flatten)]
    resampling: ResamplingArgs,
    /// Also write the scores of every question to this JSON file
    #[arg(long, value_name = "FILE")]
    per_question: Option<PathBuf>,
}

/// Options of the bootstrap.
#[derive(clap::Args)]
pub struct ResamplingArgs {
    /// Number of bootstrap samples
    #[arg(long, value_name = "N", default_value_t = Resampling::default().samples)]
    samples: usize,
    /// Confidence level of the intervals
    #[arg(long, value_name = "SHARE", default_value_t = Resampling::default().level)]
    level: f64,
    /// Random seed of the bootstrap
    #[arg(long, default_value_t = Resampling::default().seed)]
    seed: u64,
}

impl ResamplingArgs {
    /// Returns the options as a configuration.
    pub fn config(&self) -> Resampling {
        Resampling { samples: self.samples, level: self.level, seed: self.seed }
    }
}

#[derive(clap::Args)]
pub struct NormArg {
    /// Normalisation of answers before comparison [default: mlqa]
    #[arg(long)]
    norm: Option<Norm>,
}

/// Normalisation of answers.
#[derive(Clone, Copy, ValueEnum)]
pub enum Norm {
    /// MLQA's rules for the language; no article removal for languages outside MLQA, and an error for
    /// languages without spaces such as Japanese
    Mlqa,
    /// SQuAD v1.1's English rules for every language (official for XQuAD)
    Squad,
}

impl NormArg {
    /// Returns the rules for a language; a language without rules is an error.
    pub fn rules(&self, language: Language) -> Result<Normalization, Error> {
        let rules = match self.norm {
            Some(Norm::Squad) => Normalization::SquadEn,
            _ => Normalization::Mlqa(language),
        };
        rules.check().map(|()| rules)
    }

    /// Returns the rules for a language code; SQuAD's rules ignore the code. Prints a note if the
    /// language is not in MLQA, because the code may be a typing error.
    pub fn rules_for(&self, code: Option<&str>) -> Result<Normalization, Failure> {
        if matches!(self.norm, Some(Norm::Squad)) {
            return Ok(Normalization::SquadEn);
        }
        let Some(code) = code else {
            let message = "LANGUAGE is missing: --norm mlqa needs the language code of contexts and answers, such as en";
            return Err(Failure::Usage(message.into()));
        };
        let language = Language::registered(code).map_err(Error::from)?;
        let rules = self.rules(language)?;
        if !MLQA_LANGUAGES.iter().any(|supported| supported.as_str() == language.base()) {
            let supported = MLQA_LANGUAGES.map(|supported| supported.to_string()).join(", ");
            print_stderr(&format!(
                "note: {language} is not a language of MLQA ({supported}); articles are not removed, and words are \
                 separated by spaces"
            ));
        }
        Ok(rules)
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if args.squad2 {
        return run_squad2(args);
    }
    let rules = match (&args.language, args.norm.norm) {
        (None, None) => None,
        (code, _) => Some(args.norm.rules_for(code.as_deref())?),
    };
    let (ScoredFile { version, score, languages }, group_values) = args.score(rules)?;
    if let (Some(version), Some(rules)) = (version.as_deref(), rules)
        && version != rules.expected_version()
    {
        print_stderr(&format!(
            "Evaluation expects v-{}, but got dataset with v-{version}",
            rules.expected_version()
        ));
    }
    for id in &score.unanswered {
        print_stderr(&format!("Unanswered question {id} will receive score 0."));
    }
    if let Some(path) = &args.per_question {
        score.write_per_question(path)?;
    }
    let languages = languages.filter(|scores| scores.languages.len() > 1 || rules.is_none());
    if !args.intervals && languages.is_none() && args.by.is_empty() {
        return print_next_to(&args.per_question, &format!("{}\n", score.official_json()));
    }
    let intervals =
        args.intervals.then(|| score.intervals(&args.resampling.config())).transpose()?;
    let groups = args
        .by
        .iter()
        .zip(&group_values)
        .map(|(key, values)| Ok((key.clone(), score.by(values, &args.resampling.config())?)));
    let by = groups.collect::<Result<BTreeMap<_, _>, Error>>()?;
    if args.table {
        let all = score.intervals(&args.resampling.config())?;
        let (exact_match, f1, questions) = (score.exact_match, score.f1, score.questions);
        let all = GroupScore { exact_match, f1, questions, intervals: all };
        let tables: Vec<String> = by.iter().map(|(key, groups)| table(key, groups, &all)).collect();
        return print_next_to(&args.per_question, &tables.join("\n"));
    }
    let (exact_match, f1, questions) = (score.exact_match, score.f1, score.questions);
    let scores = Scores { exact_match, f1, questions, intervals, languages, by };
    print_next_to(&args.per_question, &format_json(&scores)?)
}

impl Args {
    /// Scores the predictions. Also returns, for each key of `by`, the value of each question.
    fn score(&self, rules: Option<Normalization>) -> Result<(ScoredFile, Vec<Vec<String>>), Error> {
        if self.by.is_empty() {
            return Ok((score_files(&self.dataset, &self.predictions, rules)?, Vec::new()));
        }
        let file = squad::File::read(&self.dataset)?;
        let values = self.by.iter().map(|key| file.group_values(key, &self.dataset));
        let values = values.collect::<Result<Vec<_>, Error>>()?;
        let dataset = Dataset::from_squad(file, &self.dataset)?;
        let predictions = Predictions::read(&self.predictions)?;
        let (score, languages) = score_by_language(&dataset, &predictions, rules)?;
        Ok((ScoredFile { version: dataset.version, score, languages }, values))
    }
}

/// Returns a Markdown table with a row for each value of `key`, and a row for all questions.
fn table(key: &str, groups: &BTreeMap<String, GroupScore>, all: &GroupScore) -> String {
    let mut table = Table::new(key, ["questions", "exact match", "F1"]);
    let value = |mean: f64, [low, high]: [f64; 2]| format!("{mean:.1} [{low:.1}, {high:.1}]");
    let rows = groups.iter().map(|(name, group)| (name.as_str(), group));
    for (name, group) in rows.chain([("all", all)]) {
        let GroupScore { exact_match, f1, questions, intervals } = group;
        table.add_row(
            name,
            [
                questions.to_string(),
                value(*exact_match, intervals.exact_match_interval),
                value(*f1, intervals.f1_interval),
            ],
        );
    }
    let level = 100.0 * all.intervals.level;
    format!("{table}\nIn brackets: {level:.0} % bootstrap intervals over questions.\n")
}

/// Scores with optional intervals, scores by language and scores by the values of keys.
#[derive(serde::Serialize)]
struct Scores {
    exact_match: f64,
    f1: f64,
    questions: usize,
    #[serde(flatten)]
    intervals: Option<ScoreIntervals>,
    #[serde(flatten)]
    languages: Option<LanguageScores>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    by: BTreeMap<String, BTreeMap<String, GroupScore>>,
}

fn run_squad2(args: &Args) -> Result<(), Failure> {
    let dataset = Dataset::read(&args.dataset)?;
    let odds = args.null_odds.as_ref().map(NullOdds::read).transpose()?;
    let (predictions, row_odds) = Predictions::read_with_odds(&args.predictions)?;
    let odds = odds.or(row_odds);
    let score = score_squad2(&dataset, &predictions, odds.as_ref(), args.null_threshold)?;
    for id in &score.unanswered {
        print_stderr(&format!("Missing prediction for {id}"));
    }
    print(&score.official_json())
}
