//! Tables of retrieval, question answering and masked-LM loss, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use examples::numbers::{Labels, measure_answers};
use experiment::{Experiment, Results};
use kg_triples::knowledge::PairKind;
use mlqa_eval::{FileScore, Language, Matrix};
use results::{MeanInterval, Measured, ScoreMeans, Table, cell, over_seeds};
use serde::{Deserialize, Serialize};
use tasks::graph_retrieval::GraphScores;
use transfer_eval::retrieval::RankSummary;

use crate::recipe::Recipe;

/// Measurements of a model before fine-tuning.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trained {
    /// Parameter updates, excluding the updates of shared adapters.
    pub updates: u64,
    pub found: GraphScores,
    /// Scores of the base model with a linear map between the languages.
    pub mapped: Option<GraphScores>,
    /// Mean loss of masked tokens in sentences with active adapters, in nats.
    pub loss: BTreeMap<Language, f64>,
}

/// A row of the retrieval table, by setting and metric.
type RetrievalScores = BTreeMap<String, BTreeMap<String, MeanInterval>>;

/// One arm of `summary.json`; values are means over seeds.
#[derive(Serialize)]
struct ArmSummary {
    title: String,
    found: RetrievalScores,
    /// Scores with a linear map between the languages.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    mapped: RetrievalScores,
    /// Mean loss of masked tokens in sentences, by language.
    loss: BTreeMap<Language, MeanInterval>,
    /// Scores on English passages by question language; `average` is the mean of all languages
    /// except English.
    answers: BTreeMap<String, ScoreMeans>,
    /// Updates of knowledge training, including shared adapters.
    updates: u64,
    tokens: u64,
    seconds: f64,
}

