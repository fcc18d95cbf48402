//! Reproduces *XLM-K: Improving Cross-Lingual Language Model Pre-training with Multilingual
//! Knowledge* (Jiang et al. 2022), from mentions and triples to the probes.
mod recipe;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use experiment::{Experiment, Trial};
use tasks::knowledge::{
    EntityPredictionTask, KnowledgeData, KnowledgeProbe, ObjectEntailmentTask, ProbeScores,
};
use trainer::WeightedSum;
use xlmr_model::{Head, KnowledgeHeads, Segments};

use recipe::Recipe;

fn main() -> ExitCode {
    experiment::main(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    // Section 3.1: entities with mentions and descriptions in many languages, triples between the
    // entities, and text.
    let data = recipe.data()?;
    experiment.log(&data);
    let results =
        experiment.each(|trial| pretrain(trial, &data), |trial, _| probe(trial, &data))?;
    // Frequency baselines for XEP.
    let baselines = data.baselines(&recipe.probe)?;
    report::write(experiment, &baselines, &results)
}

/// Trains an arm; returns the final loss, or 0 for an untrained arm.
fn pretrain(trial: &Trial<'_, Recipe>, data: &KnowledgeData) -> Result<f64> {
    let recipe = trial.recipe;
    let arm = trial.arm;
    let config = recipe.task_config(arm);
    // Section 4.3: the arm without multilingual descriptions trains on mentions from a separate
    // folder.
    let arm_data = arm.mentions.is_set().then(|| data.with_mentions(&arm.mentions)).transpose()?;
    let data = arm_data.as_ref().unwrap_or(data);

    // Eq. 1 to 4: projection heads for mention, description, subject with relation, and object.
    let mut base =
        trial.load_model(&recipe.model.path, &[Head::MaskedLm], recipe.model.segments)?;
    let model = &base.model;
    let options = config.heads(&recipe.heads, data.languages());
    let device = trial.device();
    let heads =
        KnowledgeHeads::new(model.config(), &options, data.relations(), device, trial.seed)?;

    // Section 3.2, masked entity prediction: a masked mention is contrasted with its entity's
    // description in another language (Eq. 1, 2, 5).
    let losses = &config.losses;
    let entity_prediction =
        EntityPredictionTask::new(model, base.special_tokens, &heads, losses, data)?;

    // Section 3.3, object entailment: subject and relation are contrasted with the object's
    // description (Eq. 3 to 5).
    let object_entailment =
        ObjectEntailmentTask::new(model, &heads, config.object_entailment, losses, data)?;

    // Section 4.1: masked language modelling on text; in the ablation without knowledge tasks, also
    // on the descriptions.
    let masked_lm = data.masked_lm(model, base.special_tokens, &losses.masking)?;
    let description_lm = data.description_lm(model, base.special_tokens, &losses.masking)?;

    // Section 3.4, Eq. 6: the sum of the losses with the weights of this arm.
    let weighted_sum = WeightedSum::new()
        .with("mlm", config.weights.mlm, masked_lm)
        .with("description_mlm", config.weights.description_mlm, description_lm)
        .with("mep", config.weights.mep, entity_prediction)
        .with("oe", config.weights.oe, object_entailment);

    // Section 4.1: training continues from XLM-R.
    let mut parameters = model.named_parameters();
    parameters.extend(heads.named_parameters());
    let final_loss = if arm.untrained {
        drop(weighted_sum);
        0.0
    } else {
        trial.fit("pretrain", &recipe.pretraining(), &parameters, weighted_sum)?.final_loss
    };
    trial.save(&mut base, Head::MaskedLm, trial.dir("model"))?;
    heads.save(trial.dir("model"))?;
    Ok(final_loss)
}

/// Appendix B: evaluates XEP and XOR. Heads that were not trained are not used.
fn probe(trial: &Trial<'_, Recipe>, data: &KnowledgeData) -> Result<ProbeScores> {
    let folder = trial.dir("model");
    let task_config = trial.recipe.task_config(trial.arm);
    let base = trial.load(&folder, &[], Segments::AsSaved)?;
    let heads = KnowledgeHeads::load(&folder, base.model.config(), trial.device())?;
    let config = &trial.recipe.probe;
    let probe =
        KnowledgeProbe::new(&base.model, base.special_tokens, &heads, &task_config, config)?;
    Ok(probe.score_all(data, trial.run_dir(""))?)
}
