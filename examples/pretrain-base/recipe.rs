//! The keys of the recipe, and the run folder that belongs to it.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use examples::corpus::CorpusConfig;
use experiment::{RunConfig, Runtime, first_difference, read_recipe, write_text};
use serde::{Deserialize, Serialize};
use trainer::TrainConfig;
use xlmr_model::{Architecture, Config, LayerType, ModernBert};

use crate::cloze::ClozeConfig;
use crate::vocabulary::VocabularyConfig;

/// Everything that a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Decides the start of the weights and all draws.
    pub seed: u64,
    /// The knowledge graph whose labels shape the vocabulary.
    pub kg: PathBuf,
    run: RunKeys,
    /// The text.
    pub corpus: CorpusConfig,
    /// The vocabulary.
    pub vocabulary: VocabularyConfig,
    /// The encoder.
    pub model: ModelSize,
    /// The task.
    pub cloze: ClozeConfig,
    training: TrainConfig,
}

/// The keys of [`RunConfig`] that a program with one seed and one arm has.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct RunKeys {
    device: String,
    threads: usize,
    float32_matmul: String,
    precision: String,
}

impl Default for RunKeys {
    fn default() -> Self {
        let RunConfig { device, threads, float32_matmul, precision, .. } = RunConfig::default();
        Self { device, threads, float32_matmul, precision }
    }
}

/// The size of the encoder, and the spread of its weights at the start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSize {
    architecture: ArchitectureName,
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    max_position_embeddings: i64,
    initializer_range: f64,
    /// Of ModernBERT: what each layer attends to.
    layer_types: Vec<LayerType>,
    /// Of ModernBERT: the window of local layers.
    local_attention: i64,
}

/// Whose layers they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ArchitectureName {
    /// With two segments.
    #[default]
    XlmRoberta,
    /// Without segments.
    Modernbert,
}

impl ModelSize {
    /// An encoder without dropout.
    pub fn config(&self, vocabulary: i64) -> Config {
        let layers = self.num_hidden_layers;
        let (architecture, segments) = match self.architecture {
            ArchitectureName::XlmRoberta => (Architecture::XlmRoberta, 2),
            ArchitectureName::Modernbert => {
                let modern = ModernBert {
                    layer_types: self.layer_types.clone(),
                    local_attention: self.local_attention,
                    ..ModernBert::new(layers)
                };
                (Architecture::ModernBert(modern), 1)
            }
        };
        Config {
            architecture,
            hidden_size: self.hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: self.num_attention_heads,
            intermediate_size: self.intermediate_size,
            max_position_embeddings: self.max_position_embeddings,
            initializer_range: self.initializer_range,
            type_vocab_size: segments,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            ..Config::tiny(vocabulary)
        }
    }
}

impl Recipe {
    /// Reads and checks a recipe; `overrides` are those of `--set`.
    ///
    /// # Errors
    /// Naming the key.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let recipe: Self = read_recipe(path, overrides)?;
        recipe.cloze.validate()?;
        recipe.training()?.0.validate().context("training")?;
        Ok(recipe)
    }

    /// Sets up device, threads and kernels.
    ///
    /// # Errors
    /// As [`Runtime::set_up`].
    pub fn runtime(&self) -> Result<Runtime> {
        let RunKeys { device, threads, float32_matmul, precision } = self.run.clone();
        let run = RunConfig { device, threads, float32_matmul, precision, ..RunConfig::default() };
        Ok(Runtime::set_up(&run)?)
    }

    /// The options of training, and the number of examples in the run.
    ///
    /// # Errors
    /// If the number of steps is not set or too large.
    pub fn training(&self) -> Result<(TrainConfig, usize)> {
        let training = TrainConfig { seed: self.seed, ..self.training.clone() };
        let steps = training.steps.context("training.steps is not set: give a number of steps")?;
        let examples = usize::try_from(steps)?.checked_mul(training.batch_size);
        Ok((training, examples.context("training.steps is too large")?))
    }

    /// Makes `folder` the folder of this recipe by writing it there. What is there is never
    /// replaced.
    ///
    /// # Errors
    /// If the folder holds another recipe, naming the key that differs.
    pub fn claim(&self, folder: &Path) -> Result<()> {
        let path = folder.join("recipe.toml");
        if !path.exists() {
            return Ok(write_text(&path, &toml::to_string(self)?)?);
        }
        let stored = Self { run: self.run.clone(), ..read_recipe(&path, &[])? };
        match first_difference(&stored, self)? {
            None => Ok(()),
            Some(key) => {
                bail!("{} is another recipe: {key}; give another --run", path.display())
            }
        }
    }
}
