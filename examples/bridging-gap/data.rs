//! The triples of an arm as masked sequences (section III-A), and the questions of a run.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use experiment::Cell;
use kg_triples::questions::TemplateSet;
use kg_triples::{
    BuildReport, KnowledgeGraph, Sequence, SequenceConfig, build_sequences_for_pairs,
};
use tasks::question_answering::{TrainingQuestions, check_files};
use tokenizers::Tokenizer;
use trainer::TrainConfig;

use crate::recipe::{Arm, Recipe};

/// Questions to train on, and the folder of those to be answered.
pub struct Questions {
    pub train: TrainingQuestions,
    pub evaluation: PathBuf,
}

/// The recipe's files, or questions about the triples, written below `folder`.
pub fn questions(recipe: &Recipe, graph: &KnowledgeGraph, folder: &Path) -> Result<Questions> {
    let data = &recipe.data;
    let (mut train, mut evaluation) = (data.train.to_path_buf(), data.evaluation.to_path_buf());
    if data.templates.is_set() {
        let templates = TemplateSet::read(&data.templates)?;
        data.facts.write(graph, &templates, &recipe.languages, folder)?;
        (train, evaluation) = (folder.join("train-context-en-question-en.json"), folder.to_owned());
    }
    check_files(&recipe.evaluation.files(&evaluation, &recipe.languages))?;
    Ok(Questions { train: TrainingQuestions::read(train)?, evaluation })
}

/// The masked sequences of the cell's arm and how to train on them: an arm of equal tokens gets the
/// steps that make them equal.
pub fn injection(
    cell: &Cell<Recipe>,
    graph: &KnowledgeGraph,
    tokenizer: &Tokenizer,
) -> Result<(Vec<Sequence>, TrainConfig)> {
    let recipe = cell.recipe;
    let others = recipe.languages_of(cell).split_off(1);
    let pairs: Vec<_> = others.iter().map(|other| ("en".into(), other.to_string())).collect();
    let build = |arm: &Arm| -> Result<(Vec<Sequence>, BuildReport)> {
        let config = SequenceConfig { kinds: arm.kinds.clone(), ..recipe.sequences.clone() };
        let without = |split: &String| recipe.data.facts.split.graph_without(graph, split);
        let seen = arm.without_split.as_ref().map(without).transpose()?;
        let graph = seen.as_ref().unwrap_or(graph);
        Ok(build_sequences_for_pairs(graph, &pairs, &config, tokenizer)?)
    };
    let (sequences, report) = build(cell.arm)?;
    let mut config = recipe.injection.clone();
    if let Some(other) = &cell.arm.equal_tokens {
        let (_, like) = build(recipe.arms.get(other).context("equal_tokens")?)?;
        let steps = config.total_steps(like.sequences());
        config.steps = Some(report.equal_token_steps(&like, steps));
    }
    Ok((sequences, config))
}
