//! The keys of the recipe.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::{JsonFolder, RunConfig, TsvFolder, read_json};
use serde::{Deserialize, Serialize};
use trainer::TrainConfig;
use xlmr_model::Config;

use crate::Corpus;
use crate::cloze::ClozeConfig;
use crate::vocabulary::{LANGUAGES, VocabularyConfig};

/// All options that determine a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    pub data: Data,
    pub vocabulary: VocabularyConfig,
    pub model: ModelSize,
    pub cloze: ClozeConfig,
    pub training: TrainConfig,
    /// Has exactly one arm, because the recipe trains one model.
    arms: BTreeMap<String, Arm>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Training text, in a folder that `demo-data text` wrote.
    pub text: JsonFolder,
    /// The knowledge graph whose labels are added to the training text of the vocabulary.
    pub kg: TsvFolder,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {}

/// The size of the encoder, and the standard deviation of its initial weights.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSize {
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    max_position_embeddings: i64,
    initializer_range: f64,
}

impl ModelSize {
    /// Returns the configuration of an XLM-R encoder without dropout.
    pub fn config(&self, vocabulary: i64) -> Config {
        Config {
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            intermediate_size: self.intermediate_size,
            max_position_embeddings: self.max_position_embeddings,
            initializer_range: self.initializer_range,
            type_vocab_size: 2,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            ..Config::tiny(vocabulary)
        }
    }
}

impl Recipe {
    /// Reads the paragraphs by language.
    pub fn corpus(&self) -> Result<Corpus> {
        let read =
            |language| Ok((language, read_json(self.data.text.join(format!("{language}.json")))?));
        LANGUAGES.into_iter().map(read).collect()
    }

    /// Returns the number of examples in the run.
    ///
    /// # Errors
    /// If the number of steps is not set or too large.
    pub fn example_count(&self) -> Result<usize> {
        let steps = self.training.steps;
        let steps = steps.context("training.steps is not set: set the number of steps")?;
        let examples = usize::try_from(steps)?.checked_mul(self.training.batch_size);
        examples.context("training.steps is too large")
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "pretrain-base";
    const ABOUT: &'static str = "Trains the small multilingual base model of the demo: \
        self-supervised question answering and masked language modelling.";
    const EXAMPLES: &'static str = "pretrain-base examples/pretrain-base/recipe.toml --prepare
pretrain-base examples/pretrain-base/recipe.toml --set training.steps=20 --out /tmp/try";
    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        self.data.text.required("data.text", "an output folder of `demo-data text`")?;
        self.data.kg.required("data.kg", "a folder of labels")?;
        self.cloze.validate()?;
        self.example_count()?;
        self.training.validate().context("training")
    }
}
