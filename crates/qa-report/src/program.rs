//! The program `qa-report`, which `polyqa report` is, too.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use mlqa_eval::{Language, Resampling, read_json};
use whole_file::cli;

use crate::{QuestionFiles, Report, ReportConfig, ReportForm, ReportRun};

/// Write one page about runs: scores, differences, errors, and the questions themselves.
///
/// The page is one HTML file that needs nothing else. A RUN is a run folder of a recipe (one run
/// for each arm), a folder of prediction files named as MLQA's, a prediction file, or what `score
/// --per-question` wrote; a folder or file of lm-evaluation-harness's samples (`--log_samples`), an
/// output folder of transformers' `run_qa`; for scores alone, a matrix.json or a recipe's
/// summary.json. Others are compared with the first, on the questions that both were asked.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-report --data crates/testkit/fixtures/matrix/data \\
    before=crates/testkit/fixtures/matrix/predictions \\
    after=crates/testkit/fixtures/matrix/better --out report.html
  qa-report crates/testkit/fixtures/scorer/ar/predictions.json \\
    --data crates/testkit/fixtures/scorer/ar/dataset.json --language ar \\
    --out arabic.html --beside md,csv,json,svg
  qa-report reader=crates/testkit/fixtures/harness/reader \\
    chat=crates/testkit/fixtures/harness/samples \\
    --data crates/testkit/fixtures/harness/data --out chat.html
With runs of your own:
  qa-report runs/demo --arms base,injected --out report.html
  qa-report --data MLQA_V1/test before=a1,a2,a3 after=b1,b2,b3 \\
    --out report.html
  qa-report reader=runs/mine chat=results/my__chat-model other=run_qa_out \\
    --data test-context-de-question-de.json --out report.html

