//! Label retrieval of every arm, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{MeanSd, Table};
use experiment::{Experiment, Results};
use kg_triples::Language;
use serde::{Deserialize, Serialize};
use tasks::Encoder;
use tasks::label_retrieval::{FoundShare, found_labels};
use tokenizers::Tokenizer;

use crate::data::Asked;
use crate::recipe::Recipe;

/// P@1 among the English labels of both kinds of entities, by language.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Retrieval {
    pub switched: BTreeMap<Language, FoundShare>,
    pub held_out: BTreeMap<Language, FoundShare>,
}

impl Retrieval {
    /// Of a model's word embeddings.
    pub fn of(model: &dyn Encoder, tokenizer: &Tokenizer, asked: &Asked) -> Result<Self> {
        let mut retrieval = Self::default();
        for (language, seen) in &asked.switched {
            let held_out = asked.held_out.iter().map(|id| (id, false));
            let (mut labels, mut english, mut group) = (Vec::new(), Vec::new(), Vec::new());
            for (id, switched) in seen.iter().map(|id| (id, true)).chain(held_out) {
                let label = |language| asked.labels.label(id, language);
                if let (Some(own), Some(other)) = (label(*language), label(Language::EN)) {
                    labels.push(own);
                    english.push(other);
                    group.push(switched);
                }
            }
            let found = found_labels(model, tokenizer, &labels, &english)?;
            retrieval.switched.insert(*language, FoundShare::of(&found, &group, true));
            retrieval.held_out.insert(*language, FoundShare::of(&found, &group, false));
        }
        Ok(retrieval)
    }
}

/// `summary.json`; numbers are means over seeds.
#[derive(Default, Serialize)]
struct Summary {
    seeds: Vec<u64>,
    /// P@1 by kind of entity, arm and language.
    retrieval: BTreeMap<&'static str, BTreeMap<String, BTreeMap<String, MeanSd>>>,
    /// Tokens that each arm trained on, padding left out.
    tokens: BTreeMap<String, f64>,
    seconds: f64,
}

/// Writes `table.md` and `summary.json`, and prints the table.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<u64, Retrieval>) -> Result<()> {
    let (seeds, seconds) = (experiment.seeds().to_vec(), results.seconds());
    let mut summary = Summary { seeds, seconds, ..Default::default() };
    type Kind = fn(&Retrieval) -> &BTreeMap<Language, FoundShare>;
    let kinds: [(&'static str, Kind); 2] =
        [("switched", |found| &found.switched), ("held out", |found| &found.held_out)];
    let mut text = String::new();
    for (name, kind) in kinds {
        let first = experiment.arms().first().and_then(|arm| results.of_arm(arm).next());
        let shares = first.map(|cell| kind(&cell.evaluated).clone()).unwrap_or_default();
        let columns = shares.iter().map(|(code, share)| format!("{code} ({})", share.labels));
        let corner = format!("label retrieval P@1, {name}");
        let mut table = Table::new(&corner, columns.chain(["average".to_owned()]));
        for arm in experiment.arms() {
            let of_seeds = |percent: &dyn Fn(&BTreeMap<Language, FoundShare>) -> f64| {
                results.over_seeds(arm, |cell| percent(kind(&cell.evaluated)))
            };
            let one = |code| of_seeds(&|all| all.get(code).map_or(0.0, |share| share.percent));
            let all = of_seeds(&|all| {
                let sum: f64 = all.values().map(|share| share.percent).sum();
                sum / all.len().max(1) as f64
            });
            let scores: Vec<(String, MeanSd)> =
                shares.keys().map(|code| (code.to_string(), one(code))).collect();
            let cells = scores.iter().map(|(_, score)| *score).chain([all]);
            let title = experiment.recipe.arms.get(arm).and_then(|arm| arm.title.as_deref());
            table.row(title.unwrap_or(arm), cells.map(|score| score.to_string()));
            let scores = scores.into_iter().chain([("average".to_owned(), all)]).collect();
            summary.retrieval.entry(name).or_default().insert(arm.clone(), scores);
            let tokens = results.over_seeds(arm, |cell| cell.trained as f64);
            summary.tokens.insert(arm.clone(), tokens.mean);
        }
        text += &format!("{table}\n");
    }
    Ok(experiment.finish(&summary, &text, "")?)
}
