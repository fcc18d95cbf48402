//! Evaluates models on the papers' fine-tuning and probing benchmarks: MLQA, named entities, XNLI,
//! relations, open information extraction, LAMA, and facts in several languages.
mod benchmark;
mod lama;
mod mlqa;
mod ner;
mod oie;
mod recipe;
mod relations;
mod report;
mod suite;
mod xnli;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use benchmark::{ModelSelection, Split, TestResults};
use experiment::{Experiment, Trial, read_json};
use recipe::{Recipe, STAGE};
use serde::{Deserialize, Serialize};
use trainer::selection::{BestEvaluation, CheckpointSelection, Scores};
use xlmr_model::{Pretrained, Segments};

/// Measurements of a model during training; values in percent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Trained {
    /// The epoch selected on the development sets, from 1; absent without development sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<usize>,
    /// Scores on the development sets after each epoch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dev: Vec<Scores>,
}

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    for task in &experiment.recipe.skipped {
        experiment.log(format!("{task}: skipped, because it has no data"));
    }
    let results = experiment.each(fine_tune, |trial, _| test(trial))?;
    report::write(experiment, &results)
}

/// Fine-tunes a model on English and saves the parameters of the best epoch in the trial's `model`;
/// a probe trains nothing.
fn fine_tune(trial: &Trial<Recipe>) -> Result<Trained> {
    let (row, benchmark) = trial.arm.tasks.single()?;
    if !row.fine_tunes {
        return Ok(Trained::default());
    }
    let (head, folder) = (benchmark.head(), trial.dir("model"));
    let mut model = trial.load_model(&trial.arm.model, &[head], Segments::AsSaved)?;
    if benchmark.enables_pair_segments() {
        model.enable_pair_segments()?;
    }
    let trained = fit(trial, &model)?;
    trial.save(&mut model, head, &folder)?;
    benchmark.add_files(&folder)?;
    Ok(trained)
}

/// Trains a model and restores the parameters of the best epoch.
fn fit(trial: &Trial<Recipe>, model: &Pretrained) -> Result<Trained> {
    let (row, benchmark) = trial.arm.tasks.single()?;
    let parameters = model.model.named_parameters();
    let (config, selection) = benchmark.info().training.context("a probe has no training")?;
    let mut task = benchmark.training_task(model)?;
    let dev_scorer = benchmark.scorer(Split::Development, model)?;
    if dev_scorer.languages.is_empty() {
        trial.fit(STAGE, config, &parameters, &mut *task)?;
        return Ok(Trained::default());
    }
    let score = || {
        let metrics = (dev_scorer.score)(None)?.metrics;
        Ok(metrics.get(row.metric).ok_or("the task has no score of its metric")?.clone())
    };
    let english_only = selection == ModelSelection::EnglishOnly;
    let selection = CheckpointSelection {
        rule: format!("{selection:?}"),
        deciding_score: english_only.then(|| "en".to_owned()),
        ..CheckpointSelection::highest_mean(dev_scorer.languages.clone(), score)
    };
    trial.fit_best(STAGE, config, &parameters, &mut *task, Some(selection))?;
    let best: BestEvaluation = read_json(trial.dir(STAGE).join("selection.json"))?;
    Ok(Trained { epoch: Some(best.evaluation + 1), dev: best.scores })
}

/// Scores a model in every language: the fine-tuned model or, for a probe, the pre-trained model.
fn test(trial: &Trial<Recipe>) -> Result<TestResults> {
    let (row, benchmark) = trial.arm.tasks.single()?;
    let folder = if row.fine_tunes { trial.dir("model") } else { trial.arm.model.to_path_buf() };
    let model = trial.load(folder, &[benchmark.head()], Segments::AsSaved)?;
    let scorer = benchmark.scorer(Split::Test, &model)?;
    let results = (scorer.score)(Some(&trial.dir("predictions")))?;
    let has_scores = results.metrics.values().any(|scores| !scores.is_empty());
    ensure!(has_scores, "{}: nothing was tested", trial.label());
    let scores =
        results.metrics.get("f1").or(results.metrics.values().next()).into_iter().flatten();
    let text = scores.map(|(language, score)| format!("{language} {score:.1}"));
    experiment::log(format!("{}: {}", trial.label(), text.collect::<Vec<_>>().join(", ")));
    Ok(results)
}
