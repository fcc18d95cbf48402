//! What the arms showed, as the paper's tables have it.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{Table, cell};
use experiment::{Experiment, Results};
use mlqa_eval::Spread;
use serde::Serialize;
use tasks::knowledge::ProbeScores;
use transfer_eval::Measured;
use transfer_eval::retrieval::{RetrievalScore, RetrievalSpread};

use crate::recipe::Recipe;

/// An arm over all seeds, or a baseline.
#[derive(Serialize)]
struct Row {
    title: String,
    xep_seen: Option<RetrievalSpread>,
    xep: Option<RetrievalSpread>,
    xep_new: Option<RetrievalSpread>,
    xor: Option<RetrievalSpread>,
    tokens: u64,
    seconds: f64,
}

impl Row {
    fn new(title: &str, seeds: &[&ProbeScores], tokens: u64, seconds: f64) -> Self {
        type Probe = fn(&ProbeScores) -> &Option<RetrievalScore>;
        let over = |probe: Probe| {
            RetrievalSpread::over_seeds(seeds.iter().map(|scores| probe(scores).as_ref()))
        };
        Self {
            title: title.to_owned(),
            xep_seen: over(|scores| &scores.xep_seen),
            xep: over(|scores| &scores.xep),
            xep_new: over(|scores| &scores.xep_new),
            xor: over(|scores| &scores.xor),
            tokens,
            seconds,
        }
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
        let of_arm: Vec<_> = results.of_arm(name).collect();
        let scores: Vec<&ProbeScores> = of_arm.iter().map(|result| &result.evaluated).collect();
        let tokens = of_arm.iter().map(|result| result.tokens).sum::<u64>();
        let seconds = Spread::of(of_arm.iter().map(|result| result.seconds)).mean;
        let row = Row::new(title, &scores, tokens / of_arm.len().max(1) as u64, seconds);
        summary.arms.insert(name, row);
    }
    let probes = |row: &Row| [("XEP", row.xep_seen.clone()), ("XOR", row.xor.clone())];
    let measured = summary.arms.values().flat_map(|row| {
        probes(row).map(|(setting, probe)| {
            let Spread { mean, sd } = probe?.accuracy;
            Some(Measured { sd, ..Measured::new(&row.title, setting, "all", "accuracy", mean) })
        })
    });
    let numbers: Vec<Measured> = measured.flatten().collect();
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let arms = experiment.arms().iter().filter_map(|name| summary.arms.get(name.as_str()));
    let text = table(&summary.guesses.iter().chain(arms).collect::<Vec<_>>());
    Ok(experiment.finish(&summary, &text, "")?)
}

fn table(rows: &[&Row]) -> String {
    let first = rows.iter().find_map(|row| row.xep_seen.as_ref());
    let languages: Vec<&str> =
        first.into_iter().flat_map(|probe| probe.languages.keys().map(String::as_str)).collect();
    let mut columns = vec!["XEP"];
    columns.extend(&languages);
    columns.extend(["hits@10", "XEP, new pairs", "hits@10", "XEP, new entities", "XOR", "hits@10"]);
    let mut table = Table::new("accuracy, %", columns);
    let text = |spread: Option<&Spread>| cell(spread.map(|spread| (spread.mean, spread.sd)));
    let accuracy =
        |probe: &Option<RetrievalSpread>| text(probe.as_ref().map(|probe| &probe.accuracy));
    let hits =
        |probe: &Option<RetrievalSpread>| text(probe.as_ref().map(|probe| &probe.hits_at_10));
    for row in rows {
        let of_language = |language: &&str| {
            text(row.xep_seen.as_ref().and_then(|probe| probe.languages.get(*language)))
        };
        let mut cells = vec![accuracy(&row.xep_seen)];
        cells.extend(languages.iter().map(of_language));
        cells.extend([hits(&row.xep_seen), accuracy(&row.xep), hits(&row.xep)]);
        cells.extend([accuracy(&row.xep_new), accuracy(&row.xor), hits(&row.xor)]);
        table.row(&row.title, cells);
    }
    let note = |name: &str, probe: fn(&Row) -> &Option<RetrievalSpread>| {
        let probe = rows.iter().find_map(|row| probe(row).as_ref())?;
        let RetrievalSpread { queries, candidates, chance, .. } = probe;
        Some(format!("{name}: {queries} queries, {candidates} candidates, chance {chance:.2} %."))
    };
    let notes = [
        note("XEP, mentions in held-out texts", |row| &row.xep_seen),
        note("New pairs, the same in pairs of languages that were not trained", |row| &row.xep),
        note("New entities", |row| &row.xep_new),
        note("XOR, held-out facts", |row| &row.xor),
    ];
    format!("{table}\n{}\n", notes.into_iter().flatten().collect::<Vec<_>>().join(" "))
}
