//! Reproduces *Enhancing Answer Boundary Detection for Multilingual Machine Reading Comprehension*
//! (mixMRC + LAKM), from translated questions and knowledge phrases to Tables 7 to 9.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use data::TrainingData;
use experiment::{Experiment, Trial};
use mlqa_eval::{FileScore, Question};
use recipe::Recipe;
use tasks::masked_lm::PhraseMaskingTask;
use tasks::question_answering::{QaData, QaTask, evaluate};
use trainer::{Alternating, Task};
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    // Sections 3.1 and 3.2: translated questions with their answers, questions whose passages are
    // in another language, and knowledge phrases.
    let data = TrainingData::load(&experiment.recipe)?;
    experiment.log(&data.questions);
    for (name, questions) in &data.by_translator {
        experiment.log(format!("{name}: {questions}"));
    }
    experiment.log(format!("passages with phrases: {}", data.lakm_passages.len()));
    let results = experiment.each(|trial| train(trial, &data), |trial, _| answer(trial))?;
    report::write(experiment, &results)
}

/// Trains a reader on the arm's tasks; returns the number of updates.
fn train(trial: &Trial<Recipe>, data: &TrainingData) -> Result<u64> {
    let (recipe, arm, question_sets) = (trial.recipe, trial.arm, data.questions_of(trial.arm));
    let heads = [Head::MaskedLm, Head::Span];
    let mut base = trial.load_model(&recipe.model.path, &heads, recipe.model.segments)?;
    if recipe.windows.segment_ids {
        base.enable_pair_segments()?;
    }

    // Section 3.1: questions in the language of their passages, and mixed questions.
    let qa_task = |questions: &[Question]| {
        let data = QaData { questions, question_entity_spans: None, windows: &recipe.windows };
        QaTask::new(&base.model, &base.tokenizer, &data, &recipe.qa)
    };
    let translated = if arm.translated { question_sets.translated.as_slice() } else { &[] };
    let mut same_language = qa_task(&[&question_sets.source, translated].concat())?;
    let mixed = arm.mixed.then(|| qa_task(&question_sets.mixed)).transpose()?;

    // Section 3.2: LAKM, masked language modelling that masks knowledge phrases first (Eq. 1, 2).
    let lakm = arm.lakm.map(|masking| {
        let config = masking.task_config(&recipe.lakm, &recipe.ngrams);
        let (passages, max_length) = (&data.lakm_passages, recipe.lakm_max_length);
        PhraseMaskingTask::from_passages(&base, passages, max_length, &config)
    });
    let lakm = lakm.transpose()?;

    // Section 4.3: batches of the tasks alternate, with one update per batch, until the scores
    // converge.
    let rows = same_language.examples().lengths().expect("windows are in memory").len();
    let training = recipe.training(arm, rows);
    let round = recipe.round(arm);
    let tasks = Alternating::new()
        .with("mrc", round.mrc, same_language)
        .with_optional("mixed", round.mixed, mixed)
        .with_optional("lakm", round.lakm, lakm);
    let parameters = base.model.named_parameters();
    let selection = recipe.selection.rule(&data.dev, &base.model, &base.tokenizer, &recipe.windows);
    let report = trial.fit_best("train", &training, &parameters, tasks, selection)?;
    trial.save(&mut base, Head::Span, trial.dir("model"))?;
    Ok(report.steps)
}

/// Section 4.4: answers the questions of all combinations of passage and question languages.
fn answer(trial: &Trial<Recipe>) -> Result<Vec<FileScore>> {
    let Recipe { model, windows, evaluation, languages, data, .. } = trial.recipe;
    let reader = trial.load(trial.dir("model"), &[Head::Span], model.segments)?;
    let predictor = evaluation.predictor(&reader.model, &reader.tokenizer, windows);
    let files = evaluation.files(&data.evaluation, languages);
    Ok(evaluate(&predictor, &files, &evaluation.split, &[], &trial.dir("predictions"))?)
}
