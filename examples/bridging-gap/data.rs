//! The triples of an arm as masked sequences (section III-A), and the questions of a run.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use experiment::Cell;
use kg_triples::questions::TemplateSet;
use kg_triples::{BuildReport, KnowledgeGraph, SequenceConfig};
use tasks::masked_lm::{SequenceFiles, Sequences};
use tasks::question_answering::{TrainingQuestions, check_files};
use tokenizers::Tokenizer;
use trainer::{ShuffleConfig, TrainConfig};

use crate::recipe::{Arm, Recipe};

/// Questions to train on, the folder of those to be answered, and sequences that are streamed.
pub struct Input {
    pub train: TrainingQuestions,
    pub evaluation: PathBuf,
    pub sequences: Option<SequenceFiles>,
}

/// The recipe's files, or questions about the triples, written below `folder`.
pub fn input(recipe: &Recipe, graph: &KnowledgeGraph, folder: &Path) -> Result<Input> {
    let data = &recipe.data;
    let (mut train, mut evaluation) = (data.train.to_path_buf(), data.evaluation.to_path_buf());
    if data.templates.is_set() {
        let templates = TemplateSet::read(&data.templates)?;
        experiment::log(data.facts.write(graph, &templates, &recipe.languages, folder)?);
        (train, evaluation) = (folder.join("train-context-en-question-en.json"), folder.to_owned());
    }
    check_files(&recipe.evaluation.files(&evaluation, &recipe.languages))?;
    let sequences = SequenceFiles::if_any(&data.sequences, &ShuffleConfig::default())?;
    Ok(Input { train: TrainingQuestions::read(train)?, evaluation, sequences })
}

/// The masked sequences of the cell's arm and how to train on them: an arm of equal tokens gets the
/// steps that make them equal.
pub fn injection(
    cell: &Cell<Recipe>,
    graph: &KnowledgeGraph,
    files: &Option<SequenceFiles>,
    tokenizer: &Tokenizer,
) -> Result<(Sequences, TrainConfig)> {
    let (recipe, languages) = (cell.recipe, cell.recipe.languages_of(cell));
    let build = |arm: &Arm| -> Result<(Sequences, BuildReport)> {
        let config = SequenceConfig { kinds: arm.kinds.clone(), ..recipe.sequences.clone() };
        let without = |split: &String| recipe.data.facts.split.graph_without(graph, split);
        let seen = arm.without_split.as_ref().map(without).transpose()?;
        ensure!(files.is_none() || seen.is_none(), "without_split: not with data.sequences");
        let graph = seen.as_ref().unwrap_or(graph);
        Ok(Sequences::choose_or_build(files.as_ref(), graph, &languages, &config, tokenizer)?)
    };
    let (sequences, report) = build(cell.arm)?;
    let mut config = recipe.injection.clone();
    if let Some(other) = &cell.arm.equal_tokens {
        let (_, like) = build(recipe.arms.get(other).context("equal_tokens")?)?;
        config.steps = Some(report.equal_token_steps(&like, config.total_steps(like.sequences())));
    }
    Ok((sequences, config))
}
