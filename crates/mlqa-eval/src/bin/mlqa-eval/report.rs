//! `mlqa-eval report`: one page about runs.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use mlqa_eval::{
    CoveredTokens, EvalError, Language, QuestionFiles, Report, ReportConfig, ReportForm, ReportRun,
};

use crate::score::{NormArg, ResamplingArgs};
use crate::{Stop, print};

/// Write one page about runs: scores, differences, errors, and the questions themselves.
///
/// The page is one HTML file that needs nothing else. A RUN is a run folder of a recipe (one run
/// for each arm), a folder of prediction files named as MLQA's, a prediction file, or what `score
/// --per-question` wrote; for scores alone, a matrix.json or a recipe's summary.json. Others are
/// compared with the first.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval report --data crates/testkit/fixtures/matrix/data \\
    crates/testkit/fixtures/matrix/predictions --out report.html
  mlqa-eval report crates/testkit/fixtures/scorer/ar/predictions.json \\
    --data crates/testkit/fixtures/scorer/ar/dataset.json --language ar \\
    --out arabic.html --beside md,csv,json,svg
With runs of your own:
  mlqa-eval report runs/demo --arms base,injected --out report.html
  mlqa-eval report --data MLQA_V1/test before=a1,a2,a3 after=b1,b2,b3 \\
    --out report.html

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
    beside: Vec<Form>,
    /// At the top of the page [default: what the questions and texts are]
    #[arg(long)]
    title: Option<String>,
    /// The day of the runs [default: the newest day of a file of predictions]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    /// Most questions in the page, those with an error first
    #[arg(long, value_name = "N", default_value_t = ReportConfig::default().examples)]
    questions: usize,
    #[command(flatten)]
    norm: NormArg,
    #[command(flatten)]
    resampling: ResamplingArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// All tables in one Markdown file
    Md,
    /// A file for each table
    Csv,
    /// All tables in one file
    Json,
    /// A file for each drawing
    Svg,
}

impl From<Form> for ReportForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Md => Self::Markdown,
            Form::Csv => Self::Csv,
            Form::Json => Self::Json,
            Form::Svg => Self::Svg,
        }
    }
}

pub fn run(args: &Args) -> Result<(), Stop> {
    if args.out == Path::new("-") && !args.beside.is_empty() {
        return Err(Stop::Usage("--beside needs a file as --out, to be named after".into()));
    }
    let mut runs = Vec::new();
    for given in &args.runs {
        runs.extend(args.find(given)?);
    }
    if !args.arms.is_empty() {
        runs = select(&runs, &args.arms)?;
    }
    let coverage = match &args.coverage {
        Some(path) => read_coverage(path)?,
        None => BTreeMap::new(),
    };
    let config = ReportConfig {
        title: args.title.clone().unwrap_or_default(),
        date: args.date.clone(),
        resampling: args.resampling.config(),
        squad: args.norm.squad(),
        examples: args.questions,
        coverage,
    };
    let report = Report::of(&runs, &config)?;
    let forms: Vec<ReportForm> = args.beside.iter().copied().map(ReportForm::from).collect();
    report.write(&args.out, &forms)?;
    print(&report.summary())
}

impl Args {
    /// The runs that an argument names.
    fn find(&self, given: &str) -> Result<Vec<ReportRun>, EvalError> {
        let files = QuestionFiles {
            data: self.data.clone(),
            language: self.language,
            split: self.split.clone(),
            n_best: self.n_best.clone(),
        };
        let (name, paths) = named_paths(given);
        let mut found = Vec::new();
        for path in &paths {
            found.push(ReportRun::find(path, &files)?);
        }
        let mut runs = found.into_iter();
        let first = runs.next().unwrap_or_default();
        let mut others: Vec<Vec<ReportRun>> = runs.collect();
        let seeds_of = |mut run: ReportRun| {
            let at = |other: &Vec<ReportRun>| match (paths.len(), other.len()) {
                (_, 1) => Some(0),
                _ => other.iter().position(|other| other.name == run.name),
            };
            let seeds = others.iter_mut().filter_map(|other| at(other).map(|at| other.remove(at)));
            let seeds: Vec<ReportRun> = seeds.collect();
            run = run.with_seeds_of(seeds);
            run
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
fn select(runs: &[ReportRun], arms: &[String]) -> Result<Vec<ReportRun>, Stop> {
    let of_name = |arm: &String| match runs.iter().find(|run| run.name == *arm) {
        Some(run) => Ok(run.clone()),
        None => {
            let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
            let message = format!("--arms {arm}: there is none; expected {}", names.join(", "));
            Err(Stop::Usage(message))
        }
    };
    arms.iter().map(of_name).collect()
}

/// What `mlqa-eval coverage` prints, by language.
fn read_coverage(path: &Path) -> Result<BTreeMap<Language, CoveredTokens>, EvalError> {
    let text = whole_file::read_to_string(path)
        .map_err(|source| EvalError::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|error| EvalError::Json {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        message: error.to_string(),
        expected: "{\"de\": {\"covered\": 1, \"total\": 2, \"ratio\": 0.5}, …}",
    })
}
