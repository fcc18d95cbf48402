//! `mlqa-eval tables` and `compare`: published results and comparisons with them.
use std::fmt::Write;
use std::path::PathBuf;

use crate::{Error, Matrix, compare, comparison_markdown};
use clap::ValueEnum;
use results::{Published, select_published, table_ids};

use super::runs::{self, RunsArgs};
use super::{Failure, format_json, print};

/// Print published result tables of the papers.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mlqa-eval tables --table 000-1
  mlqa-eval tables --model xlm-k --language zh")]
pub struct Args {
    /// Table id, such as 000-1 for the first table of paper 000 [default: all tables]
    #[arg(long, value_name = "ID")]
    table: Option<String>,
    /// Print only models whose names contain this text
    #[arg(long)]
    model: Option<String>,
    /// Print only rows of this language code (avg for averages)
    #[arg(long)]
    language: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Md,
    Json,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(table) = &args.table
        && !table_ids().contains(&table.as_str())
    {
        let message = format!("no such table; expected one of {}", table_ids().join(", "));
        return Err(Error::Table { id: table.clone(), message }.into());
    }
    let rows =
        select_published(args.table.as_deref(), args.model.as_deref(), args.language.as_deref());
    if rows.is_empty() {
        let message = "no published value matches --table, --model and --language; `mlqa-eval tables` prints all";
        return Err(Failure::Usage(message.into()));
    }
    print(&match args.format {
        Format::Md => format_markdown(&rows),
        Format::Json => format_json(&rows)?,
    })
}

fn format_markdown(rows: &[&Published]) -> String {
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

/// Compare a run with a published table (--table), or two runs with each other (--data).
///
/// Two runs are compared question by question. The output has the difference with a bootstrap
/// interval, and p-values of approximate randomisation and of the bootstrap. A run with several
/// seeds has one file or folder of predictions per seed.
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

p (Holm) is the p-value of the randomisation test with Holm's correction for all
rows of a metric. With several seeds, each question has its mean over seeds, and
± is the 95 % confidence interval over seeds. The p-values account for the choice
of questions, not of seeds.")]
pub struct CompareArgs {
    /// Table id, such as 000-1 for the first table of paper 000; `mlqa-eval tables` prints all
    #[arg(long, value_name = "ID", required_unless_present = "data", requires = "run")]
    table: Option<String>,
    /// matrix.json of `mlqa-eval matrix`
    #[arg(long, value_name = "FILE", requires = "table")]
    run: Option<PathBuf>,
    /// Compare only models whose names contain this text
    #[arg(long, requires = "table")]
    model: Option<String>,
    #[command(flatten)]
    runs: RunsArgs,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

pub fn run_compare(args: &CompareArgs) -> Result<(), Failure> {
    let (Some(table), Some(run)) = (&args.table, &args.run) else {
        let rows = args.runs.compare()?;
        return print(&match args.format {
            Format::Md => runs::format_markdown(&rows),
            Format::Json => format_json(&rows)?,
        });
    };
    let run = Matrix::read_json(run)?;
    let mut rows = compare(table, &run)?;
    if let Some(model) = &args.model {
        let model = model.to_lowercase();
        rows.retain(|row| row.published.model.to_lowercase().contains(&model));
        if rows.is_empty() {
            let message =
                format!("--model: table {table} has no model whose name contains `{model}`");
            return Err(Failure::Usage(message));
        }
    }
    print(&match args.format {
        Format::Md => comparison_markdown(&rows),
        Format::Json => format_json(&rows)?,
    })
}
