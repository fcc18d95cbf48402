//! Questions, their translations, and passages with knowledge phrases.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use kg_triples::phrases::{PhrasePassage, draw_passages};
use qa_translate::MixedQuestions;
use tasks::question_answering::{DevSet, check_files};

use crate::recipe::{Arm, Recipe};

/// Training data of the arms of a run.
pub struct TrainingData {
    /// Source, translated and mixed questions, which the paper calls D, D' and D''.
    pub questions: MixedQuestions,
    /// The questions of other translators, by the translator's name.
    pub by_translator: BTreeMap<String, MixedQuestions>,
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
        let target_languages = &languages[1..];
        let read = |translations: Option<&Path>| {
            MixedQuestions::read(&data.train, translations, "train", target_languages, mixing)
        };
        let translations = recipe.needs_translations().then_some(&*data.translated);
        let mut questions = read(translations)?;
        let mut by_translator = BTreeMap::new();
        for (_, name) in recipe.translators() {
            by_translator.insert(name.to_owned(), read(Some(&data.translators[name]))?);
        }
        let MixedQuestions { source, translated, mixed } = &mut questions;
        let others = by_translator
            .values_mut()
            .flat_map(|other| [&mut other.source, &mut other.translated, &mut other.mixed]);
        let related = [translated, mixed].into_iter().chain(others);
        let dev = recipe.selection.sets_in_folder(&data.dev, languages, source, related)?;
        let mut lakm_passages = Vec::new();
        if recipe.selected().any(|arm| arm.lakm.is_some()) {
            lakm_passages = PhrasePassage::read_all(&data.phrases)?;
            ensure!(!lakm_passages.is_empty(), "data.phrases: no passage");
            if recipe.lakm_as_many_as_mixed {
                lakm_passages = draw_passages(lakm_passages, questions.mixed.len(), mixing.seed);
            }
        }
        Ok(Self { questions, by_translator, dev, lakm_passages })
    }

    /// Returns the questions of an arm's translator.
    pub fn questions_of(&self, arm: &Arm) -> &MixedQuestions {
        match &arm.translator {
            Some(name) => &self.by_translator[name],
            None => &self.questions,
        }
    }
}
