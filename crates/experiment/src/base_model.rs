//! The model that a recipe starts from, and the keys that every recipe has.
use serde::{Deserialize, Serialize};
use xlmr_model::{Config, Segments};

use crate::{Error, ModelFolder, Result};

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
}

/// What the texts of a recipe must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLimits {
    /// The most tokens that a row may have, special tokens included.
    pub positions: usize,
    /// How many segments the embeddings tell apart.
    pub segments: usize,
}

impl BaseModel {
    /// What the model's `config.json` allows, with the segments that `segments` adds.
    ///
    /// # Errors
    /// [`Error::Setting`] if no model is set; as [`Config::from_file`].
    pub fn limits(&self) -> Result<ModelLimits> {
        let folder = self.path.required("model.path", "a Hugging Face folder (--model DIR)")?;
        let config = Config::from_file(folder.join("config.json"))?;
        let least = if self.segments == Segments::Learned2 { 2 } else { 1 };
        Ok(ModelLimits {
            positions: usize::try_from(config.max_length()).unwrap_or(0),
            segments: usize::try_from(config.type_vocab_size).unwrap_or(1).max(least),
        })
    }
}

impl ModelFolder {
    /// Refuses inputs that are longer than the model's positions; `key` holds their length in
    /// tokens.
    ///
    /// ```
    /// use experiment::ModelFolder;
    ///
    /// let base = ModelFolder::from("../../data/base");
    /// base.expect_length("windows.max_length", 158)?;
    /// let error = base.expect_length("windows.max_length", 4000).unwrap_err();
    /// assert_eq!(error.to_string(), "windows.max_length = 4000: the model has 158 positions");
    /// # Ok::<(), experiment::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`]; [`Error::Model`] if `config.json` cannot be used.
    pub fn expect_length(&self, key: &str, tokens: usize) -> Result<()> {
        let positions = Config::from_file(self.join("config.json"))?.max_length();
        if i64::try_from(tokens).is_ok_and(|tokens| tokens <= positions) {
            return Ok(());
        }
        let reason = format!("the model has {positions} positions");
        Err(Error::setting(format!("{key} = {tokens}"), reason))
    }
}

impl ModelLimits {
    /// Refuses a length in tokens that the model has no positions for.
    ///
    /// # Errors
    /// [`Error::Setting`] naming `key`.
    ///
    /// ```
    /// let limits = experiment::ModelLimits { positions: 512, segments: 1 };
    /// assert!(limits.expect_length("sequences.max_length", 64).is_ok());
    /// let error = limits.expect_length("sequences.max_length", 513).unwrap_err();
    /// assert!(error.to_string().contains("512 positions"));
    /// ```
    pub fn expect_length(&self, key: &str, length: usize) -> Result<()> {
        if length <= self.positions {
            return Ok(());
        }
        let reason = format!("{length} tokens, but the model has {} positions", self.positions);
        Err(Error::setting(key, reason))
    }
}

/// The methods of [`Recipe`](crate::Recipe) that only say in which fields a recipe keeps its run,
/// its arms and its model: `run: RunConfig`, `arms: BTreeMap<String, Arm>` and `model: BaseModel`.
///
/// A recipe whose arms are the models that it starts from has `run` and
/// `models: BTreeMap<String, ModelFolder>` instead, and says `experiment::recipe_fields!(models)`.
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
///     experiment::recipe_fields!(f64);
///
///     fn validate(&self) -> anyhow::Result<()> {
///         self.model.path.required("model.path", "a Hugging Face folder (--model DIR)")?;
///         Ok(())
///     }
/// }
/// ```
#[macro_export]
macro_rules! recipe_fields {
    (models) => {
        const ARMS: &'static str = "models";

        $crate::recipe_fields!(@run $crate::ModelFolder);

        fn arms(&self) -> &::std::collections::BTreeMap<String, $crate::ModelFolder> {
            &self.models
        }

        fn set_models(
            &mut self,
            models: &[$crate::ModelArg],
        ) -> ::std::result::Result<(), $crate::AnyError> {
            self.models = $crate::named_models(models)?;
            Ok(())
        }
    };
    (@run $arm:ty) => {
        type Arm = $arm;

        fn run(&self) -> &$crate::RunConfig {
            &self.run
        }

        fn run_mut(&mut self) -> &mut $crate::RunConfig {
            &mut self.run
        }
    };
    ($arm:ty) => {
        $crate::recipe_fields!(@run $arm);

        fn arms(&self) -> &::std::collections::BTreeMap<String, $arm> {
            &self.arms
        }

        fn set_models(
            &mut self,
            models: &[$crate::ModelArg],
        ) -> ::std::result::Result<(), $crate::AnyError> {
            self.model.path = $crate::one_model(models)?.into();
            Ok(())
        }
    };
}
