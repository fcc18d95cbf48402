//! The questions of a run: the recipe's own files, or questions made from the facts.
use std::path::PathBuf;

use anyhow::Result;
use kg_triples::KnowledgeGraph;
use kg_triples::questions::{QuestionConfig, SplitHeads, TemplateSet, build_questions};
use mlqa_eval::Dataset;
use tasks::question_answering::{QuestionEntitySpans, read_question_entity_spans};

use crate::run::Run;

/// Questions to train on and the folder of those to be answered.
pub struct QuestionData {
    pub train: Dataset,
    /// Where the asked entity stands in a training question.
    pub entity_spans: QuestionEntitySpans,
    pub evaluation: PathBuf,
}

/// The recipe's own files, or questions made from the facts.
pub fn question_data(run: &Run, facts: &KnowledgeGraph) -> Result<QuestionData> {
    let data = &run.recipe.data;
    let Some(templates) = &data.templates else {
        let (train, evaluation) = (Dataset::read(&data.train)?, data.evaluation.clone());
        return Ok(QuestionData { train, entity_spans: Default::default(), evaluation });
    };
    let templates = TemplateSet::read(templates)?;
    let split: SplitHeads = data.facts.split.divide(facts)?;
    let folder = run.folder.join("questions");
    let training = QuestionConfig {
        counterfactual: true,
        count: Some(data.facts.items),
        question_languages: vec!["en".into()],
        ..QuestionConfig::default()
    };
    build_questions(facts, &templates, "train", &split.train, &training)?.write_dir(&folder)?;
    let truthful = QuestionConfig {
        question_languages: run.recipe.languages.clone(),
        ..QuestionConfig::default()
    };
    for name in ["dev", "test"] {
        build_questions(facts, &templates, name, split.get(name)?, &truthful)?
            .write_dir(&folder)?;
    }
    let path = folder.join("train-context-en-question-en.json");
    Ok(QuestionData {
        train: Dataset::read(&path)?,
        entity_spans: read_question_entity_spans(&path)?,
        evaluation: folder,
    })
}