/// A kind of queries: its name in tables and its scores.
type QuerySetting = (&'static str, fn(&GraphScores) -> &Option<RankSummary>);

const QUERIES: [QuerySetting; 4] = [
    ("labels, trained", |found| &found.labels.trained),
    ("labels, held out", |found| &found.labels.held_out),
    ("objects, trained", |found| &found.objects.trained),
    ("objects, held out", |found| &found.objects.held_out),
];

/// Returns a model's values by setting and metric, in percent.
fn values(found: &GraphScores) -> BTreeMap<String, BTreeMap<String, f64>> {
    let setting_values = |(name, scores): &QuerySetting| {
        let RankSummary { accuracy, mrr, .. } = scores(found).as_ref()?;
        let metrics = [("hits@1".to_owned(), *accuracy), ("mrr".to_owned(), 100.0 * mrr)];
        Some(((*name).to_owned(), metrics.into()))
    };
    QUERIES.iter().filter_map(setting_values).collect()
}

/// Writes `table.md`, `numbers.jsonl` and `summary.json`, and prints the first table.
pub fn write(
    experiment: &Experiment<Recipe>,
    by_kind: &BTreeMap<PairKind, Results<u64, ()>>,
    results: &Results<Trained, Vec<FileScore>>,
) -> Result<()> {
    let Recipe { arms: config, languages, language_model, bootstrap_unit, .. } = &experiment.recipe;
    let columns = QUERIES.map(|(name, _)| [format!("{name}, hits@1"), "MRR".to_owned()]);
    let mut retrieval_table = Table::new("answers found, %", columns.concat());
    let average = || std::iter::once("average".to_owned());
    let codes = languages.iter().map(ToString::to_string);
    let mut answer_table = Table::new("F1, English passages", codes.chain(average()));
    let codes = language_model.languages.iter().map(ToString::to_string);
    let mut loss_table = Table::new("masked-LM loss, sentences", codes.chain(average()));
    let (mut arms, mut numbers) = (Vec::new(), Vec::new());
    for name in experiment.arms() {
        let arm = config.get(name).context("arm")?;
        let title = arm.title.as_ref().unwrap_or(name);
        let model_values = |scores: fn(&Trained) -> Option<&GraphScores>| -> Vec<_> {
            results.of_arm(name).filter_map(|trial| Some(values(scores(&trial.trained)?))).collect()
        };
        let unmapped = model_values(|trained| Some(&trained.found));
        let mapped = model_values(|trained| trained.mapped.as_ref());
        for (title, seeds) in [(title.clone(), &unmapped), (format!("{title}, mapped"), &mapped)] {
            if !seeds.is_empty() {
                retrieval_table.add_row(&title, row(&over_seeds(seeds)));
                numbers.extend(measured(&title, seeds));
            }
        }

        let seeds: Vec<Matrix> =
            results.of_arm(name).map(|model| Matrix::of_files(title, &model.evaluated)).collect();
        Matrix::over_seeds(title, &seeds).write(experiment.dir("matrix").join(name))?;
        let answers = |select: &dyn Fn(Language) -> bool| {
            let is_selected = |context, question| context == Language::EN && select(question);
            Matrix::mean_over_seeds(&seeds, is_selected)
                .expect("English contexts have questions in every language")
        };
        let language_values = |code: &Language| (code.to_string(), answers(&|q| q == *code));
        let average_answers = ("average".to_owned(), answers(&|question| question != Language::EN));
        let answers: Vec<_> =
            languages.iter().map(language_values).chain([average_answers]).collect();
        answer_table.add_row(title, answers.iter().map(|(_, scores)| scores.f1().to_string()));
        let labels = Labels { title, setting: "G-XLT", language: "avg" };
        let select = |context, question| context == Language::EN && question != Language::EN;
        numbers.extend(measure_answers(
            experiment,
            results,
            name,
            labels,
            *bootstrap_unit,
            select,
        )?);

        let losses: Vec<_> = results.of_arm(name).map(|model| &model.trained.loss).collect();
        let mean = |loss: &BTreeMap<Language, f64>| MeanInterval::of(loss.values().copied()).mean;
        let means: Vec<f64> = losses.iter().map(|loss| mean(loss)).collect();
        let loss = over_seeds(losses.iter().copied());
        let language_values = language_model.languages.iter().map(|code| loss.get(code).copied());
        let cells = language_values.chain([Some(MeanInterval::of(means.iter().copied()))]);
        loss_table.add_row(title, cells.map(|loss| cell(loss.map(|loss| loss.format(3)))));
        numbers.push(Measured::of_seeds(title, "sentences", "avg", "loss", means));

        // Shared adapters were trained in separate trials, so the updates of these trials are
        // added.
        let shared_adapters = || arm.adapters.iter().filter_map(|kind| by_kind.get(kind)?.first());
        let first = results.of_arm(name).next().context("no seed was run")?;
        let tokens = results.over_seeds(name, |model| model.tokens as f64).mean as u64;
        let summary = ArmSummary {
            title: title.clone(),
            found: over_seeds(&unmapped),
            mapped: over_seeds(&mapped),
            loss,
            answers: answers.into_iter().collect(),
            updates: first.trained.updates + shared_adapters().map(|r| r.trained).sum::<u64>(),
            tokens: tokens + shared_adapters().map(|r| r.tokens).sum::<u64>(),
            seconds: results.over_seeds(name, |model| model.seconds).mean,
        };
        arms.push((name.as_str(), summary));
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let first = results.first().map(|trial| &trial.trained.found);
    let queries = QUERIES
        .iter()
        .filter_map(|(name, scores)| Some(format!("{name}: {}", scores(first?).as_ref()?.queries)));
    let query_counts = format!("Queries: {}.", queries.collect::<Vec<_>>().join("; "));
    let note = "Without its adapters, each arm has exactly the loss of the base model.";
    let tables =
        format!("{retrieval_table}\n{query_counts}\n\n{answer_table}\n{loss_table}\n{note}\n");
    Ok(experiment.finish_arms(&arms, &tables, "")?)
}

/// Formats a row of the retrieval table.
fn row(scores: &RetrievalScores) -> Vec<String> {
    let value =
        |setting: &str, metric: &str| cell(scores.get(setting).and_then(|row| row.get(metric)));
    QUERIES
        .iter()
        .flat_map(|(setting, _)| [value(setting, "hits@1"), value(setting, "mrr")])
        .collect()
}

/// Returns the values for `numbers.jsonl`.
fn measured<'a>(
    title: &'a str,
    seeds: &'a [BTreeMap<String, BTreeMap<String, f64>>],
) -> impl Iterator<Item = Measured> + 'a {
    let pairs =
        QUERIES.iter().flat_map(|(setting, _)| ["hits@1", "mrr"].map(|metric| (*setting, metric)));
    pairs.filter_map(move |(setting, metric)| {
        let seed_values = seeds.iter().map(|seed| seed.get(setting)?.get(metric).copied());
        let seed_values: Vec<f64> = seed_values.collect::<Option<_>>()?;
        Some(Measured::of_seeds(title, setting, "avg", metric, seed_values))
    })
}
