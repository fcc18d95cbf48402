//! Questions, their translations, and passages with knowledge phrases: a user's, or the embedded
//! stand-ins.
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use kg_triples::KnowledgeGraph;
use kg_triples::phrases::{PhrasePassage, draw_passages};
use kg_triples::questions::TemplateSet;
use qa_translate::MixedTraining;
use tasks::question_answering::{DevSet, check_files, question_file};

use crate::recipe::Recipe;

/// What the arms of a run train on.
pub struct TrainingData {
    /// D, D' and D''.
    pub questions: MixedTraining,
    /// Questions by which reading is said to converge.
    pub dev: Vec<DevSet>,
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
        let (mut evaluation, mut dev) = (data.evaluation.to_path_buf(), data.dev.to_path_buf());
        if data.templates.is_set() {
            let graph = KnowledgeGraph::read_dir(&data.kg)?;
            let templates = TemplateSet::read(&data.templates)?;
            experiment::log(data.facts.write_parallel(&graph, &templates, languages, made)?);
            train = question_file(made, "train", source, source);
            (folder, evaluation, dev) = (made, made.to_owned(), made.to_owned());
        }
        check_files(&recipe.evaluation.files(&evaluation, languages))?;
        let translations = recipe.needs_translations().then_some(folder);
        let others = languages.get(1..).unwrap_or_default();
        let mut questions = MixedTraining::read(&train, translations, "train", others, mixing)?;
        let MixedTraining { source, translated, mixed } = &mut questions;
        let dev = recipe.selection.sets_in(&dev, languages, source, [translated, mixed])?;
        let mut phrases = Vec::new();
        if recipe.selected().any(|arm| arm.lakm.is_some()) {
            phrases = match &data.search {
                Some(stand_in) => stand_in.passages(&train, folder, languages)?,
                None => PhrasePassage::read_all(&data.phrases)?,
            };
            ensure!(!phrases.is_empty(), "data.phrases: no passage");
            if recipe.lakm_as_many_as_mixed {
                phrases = draw_passages(phrases, questions.mixed.len(), mixing.seed);
            }
        }
        Ok(Self { questions, dev, phrases, evaluation })
    }
}
