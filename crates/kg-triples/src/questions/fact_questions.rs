//! The question files of an experiment about the facts of a graph.
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    EntitySplit, QuestionConfig, SplitHeads, TemplateSet, build_parallel_questions, build_questions,
};
use crate::{KgError, KnowledgeGraph, Language};

/// Questions about the facts of a graph, to train on and to be answered. A stand-in for real
/// questions, and no paper's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactQuestions {
    /// Training questions, each with a context whose labels are drawn at random, so that no fact
    /// can be learned from it.
    pub items: usize,
    /// Head entities by split; the contexts of `dev` and `test` tell true facts.
    pub split: EntitySplit,
}

impl Default for FactQuestions {
    fn default() -> Self {
        Self { items: 10_000, split: EntitySplit::default() }
    }
}

impl FactQuestions {
    /// Writes `train-context-en-question-en.json`, and English contexts of `dev` and `test` with
    /// questions in each of `languages`, into `folder`.
    ///
    /// # Errors
    /// As [`EntitySplit::divide`], [`build_questions`] and
    /// [`QuestionSet::write_dir`](super::QuestionSet::write_dir).
    pub fn write(
        &self,
        graph: &KnowledgeGraph,
        templates: &TemplateSet,
        languages: &[Language],
        folder: &Path,
    ) -> Result<(), KgError> {
        let split: SplitHeads = self.split.divide(graph)?;
        let training = QuestionConfig {
            counterfactual: true,
            count: Some(self.items),
            question_languages: vec!["en".into()],
            ..QuestionConfig::default()
        };
        build_questions(graph, templates, "train", &split.train, &training)?.write_dir(folder)?;
        let truthful = QuestionConfig {
            question_languages: languages.iter().map(Language::to_string).collect(),
            ..QuestionConfig::default()
        };
        for name in ["dev", "test"] {
            build_questions(graph, templates, name, split.get(name)?, &truthful)?
                .write_dir(folder)?;
        }
        Ok(())
    }
    /// Writes questions about the same facts in each of `languages`, each set a translation of the
    /// others: `train-context-xx-question-xx.json`, questions in the first language's contexts with
    /// all wordings, and contexts of `dev` and `test` in each language with questions in each.
    ///
    /// # Errors
    /// As [`EntitySplit::divide`], [`build_parallel_questions`] and
    /// [`QuestionSet::write_dir`](super::QuestionSet::write_dir).
    pub fn write_parallel(
        &self,
        graph: &KnowledgeGraph,
        templates: &TemplateSet,
        languages: &[Language],
        folder: &Path,
    ) -> Result<(), KgError> {
        let split: SplitHeads = self.split.divide(graph)?;
        let truthful = QuestionConfig {
            context_language: languages.first().map(Language::to_string).unwrap_or_default(),
            question_languages: languages.iter().map(Language::to_string).collect(),
            ..QuestionConfig::default()
        };
        let training =
            QuestionConfig { counterfactual: true, count: Some(self.items), ..truthful.clone() };
        for (name, config) in [("train", &training), ("dev", &truthful), ("test", &truthful)] {
            let heads = split.get(name)?;
            let sets = build_parallel_questions(graph, templates, name, heads, config, languages)?;
            for mut set in sets {
                let context = set.context_language;
                if name == "train" && Some(&context) != languages.first() {
                    let items = set.items.iter_mut();
                    items
                        .for_each(|item| item.questions.retain(|language, _| *language == context));
                }
                set.write_dir(folder)?;
            }
        }
        Ok(())
    }
}
