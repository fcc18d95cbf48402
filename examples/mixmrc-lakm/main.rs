//! *Enhancing Answer Boundary Detection for Multilingual Machine Reading Comprehension* (mixMRC +
//! LAKM), from translated questions and knowledge phrases to its tables.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use data::TrainingData;
use experiment::{Cell, Experiment};
use kg_triples::phrases::{SpecialIds, encode_passages};
use mlqa_eval::{FileScore, Question};
use recipe::Recipe;
use tasks::masked_lm::PhraseMaskingTask;
use tasks::question_answering::{QaData, QaPredictor, QaTask, evaluate};
use trainer::TaskSlot;
use xlmr_model::{Head, Pretrained};

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    // 3.1 and 3.2: translations with their answers, questions mixed with passages of other
    // languages, knowledge phrases.
    let data = TrainingData::load(&experiment.recipe, &experiment.dir("questions"))?;
    experiment.log(&data.report);
    let results = experiment.each(|cell| train(cell, &data), |cell, _| answer(cell, &data))?;
    report::write(experiment, &results)
}

/// Trains a reader on the arm's tasks; returns the number of updates.
fn train(cell: &Cell<Recipe>, data: &TrainingData) -> Result<u64> {
    let (recipe, arm) = (cell.recipe, cell.arm);
    let heads = [Head::MaskedLm, Head::Span];
    let base = cell.load(&recipe.model.path, &heads, recipe.model.segments)?;

    let mut same_language = reading(recipe, &base, &data.same_language(arm.translated))?;
    let mut mixed = None;
    if arm.mixed {
        mixed = Some(reading(recipe, &base, &data.mixed)?);
    }
    let mut phrases = None;
    if let Some(masking) = arm.lakm {
        let (special, max_length) = (base.specials, recipe.lakm_max_length);
        let ids = SpecialIds { bos: special.bos, eos: special.eos, unk: special.unk };
        let examples = encode_passages(&data.phrases, &base.tokenizer, ids, max_length)?;
        let config = recipe.lakm(masking);
        phrases = Some(PhraseMaskingTask::new(&base.model, special, examples, &config)?);
    }

    // 4.3: one batch of each task in turn, each with an update.
    let rounds = recipe.rounds;
    let mut slots =
        vec![TaskSlot::new("mrc", &mut same_language).with_batches_per_round(rounds.mrc.get())];
    if let Some(task) = &mut mixed {
        slots.push(TaskSlot::new("mixed", task).with_batches_per_round(rounds.mixed.get()));
    }
    if let Some(task) = &mut phrases {
        slots.push(TaskSlot::new("lakm", task).with_batches_per_round(rounds.lakm.get()));
    }
    let parameters = base.model.named_parameters();
    let report = cell.fit_tasks("train", &recipe.training(arm), &parameters, &mut slots)?;
    base.save(cell.dir("model"), Head::Span)?;
    Ok(report.steps)
}

fn reading<'m>(
    recipe: &Recipe,
    base: &'m Pretrained,
    questions: &[Question],
) -> Result<QaTask<'m>> {
    let data = QaData { questions, question_entity_spans: None, windows: &recipe.windows };
    Ok(QaTask::new(&base.model, &base.tokenizer, &data, &recipe.qa)?)
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
