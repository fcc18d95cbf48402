//! `mlqa-eval tables` and `compare`: the papers' numbers.
use std::fmt::Write;
use std::path::PathBuf;

use crate::{Compared, Error, Matrix, compare, compared_markdown};
use clap::ValueEnum;
use results::{Published, select, tables};
use serde::Serialize;

use super::runs::{self, RunsArgs};
use super::{Stop, json, print};

/// Print the papers' result tables as data.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval tables --table 000-1
  mlqa-eval tables --model xlm-k --language zh --format csv")]
pub struct Args {
    /// Paper and table, as 000-1 (all tables if not given)
    #[arg(long, value_name = "ID")]
    table: Option<String>,
    /// A part of the model's name
    #[arg(long)]
    model: Option<String>,
    /// Language code, or avg
    #[arg(long)]
    language: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Md,
    Csv,
    Json,
}

pub fn run(args: &Args) -> Result<(), Stop> {
    if let Some(table) = &args.table
        && !tables().contains(&table.as_str())
    {
        let message = format!("there is none; expected one of {}", tables().join(", "));
        return Err(Error::Table { given: table.clone(), message }.into());
    }
    let rows = select(args.table.as_deref(), args.model.as_deref(), args.language.as_deref());
    if rows.is_empty() {
        let message = "no number matches; `mlqa-eval tables` prints all of them";
        return Err(Stop::Usage(message.into()));
    }
    print(&match args.format {
        Format::Md => markdown(&rows),
        Format::Csv => csv(&rows)?,
        Format::Json => json(&rows)?,
    })
}

fn markdown(rows: &[&Published]) -> String {
    let mut out = String::from(
        "| table | model | setting | language | metric | value | note |\n\
         |---|---|---|---|---|---:|---|\n",
    );
    for Published { table, model, setting, language, metric, value, note } in rows {
        let _ = writeln!(
            out,
            "| {table} | {model} | {setting} | {language} | {metric} | {value} | {note} |"
        );
    }
    out
}

fn csv(rows: &[impl Serialize]) -> Result<String, Stop> {
    let failed = |error: &dyn std::fmt::Display| Stop::Usage(format!("cannot write CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

/// Print a run beside a paper's table, number by number, or two runs with what their difference is
/// worth.
///
/// Two runs are compared question by question: difference with bootstrap interval, p of approximate
/// randomisation and of the bootstrap. Several files or folders of one run are its seeds.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval matrix --data crates/testkit/fixtures/matrix/data \\
    --predictions crates/testkit/fixtures/matrix/predictions --out run
  mlqa-eval compare --table 000-1 --run run/matrix.json --model ours
  mlqa-eval compare --data crates/testkit/fixtures/matrix/data \\
    --baseline crates/testkit/fixtures/matrix/predictions \\
    --predictions crates/testkit/fixtures/matrix/better
With three seeds of two runs:
  mlqa-eval compare --data test-context-de-question-de.json --language de \\
    --baseline a1.json,a2.json,a3.json --predictions b1.json,b2.json,b3.json

Of twenty comparisons one is significant at 0.05 by chance: p (Holm) is p of
the randomisation, corrected for all rows of a metric. Of several seeds, each
question counts with its mean, and the spread is over seeds; the p-values speak
of other questions, not of other seeds.")]
pub struct CompareArgs {
    /// Paper and table, as 000-1
    #[arg(long, value_name = "ID", required_unless_present = "data", requires = "run")]
    table: Option<String>,
    /// matrix.json of `mlqa-eval matrix`
    #[arg(long, value_name = "FILE", requires = "table")]
    run: Option<PathBuf>,
    /// A part of the model's name
    #[arg(long, requires = "table")]
    model: Option<String>,
    /// The numbers of the table on this data, as MTQA (MLQA and XQuAD if not given)
    #[arg(long, value_name = "NAME", requires = "table")]
    on: Option<String>,
    #[command(flatten)]
    runs: RunsArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

pub fn run_compare(args: &CompareArgs) -> Result<(), Stop> {
    let (Some(table), Some(run)) = (&args.table, &args.run) else {
        let rows = args.runs.compare()?;
        return print(&match args.format {
            Format::Md => runs::markdown(&rows),
            Format::Json => json(&rows)?,
            Format::Csv => csv(&rows)?,
        });
    };
    let run = Matrix::read_json(run)?;
    let data = args.on.as_deref().map_or(vec!["MLQA", "XQuAD"], |data| vec![data]);
    let mut rows = compare(table, &data, &run)?;
    if let Some(model) = &args.model {
        let model = model.to_lowercase();
        rows.retain(|row| row.published.model.to_lowercase().contains(&model));
        if rows.is_empty() {
            let message = format!("no model of table {table} has `{model}` in its name");
            return Err(Stop::Usage(message));
        }
    }
    print(&match args.format {
        Format::Md => compared_markdown(&rows),
        Format::Json => json(&rows)?,
        Format::Csv => csv(&rows.iter().map(Flat::from).collect::<Vec<_>>())?,
    })
}

/// One line of the comparison's CSV.
#[derive(Serialize)]
struct Flat<'a> {
    model: &'a str,
    setting: &'a str,
    language: &'a str,
    metric: &'a str,
    paper: f64,
    run: Option<f64>,
    difference: Option<f64>,
}

impl<'a> From<&'a Compared> for Flat<'a> {
    fn from(row: &'a Compared) -> Self {
        let Published { model, setting, language, metric, value, .. } = &row.published;
        let (run, difference) = (row.run, row.difference());
        Self { model, setting, language, metric, paper: *value, run, difference }
    }
}
