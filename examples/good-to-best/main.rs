//! Reproduces *From Good to Best: Two-Stage Training for Cross-Lingual Machine Reading
//! Comprehension*: a second stage corrects the boundaries of a reader's candidate answers.
mod questions;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use experiment::{Experiment, Trial};
use mlqa_eval::{Purpose, SetScores, UnanswerableWindow, Window, WindowConfig, windows};
use questions::QuestionData;
use recipe::{Recipe, StageTwoStart};
use report::{STAGE_ONE, Trained};
use tasks::question_answering::{QaData, QaPredictor, QaTask, evaluate_sets};
use tasks::two_stage::{BoundaryTask, CandidateMiner, Candidates};
use xlmr_model::{Head, read_tokenizer};

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    let data = recipe.data.load(&recipe.languages, &recipe.selection)?;
    // Windows without the gold span have no candidates and no positive example.
    let unanswerable_window = UnanswerableWindow::Drop;
    let config = WindowConfig { unanswerable_window, ..recipe.windows.clone() };
    let tokenizer = read_tokenizer(&recipe.model.path)?;
    let windows = windows(&data.train, &tokenizer, &config, Purpose::Train)?;
    let (count, n_windows) = (data.train.len(), windows.len());
    experiment.log(format!("{count} training questions, {n_windows} windows with their gold span"));

    let (data, windows) = (&data, windows.as_slice());
    let readers = experiment.each_seed(
        STAGE_ONE,
        |trial| stage_one(trial, data),
        |trial, _| answer(trial, data),
    )?;
    let results =
        experiment.each(|trial| stage_two(trial, data, windows), |trial, _| answer(trial, data))?;
    report::write(experiment, &readers, &results)
}

/// Section 3, the base model: trains the reader (Eq. 1, 2) with the span loss only (Eq. 3).
fn stage_one(trial: &Trial<Recipe, ()>, input: &QuestionData) -> Result<Trained> {
    let recipe = trial.recipe;
    let mut base = trial.load_model(&recipe.model.path, &[Head::Span], recipe.model.segments)?;
    if recipe.windows.segment_ids {
        base.enable_pair_segments()?;
    }
    let (questions, windows) = (input.train.as_slice(), &recipe.windows);
    let data = QaData { questions, question_entity_spans: None, windows };
    let mut task = QaTask::new(&base.model, &base.tokenizer, &data, &recipe.qa)?;
    let selection = recipe.selection.rule(&input.dev, &base.model, &base.tokenizer, windows);
    let parameters = base.model.named_parameters();
    trial.fit_best("train", &recipe.stage_one, &parameters, &mut task, selection)?;
    trial.save(&mut base, Head::Span, trial.dir("model"))?;
    Ok(Trained::default())
}

/// Section 3: trains with hard learning and answer-aware contrast, or with the losses that the arm
/// selects.
fn stage_two(trial: &Trial<Recipe>, data: &QuestionData, windows: &[Window]) -> Result<Trained> {
    let (recipe, terms) = (trial.recipe, trial.arm.terms);
    let (boundary, mining) = recipe.boundary(trial.arm);
    // Hard learning: computes the candidates Z, which are the reader's best spans and the gold span
    // (footnote 1).
    let reader_folder = trial.seed_dir(STAGE_ONE).join("model");
    let mut candidates = None;
    if terms.hard_learning {
        let reader = trial.load(&reader_folder, &[Head::Span], recipe.model.segments)?;
        let batch_size = recipe.evaluation.batch_size;
        let miner = CandidateMiner { model: &reader.model, windows, batch_size };
        let file = format!("candidates-{}.safetensors", mining.count);
        let path = trial.seed_dir(STAGE_ONE).join(file);
        candidates = Some(Candidates::load_or_compute(&path, &miner, &mining)?.0);
    }

    // Initial model of the second stage, which the paper does not specify.
    let start_folder = match recipe.start {
        StageTwoStart::Base => &*recipe.model.path,
        StageTwoStart::StageOne => &reader_folder,
    };
    let mut base = trial.load_model(start_folder, &[Head::Span], recipe.model.segments)?;
    if recipe.windows.segment_ids {
        base.enable_pair_segments()?;
    }

    // Hard learning (Eq. 4, 5) and answer-aware contrast (Eq. 6 to 8), mixed by alpha (Eq. 9).
    let (model, context_only) = (&base.model, recipe.qa.context_only);
    let mut task =
        BoundaryTask::new(model, windows, candidates.as_ref(), terms, &boundary, context_only)?;
    let mut parameters = model.named_parameters();
    parameters.extend(task.parameters());
    let config = task.train_config(&recipe.stage_two);
    let selection = recipe.selection.rule(&data.dev, model, &base.tokenizer, &recipe.windows);
    trial.fit_best("train", &config, &parameters, &mut task, selection)?;
    let weights = task.slot_weights()?;
    trial.save(&mut base, Head::Span, trial.dir("model"))?;
    Ok(Trained { weights, candidates: candidates.map(|candidates| candidates.report) })
}

/// Section 4: answers every evaluation file, and scores the answers.
fn answer<A>(trial: &Trial<Recipe, A>, data: &QuestionData) -> Result<SetScores> {
    let Recipe { model, windows, evaluation, .. } = trial.recipe;
    let reader = trial.load(trial.dir("model"), &[Head::Span], model.segments)?;
    let predictor = QaPredictor::new(&reader.model, &reader.tokenizer, windows)
        .with_decoding(&evaluation.decoding)
        .with_batch_size(evaluation.batch_size);
    Ok(evaluate_sets(&predictor, &data.sets, &evaluation.top_k, &trial.dir("predictions"))?)
}
