//! *EntityCS* (Whitehouse et al. 2022): English text with its entities in other languages, from
//! linked text to a model whose entities are aligned.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result};
use data::Input;
use experiment::{Cell, Experiment};
use recipe::{Recipe, SourceText};
use report::Retrieval;
use tasks::masked_lm::lowest_perplexity;
use trainer::TaskSlot;
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    // 3.1: sentences whose linked entities carry their labels in one other language.
    let input = Input::read(experiment)?;
    let results = experiment.each(|cell| train(cell, &input), |cell, _| ask(cell, &input))?;
    report::write(experiment, &results)
}

/// 3.2: masked language modelling goes on, with masks on entities and one language in a batch.
fn train(cell: &Cell<Recipe>, input: &Input) -> Result<u64> {
    let recipe = cell.recipe;
    let base = cell.load(&recipe.model.path, &[Head::MaskedLm], recipe.model.segments)?;
    if let Some(text) = cell.arm.text {
        let (config, length) = (recipe.task(cell.arm), recipe.max_length);
        let wanted = |language| text == SourceText::Switched || language == recipe.switch.source;
        let mut tasks = input.sentences.tasks(&base, wanted, length, &config)?;
        let held_back = input.sentences.held_back(&base, wanted, length, &config)?;
        let sizes: Vec<usize> = tasks.iter().map(|one| one.examples).collect();
        let batches = recipe.languages.batches(&sizes);
        let mut slots = tasks.iter_mut().zip(batches).map(|(one, batches)| {
            TaskSlot::new(one.language.as_str(), &mut one.task).with_batches_per_round(batches)
        });
        let first = slots.next().context("no language to train on")?;
        let mut others: Vec<TaskSlot<'_>> = slots.collect();
        let (config, parameters) = (&recipe.pretraining, base.model.named_parameters());
        let best = lowest_perplexity(&held_back, recipe.validation.seed, config.batch_size);
        cell.fit_best_of("pretrain", config, &parameters, (first, &mut others), best)?;
    }
    base.save(cell.dir("model"), Head::MaskedLm)?;
    Ok(cell.tokens())
}

/// How often the nearest English label of an entity's label in another language is its own.
fn ask(cell: &Cell<Recipe>, input: &Input) -> Result<Retrieval> {
    let Some(asked) = &input.asked else { return Ok(Retrieval::default()) };
    let trained = cell.load(cell.dir("model"), &[Head::MaskedLm], cell.recipe.model.segments)?;
    Retrieval::of(&trained.model, &trained.tokenizer, asked)
}
