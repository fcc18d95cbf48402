//! The program `qa-report`, also available as `polyqa report`.
use std::path::{Path, PathBuf};

use cli::TextOutput;
use mlqa_eval::Language;
use mlqa_eval::program::{Norm, ResamplingArgs};

use crate::{QuestionFiles, Report, ReportConfig, ReportFormat, ReportRun};

/// Write an HTML report that compares runs: scores, differences, errors and questions.
///
/// The report is one HTML file without external resources. A RUN is one of: a run folder of a
/// recipe (one run per arm); a folder of prediction files with MLQA names; a prediction file; or,
/// for scores only, a matrix.json or a recipe's summary.json. Every run is compared with the first
/// run, on the language pairs that both answer.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-report --data crates/testkit/fixtures/matrix/data \\
    before=crates/testkit/fixtures/matrix/predictions \\
    after=crates/testkit/fixtures/matrix/better --out report.html
  qa-report crates/testkit/fixtures/scorer/ar/predictions.json \\
    --data crates/testkit/fixtures/scorer/ar/dataset.json --language ar \\
    --out arabic.html --formats md,csv,json,svg
  qa-report crates/testkit/fixtures/scorer/ar/predictions.json \\
    --data crates/testkit/fixtures/scorer/ar/dataset.json --language ar \\
    --out titles.html --by title
With your own runs:
  qa-report runs/demo --arms base,injected --out report.html
  qa-report --data MLQA_V1/test before=a1,a2,a3 after=b1,b2,b3 \\
    --out report.html
  qa-report reader=runs/mine other=run_qa_out/eval_predictions.json \\
    --data test-context-de-question-de.json --language de --out report.html

NAME=RUN sets the name of a run. Comma-separated folders or files are the seeds of
one run; arms are combined by name. The output is deterministic.")]
pub struct Args {
    /// Runs to compare
    #[arg(required = true, value_name = "[NAME=]RUN[,RUN…]")]
    runs: Vec<String>,
    /// Output file
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Question file with gold answers, or a folder of files with MLQA names (not needed for run
    /// folders)
    #[arg(long, value_name = "FILE|DIR")]
    data: Option<PathBuf>,
    /// Language code of contexts and answers, if --data is a file
    #[arg(long, value_name = "LANG", value_parser = Language::registered)]
    language: Option<Language>,
    /// Split: the first part of the file names, if --data is a folder
    #[arg(long, default_value = "test")]
    split: String,
    /// n-best lists of a prediction file
    #[arg(long, value_name = "FILE")]
    n_best: Option<PathBuf>,
    /// Arms of run folders, in this order; the first is the baseline [default: all, by name]
    #[arg(long, value_name = "ARM,…", value_delimiter = ',')]
    arms: Vec<String>,
    /// Also write tables or figures in these formats, next to the report
    #[arg(long, value_enum, value_name = "FORMAT,…", value_delimiter = ',')]
    formats: Vec<ReportFormat>,
    #[arg(long = "beside", hide = true, value_parser = |_: &str| Err::<(), _>("use --formats"))]
    _beside: Option<()>,
    /// Title of the report [default: with the languages if there is one language pair]
    #[arg(long)]
    title: Option<String>,
    /// Maximum number of questions in the report; incorrectly answered questions take precedence
    #[arg(long, value_name = "N", default_value_t = ReportConfig::default().max_questions)]
    questions: usize,
    /// Add a table with the scores for each value of this key of the questions, such as type; may be
    /// repeated
    #[arg(long, value_name = "KEY")]
    by: Vec<String>,
    /// Normalisation of answers before comparison [default: the rules of each data set]
    #[arg(long)]
    norm: Option<Norm>,
    #[command(flatten)]
    resampling: ResamplingArgs,
}

/// Writes the report and prints its summary.
///
/// # Errors
/// Returns a one-line message.
pub fn run(args: &Args) -> Result<(), String> {
    if args.out == Path::new("-") && !args.formats.is_empty() {
        return Err("--formats cannot be used with --out -; give a file as --out".into());
    }
    let report = args.report()?;
    report.write(&args.out, &args.formats).map_err(|error| error.to_string())?;
    let summary = report.summary();
    TextOutput::next_to([&args.out])
        .print(&atomic_file::printable_lines(&summary))
        .map_err(|error| format!("cannot write to standard output: {error}"))?;
    if !atomic_file::is_stdout(&args.out) {
        cli::print_stderr(&format!("wrote {}; open it in a browser", args.out.display()));
    }
    Ok(())
}

impl Args {
    /// Scores and compares the runs.
    fn report(&self) -> Result<Report, String> {
        let message = |error: mlqa_eval::Error| error.to_string();
        let mut runs = Vec::new();
        for argument in &self.runs {
            runs.extend(self.find_runs(argument).map_err(message)?);
        }
        if !self.arms.is_empty() {
            runs = select_arms(&runs, &self.arms)?;
        }
        if let Some(key) = self.by.first()
            && runs.iter().all(ReportRun::has_only_scores)
        {
            return Err(format!(
                "--by {key}: the runs have only scores; expected run folders, or predictions with their \
                 question files"
            ));
        }
        let config = ReportConfig {
            // Without a title, the report derives one from the names of the runs.
            title: self.title.as_deref().unwrap_or("").to_owned(),
            resampling: self.resampling.config(),
            squad: self.norm.map(|norm| matches!(norm, Norm::Squad)),
            max_questions: self.questions,
            group_by: self.by.clone(),
        };
        Report::of(&runs, &config).map_err(message)
    }

