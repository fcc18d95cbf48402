//! The model that a recipe starts from, and the keys that every recipe has.
use serde::{Deserialize, Serialize};
use xlmr_model::Segments;

use crate::ModelFolder;

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

/// The methods of [`Recipe`](crate::Recipe) that only say in which fields a recipe keeps its run, its
/// arms and its model: `run: RunConfig`, `arms: BTreeMap<String, Arm>` and `model: BaseModel`.
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
