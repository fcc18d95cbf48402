//! Report of the arms in the form of the paper's tables.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::{Experiment, Results};
use results::{MeanInterval, Measured, Table, cell};
use serde::Serialize;
use tasks::knowledge::ProbeScores;
use transfer_eval::retrieval::{RankSummary, RetrievalScore, RetrievalSummary};

use crate::recipe::Recipe;

/// Function that returns the score of a probe, if the probe has queries.
type ScoreOfProbe = fn(&ProbeScores) -> &Option<RetrievalScore>;

/// Key in `summary.json`, description and score of each probe.
const PROBES: [(&str, &str, ScoreOfProbe); 4] = [
    ("xep_seen", "XEP, mentions in held-out texts", |scores| &scores.xep_seen),
    ("xep", "New pairs, mentions in pairs of languages that were not trained", |scores| {
        &scores.xep
    }),
    ("xep_new", "New entities", |scores| &scores.xep_new),
    ("xor", "XOR, held-out facts", |scores| &scores.xor),
];

/// Names of the probes in `numbers.jsonl`.
const SETTINGS: [&str; 4] = ["XEP", "XEP, new pairs", "XEP, new entities", "XOR"];

/// Results of an arm over all seeds, or of a baseline.
#[derive(Serialize)]
struct Row {
    title: String,
    #[serde(flatten)]
    probes: BTreeMap<&'static str, Option<RetrievalSummary>>,
    /// XOR's accuracy, averaged over relations.
    xor_by_relation: Option<MeanInterval>,
    #[serde(skip)]
    numbers: Vec<Measured>,
    tokens: u64,
    seconds: f64,
}

impl Row {
    fn new(title: &str, seeds: &[&ProbeScores], tokens: u64, seconds: f64) -> Self {
        let over_seeds_of = |score_of: ScoreOfProbe| {
            RetrievalSummary::over_seeds(seeds.iter().map(|scores| score_of(scores).as_ref()))
        };
        let probes = PROBES.map(|(key, _, probe)| (key, over_seeds_of(probe))).into();
        let by_relation: Option<Vec<f64>> =
            seeds.iter().map(|scores| scores.xor_by_relation).collect();
        let measured = |setting: &str, metric: &str, seeds: Option<Vec<f64>>| {
            Some(Measured::of_seeds(title, setting, "all", metric, seeds?))
        };
        let mut numbers = vec![measured("XOR", "macro accuracy", by_relation.clone())];
        for (setting, (_, _, probe)) in SETTINGS.iter().zip(PROBES) {
            let values_by_seed = |value: fn(&RankSummary) -> f64| {
                seeds.iter().map(|scores| Some(value(&probe(scores).as_ref()?.all))).collect()
            };
            numbers.push(measured(setting, "accuracy", values_by_seed(|ranks| ranks.accuracy)));
            numbers.push(measured(setting, "hits@10", values_by_seed(|ranks| ranks.hits_at_10)));
        }
        Self {
            title: title.to_owned(),
            probes,
            xor_by_relation: by_relation.map(MeanInterval::of),
            numbers: numbers.into_iter().flatten().collect(),
            tokens,
            seconds,
        }
    }

    fn probe(&self, key: &str) -> Option<&RetrievalSummary> {
        self.probes.get(key)?.as_ref()
    }
}

/// `summary.json`.
#[derive(Serialize)]
struct Summary<'a> {
    seeds: &'a [u64],
    baselines: Vec<Row>,
    arms: BTreeMap<&'a str, Row>,
}

/// Writes the report and prints its table.
pub fn write(
    experiment: &Experiment<Recipe>,
    baselines: &[(&str, ProbeScores)],
    results: &Results<f64, ProbeScores>,
) -> Result<()> {
    let baselines =
        baselines.iter().map(|(title, scores)| Row::new(title, &[scores], 0, 0.0)).collect();
    let mut summary = Summary { seeds: experiment.seeds(), baselines, arms: BTreeMap::new() };
    for name in experiment.arms() {
        let arm = experiment.recipe.arms.get(name);
        let title = arm.and_then(|arm| arm.title.as_ref()).unwrap_or(name);
        let scores: Vec<&ProbeScores> =
            results.of_arm(name).map(|trial| &trial.evaluated).collect();
        let tokens = results.of_arm(name).map(|trial| trial.tokens).sum::<u64>();
        let seconds = results.over_seeds(name, |trial| trial.seconds).mean;
        let row = Row::new(title, &scores, tokens / scores.len().max(1) as u64, seconds);
        summary.arms.insert(name, row);
    }
    let rows = summary.baselines.iter().chain(summary.arms.values());
    let numbers: Vec<Measured> = rows.flat_map(|row| row.numbers.clone()).collect();
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let arms = experiment.arms().iter().filter_map(|name| summary.arms.get(name.as_str()));
    let text = table(&summary.baselines.iter().chain(arms).collect::<Vec<_>>());
    Ok(experiment.finish(&summary, &text, "")?)
}

fn table(rows: &[&Row]) -> String {
    let first = rows.iter().find_map(|row| row.probe("xep_seen"));
    let languages: Vec<&str> =
        first.into_iter().flat_map(|probe| probe.languages.keys().map(String::as_str)).collect();
    let mut columns = vec!["XEP"];
    columns.extend(&languages);
    columns.extend(["hits@10", "XEP, new pairs", "hits@10", "XEP, new entities", "XOR", "hits@10"]);
    columns.push("XOR, by relation");
    let mut table = Table::new("accuracy, %", columns);
    for row in rows {
        let accuracy_cell = |key| cell(row.probe(key).map(|probe| probe.accuracy));
        let hits_cell = |key| cell(row.probe(key).map(|probe| probe.hits_at_10));
        let language_cell =
            |code: &&str| cell(row.probe("xep_seen").and_then(|probe| probe.languages.get(*code)));
        let mut cells = vec![accuracy_cell("xep_seen")];
        cells.extend(languages.iter().map(language_cell));
        cells.extend([hits_cell("xep_seen"), accuracy_cell("xep"), hits_cell("xep")]);
        cells.extend([accuracy_cell("xep_new"), accuracy_cell("xor"), hits_cell("xor")]);
        cells.push(cell(row.xor_by_relation));
        table.add_row(&row.title, cells);
    }
    let notes = PROBES.iter().filter_map(|(key, name, _)| {
        let probe = rows.iter().find_map(|row| row.probe(key))?;
        let RetrievalSummary { queries, candidates, chance, .. } = probe;
        Some(format!("{name}: {queries} queries, {candidates} candidates, chance {chance:.2} %."))
    });
    format!("{table}\n{}\n", notes.collect::<Vec<_>>().join(" "))
}
