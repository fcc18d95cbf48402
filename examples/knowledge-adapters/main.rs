//! Reproduces *Adapters for Enhanced Modeling of Multilingual Knowledge and Text* (Hou et al.
//! 2022): trains four small knowledge adapters in a frozen encoder, and fuses and evaluates them.
mod learn;
mod recipe;
mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use experiment::{Experiment, Trial};
use learn::{adapter_folder, learn, learn_adapter};
use mlqa_eval::Language;
use recipe::{Inputs, LanguageModel, Recipe};
use report::Trained;
use tasks::graph_retrieval::{graph_retrieval, mapped_graph_retrieval};
use tasks::masked_lm::PhraseMaskingTask;
use tasks::question_answering::{FileScore, QaTask, evaluate};
use xlmr_model::{Head, Pretrained};

fn main() -> ExitCode {
    experiment::main(run)
}

/// Seed of the masks for scoring sentences, shared by all models.
const MASK_SEED: u64 = 0;

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    let inputs = recipe.inputs()?;
    let (graph, pairs) = (&inputs.graph, &inputs.pairs);
    let (triples, n_pairs, held_out) = (graph.len(), pairs.train.len(), pairs.held_out.len());
    experiment
        .log(format!("{triples} triples, {n_pairs} pairs of texts, {held_out} entities held out"));
    // Each adapter is trained once per seed, and all arms that use the adapter share it.
    let mut adapters = BTreeMap::new();
    for kind in recipe.kinds() {
        let train = |trial: &Trial<_, ()>| learn_adapter(trial, kind, &inputs);
        adapters.insert(kind, experiment.each_seed(&adapter_folder(kind), train, |_, _| Ok(()))?);
    }
    let results = experiment.each(|trial| train(trial, &inputs), |trial, _| answer(trial))?;
    report::write(experiment, &adapters, &results)
}

/// Trains an arm, evaluates its knowledge, and fine-tunes a reader.
fn train(trial: &Trial<Recipe>, inputs: &Inputs) -> Result<Trained> {
    let Recipe { model: options, pairs, evaluation, .. } = trial.recipe;
    let mut base = trial.load(&options.path, &[Head::MaskedLm, Head::Span], options.segments)?;
    if trial.recipe.windows.segment_ids {
        base.enable_pair_segments()?;
    }
    let loss_before = sentence_loss(trial, &base, inputs)?;
    let result = learn(trial, &mut base, inputs)?;

    // Evaluates the retrieval of labels and objects across languages, for trained and held-out
    // entities. The base model is also evaluated with a linear map between the languages.
    let (model, tokenizer) = (&base.model, &base.tokenizer);
    let (queries, batch_size) = (trial.recipe.graph_queries(inputs), evaluation.batch_size);
    let found = graph_retrieval(model, tokenizer, &queries, pairs, batch_size)?;
    let map = &trial.recipe.map;
    let mapped = || mapped_graph_retrieval(model, tokenizer, &queries, pairs, batch_size, map);
    let mapped = trial.arm.is_base().then(mapped).transpose()?;

    // Checks that the model without adapters has exactly the losses of the base model.
    let loss = sentence_loss(trial, &base, inputs)?;
    if !result.adapters.is_empty() {
        base.model.set_active_adapters(&[])?;
        let loss_without_adapters = sentence_loss(trial, &base, inputs)?;
        let message = "the model without adapters differs from the model before training";
        ensure!(
            loss_without_adapters == loss_before,
            "{message}: losses {loss_without_adapters:?}, expected {loss_before:?}"
        );
        result.activate(&mut base.model)?;
    }

    // Fine-tuning on English questions, with active adapters.
    let (model, tokenizer) = (&base.model, &base.tokenizer);
    let data = inputs.questions.data(&trial.recipe.windows);
    let mut task = QaTask::new(model, tokenizer, &data, &trial.recipe.qa)?;
    let parameters = model.named_parameters();
    trial.fit("fine-tune", &trial.recipe.fine_tuning, &parameters, &mut task)?;
    base.save(trial.dir("model"), Head::Span)?;
    Ok(Trained { updates: result.updates, found, mapped, loss })
}

/// Returns the mean loss of masked tokens in sentences, in nats, by language.
fn sentence_loss(
    trial: &Trial<Recipe>,
    base: &Pretrained,
    inputs: &Inputs,
) -> Result<BTreeMap<Language, f64>> {
    let LanguageModel { max_length, batch_size, .. } = trial.recipe.language_model;
    let config = trial.recipe.masked_lm();
    let language_loss = |(&language, sentences): (&Language, &Vec<_>)| {
        let task = PhraseMaskingTask::from_passages(base, sentences, max_length, &config)?;
        Ok((language, task.mean_loss(MASK_SEED, batch_size)?))
    };
    inputs.sentences.iter().map(language_loss).collect()
}

/// Answers questions in every language about English passages (G-XLT), and scores the answers.
fn answer(trial: &Trial<Recipe>) -> Result<Vec<FileScore>> {
    let Recipe { model, windows, evaluation, languages, data, .. } = trial.recipe;
    let trained = trial.load(trial.dir("model"), &[Head::Span], model.segments)?;
    let predictor = evaluation.predictor(&trained.model, &trained.tokenizer, windows);
    let files = evaluation.files(&data.evaluation, languages);
    Ok(evaluate(&predictor, &files, &evaluation.split, &[], &trial.dir("predictions"))?)
}
