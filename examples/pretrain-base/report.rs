//! What a seed leaves, and its table.
use std::collections::BTreeMap;

use results::{Table, cell};
use serde::{Deserialize, Serialize};

use crate::recipe::LANGUAGES;

/// Losses of held-out documents by language, and the mean of these, in nats.
pub type HeldOut = BTreeMap<String, f64>;

/// What a seed ends with.
#[derive(Deserialize, Serialize)]
pub struct Trained {
    /// The mean loss of the last steps.
    pub loss: f64,
    /// The masked-LM loss by the updates made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held_out: BTreeMap<u64, HeldOut>,
    /// The same loss of who knows how often each token occurs in the language.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unigrams: HeldOut,
}

/// The losses of all seeds.
pub fn table(all: &BTreeMap<u64, &Trained>) -> String {
    let mut table = Table::new("seed", ["loss"]);
    for (seed, trained) in all {
        table.row(seed.to_string(), [cell(Some(format!("{:.3}", trained.loss)))]);
    }
    table.to_string() + &curves(all)
}

/// The losses of held-out documents as a table, if there are any.
fn curves(all: &BTreeMap<u64, &Trained>) -> String {
    let first = all.values().next().map(|trained| &trained.unigrams);
    let Some(columns) = first.filter(|columns| !columns.is_empty()) else { return String::new() };
    let mut table = Table::new("held-out documents, nats", columns.keys());
    let mut row = |name: String, losses: &HeldOut| {
        let losses = columns.keys().map(|language| losses.get(language));
        table.row(name, losses.map(|loss| cell(loss.map(|loss| format!("{loss:.2}")))));
    };
    row("token frequencies of the language".to_owned(), columns);
    for (seed, trained) in all {
        for (step, losses) in &trained.held_out {
            row(format!("seed {seed}, {step} updates"), losses);
        }
    }
    format!("\n{table}")
}

/// Losses by the names of their languages, with their mean.
pub fn named(losses: &[f64]) -> HeldOut {
    let each = LANGUAGES.iter().zip(losses).filter(|(_, loss)| loss.is_finite());
    let mut named: HeldOut = each.map(|(language, loss)| ((*language).to_owned(), *loss)).collect();
    if !named.is_empty() {
        let mean = named.values().sum::<f64>() / named.len() as f64;
        named.insert("mean".to_owned(), mean);
    }
    named
}
