//! The triples of an arm as masked sequences (section III-A), and the questions of a run.
use anyhow::{Context, Result};
use examples::sentences::read_paragraphs;
use experiment::{Experiment, ShardPaths, Trial};
use kg_triples::BuildReport;
use tasks::masked_lm::{PhraseMaskingTask, SelectedSequences, SequenceFiles};
use tasks::question_answering::{TrainingQuestions, check_files};
use trainer::TrainConfig;
use xlmr_model::Pretrained;

use crate::recipe::{Arm, Recipe};

/// Reads the training questions, and checks that the evaluation files are readable.
pub fn read_questions(recipe: &Recipe) -> Result<TrainingQuestions> {
    let data = &recipe.data;
    check_files(&recipe.evaluation.files(&data.evaluation, &recipe.languages))?;
    Ok(TrainingQuestions::read(&data.train)?)
}

/// Opens the sequences of all arms with knowledge injection; each folder is opened once.
pub fn open_sequences(
    experiment: &Experiment<Recipe>,
) -> Result<Vec<(&ShardPaths, SequenceFiles)>> {
    let recipe = &experiment.recipe;
    let mut opened_files: Vec<(&ShardPaths, SequenceFiles)> = Vec::new();
    let selected = experiment.arms().iter().map(|name| &recipe.arms[name]);
    for arm in selected {
        let reference = arm.equal_tokens.as_ref().and_then(|name| recipe.arms.get(name));
        for arm in [arm].into_iter().chain(reference).filter(|arm| !arm.kinds.is_empty()) {
            let paths = recipe.sequences_of(arm);
            if !opened_files.iter().any(|(stored, _)| *stored == paths) {
                opened_files.push((paths, SequenceFiles::open(paths, &recipe.shuffle)?));
            }
        }
    }
    Ok(opened_files)
}

/// Creates the task on running text in the trial's languages.
pub fn text_task<'a>(trial: &Trial<Recipe>, base: &'a Pretrained) -> Result<PhraseMaskingTask<'a>> {
    let text = &trial.recipe.text;
    let paragraphs = read_paragraphs(&trial.arm.text, &trial.recipe.languages_of(trial))?;
    let passages = paragraphs.into_values().flatten().collect::<Vec<_>>();
    Ok(PhraseMaskingTask::from_passages(base, &passages, text.max_length, &text.task)?)
}

/// Returns the masked sequences of the trial's arm, if any, and the training options. If the arm has
/// `equal_tokens`, the number of steps is set so that the arm trains on as many tokens as the arm
/// that `equal_tokens` names.
pub fn prepare_injection(
    trial: &Trial<Recipe>,
    sequences: &[(&ShardPaths, SequenceFiles)],
) -> Result<(Option<SelectedSequences>, TrainConfig)> {
    let mut config = trial.recipe.injection.clone();
    if trial.arm.kinds.is_empty() {
        return Ok((None, config));
    }
    let (recipe, languages) = (trial.recipe, trial.recipe.languages_of(trial));
    let select = |arm: &Arm| -> Result<(SelectedSequences, BuildReport)> {
        let paths = recipe.sequences_of(arm);
        let (_, files) =
            sequences.iter().find(|(stored, _)| *stored == paths).context("sequences")?;
        Ok(files.select(&arm.kinds, &languages)?)
    };
    let (selected, report) = select(trial.arm)?;
    if let Some(name) = &trial.arm.equal_tokens {
        let (_, reference) = select(recipe.arms.get(name).context("equal_tokens")?)?;
        config.steps = Some(
            report.equal_token_steps(&reference, config.total_steps(reference.sequence_count())),
        );
    }
    Ok((Some(selected), config))
}
