//! Questions, their translations, and passages with knowledge phrases: a user's, or the embedded
//! stand-ins.
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use kg_triples::KnowledgeGraph;
use kg_triples::phrases::{PhrasePassage, draw_passages};
use kg_triples::questions::TemplateSet;
use mlqa_eval::{Dataset, Question};
use qa_translate::read_and_mix;
use tasks::question_answering::{check_files, question_file};

use crate::recipe::Recipe;

/// What the arms of a run train on.
pub struct TrainingData {
    /// D: the source language's questions.
    pub source: Vec<Question>,
    /// D': their translations, question and passage in one language.
    pub translated: Vec<Question>,
    /// D'': question and passage in two languages.
    pub mixed: Vec<Question>,
    /// Passages of LAKM.
    pub phrases: Vec<PhrasePassage>,
    /// Folder of the questions to be answered.
    pub evaluation: PathBuf,
}

impl TrainingData {
    /// Reads what the selected arms need. Questions made from facts are written to `made` first.
    pub fn load(recipe: &Recipe, made: &Path) -> Result<Self> {
        let Recipe { data, languages, mix: mixing, .. } = recipe;
        let source = mixing.source_language;
        let (mut train, mut folder) = (data.train.to_path_buf(), &*data.translated);
        let mut evaluation = data.evaluation.to_path_buf();
        if data.templates.is_set() {
            let graph = KnowledgeGraph::read_dir(&data.kg)?;
            let templates = TemplateSet::read(&data.templates)?;
            experiment::log(data.facts.write_parallel(&graph, &templates, languages, made)?);
            train = question_file(made, "train", source, source);
            (folder, evaluation) = (made, made.to_owned());
        }
        check_files(&recipe.evaluation.files(&evaluation, languages))?;
        let dataset = Dataset::read(train)?;
        dataset.check_answers()?;
        let (mut translated, mut mixed, mut phrases) = (Vec::new(), Vec::new(), Vec::new());
        if recipe.needs_translations() {
            let others = languages.get(1..).unwrap_or_default();
            [translated, mixed] = read_and_mix(folder, "train", &dataset, others, mixing)?;
        }
        if recipe.selected().any(|arm| arm.lakm.is_some()) {
            phrases = match &data.search {
                Some(stand_in) => stand_in.passages()?,
                None => PhrasePassage::read_all(&data.phrases)?,
            };
            ensure!(!phrases.is_empty(), "data.phrases: no passage");
            if recipe.lakm_as_many_as_mixed {
                phrases = draw_passages(phrases, mixed.len(), mixing.seed);
            }
        }
        Ok(Self { source: dataset.questions, translated, mixed, phrases, evaluation })
    }
}
