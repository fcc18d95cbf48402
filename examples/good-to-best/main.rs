//! *From Good to Best: Two-Stage Training for Cross-Lingual Machine Reading Comprehension*, from a
//! reader's candidates to answers with the right boundaries.
mod recipe;
mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use experiment::{Cell, Experiment};
use mlqa_eval::{Purpose, Question, SetScores, UnanswerableWindow, Window, WindowConfig, windows};
use recipe::{Recipe, StageTwoStart};
use report::{STAGE_ONE, Trained};
use tasks::question_answering::{QaData, QaPredictor, QaTask, QuestionFile, evaluate_sets};
use tasks::two_stage::{BoundaryTask, CandidateMiner, Candidates};
use xlmr_model::{Head, read_tokenizer};

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    let (questions, sets) = recipe.data.load(&recipe.languages, &experiment.dir("data"))?;
    // Windows without their gold span have neither candidates nor a positive.
    let unanswerable_window = UnanswerableWindow::Drop;
    let config = WindowConfig { unanswerable_window, ..recipe.windows.clone() };
    let tokenizer = read_tokenizer(&recipe.model.path)?;
    let windows = windows(&questions, &tokenizer, &config, Purpose::Train)?;
    let (count, with_gold) = (questions.len(), windows.len());
    experiment.log(format!("{count} training questions, {with_gold} windows with their gold span"));

    let readers = experiment.each_seed(
        STAGE_ONE,
        |cell| stage_one(cell, &questions),
        |cell, _| answer(cell, &sets),
    )?;
    let results =
        experiment.each(|cell| stage_two(cell, &windows), |cell, _| answer(cell, &sets))?;
    report::write(experiment, &readers, &results)
}

/// The reader: Eq. 3 alone.
fn stage_one(cell: &Cell<Recipe, ()>, questions: &[Question]) -> Result<Trained> {
    let recipe = cell.recipe;
    let base = cell.load(&recipe.model.path, &[Head::Span], recipe.model.segments)?;
    let data = QaData { questions, question_entity_spans: None, windows: &recipe.windows };
    let mut task = QaTask::new(&base.model, &base.tokenizer, &data, &recipe.qa)?;
    cell.fit("train", &recipe.stage_one, &base.model.named_parameters(), &mut task)?;
    base.save(cell.dir("model"), Head::Span)?;
    Ok(Trained::default())
}

/// Hard learning and answer-aware contrast (Eq. 9), or the parts of it that the arm names.
fn stage_two(cell: &Cell<Recipe>, windows: &[Window]) -> Result<Trained> {
    let (recipe, terms) = (cell.recipe, cell.arm.terms);
    let (boundary, config) = recipe.boundary(cell.arm);
    let load = |folder: &_| cell.load(folder, &[Head::Span], recipe.model.segments);

    // The candidates Z: the reader's best spans, footnote 1.
    let reader_folder = cell.seed_dir(STAGE_ONE).join("model");
    let mut candidates = None;
    if terms.hard_learning {
        let reader = load(&reader_folder)?;
        let batch_size = recipe.evaluation.batch_size;
        let miner = CandidateMiner { model: &reader.model, windows, batch_size };
        let file = format!("candidates-{}.safetensors", config.count);
        let path = cell.seed_dir(STAGE_ONE).join(file);
        candidates = Some(Candidates::load_or_compute(&path, &miner, &config)?.0);
    }

    let base = match recipe.start {
        StageTwoStart::Base => load(&recipe.model.path.to_path_buf())?,
        StageTwoStart::StageOne => load(&reader_folder)?,
    };
    let (model, context_only) = (&base.model, recipe.qa.context_only);
    let mut task =
        BoundaryTask::new(model, windows, candidates.as_ref(), terms, &boundary, context_only)?;
    let mut parameters = model.named_parameters();
    parameters.extend(task.parameters());
    cell.fit("train", &task.train_config(&recipe.stage_two), &parameters, &mut task)?;
    base.save(cell.dir("model"), Head::Span)?;
    Ok(Trained { weights: task.slot_weights()?, candidates: candidates.map(|all| all.report) })
}

/// Answers to every evaluation file, scored.
fn answer<A>(
    cell: &Cell<Recipe, A>,
    sets: &BTreeMap<String, Vec<QuestionFile>>,
) -> Result<SetScores> {
    let Recipe { model, windows, evaluation, .. } = cell.recipe;
    let reader = cell.load(cell.dir("model"), &[Head::Span], model.segments)?;
    let predictor = QaPredictor::new(&reader.model, &reader.tokenizer, windows)
        .with_decoding(&evaluation.decoding)
        .with_batch_size(evaluation.batch_size);
    Ok(evaluate_sets(&predictor, sets, &evaluation.top_k, &cell.dir("predictions"))?)
}
