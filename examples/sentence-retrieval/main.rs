//! *IndicSBERT* (Deode et al. 2023): a multilingual sentence encoder trained with in-batch
//! negatives or by cosine regression, evaluated on retrieval; passage vectors augmented with
//! questions (xQG); and descriptions of entities re-ranked by a cross-encoder (xMEN).
mod candidates;
mod data;
mod evaluate;
mod lexical;
mod recipe;
mod report;
mod reranking;

use std::process::ExitCode;

use anyhow::Result;
use data::Inputs;
use evaluate::evaluate;
use experiment::{Experiment, Trial};
use kg_triples::knowledge::PairKind;
use recipe::Recipe;
use tasks::text_pairs::{TextPairConfig, TextPairTask};
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let inputs = Inputs::read(&experiment.recipe)?;
    let results =
        experiment.each(|trial| train(trial, &inputs), |trial, _| evaluate(trial, &inputs))?;
    report::write(experiment, &results)
}

/// Trains by multiple negatives ranking (InfoNCE over the cosines of a question with all keys of
/// its batch), by regression of the cosines of pairs, or as a re-ranker.
fn train(trial: &Trial<Recipe>, inputs: &Inputs) -> Result<u64> {
    if let Some(config) = &trial.arm.rerank {
        return reranking::train(trial, &inputs.entities, config);
    }
    let Recipe { model, pairs: config, .. } = trial.recipe;
    let config = TextPairConfig { loss: trial.arm.loss.unwrap_or(config.loss), ..config.clone() };
    let Some(positive) = trial.arm.positive else {
        trial.load(&model.path, &[], model.segments)?.save(trial.dir("model"), Head::None)?;
        return Ok(0);
    };
    let mut base = trial.load_model(&model.path, &[], model.segments)?;
    let pairs = inputs.pairs(trial.recipe, positive, config.loss, trial.seed)?;
    let mut task = TextPairTask::new(&base.model, &base.tokenizer, PairKind::Es, &pairs, &config)?;
    let parameters = base.model.named_parameters();
    trial.fit("train", &trial.recipe.training(trial.arm), &parameters, &mut task)?;
    trial.save(&mut base, Head::None, trial.dir("model"))?;
    Ok(trial.tokens())
}
