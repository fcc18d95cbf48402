//! Question files about the facts of a graph.
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::build::build_questions;
use super::item::QuestionConfig;
use crate::facts::FactSource;
use crate::generator::{Files, Generator};

/// Options for training and evaluation questions about the facts of a graph. The synthetic
/// questions are a substitute for real questions and are not from a paper.
#[derive(Clone, Debug, clap::Args)]
pub struct FactQuestionConfig {
    /// The source of the facts.
    #[command(flatten)]
    pub facts: FactSource,
    /// Number of training questions; entity names in their contexts are random, so that a model
    /// learns no facts from the contexts
    #[arg(long, default_value_t = 10_000)]
    pub items: usize,
    /// Write parallel contexts in all languages; otherwise, contexts are in the first language only
    #[arg(long)]
    pub parallel: bool,
}

impl Generator for FactQuestionConfig {
    const COMMAND: &'static str = "demo-data fact-questions";

    fn seed(&self) -> Option<u64> {
        Some(self.facts.split.seed)
    }

    /// Returns `train-context-xx-question-xx.json`, where xx is the first language, and `dev-` and
    /// `test-context-xx-question-yy.json` for each language yy. The dev and test contexts contain
    /// true facts.
    ///
    /// With `parallel`, there are contexts in all languages. Training contexts in the first
    /// language then have questions in all languages, and training contexts in any other language
    /// have questions in the language of the context. `heads.<split>.txt` lists the head entities
    /// of the split.
    fn generate(&self) -> Result<(Files, Value)> {
        let (graph, templates, split) = self.facts.read()?;
        let languages = &self.facts.languages;
        let first_language = *languages.first().context("--languages is empty")?;
        let context_languages =
            if self.parallel { languages.as_slice() } else { &[first_language] };
        let mut files = Files::new();
        let mut counts = Map::new();
        for (name, heads) in split.by_name() {
            let mut config = QuestionConfig {
                context_language: first_language,
                question_languages: languages.clone(),
                ..QuestionConfig::default()
            };
            let is_training = name == "train";
            if is_training {
                config.counterfactual = true;
                config.items = Some(self.items);
            }
            if is_training && !self.parallel {
                config.question_languages = vec![first_language];
            }
            for mut question_set in
                build_questions(&graph, &templates, name, heads, &config, context_languages)?
            {
                let language = question_set.context_language;
                if is_training && language != first_language {
                    let items = question_set.items.iter_mut();
                    items.for_each(|item| item.questions.retain(|key, _| *key == language));
                }
                files.extend(question_set.files()?);
                counts.insert(name.to_owned(), json!(question_set.report));
            }
            let heads: String = heads.iter().map(|head| format!("{head}\n")).collect();
            files.push((format!("heads.{name}.txt"), heads));
        }
        Ok((files, Value::Object(counts)))
    }
}
