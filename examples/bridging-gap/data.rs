//! The triples of an arm as masked sequences (section III-A), and the questions of a run.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use experiment::Cell;
use kg_triples::questions::TemplateSet;
use kg_triples::{
    BuildReport, KnowledgeGraph, SampleConfig, Sequence, SequenceConfig, build_sequences_for_pairs,
};
use mlqa_eval::Dataset;
use tasks::question_answering::{QuestionEntitySpans, read_question_entity_spans};
use tokenizers::Tokenizer;
use trainer::TrainConfig;

use crate::recipe::{Arm, Recipe};

/// Questions to train on, and the folder of those to be answered.
pub struct Questions {
    pub train: Dataset,
    /// Where the question's entity stands, in training questions made from triples.
    pub entity_spans: Option<QuestionEntitySpans>,
    pub evaluation: PathBuf,
}

/// The recipe's files, or questions about the triples, written below `folder`.
pub fn questions(recipe: &Recipe, graph: &KnowledgeGraph, folder: &Path) -> Result<Questions> {
    let data = &recipe.data;
    if !data.templates.is_set() {
        let (train, evaluation) = (Dataset::read(&data.train)?, data.evaluation.to_path_buf());
        return Ok(Questions { train, entity_spans: None, evaluation });
    }
    data.facts.write(graph, &TemplateSet::read(&data.templates)?, &recipe.languages, folder)?;
    let path = folder.join("train-context-en-question-en.json");
    let (train, entity_spans) = (Dataset::read(&path)?, Some(read_question_entity_spans(&path)?));
    Ok(Questions { train, entity_spans, evaluation: folder.to_owned() })
}

/// The sample of triples: labels in the recipe's languages, unless `sampling.languages` names
/// others.
pub fn sampling(recipe: &Recipe) -> SampleConfig {
    let mut sampling = recipe.sampling.clone();
    if sampling.languages == SampleConfig::default().languages {
        sampling.languages = recipe.languages.iter().map(ToString::to_string).collect();
    }
    sampling
}

/// The masked sequences of the cell's arm and how to train on them: an arm of equal tokens gets the
/// steps that make them equal.
pub fn injection(
    cell: &Cell<'_, Recipe>,
    graph: &KnowledgeGraph,
    tokenizer: &Tokenizer,
) -> Result<(Vec<Sequence>, TrainConfig)> {
    let recipe = cell.recipe;
    let others = recipe.languages_of(cell.variant.as_deref()).split_off(1);
    let pairs: Vec<_> = others.iter().map(|other| ("en".into(), other.to_string())).collect();
    let build = |arm: &Arm| -> Result<(Vec<Sequence>, BuildReport)> {
        let config = SequenceConfig { kinds: arm.kinds.clone(), ..recipe.sequences.clone() };
        let Some(split) = &arm.without_split else {
            return Ok(build_sequences_for_pairs(graph, &pairs, &config, tokenizer)?);
        };
        let heads = recipe.data.facts.split.divide(graph)?;
        let held_out = heads.get(split)?;
        let graph = graph.filter(|triple| !held_out.contains(triple.head));
        Ok(build_sequences_for_pairs(&graph, &pairs, &config, tokenizer)?)
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
