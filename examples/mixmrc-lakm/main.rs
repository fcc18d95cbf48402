//! *Enhancing Answer Boundary Detection for Multilingual Machine Reading Comprehension* (mixMRC +
//! LAKM), from translated questions and knowledge phrases to its tables.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use data::TrainingData;
use experiment::{Cell, Experiment};
use mlqa_eval::{FileScore, Question};
use recipe::Recipe;
use tasks::masked_lm::PhraseMaskingTask;
use tasks::question_answering::{QaData, QaPredictor, QaTask, evaluate};
use trainer::{Task, TaskSlot};
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    // 3.1 and 3.2: translations with their answers, questions mixed with passages of other
    // languages, knowledge phrases.
    let data = TrainingData::load(&experiment.recipe, &experiment.dir("questions"))?;
    let [source, translated, mixed] = [&data.source, &data.translated, &data.mixed].map(Vec::len);
    experiment.log(format!("questions: {source}, translated: {translated}, mixed: {mixed}"));
    experiment.log(format!("passages with phrases: {}", data.phrases.len()));
    let results = experiment.each(|cell| train(cell, &data), |cell, _| answer(cell, &data))?;
    report::write(experiment, &results)
}

/// Trains a reader on the arm's tasks; returns the number of updates.
fn train(cell: &Cell<Recipe>, data: &TrainingData) -> Result<u64> {
    let (recipe, arm) = (cell.recipe, cell.arm);
    let heads = [Head::MaskedLm, Head::Span];
    let base = cell.load(&recipe.model.path, &heads, recipe.model.segments)?;

    let reading = |questions: &[Question]| {
        let data = QaData { questions, question_entity_spans: None, windows: &recipe.windows };
        QaTask::new(&base.model, &base.tokenizer, &data, &recipe.qa)
    };
    let translated = if arm.translated { data.translated.as_slice() } else { &[] };
    let mut same_language = reading(&[&data.source, translated].concat())?;
    let mut mixed = arm.mixed.then(|| reading(&data.mixed)).transpose()?;
    let phrases = arm.lakm.map(|masking| {
        let config = masking.of(&recipe.lakm, &recipe.ngrams);
        let (passages, max_length) = (&data.phrases, recipe.lakm_max_length);
        PhraseMaskingTask::from_passages(&base, passages, max_length, &config)
    });
    let mut phrases = phrases.transpose()?;

    // 4.3: one batch of each task in turn, each with an update.
    let rows = same_language.examples().lengths().map_or(0, <[usize]>::len);
    let training = recipe.training(arm, rows);
    let [mrc, in_two, lakm] = recipe.batches(arm);
    let mut slots = vec![TaskSlot::new("mrc", &mut same_language).with_batches_per_round(mrc)];
    if let Some(task) = &mut mixed {
        slots.push(TaskSlot::new("mixed", task).with_batches_per_round(in_two));
    }
    if let Some(task) = &mut phrases {
        slots.push(TaskSlot::new("lakm", task).with_batches_per_round(lakm));
    }
    let parameters = base.model.named_parameters();
    let report = cell.fit_tasks("train", &training, &parameters, &mut slots)?;
    base.save(cell.dir("model"), Head::Span)?;
    Ok(report.steps)
}

/// 4.4: every language of passages with every language of questions.
fn answer(cell: &Cell<Recipe>, data: &TrainingData) -> Result<Vec<FileScore>> {
    let Recipe { model, windows, evaluation, languages, .. } = cell.recipe;
    let reader = cell.load(cell.dir("model"), &[Head::Span], model.segments)?;
    let predictor = QaPredictor::new(&reader.model, &reader.tokenizer, windows)
        .with_decoding(&evaluation.decoding)
        .with_batch_size(evaluation.batch_size);
    let files = evaluation.files(&data.evaluation, languages);
    Ok(evaluate(&predictor, &files, &evaluation.split, &[], &cell.dir("predictions"))?)
}
