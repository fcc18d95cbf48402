//! `transfer-eval names`: scores predicted entity names against judged names.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use transfer_eval::names::{
    NameConfig, PrintedScores, check_printed, read_gold, read_predicted, score_coverage,
    score_precision,
};

use crate::{CommandResult, print, print_json, print_stderr};

/// Score the names of entities in one language, as in WikiKGE-10 (Conia et al. 2023).
#[derive(clap::Subcommand)]
pub enum Command {
    Coverage(ScoreArgs),
    Precision(PrecisionArgs),
    Table(TableArgs),
}

/// Print the coverage of the correct names as JSON: precision, recall and F1 in percent.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval names coverage --threshold 2 \\
    data/wikikge-10/data/names/gold/de.json.gz \\
    data/wikikge-10/data/names/m-nta/with_gpt-4/de.m-nta.json.gz
With names of `kg-triples names`:
  transfer-eval names coverage de.json names.jsonl --language de")]
pub struct ScoreArgs {
    /// JSON lines with the keys wikidata_id, correct_values and incorrect_values
    gold: PathBuf,
    /// JSON lines with the keys wikidata_id (or entity) and values, a list of names or of
    /// [confidence, name, primary]
    predicted: PathBuf,
    /// Minimum confidence of a predicted name; the authors use 2 for the coverage of M-NTA
    #[arg(long, default_value_t = 1, value_name = "N")]
    threshold: u32,
    /// Only use names marked as primary, such as Wikidata's labels
    #[arg(long)]
    primary: bool,
    /// Only use predictions in this language; requires a file whose lines have the key lang
    #[arg(long, value_name = "LANG")]
    language: Option<String>,
}

/// Print scores of how well the predictions separate correct from incorrect names, as JSON, in
/// percent.
///
/// `accuracy` and `recall` are the authors' P and R. `wrong` is the share of incorrect names among
/// the predicted names that were judged.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval names precision data/wikikge-10/data/names/gold/de.json.gz \\
    data/wikikge-10/data/names/m-nta/with_gpt-4/de.m-nta.json.gz
  transfer-eval names precision data/wikikge-10/data/names/gold/zh.json.gz \\
    data/wikikge-10/data/names/wikidata/zh.json.gz --primary")]
pub struct PrecisionArgs {
    #[command(flatten)]
    args: ScoreArgs,
}

/// Score the released predictions in ten languages, compare all counts and scores with the authors'
/// output, and print F1.
///
/// If a value differs, the command fails and prints both values.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  transfer-eval names table data/wikikge-10
With all predictions:
  git clone https://github.com/apple/ml-kge
  transfer-eval names table ml-kge")]
pub struct TableArgs {
    /// Folder that contains data/names and results
    folder: PathBuf,
}

impl ScoreArgs {
    fn config(&self) -> NameConfig {
        let (threshold, primary) = (self.threshold, self.primary);
        NameConfig { threshold, primary, language: self.language.clone() }
    }
}

pub fn run(command: &Command) -> CommandResult {
    match command {
        Command::Coverage(args) => {
            let predicted = read_predicted(&args.predicted, &args.config())?;
            print_json(&score_coverage(&read_gold(&args.gold)?, &predicted)?)
        }
        Command::Precision(PrecisionArgs { args }) => {
            let predicted = read_predicted(&args.predicted, &args.config())?;
            print_json(&score_precision(&read_gold(&args.gold)?, &predicted)?)
        }
        Command::Table(TableArgs { folder }) => {
            let scores = check_printed(folder)?;
            print(&markdown_table(&scores))?;
            let count: usize = scores.values().map(BTreeMap::len).sum();
            print_stderr(&format!("{count} scores equal the authors' output"));
            Ok(())
        }
    }
}

/// Formats a table of F1 with a row for each metric and system and a column for each language.
fn markdown_table(scores: &PrintedScores) -> String {
    let languages: BTreeSet<&String> = scores.values().flat_map(BTreeMap::keys).collect();
    let row = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let names = languages.iter().map(|language| language.as_str());
    let mut text = row(["F1"].into_iter().chain(names).collect());
    text += &format!("|---|{}\n", "---:|".repeat(languages.len()));
    for (system, f1) in scores {
        let cells = languages.iter().map(|&language| f1.get(language).map_or("–", String::as_str));
        text += &row([system.as_str()].into_iter().chain(cells).collect());
    }
    text
}
