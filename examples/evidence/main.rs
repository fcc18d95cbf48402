//! Evidence in seven languages: sentences that answer English questions are found again in the
//! passages' translations, and a tagger learns to mark them.
mod guess;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use experiment::{Experiment, Trial};
use mlqa_eval::FileScore;
use recipe::Recipe;
use tasks::evidence::{self, EvidencePredictor};
use tasks::question_answering::{Predictor, TrainingQuestions, evaluate};
use tasks::token_classification;

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let results = experiment.each(train, |trial, _| mark(trial))?;
    report::write(experiment, &results)
}

/// Trains a tagger on the arm's evidence; returns the number of updates. A guess is not trained.
fn train(trial: &Trial<Recipe>) -> Result<u64> {
    let (recipe, arm) = (trial.recipe, trial.arm);
    if arm.guess.is_some() {
        return Ok(0);
    }
    let head = token_classification::head(&evidence::labels());
    let mut base = trial.start(&recipe.model.path, &[head], recipe.model.segments)?;
    let questions = TrainingQuestions::read_all(recipe.training_files(arm))?.questions;
    let mut task = evidence::task(&base.model, &base.tokenizer, &questions, &recipe.windows)?;
    let report = trial.fit("train", &recipe.training, &base.model.named_parameters(), &mut task)?;
    trial.save(&mut base, head, trial.dir("model"))?;
    token_classification::name_labels(trial.dir("model"), &evidence::labels())?;
    Ok(report.steps)
}

/// Marks a sentence for every question about every passage, and scores it as an answer.
fn mark(trial: &Trial<Recipe>) -> Result<Vec<FileScore>> {
    let Recipe { model, windows, evaluation, languages, data, .. } = trial.recipe;
    let files = evaluation.files(&data.evaluation, languages);
    let score = |predictor: &dyn Predictor| {
        evaluate(predictor, &files, &evaluation.split, &[], &trial.dir("predictions"))
    };
    if let Some(guess) = &trial.arm.guess {
        return Ok(score(guess)?);
    }
    let head = token_classification::head(&evidence::labels());
    let tagger = trial.load(trial.dir("model"), &[head], model.segments)?;
    let predictor = EvidencePredictor::new(&tagger.model, &tagger.tokenizer, windows);
    Ok(score(&predictor.with_batch_size(evaluation.batch_size))?)
}