NAME=RUN gives a run another name; several folders or files, with commas
between them, are its seeds. The same runs give the same bytes.")]
pub struct Args {
    /// What to report on
    #[arg(required = true, value_name = "[NAME=]RUN[,RUN…]")]
    runs: Vec<String>,
    /// The page
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Questions with gold answers, or a folder of MLQA-named ones (a recipe's run knows its own)
    #[arg(long, value_name = "FILE|DIR")]
    data: Option<PathBuf>,
    /// Language of context and answer in a file of --data
    #[arg(long, value_name = "LANG")]
    language: Option<Language>,
    /// The first word of the names in a folder of --data
    #[arg(long, default_value = "test")]
    split: String,
    /// n-best lists of a prediction file
    #[arg(long, value_name = "FILE")]
    n_best: Option<PathBuf>,
    /// Arms of run folders, in this order; the first is compared with [default: all, by name]
    #[arg(long, value_name = "ARM,…", value_delimiter = ',')]
    arms: Vec<String>,
    /// What `mlqa-eval coverage` printed for two folders
    #[arg(long, value_name = "FILE")]
    coverage: Option<PathBuf>,
    /// Also write the tables, or drawings, beside the page
    #[arg(long, value_enum, value_name = "FORM,…", value_delimiter = ',')]
    beside: Vec<ReportForm>,
    /// At the top of the page [default: what the questions and texts are]
    #[arg(long)]
    title: Option<String>,
    /// The day of the runs [default: the newest day of a file of predictions]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    /// Most questions in the page, those with an error first
    #[arg(long, value_name = "N", default_value_t = ReportConfig::default().examples)]
    questions: usize,
    /// How answers are normalised before they are compared [default: mlqa]
    #[arg(long)]
    norm: Option<Norm>,
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

#[derive(Clone, Copy, ValueEnum)]
enum Norm {
    /// MLQA's rules for the language; without articles for one that is not MLQA's
    Mlqa,
    /// SQuAD v1.1's English rules for every language, as XQuAD prescribes
    Squad,
}

/// What `mlqa-eval coverage` prints, by language.
const COVERAGE: &str = "{\"de\": {\"covered\": 1, \"total\": 2, \"ratio\": 0.5}, …}";

/// Writes the page and prints its summary.
///
/// # Errors
/// One line that says what is wrong.
pub fn run(args: &Args) -> Result<(), String> {
    if args.out == Path::new("-") && !args.beside.is_empty() {
        return Err("--beside needs a file as --out, to be named after".into());
    }
    let report = args.report()?;
    report.write(&args.out, &args.beside).map_err(|error| error.to_string())?;
    report.notes().iter().for_each(|note| cli::say(&format!("note: {note}")));
    let summary = report.summary();
    cli::print(&whole_file::lines(&summary))
        .map_err(|error| format!("cannot write to standard output: {error}"))
}

impl Args {
    /// Scores and compares the runs.
    fn report(&self) -> Result<Report, String> {
        let failed = |error: mlqa_eval::Error| error.to_string();
        let mut runs = Vec::new();
        for given in &self.runs {
            runs.extend(self.find(given).map_err(failed)?);
        }
        if !self.arms.is_empty() {
            runs = select(&runs, &self.arms)?;
        }
        let coverage = match &self.coverage {
            Some(path) => read_json(path, COVERAGE).map_err(failed)?,
            None => BTreeMap::new(),
        };
        let Self { samples, level, seed, .. } = *self;
        let config = ReportConfig {
            title: self.title.clone().unwrap_or_default(),
            date: self.date.clone(),
            resampling: Resampling { samples, level, seed },
            squad: self.norm.map(|norm| matches!(norm, Norm::Squad)),
            examples: self.questions,
            coverage,
        };
        Report::of(&runs, &config).map_err(failed)
    }

    /// The runs that an argument names.
    fn find(&self, given: &str) -> Result<Vec<ReportRun>, mlqa_eval::Error> {
        let files = QuestionFiles {
            data: self.data.clone(),
            language: self.language,
            split: self.split.clone(),
            n_best: self.n_best.clone(),
        };
        let (name, paths) = named_paths(given);
        let found = paths.iter().map(|path| ReportRun::find(path, &files));
        let mut found = found.collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = found.next().unwrap_or_default();
        let mut others: Vec<Vec<ReportRun>> = found.collect();
        let seeds_of = |run: ReportRun| {
            let at = |other: &Vec<ReportRun>| match other.len() {
                1 => Some(0),
                _ => other.iter().position(|other| other.name == run.name),
            };
            let seeds = others.iter_mut().filter_map(|other| at(other).map(|at| other.remove(at)));
            let seeds: Vec<ReportRun> = seeds.collect();
            run.with_seeds_of(seeds)
        };
        let mut runs: Vec<ReportRun> = first.into_iter().map(seeds_of).collect();
        if let Some(name) = name {
            let several = runs.len() > 1;
            for run in &mut runs {
                run.name = if several { format!("{name} {}", run.name) } else { name.to_owned() };
            }
        }
        Ok(runs)
    }
}

/// The name and the paths of `[NAME=]RUN[,RUN…]`, where both may hold the two signs: the reading
/// counts under which all paths exist.
fn named_paths(given: &str) -> (Option<&str>, Vec<&str>) {
    let name_ends = given.match_indices('=').map(|(at, _)| at);
    let readings = || {
        let named =
            name_ends.clone().filter_map(|at| Some((given.get(..at)?, given.get(at + 1..)?)));
        [(None, given)].into_iter().chain(named.map(|(name, paths)| (Some(name), paths)))
    };
    let exists = |path: &&str| Path::new(path).exists();
    let whole = readings().find(|(_, paths)| exists(paths));
    let parts = || readings().find(|(_, paths)| paths.split(',').all(|path| exists(&path)));
    match (whole, parts()) {
        (Some((name, path)), _) => (name, vec![path]),
        (None, Some((name, paths))) => (name, paths.split(',').collect()),
        // The error names what the usual reading finds missing.
        (None, None) => match given.split_once('=') {
            Some((name, paths)) => (Some(name), paths.split(',').collect()),
            None => (None, given.split(',').collect()),
        },
    }
}

/// The runs of these names, in this order.
fn select(runs: &[ReportRun], arms: &[String]) -> Result<Vec<ReportRun>, String> {
    let of_name = |arm: &String| match runs.iter().find(|run| run.name == *arm) {
        Some(run) => Ok(run.clone()),
        None => {
            let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
            Err(format!("--arms {arm}: there is none; expected {}", names.join(", ")))
        }
    };
    arms.iter().map(of_name).collect()
}
