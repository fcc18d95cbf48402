//! The fine-tunings and probes by which the papers judge a model, for any number of models: MLQA,
//! named entities, XNLI, LAMA, and facts in several languages.
mod facts;
mod lama;
mod mlqa;
mod ner;
mod recipe;
mod report;
mod xnli;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use experiment::{Experiment, Trial, write_json};
use mlqa_eval::FileScore;
use recipe::{Recipe, Selection};
use serde::{Deserialize, Serialize};
use trainer::selection::CheckpointSelection;
use transfer_eval::Scores;
use xlmr_model::{Head, Pretrained, Segments};

/// What a task is to the suite: data, a protocol, and how a model is judged by them.
trait SuiteTask {
    /// Whether the recipe has data for it.
    fn is_given(&self) -> bool;

    /// Checks what needs no model; names the key.
    fn validate(&self) -> Result<()>;

    /// Reads every file once, and checks lengths and labels against a model, so that what is wrong
    /// is found before anything is trained.
    fn check(&self, model: &Pretrained) -> Result<()>;

    /// The head that it needs.
    fn head(&self) -> Head;

    /// Fine-tunes a model on English and leaves it in the trial's `model`; a probe does nothing.
    fn train(&self, trial: &Trial<Recipe>) -> Result<Trained>;

    /// Scores in every language.
    fn test(&self, trial: &Trial<Recipe>) -> Result<Tested>;
}

/// What training alone knows; numbers in percent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Trained {
    /// The epoch that the development sets chose, from 1; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<usize>,
    /// Scores on the development sets after each epoch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dev: Vec<Scores>,
}

/// What a test shows; numbers in percent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Tested {
    /// By metric and language; the first metric of [`report::Kind`] is the one that is compared.
    metrics: BTreeMap<String, Scores>,
    /// Of question answering: one for each question file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileScore>,
    /// Of LAMA: the numbers of its table, under their data sets' names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parts: BTreeMap<String, f64>,
}

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    for task in &recipe.skipped {
        experiment.log(format!("{task}: no data is given, so it is left out"));
    }
    let results = experiment.each(
        |trial| trial.arm.tasks.only()?.1.train(trial),
        |trial, _| {
            let tested = trial.arm.tasks.only()?.1.test(trial)?;
            let metrics = &tested.metrics;
            let scores = metrics.get("f1").or(metrics.values().next()).into_iter().flatten();
            let text = scores.map(|(language, score)| format!("{language} {score:.1}"));
            let list = text.collect::<Vec<_>>().join(", ");
            experiment::log(format!("{}: {list}", trial.label()));
            Ok(tested)
        },
    )?;
    report::write(experiment, &results)
}

/// Refuses inputs that are longer than the model's positions.
fn check_length(key: &str, length: usize, model: &Pretrained) -> Result<()> {
    let positions = model.model.config().max_length();
    let fits = i64::try_from(length).is_ok_and(|length| length <= positions);
    ensure!(fits, "{key} = {length}: the model has {positions} positions");
    Ok(())
}

/// The model of an arm, with `head` to be trained or, for a probe, as it was trained.
fn start(trial: &Trial<Recipe>, head: Head) -> Result<Pretrained> {
    Ok(trial.load(&trial.arm.model, &[head], Segments::AsSaved)?)
}

/// The selection of an epoch by development scores of these languages.
fn selection<'a>(
    rule: Selection,
    languages: impl IntoIterator<Item = String>,
    score: impl Fn() -> Result<Scores> + 'a,
) -> CheckpointSelection<'a> {
    let english = rule == Selection::EnglishOnly;
    CheckpointSelection {
        rule: format!("{rule:?}"),
        decides: english.then(|| "en".to_owned()),
        ..CheckpointSelection::highest_mean(languages, move || Ok(score()?))
    }
}

/// One value for each item of a test, in percent, by language: what two models are compared by.
type Items = BTreeMap<String, Vec<f64>>;

/// The file of a trial's [`Items`].
const ITEMS: &str = "items.json";

fn write_items(trial: &Trial<Recipe>, items: &Items) -> Result<()> {
    ensure!(items.values().any(|of| !of.is_empty()), "{}: nothing was tested", trial.label());
    Ok(write_json(trial.dir(ITEMS), items)?)
}
