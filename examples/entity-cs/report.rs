//! Label retrieval of every arm, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{MeanSd, Table};
use experiment::{Experiment, Results};
use kg_triples::Language;
use serde::{Deserialize, Serialize};
use tasks::label_retrieval::FoundShare;

use crate::recipe::Recipe;

/// What a model was asked, by language.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Scores {
    /// P@1 among the English labels of both kinds of entities, for those that were switched.
    pub switched: BTreeMap<Language, FoundShare>,
    /// The same for those that were not.
    pub held_out: BTreeMap<Language, FoundShare>,
    /// Mean loss of masked tokens in sentences that nothing switched, in nats.
    pub loss: BTreeMap<String, f64>,
}

/// `summary.json`; numbers are means over seeds.
#[derive(Default, Serialize)]
struct Summary {
    seeds: Vec<u64>,
    /// By what was asked, arm and language.
    scores: BTreeMap<&'static str, BTreeMap<String, BTreeMap<String, MeanSd>>>,
    /// Tokens that each arm trained on, padding left out.
    tokens: BTreeMap<String, f64>,
    seconds: f64,
}

/// A table's values of one model, by column.
type Columns = fn(&Scores) -> BTreeMap<String, f64>;

fn shares(of: &BTreeMap<Language, FoundShare>) -> BTreeMap<String, f64> {
    of.iter().map(|(code, share)| (format!("{code} ({})", share.labels), share.percent)).collect()
}

const TABLES: [(&str, Columns, usize); 3] = [
    ("label retrieval P@1, switched", |scores| shares(&scores.switched), 1),
    ("label retrieval P@1, held out", |scores| shares(&scores.held_out), 1),
    ("masked-LM loss, sentences", |scores| scores.loss.clone(), 3),
];

/// Writes `table.md` and `summary.json`, and prints the first table.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<u64, Scores>) -> Result<()> {
    let (seeds, seconds) = (experiment.seeds().to_vec(), results.seconds());
    let mut summary = Summary { seeds, seconds, ..Default::default() };
    let mut text = String::new();
    for (name, values, digits) in TABLES {
        let first = experiment.arms().first().and_then(|arm| results.of_arm(arm).next());
        let columns = first.map(|cell| values(&cell.evaluated)).unwrap_or_default();
        if columns.is_empty() {
            continue;
        }
        let mut table = Table::new(name, columns.keys().cloned().chain(["average".to_owned()]));
        for arm in experiment.arms() {
            let of_seeds = |value: &dyn Fn(&BTreeMap<String, f64>) -> f64| {
                results.over_seeds(arm, |cell| value(&values(&cell.evaluated)))
            };
            let one = |column| of_seeds(&|all| all.get(column).copied().unwrap_or(f64::NAN));
            let all = of_seeds(&|all| all.values().sum::<f64>() / all.len().max(1) as f64);
            let scores = columns.keys().map(|column| (column.clone(), one(column)));
            let scores: Vec<_> = scores.chain([("average".to_owned(), all)]).collect();
            let title = experiment.recipe.arms.get(arm).and_then(|arm| arm.title.as_deref());
            let cells = scores.iter().map(|(_, score)| format!("{score:.digits$}"));
            table.row(title.unwrap_or(arm), cells);
            let of_table = summary.scores.entry(name).or_default();
            of_table.insert(arm.clone(), scores.into_iter().collect());
            let tokens = results.over_seeds(arm, |cell| cell.trained as f64);
            summary.tokens.insert(arm.clone(), tokens.mean);
        }
        text += &format!("{table}\n");
    }
    Ok(experiment.finish(&summary, &text, "")?)
}
