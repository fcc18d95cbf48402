//! Trains a masked-LM head for an encoder that was published without one. The encoder and its word
//! embeddings remain unchanged.
mod recipe;
mod report;
mod vectors;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use experiment::{Experiment, Trial};
use kg_triples::Language;
use kg_triples::phrases::PhrasePassage;
use recipe::{Parameters, Recipe};
use report::Scores;
use tasks::masked_lm::{LanguageTask, PhraseMaskingTask, lowest_perplexity};
use trainer::Alternating;
use vectors::{mean_cosine_between, mean_cosine_of_pairs, text_vectors};
use xlmr_model::{Head, Pretrained, Segments};

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

/// Seed of the masks for scoring, shared by all models.
const MASK_SEED: u64 = 0;

/// Passages by language.
type Passages = BTreeMap<Language, Vec<PhrasePassage>>;

/// The texts of a run.
struct Texts {
    train: Passages,
    /// Sentences for selecting the best step.
    selection: Passages,
    /// Sentences for the reported scores.
    test: Passages,
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let train = experiment.recipe.training_texts()?;
    let (selection, test) = experiment.recipe.held_out_sentences()?;
    let texts = Texts { train, selection, test };
    for (language, passages) in &texts.train {
        experiment.log(format!("{language}: {} paragraphs to train on", passages.len()));
    }
    let results =
        experiment.each(|trial| train_head(trial, &texts), |trial, ()| score(trial, &texts))?;
    report::write(experiment, &results)
}

/// Trains the arm's parameters until the loss on the selection sentences no longer falls; each
/// batch has one language.
fn train_head(trial: &Trial<Recipe>, texts: &Texts) -> Result<()> {
    let recipe = trial.recipe;
    let mut base = match &trial.arm.start {
        Some(arm) => load(trial, trial.seed_dir(arm).join("model"))
            .with_context(|| format!("starts from the arm {arm}: add it to --arms, before"))?,
        None => load(trial, &recipe.model.path)?,
    };
    if let Some(parameters) = trial.arm.trained {
        let tasks = language_tasks(recipe, &base, &texts.train)?;
        let selection = language_tasks(recipe, &base, &texts.selection)?;
        let sizes: Vec<usize> = tasks.iter().map(|task| task.examples).collect();
        let mut by_language = Alternating::new();
        for (task, batches) in tasks.into_iter().zip(recipe.languages.batches(&sizes)) {
            by_language = by_language.with(task.language.as_str(), batches, task.task);
        }
        let config = recipe.train_config(trial.arm, parameters);
        let selection = lowest_perplexity(&selection, MASK_SEED, config.batch_size);
        let parameters = base.model.named_parameters();
        trial.fit_best("train", &config, &parameters, by_language, selection)?;
    }
    trial.save(&mut base, Head::MaskedLm, trial.dir("model"))?;
    Ok(())
}

/// Computes the masked-LM loss, and how much the encoder's vectors changed.
fn score(trial: &Trial<Recipe>, texts: &Texts) -> Result<Scores> {
    let recipe = trial.recipe;
    let trained = load(trial, trial.dir("model"))?;
    let before = match trial.arm.trained {
        Some(Parameters::All) => Some(load(trial, &recipe.model.path)?),
        Some(Parameters::Head) | None => None,
    };
    let mut scores = Scores::default();
    for (&language, passages) in &texts.test {
        let batch_size = recipe.evaluation_batch_size;
        let task =
            PhraseMaskingTask::from_passages(&trained, passages, recipe.max_length, &recipe.task)?;
        let loss = task.mean_loss(MASK_SEED, batch_size)?;
        let after = text_vectors(&trained, passages, recipe.max_length, batch_size)?;
        let cosine_to_before = before.as_ref().map_or(Ok(1.0), |before| {
            let before = text_vectors(before, passages, recipe.max_length, batch_size)?;
            anyhow::Ok(mean_cosine_of_pairs(&before, &after))
        })?;
        let code = language.to_string();
        scores.loss.insert(code.clone(), loss);
        scores.cosine_to_before.insert(code.clone(), cosine_to_before);
        scores.cosine_between.insert(code, mean_cosine_between(&after));
    }
    Ok(scores)
}

fn load(trial: &Trial<Recipe>, folder: impl AsRef<std::path::Path>) -> Result<Pretrained> {
    Ok(trial.load(folder, &[Head::MaskedLm], Segments::AsSaved)?)
}

/// Creates a task for each language's passages.
fn language_tasks<'a>(
    recipe: &Recipe,
    base: &'a Pretrained,
    passages: &Passages,
) -> Result<Vec<LanguageTask<'a>>> {
    let task = |(&language, passages): (&Language, &Vec<PhrasePassage>)| {
        let (length, config) = (recipe.max_length, &recipe.task);
        let task = PhraseMaskingTask::from_passages(base, passages, length, config)?;
        Ok(LanguageTask { language, examples: task.len(), task })
    };
    passages.iter().map(task).collect()
}
