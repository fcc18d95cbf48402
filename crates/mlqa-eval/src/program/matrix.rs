//! `mlqa-eval matrix`: every pair of languages at once.
use std::path::PathBuf;

use crate::{Cell, Dataset, Error, Matrix, Predictions, dataset_names, language_file, score};
use whole_file::cli::progress;

use super::score::NormArg;
use super::{Stop, print};

/// Score all language pairs of a folder and write matrix.md, matrix.json and matrix.html.
///
/// Data and prediction files are named `{split}-context-{c}-question-{q}.json`; a pair without
/// predictions leaves its cell empty. The Markdown goes to standard output as well.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval matrix --data crates/testkit/fixtures/matrix/data \\
    --predictions crates/testkit/fixtures/matrix/predictions --out tables
With MLQA:
  mlqa-eval matrix --data MLQA_V1/test --predictions run/predictions \\
    --out run/tables")]
pub struct Args {
    /// Folder of question files
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder of prediction files of the same names
    #[arg(long, value_name = "DIR")]
    predictions: PathBuf,
    /// The first word of the file names
    #[arg(long, default_value = "test")]
    split: String,
    /// Folder for the three files
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// The tables' title
    #[arg(long, default_value = "Generalised cross-lingual transfer")]
    title: String,
    #[command(flatten)]
    norm: NormArg,
}

pub fn run(args: &Args) -> Result<(), Stop> {
    let names = dataset_names(&args.data, &args.split)?;
    let bar = progress(names.len(), "");
    let mut matrix = Matrix::new(&args.title);
    for name in &names {
        let file = name.to_string();
        bar.set_message(file.clone());
        let predictions = language_file(&args.predictions, &file);
        if predictions.exists() {
            let dataset = Dataset::read(language_file(&args.data, &file))?;
            let rules = args.norm.rules(name.context);
            let result = score(&dataset, &Predictions::read(predictions)?, rules)?;
            matrix.insert(name.context, name.question, Cell::from(&result));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if matrix.is_empty() {
        let what = format!("{}-context-…-question-….json that --data has, too,", args.split);
        return Err(Error::NothingFound { what, path: args.predictions.clone() }.into());
    }
    matrix.write(&args.out)?;
    print(&matrix.to_markdown())
}
