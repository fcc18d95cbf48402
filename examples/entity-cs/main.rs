//! Reproduces *EntityCS* (Whitehouse et al. 2022): trains an encoder on English sentences whose
//! entities are switched to other languages.
mod recipe;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::Result;
use experiment::{Experiment, Trial};
use kg_triples::Language;
use kg_triples::phrases::PhrasePassage;
use recipe::{LabelGroups, Recipe, SourceText};
use report::Scores;
use tasks::label_retrieval::precision_by_group;
use tasks::masked_lm::{LinkedTextFiles, PhraseMaskingTask, lowest_perplexity};
use trainer::Alternating;
use xlmr_model::Head;

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

/// Seed of the masks for scoring, shared by all models.
const MASK_SEED: u64 = 0;

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    // Section 3.1: sentences whose linked entities are replaced by their labels in another
    // language.
    let texts = LinkedTextFiles::open(&recipe.data.switched, &recipe.shuffle)?;
    experiment.log(format!("texts to train on: {:?}", texts.text_counts()));
    let mut languages: BTreeSet<Language> = texts.text_counts().into_keys().collect();
    languages.insert(Language::EN);
    let inputs = ProbeInputs {
        labels: recipe.data.labels()?,
        unswitched: recipe.data.unswitched_sentences(&languages)?,
    };
    let results =
        experiment.each(|trial| train(trial, &texts), |trial, _| probe(trial, &inputs))?;
    report::write(experiment, &results)
}

/// Evaluation data, by language.
struct ProbeInputs {
    labels: BTreeMap<Language, LabelGroups>,
    /// Sentences without switched entities.
    unswitched: BTreeMap<Language, Vec<PhrasePassage>>,
}

/// Section 3.2: continues masked language modelling with masks on entities; each batch has one
/// language.
fn train(trial: &Trial<Recipe>, texts: &LinkedTextFiles) -> Result<u64> {
    let recipe = trial.recipe;
    let Some(text) = trial.arm.text else {
        let base = trial.load(&recipe.model.path, &[Head::MaskedLm], recipe.model.segments)?;
        base.save(trial.dir("model"), Head::MaskedLm)?;
        return Ok(0);
    };
    let mut base =
        trial.load_model(&recipe.model.path, &[Head::MaskedLm], recipe.model.segments)?;
    let (config, length) = (recipe.task_config(trial.arm), recipe.max_length);
    let arm_texts = LinkedTextFiles::open(&trial.arm.switched, &recipe.shuffle);
    let arm_texts = trial.arm.switched.is_set().then_some(arm_texts).transpose()?;
    let texts = arm_texts.as_ref().unwrap_or(texts);
    let selects_language = |language| text == SourceText::Switched || language == Language::EN;
    let tasks = texts.tasks(&base, selects_language, length, &config)?;
    let validation = texts.validation(&base, selects_language, length, &config)?;
    let sizes: Vec<usize> = tasks.iter().map(|task| task.examples).collect();
    let mut by_language = Alternating::new();
    for (language_task, batches) in tasks.into_iter().zip(recipe.languages.batches(&sizes)) {
        by_language =
            by_language.with(language_task.language.as_str(), batches, language_task.task);
    }
    let config = &recipe.pretraining;
    let parameters = base.model.named_parameters();
    let selection = lowest_perplexity(&validation, MASK_SEED, config.batch_size);
    trial.fit_best("pretrain", config, &parameters, by_language, selection)?;
    trial.save(&mut base, Head::MaskedLm, trial.dir("model"))?;
    Ok(trial.tokens())
}

/// Evaluates label retrieval, and the masked-LM loss on sentences without switched entities. Label
/// retrieval succeeds if the English label nearest to a label in another language belongs to the
/// same entity.
fn probe(trial: &Trial<Recipe>, inputs: &ProbeInputs) -> Result<Scores> {
    let recipe = trial.recipe;
    let trained = trial.load(trial.dir("model"), &[Head::MaskedLm], recipe.model.segments)?;
    let mut scores = Scores::default();
    for (&language, [switched, held_out]) in &inputs.labels {
        let groups = [switched.as_slice(), held_out.as_slice()];
        let [seen, unseen] = precision_by_group(&trained.model, &trained.tokenizer, groups)?;
        scores.switched.insert(language, seen);
        scores.held_out.insert(language, unseen);
    }
    for (&language, sentences) in &inputs.unswitched {
        let (length, config) = (recipe.max_length, recipe.scoring_config());
        let task = PhraseMaskingTask::from_passages(&trained, sentences, length, &config)?;
        let loss = task.mean_loss(MASK_SEED, recipe.pretraining.batch_size)?;
        scores.loss.insert(language.to_string(), loss);
    }
    Ok(scores)
}
