//! What the arms showed, as the paper's tables have it.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::{Experiment, Results};
use results::{Measured, Table, cell};
use serde::Serialize;
use tasks::knowledge::ProbeScores;
use transfer_eval::retrieval::{RetrievalScore, RetrievalSpread};

use crate::recipe::Recipe;

/// The score of one probe, where it has queries.
type Probe = fn(&ProbeScores) -> &Option<RetrievalScore>;

/// The probes by their keys in `summary.json`, and what they are.
const PROBES: [(&str, &str, Probe); 4] = [
    ("xep_seen", "XEP, mentions in held-out texts", |scores| &scores.xep_seen),
    ("xep", "New pairs, the same in pairs of languages that were not trained", |scores| {
        &scores.xep
    }),
    ("xep_new", "New entities", |scores| &scores.xep_new),
    ("xor", "XOR, held-out facts", |scores| &scores.xor),
];

/// An arm over all seeds, or a baseline.
#[derive(Serialize)]
struct Row {
    title: String,
    #[serde(flatten)]
    probes: BTreeMap<&'static str, Option<RetrievalSpread>>,
    tokens: u64,
    seconds: f64,
}

impl Row {
    fn new(title: &str, seeds: &[&ProbeScores], tokens: u64, seconds: f64) -> Self {
        let over = |probe: Probe| {
            RetrievalSpread::over_seeds(seeds.iter().map(|scores| probe(scores).as_ref()))
        };
        let probes = PROBES.map(|(key, _, probe)| (key, over(probe))).into();
        Self { title: title.to_owned(), probes, tokens, seconds }
    }

    fn probe(&self, key: &str) -> Option<&RetrievalSpread> {
        self.probes.get(key)?.as_ref()
    }
}

/// `summary.json`.
#[derive(Serialize)]
struct Summary<'a> {
    seeds: &'a [u64],
    guesses: Vec<Row>,
    arms: BTreeMap<&'a str, Row>,
}

/// Writes the report and prints its table.
pub fn write(
    experiment: &Experiment<Recipe>,
    baselines: &[(&str, ProbeScores)],
    results: &Results<f64, ProbeScores>,
) -> Result<()> {
    let guesses = baselines.iter().map(|(title, scores)| Row::new(title, &[scores], 0, 0.0));
    let mut summary =
        Summary { seeds: experiment.seeds(), guesses: guesses.collect(), arms: BTreeMap::new() };
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
    let numbers = summary.arms.values().flat_map(|row| {
        [("XEP", "xep_seen"), ("XOR", "xor")].map(|(setting, key)| {
            let accuracy = row.probe(key)?.accuracy;
            Some(Measured::new(&row.title, setting, "all", "accuracy", accuracy))
        })
    });
    Measured::write(experiment.dir("numbers.jsonl"), &numbers.flatten().collect::<Vec<_>>())?;
    let arms = experiment.arms().iter().filter_map(|name| summary.arms.get(name.as_str()));
    let text = table(&summary.guesses.iter().chain(arms).collect::<Vec<_>>());
    Ok(experiment.finish(&summary, &text, "")?)
}

fn table(rows: &[&Row]) -> String {
    let first = rows.iter().find_map(|row| row.probe("xep_seen"));
    let languages: Vec<&str> =
        first.into_iter().flat_map(|probe| probe.languages.keys().map(String::as_str)).collect();
    let mut columns = vec!["XEP"];
    columns.extend(&languages);
    columns.extend(["hits@10", "XEP, new pairs", "hits@10", "XEP, new entities", "XOR", "hits@10"]);
    let mut table = Table::new("accuracy, %", columns);
    for row in rows {
        let accuracy = |key| cell(row.probe(key).map(|probe| probe.accuracy));
        let hits = |key| cell(row.probe(key).map(|probe| probe.hits_at_10));
        let of_language =
            |code: &&str| cell(row.probe("xep_seen").and_then(|probe| probe.languages.get(*code)));
        let mut cells = vec![accuracy("xep_seen")];
        cells.extend(languages.iter().map(of_language));
        cells.extend([hits("xep_seen"), accuracy("xep"), hits("xep")]);
        cells.extend([accuracy("xep_new"), accuracy("xor"), hits("xor")]);
        table.row(&row.title, cells);
    }
    let notes = PROBES.iter().filter_map(|(key, name, _)| {
        let probe = rows.iter().find_map(|row| row.probe(key))?;
        let RetrievalSpread { queries, candidates, chance, .. } = probe;
        Some(format!("{name}: {queries} queries, {candidates} candidates, chance {chance:.2} %."))
    });
    format!("{table}\n{}\n", notes.collect::<Vec<_>>().join(" "))
}
