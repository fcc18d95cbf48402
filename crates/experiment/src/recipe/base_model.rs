//! The base model of a recipe, and the accessors of fields that every recipe has.
use serde::{Deserialize, Serialize};
use torch_ext::to_usize;
use xlmr_model::{Config, Segments};

use crate::{Adapters, Error, ModelFolder, Result};

/// The section `[model]`: the checkpoint that every arm starts from.
///
/// ```
/// use experiment::BaseModel;
///
/// let model: BaseModel = toml::from_str("path = \"xlm-roberta-base\"").unwrap();
/// assert!(model.path.ends_with("xlm-roberta-base"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaseModel {
    /// Hugging Face folder.
    pub path: ModelFolder,
    /// Segment embeddings.
    pub segments: Segments,
    /// `owner/name@commit`, if the folder was downloaded from a hub; stored with the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Adapters that are trained instead of the encoder; absent: all weights are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapters: Option<Adapters>,
}

/// Limits of a model on the length and the segment ids of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLimits {
    /// Maximum number of tokens per input sequence, including special tokens.
    pub positions: usize,
    /// Number of segment ids.
    pub segments: usize,
}

impl BaseModel {
    /// Returns the limits in the model's `config.json`. The number of segments includes segments
    /// that the key `segments` adds.
    ///
    /// # Errors
    /// [`Error::Setting`] if no model is set or `adapters` do not fit the model; the errors of
    /// [`Config::of_folder`].
    pub fn limits(&self) -> Result<ModelLimits> {
        let folder = self.path.required("model.path", "a Hugging Face folder (--model DIR)")?;
        let config = Config::of_folder(folder)?;
        if let Some(adapters) = &self.adapters {
            adapters.validate("model.adapters", &config)?;
        }
        let min_segments = if self.segments == Segments::Learned2 { 2 } else { 1 };
        Ok(ModelLimits {
            positions: to_usize(config.max_length()),
            segments: to_usize(config.type_vocab_size).max(min_segments),
        })
    }
}

impl ModelLimits {
    /// Rejects a length in tokens that exceeds the model's positions.
    ///
    /// # Errors
    /// [`Error::Setting`] naming `key`.
    pub fn check_length(&self, key: &str, length: usize) -> Result<()> {
        if length <= self.positions {
            return Ok(());
        }
        let reason = format!("the model has {} positions", self.positions);
        Err(Error::setting(format!("{key} = {length}"), reason))
    }
}

/// Implements the accessors of [`Recipe`](crate::Recipe) for the fields `run: RunConfig` and `arms:
/// BTreeMap<String, Arm>`. With the names of training stages, it also uses the adapters of a field
/// `model: BaseModel`.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use experiment::{BaseModel, Recipe, RunConfig};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Default, Deserialize, Serialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct MyRecipe {
///     run: RunConfig,
///     model: BaseModel,
///     arms: BTreeMap<String, f64>,
/// }
///
/// impl Recipe for MyRecipe {
///     const NAME: &'static str = "mine";
///     const ABOUT: &'static str = "Trains my arms";
///     const EXAMPLES: &'static str = "mine recipe.toml --model xlm-roberta-base";
///     experiment::recipe_fields!(f64, stages: ["train"]);
///
///     fn validate(&self) -> anyhow::Result<()> {
///         self.model.path.required("model.path", "a Hugging Face folder (--model DIR)")?;
///         Ok(())
///     }
/// }
/// ```
#[macro_export]
macro_rules! recipe_fields {
    ($arm:ty) => {
        type Arm = $arm;

        fn run(&self) -> &$crate::RunConfig {
            &self.run
        }

        fn run_mut(&mut self) -> &mut $crate::RunConfig {
            &mut self.run
        }

        fn arms(&self) -> &::std::collections::BTreeMap<String, $arm> {
            &self.arms
        }
    };
    ($arm:ty, stages: $stages:expr) => {
        $crate::recipe_fields!($arm);
        const STAGES: &'static [&'static str] = &$stages;

        fn adapters(&self) -> Option<&$crate::Adapters> {
            self.model.adapters.as_ref()
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_above_the_position_limit_is_rejected_with_its_key() {
        let limits = ModelLimits { positions: 512, segments: 1 };
        assert!(limits.check_length("sequences.max_length", 512).is_ok());
        let error = limits.check_length("sequences.max_length", 513).unwrap_err();
        assert_eq!(error.to_string(), "sequences.max_length = 513: the model has 512 positions");
    }
}
