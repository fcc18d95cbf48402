//! *XLM-K: Improving Cross-Lingual Language Model Pre-training with Multilingual Knowledge* (Jiang
//! et al. 2022), from mentions and triples to its probes.
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use experiment::{Experiment, Trial};
use tasks::knowledge::{KnowledgeData, KnowledgeProbe, KnowledgeTask, ProbeScores};
use xlmr_model::{Head, KnowledgeHeads, Segments};

use recipe::Recipe;

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    // 3.1: entities with mentions and descriptions in many languages, the triples between
    // them, and text.
    let data = recipe.data()?;
    experiment.log(&data);
    let results =
        experiment.each(|trial| pretrain(trial, &data), |trial, _| probe(trial, &data))?;
    // What counting the training examples is worth at XEP.
    let baselines = data.baselines(&recipe.probe)?;
    report::write(experiment, &baselines, &results)
}

/// Trains an arm; the loss at the end.
fn pretrain(trial: &Trial<'_, Recipe>, data: &KnowledgeData) -> Result<f64> {
    let recipe = trial.recipe;
    let arm = trial.arm;
    let config = recipe.task(arm);
    // 4.3: the arm without multilingual descriptions has mentions of its own.
    let own = arm.mentions.is_set().then(|| data.with_mentions(&arm.mentions)).transpose()?;
    let data = own.as_ref().unwrap_or(data);

    // Eq. 1 to 4: projections of mention and description, of subject with relation and object.
    let base = trial.load(&recipe.model.path, &[Head::MaskedLm], recipe.model.segments)?;
    let heads = config.heads(&recipe.heads, data.languages());
    let model = base.model.config();
    let heads = KnowledgeHeads::new(model, &heads, data.relations(), trial.device(), trial.seed)?;

    // 3.2, masked entity prediction, and 3.3, object entailment, both by contrast (Eq. 5); 3.4,
    // their sum with masked language modelling (Eq. 6), each with its weight in this arm.
    let mut task = KnowledgeTask::new(&base.model, base.specials, &heads, config, data)?;

    // 4.1: training goes on from XLM-R.
    let mut parameters = base.model.named_parameters();
    parameters.extend(heads.named_parameters());
    let fitted = trial.fit("pretrain", &recipe.pretraining(), &parameters, &mut task)?;
    base.save(trial.dir("model"), Head::MaskedLm)?;
    heads.save(trial.dir("model"))?;
    Ok(fitted.final_loss)
}

/// Appendix B: XEP and XOR. Heads that were not trained are not asked.
fn probe(trial: &Trial<'_, Recipe>, data: &KnowledgeData) -> Result<ProbeScores> {
    let folder = trial.dir("model");
    let trained_with = trial.recipe.task(trial.arm);
    let base = trial.load(&folder, &[], Segments::AsSaved)?;
    let heads = KnowledgeHeads::load(&folder, base.model.config(), trial.device())?;
    let config = &trial.recipe.probe;
    let probe = KnowledgeProbe::new(&base.model, base.specials, &heads, &trained_with, config)?;
    Ok(probe.all(data, trial.run_dir(""))?)
}