    /// Finds the runs for a command-line argument `[NAME=]RUN[,RUN…]`.
    fn find_runs(&self, argument: &str) -> Result<Vec<ReportRun>, mlqa_eval::Error> {
        let files = QuestionFiles {
            data: self.data.clone(),
            language: self.language,
            split: self.split.clone(),
            n_best: self.n_best.clone(),
        };
        let (name, paths) = split_argument(argument);
        let runs_by_path = paths.iter().map(|path| ReportRun::find(path, &files));
        let mut runs_by_path = runs_by_path.collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut runs = runs_by_path.next().expect("an argument has at least one path");
        for others in runs_by_path {
            // Two single runs are the same run, also under different names.
            let are_single = runs.len() == 1 && others.len() == 1;
            for other in others {
                match runs.iter_mut().find(|run| are_single || run.name == other.name) {
                    Some(run) => run.add_seeds(other),
                    None => runs.push(other),
                }
            }
        }
        if let Some(name) = name {
            let has_several_runs = runs.len() > 1;
            for run in &mut runs {
                run.name =
                    if has_several_runs { format!("{name} {}", run.name) } else { name.to_owned() };
            }
        }
        Ok(runs)
    }
}

/// Splits `[NAME=]RUN[,RUN…]` into name and paths. Names and paths may contain `=` and `,`, so
/// several splits are possible; a split is selected for which all paths exist.
fn split_argument(argument: &str) -> (Option<&str>, Vec<&str>) {
    let name_ends = argument.match_indices('=').map(|(at, _)| at);
    let splits = || {
        let with_name = name_ends.clone().map(|at| (&argument[..at], &argument[at + 1..]));
        [(None, argument)].into_iter().chain(with_name.map(|(name, paths)| (Some(name), paths)))
    };
    let exists = |path: &&str| Path::new(path).exists();
    let single_path = splits().find(|(_, paths)| exists(paths));
    let several_paths = || splits().find(|(_, paths)| paths.split(',').all(|path| exists(&path)));
    match (single_path, several_paths()) {
        (Some((name, path)), _) => (name, vec![path]),
        (None, Some((name, paths))) => (name, paths.split(',').collect()),
        // If no split has only existing paths, the argument is split at the first `=` and at all
        // commas, so that a later error names the missing path.
        (None, None) => match argument.split_once('=') {
            Some((name, paths)) => (Some(name), paths.split(',').collect()),
            None => (None, argument.split(',').collect()),
        },
    }
}

/// Selects runs by name, in the order of `arms`.
fn select_arms(runs: &[ReportRun], arms: &[String]) -> Result<Vec<ReportRun>, String> {
    let find_run = |arm: &String| match runs.iter().find(|run| run.name == *arm) {
        Some(run) => Ok(run.clone()),
        None => {
            let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
            Err(format!("--arms: no arm `{arm}`; expected {}", names.join(", ")))
        }
    };
    arms.iter().map(find_run).collect()
}
