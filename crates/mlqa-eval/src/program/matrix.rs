//! `mlqa-eval matrix`: scores of all language pairs.
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::{
    Cell, Dataset, Error, Matrix, Predictions, find_language_file, list_dataset_names, score,
};
use cli::progress;

use super::score::NormArg;
use super::{Failure, print};

/// Score all language pairs of a folder and write matrix.md and matrix.json.
///
/// Question and prediction files are named `{split}-context-{c}-question-{q}.json`. A pair without
/// predictions has an empty cell. The Markdown is also printed to standard output. Several folders,
/// such as the folds of a cross-validation, are scored together; repeat --data and --predictions.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval matrix --data crates/testkit/fixtures/matrix/data \\
    --predictions crates/testkit/fixtures/matrix/predictions --out tables
With MLQA:
  mlqa-eval matrix --data MLQA_V1/test --predictions run/predictions \\
    --out run/tables
Two folds:
  mlqa-eval matrix --data fold-1 --predictions run-1/predictions \\
    --data fold-2 --predictions run-2/predictions --out tables")]
pub struct Args {
    /// Folder of question files
    #[arg(long, value_name = "DIR", required = true)]
    data: Vec<PathBuf>,
    /// Folder of prediction files with the names of the question files
    #[arg(long, value_name = "DIR", required = true)]
    predictions: Vec<PathBuf>,
    /// Split: the first part of the file names
    #[arg(long, default_value = "test")]
    split: String,
    /// Output folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    #[command(flatten)]
    norm: NormArg,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let (Some(first_data), Some(last_predictions)) = (args.data.first(), args.predictions.last())
    else {
        return Err(Failure::Usage("--data and --predictions are both required".to_owned()));
    };
    if args.data.len() != args.predictions.len() {
        let (expected, got) = (args.data.len(), args.predictions.len());
        let message =
            format!("--predictions: expected {expected} folders, one per --data, got {got}");
        return Err(Failure::Usage(message));
    }
    let names = list_dataset_names(first_data, &args.split)?;
    let bar = progress(names.len(), "");
    let mut matrix = Matrix::new("Generalised cross-lingual transfer");
    for name in &names {
        let file = name.to_string();
        bar.set_message(file.clone());
        if let Some((dataset, predictions)) = join_folders(args, &file)? {
            let result = score(&dataset, &predictions, args.norm.rules(name.context)?)?;
            matrix.insert(name.context, name.question, Cell::from(&result));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if matrix.is_empty() {
        let what =
            format!("{}-context-…-question-….json with the name of a file in --data", args.split);
        return Err(Error::NothingFound { what, path: last_predictions.clone() }.into());
    }
    matrix.write(&args.out)?;
    print(&matrix.to_markdown())
}

/// Returns the questions and predictions of a language pair from all folders; `None` if the first
/// folder has no predictions for the pair.
fn join_folders(args: &Args, file: &str) -> Result<Option<(Dataset, Predictions)>, Failure> {
    let mut pair_data: Option<(Dataset, Predictions)> = None;
    for (data, predictions) in args.data.iter().zip(&args.predictions) {
        let predictions = find_language_file(predictions, file);
        if pair_data.is_none() && !predictions.exists() {
            return Ok(None);
        }
        let dataset = Dataset::read(find_language_file(data, file))?;
        let predictions = Predictions::read(predictions)?;
        let Some((questions, answers)) = &mut pair_data else {
            pair_data = Some((dataset, predictions));
            continue;
        };
        let ids: BTreeSet<&str> =
            questions.questions.iter().map(|question| question.id.as_str()).collect();
        if let Some(duplicate) =
            dataset.questions.iter().find(|question| ids.contains(question.id.as_str()))
        {
            let (id, path) = (&duplicate.id, dataset.path.display());
            return Err(Failure::Usage(format!(
                "{path}: question {id} occurs in another folder of --data, too; question ids must be unique"
            )));
        }
        questions.questions.extend(dataset.questions);
        answers.0.extend(predictions.0);
    }
    Ok(pair_data)
}
