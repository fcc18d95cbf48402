//! The triples of an arm as masked sequences (section III-A), and the questions of a run.
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use experiment::Cell;
use kg_triples::{BuildReport, KnowledgeGraph, SequenceConfig};
use tasks::masked_lm::{SequenceFiles, Sequences};
use tasks::question_answering::{TrainingQuestions, check_files};
use tokenizers::Tokenizer;
use trainer::{ShuffleConfig, TrainConfig};

use crate::recipe::{Arm, Recipe};

/// Questions to train on, and sequences that are streamed.
pub struct Input {
    pub train: TrainingQuestions,
    pub sequences: Option<SequenceFiles>,
}

impl Input {
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let data = &recipe.data;
        check_files(&recipe.evaluation.files(&data.evaluation, &recipe.languages))?;
        let sequences = SequenceFiles::if_any(&data.sequences, &ShuffleConfig::default())?;
        Ok(Self { train: TrainingQuestions::read(&data.train)?, sequences })
    }
}

/// The triples whose head is not in the file `heads`.
fn without_heads(graph: &KnowledgeGraph, heads: &Path) -> Result<KnowledgeGraph> {
    let text = whole_file::read_to_string(heads).with_context(|| heads.display().to_string())?;
    let heads: BTreeSet<&str> = text.lines().collect();
    Ok(graph.filter(|triple| !heads.contains(triple.head)))
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
        let heads = &arm.without_heads;
        let seen = heads.is_set().then(|| without_heads(graph, heads)).transpose()?;
        ensure!(files.is_none() || seen.is_none(), "without_heads: not with data.sequences");
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
