//! The keys of `recipe.toml` and their meaning.
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use examples::sentences;
use experiment::{BaseModel, JsonFolder, RunConfig, TsvFolder};
use kg_triples::Language;
use serde::{Deserialize, Serialize};
use tasks::masked_lm::{LanguageShares, PhraseTaskConfig};
use trainer::{GroupConfig, TrainConfig};

use crate::Passages;

/// All options that determine a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    /// Maximum length of a passage in tokens, including special tokens; longer passages are split.
    pub max_length: usize,
    pub training: TrainConfig,
    pub task: PhraseTaskConfig,
    /// Shares of the languages among the batches.
    pub languages: LanguageShares,
    /// Rows per batch of the evaluation.
    pub evaluation_batch_size: usize,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Training text: `<lang>.json`, in a folder that `demo-data text` wrote.
    pub text: JsonFolder,
    /// Languages of the training text.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    /// Held-out sentences: `<lang>.tsv` with an id, a tab and a text per line.
    pub held_out: TsvFolder,
    /// Languages of the held-out sentences.
    #[serde(deserialize_with = "language::plausible::list")]
    pub held_out_languages: Vec<Language>,
    /// Number of sentences of each language, at the beginning of its file, that select the best
    /// step. The others determine the reported scores.
    pub selection_sentences: usize,
}

/// The parameters that an arm trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameters {
    /// The head, without the decoder that shares its weight with the word embeddings.
    Head,
    /// The head and the encoder.
    All,
}

/// One arm. Without `trained`, nothing is trained.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained: Option<Parameters>,
    /// An arm of the same seed, trained before, whose model this arm starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Replaces `training.steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Replaces `training.learning_rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "masked-lm-head";
    const ABOUT: &'static str = "Trains a masked-LM head for an encoder that has none, with the \
        encoder frozen.";
    const EXAMPLES: &'static str = "\
masked-lm-head examples/masked-lm-head/recipe.toml --prepare
masked-lm-head examples/masked-lm-head/recipe.toml --prepare --arms head \\
    --model intfloat/multilingual-e5-base --out runs/e5-base-head";
    const EVALUATION_KEYS: &'static [&'static str] = &["evaluation_batch_size", "arms.*.title"];
    experiment::recipe_fields!(Arm, stages: ["train"]);

    fn trials_are_independent(&self) -> bool {
        let mut arms = self.run.selected_arms().iter().map(|name| &self.arms[name]);
        arms.all(|arm| arm.start.is_none())
    }

    fn validate(&self) -> Result<()> {
        self.data.text.required("data.text", "an output folder of `demo-data text`")?;
        self.data.held_out.required("data.held_out", "a folder of sentences")?;
        for (key, languages) in [
            ("languages", &self.data.languages),
            ("held_out_languages", &self.data.held_out_languages),
        ] {
            ensure!(!languages.is_empty(), "data.{key} = []: give languages, such as [\"en\"]");
        }
        ensure!(
            self.data.selection_sentences > 0,
            "data.selection_sentences = 0: must be 1 or more"
        );
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        self.task.masking.validate().map_err(|error| anyhow!("task.{error}"))?;
        self.model.limits()?.check_length("max_length", self.max_length)?;
        self.languages.validate().context("languages")?;
        for (name, arm) in &self.arms {
            if let Some(start) = &arm.start {
                let starts = self.arms.get(start).is_some_and(|start| start.start.is_none());
                ensure!(
                    starts,
                    "arms.{name}.start = {start:?}: must be an arm that starts from the encoder"
                );
            }
            let config = self.train_config(arm, arm.trained.unwrap_or(Parameters::Head));
            config.validate().with_context(|| format!("training, arm {name}"))?;
        }
        Ok(())
    }
}

impl Recipe {
    /// Returns the training options of an arm.
    pub fn train_config(&self, arm: &Arm, trained: Parameters) -> TrainConfig {
        let mut config = self.training.clone();
        config.steps = arm.steps.or(config.steps);
        config.learning_rate = arm.learning_rate.unwrap_or(config.learning_rate);
        if trained == Parameters::Head {
            let roles = vec!["encoder".to_owned()];
            config.groups.push(GroupConfig { roles, frozen: true, ..GroupConfig::default() });
        }
        config
    }

    /// Reads the training paragraphs by language.
    pub fn training_texts(&self) -> Result<Passages> {
        sentences::read_paragraphs(&self.data.text, &self.data.languages)
    }

    /// Reads the held-out sentences by language, and divides those for selection from those for
    /// the scores.
    pub fn held_out_sentences(&self) -> Result<(Passages, Passages)> {
        let languages = &self.data.held_out_languages;
        let mut selection = sentences::read(&self.data.held_out, languages, usize::MAX)?;
        let mut test = Passages::new();
        for (&language, sentences) in &mut selection {
            let count = self.data.selection_sentences;
            ensure!(
                sentences.len() > count,
                "data.selection_sentences = {count}: must be less than the {} sentences of {language}",
                sentences.len()
            );
            test.insert(language, sentences.split_off(count));
        }
        Ok((selection, test))
    }
}
