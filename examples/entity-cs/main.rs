//! *EntityCS* (Whitehouse et al. 2022): English text with its entities in other languages, from
//! linked text to a model whose entities are aligned.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use data::Input;
use experiment::{Cell, Experiment};
use recipe::Recipe;
use report::Retrieval;
use tasks::masked_lm::PhraseMaskingTask;
use trainer::{Task, TaskSlot};
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    // 3.1: sentences whose linked entities carry their labels in one other language.
    let input = Input::read(&experiment.recipe)?;
    experiment.log(&input.corpus);
    let results = experiment.each(|cell| train(cell, &input), |cell, _| ask(cell, &input))?;
    report::write(experiment, &results)
}

/// 3.2: masked language modelling goes on, with masks on entities and one language in a batch.
fn train(cell: &Cell<Recipe>, input: &Input) -> Result<u64> {
    let recipe = cell.recipe;
    let base = cell.load(&recipe.model.path, &[Head::MaskedLm], recipe.model.segments)?;
    if let Some(text) = cell.arm.text {
        let (length, config) = (recipe.max_length, recipe.task(cell.arm));
        let mut tasks = Vec::new();
        for (language, passages) in input.passages(text) {
            let task = PhraseMaskingTask::from_passages(&base, passages, length, &config)?;
            tasks.push((language, task));
        }
        let size = |task: &mut PhraseMaskingTask<'_>| task.examples().lengths().map(<[_]>::len);
        let sizes = tasks.iter_mut().map(|(_, task)| size(task).unwrap_or(0));
        let batches = recipe.batches_per_round(&sizes.collect::<Vec<_>>());
        let mut slots = Vec::new();
        for ((language, task), batches) in tasks.iter_mut().zip(batches) {
            slots.push(TaskSlot::new(language.as_str(), task).with_batches_per_round(batches));
        }
        let parameters = base.model.named_parameters();
        cell.fit_tasks("pretrain", &recipe.pretraining, &parameters, &mut slots)?;
    }
    base.save(cell.dir("model"), Head::MaskedLm)?;
    Ok(cell.tokens())
}

/// How often the nearest English label of an entity's label in another language is its own.
fn ask(cell: &Cell<Recipe>, input: &Input) -> Result<Retrieval> {
    let trained = cell.load(cell.dir("model"), &[Head::MaskedLm], cell.recipe.model.segments)?;
    Retrieval::of(&trained.model, &trained.tokenizer, input)
}
