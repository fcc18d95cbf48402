//! Questions, their translations, and passages with knowledge phrases.
use anyhow::{Result, ensure};
use kg_triples::phrases::{PhrasePassage, draw_passages};
use qa_translate::MixedQuestions;
use tasks::question_answering::{DevSet, check_files};

use crate::recipe::Recipe;

/// Training data of the arms of a run.
pub struct TrainingData {
    /// Source, translated and mixed questions, which the paper calls D, D' and D''.
    pub questions: MixedQuestions,
    /// Development questions that determine convergence.
    pub dev: Vec<DevSet>,
    /// Passages of LAKM.
    pub lakm_passages: Vec<PhrasePassage>,
}

impl TrainingData {
    /// Reads the data that the selected arms need.
    pub fn load(recipe: &Recipe) -> Result<Self> {
        let Recipe { data, languages, mix: mixing, .. } = recipe;
        check_files(&recipe.evaluation.files(&data.evaluation, languages))?;
        let translations = recipe.needs_translations().then_some(&*data.translated);
        let target_languages = &languages[1..];
        let mut questions =
            MixedQuestions::read(&data.train, translations, "train", target_languages, mixing)?;
        let MixedQuestions { source, translated, mixed } = &mut questions;
        let dev =
            recipe.selection.sets_in_folder(&data.dev, languages, source, [translated, mixed])?;
        let mut lakm_passages = Vec::new();
        if recipe.selected().any(|arm| arm.lakm.is_some()) {
            lakm_passages = PhrasePassage::read_all(&data.phrases)?;
            ensure!(!lakm_passages.is_empty(), "data.phrases: no passage");
            if recipe.lakm_as_many_as_mixed {
                lakm_passages = draw_passages(lakm_passages, questions.mixed.len(), mixing.seed);
            }
        }
        Ok(Self { questions, dev, lakm_passages })
    }
}
