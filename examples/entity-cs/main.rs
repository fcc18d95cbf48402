//! *EntityCS* (Whitehouse et al. 2022): English text with its entities in other languages, from
//! linked text to a model whose entities are aligned.
mod data;
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result};
use data::{Asked, Input};
use experiment::{Cell, Experiment};
use recipe::{Recipe, SourceText};
use report::Scores;
use tasks::label_retrieval::found_in_groups;
use tasks::masked_lm::{HeldBack, PhraseMaskingTask, lowest_perplexity};
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

/// How often the nearest English label of an entity's label in another language is its own, and how
/// well the tokens of sentences that nothing switched are predicted.
fn ask(cell: &Cell<Recipe>, input: &Input) -> Result<Scores> {
    let recipe = cell.recipe;
    let trained = cell.load(cell.dir("model"), &[Head::MaskedLm], recipe.model.segments)?;
    let mut scores = Scores::default();
    if let Some(Asked { labels, switched, held_out }) = &input.asked {
        for (&language, seen) in switched {
            let (model, tokenizer, groups) = (&trained.model, &trained.tokenizer, [seen, held_out]);
            let [seen, unseen] = found_in_groups(model, tokenizer, labels, language, groups)?;
            scores.switched.insert(language, seen);
            scores.held_out.insert(language, unseen);
        }
    }
    for (&language, sentences) in &input.plain {
        let (length, config) = (recipe.max_length, recipe.plain());
        let task = PhraseMaskingTask::from_passages(&trained, sentences, length, &config)?;
        let HeldBack { seed, .. } = recipe.validation;
        let perplexity = task.perplexity(seed, recipe.pretraining.batch_size)?;
        scores.loss.insert(language.to_string(), perplexity.ln());
    }
    Ok(scores)
}
