//! Tables by share of missing texts, `numbers.jsonl` and `summary.json`.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::{Experiment, Results};
use results::{MeanInterval, Measured, Table};
use serde::{Deserialize, Serialize};
use serde_json::json;
use transfer_eval::retrieval::RankSummary;

use crate::recipe::{Recipe, Setting};
use crate::train::Added;

/// Ranks of a trial.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Scores {
    pub settings: Vec<SettingScores>,
}

/// The rank of each held-out entity's counterpart, in both directions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SettingScores {
    pub setting: Setting,
    pub cosine: Vec<usize>,
    pub csls: Vec<usize>,
}

/// Language of the mean over all languages.
const AVERAGE: &str = "avg";

/// Metric, language and value in percent, in the order of columns.
type Row = Vec<(&'static str, String, f64)>;

/// Computes the values of the settings with the same share of missing texts.
fn row(settings: &[&SettingScores]) -> Result<Row> {
    let mut by_language: Vec<(String, Vec<(&'static str, f64)>)> = Vec::new();
    for scores in settings {
        let summarise = |ranks: &[usize]| RankSummary::of(ranks).context("no ranks");
        let (cosine, csls) = (summarise(&scores.cosine)?, summarise(&scores.csls)?);
        let values = vec![
            ("h@1", cosine.accuracy),
            ("h@10", cosine.hits_at_10),
            ("mrr", 100.0 * cosine.mrr),
            ("h@1, CSLS", csls.accuracy),
            ("h@10, CSLS", csls.hits_at_10),
            ("mrr, CSLS", 100.0 * csls.mrr),
        ];
        by_language.push((scores.setting.language.to_string(), values));
    }
    let (_, first) = by_language.first().context("no language")?;
    let metrics: Vec<&'static str> = first.iter().map(|(metric, _)| *metric).collect();
    let mut row = Vec::new();
    for (index, metric) in metrics.into_iter().enumerate() {
        let values = || by_language.iter().map(move |(_, values)| values[index].1);
        row.push((metric, AVERAGE.to_owned(), MeanInterval::of(values()).mean));
        let languages = by_language.iter().zip(values());
        row.extend(languages.map(|((language, _), value)| (metric, language.clone(), value)));
    }
    Ok(row)
}

/// Returns whether a value is a column of the tables: all means, and H@1 of each language.
fn is_column(metric: &str, language: &str) -> bool {
    language == AVERAGE || metric == "h@1"
}

/// Writes `table.md`, `numbers.jsonl` and `summary.json`, and prints the first table.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<Vec<Added>, Scores>) -> Result<()> {
    let recipe = &experiment.recipe;
    let (mut tables, mut numbers) = (Vec::new(), Vec::new());
    for &missing in &recipe.missing {
        let mut table: Option<Table> = None;
        for arm in experiment.arms() {
            let title = recipe.arms[arm].title.as_deref().unwrap_or(arm);
            let mut seeds: Vec<Row> = Vec::new();
            for trial in results.of_arm(arm) {
                let settings = &trial.evaluated.settings;
                let of_share = settings.iter().filter(|scores| scores.setting.missing == missing);
                seeds.push(row(&of_share.collect::<Vec<_>>())?);
            }
            let first = seeds.first().context("no seed was run")?;
            let percent = Setting { language: mlqa_eval::Language::EN, missing }.percent();
            let setting = format!("{percent} % missing");
            let mut cells = Vec::new();
            for (index, (metric, language, _)) in first.iter().enumerate() {
                let values = seeds.iter().map(|seed| seed[index].2);
                let number = Measured::of_seeds(title, &setting, language, metric, values);
                if is_column(metric, language) {
                    let column = match language.as_str() {
                        AVERAGE => (*metric).to_owned(),
                        _ => format!("{language}, {metric}"),
                    };
                    cells.push((column, number.mean_interval().to_string()));
                }
                numbers.push(number);
            }
            let (columns, cells): (Vec<String>, Vec<String>) = cells.into_iter().unzip();
            let corner = format!("{percent} % of the texts missing");
            table.get_or_insert_with(|| Table::new(corner, columns)).add_row(title, cells);
        }
        tables.push(table.context("no arm was run")?.to_string());
    }
    let mut added: BTreeMap<&str, BTreeMap<String, [f64; 2]>> = BTreeMap::new();
    for arm in experiment.arms().iter().filter(|arm| recipe.arms[*arm].iterate) {
        let mut by_setting: BTreeMap<String, Vec<[f64; 2]>> = BTreeMap::new();
        for pairs in results.of_arm(arm).flat_map(|trial| &trial.trained) {
            let counts = [pairs.count as f64, pairs.correct as f64];
            by_setting.entry(pairs.setting.name()).or_default().push(counts);
        }
        let mean = |(name, counts): (String, Vec<[f64; 2]>)| {
            let of = |k: usize| MeanInterval::of(counts.iter().map(|counts| counts[k])).mean;
            (name, [of(0), of(1)])
        };
        added.insert(arm, by_setting.into_iter().map(mean).collect());
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let summary = json!({
        "seeds": experiment.seeds(),
        "added_and_correct_pairs": added,
        "seconds": results.seconds(),
    });
    Ok(experiment.finish(&summary, &tables.join("\n"), "")?)
}
