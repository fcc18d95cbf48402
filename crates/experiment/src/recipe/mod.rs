//! The trait of recipes and the section `[run]`.
mod adapters;
mod arms;
mod base_model;
mod inheritance;
mod input;
mod keys;
mod names;
mod prepare;
mod read;
mod shard_paths;
mod sweeps;
mod toml_file;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use adapters::Adapters;
pub(crate) use adapters::{ADAPTER_DIR, freeze_encoder};
pub(crate) use arms::{ARMS, duplicate_error};
pub use base_model::BaseModel;
#[cfg(test)]
pub(crate) use input::{AllFiles, InputFiles, TsvFiles};
pub(crate) use input::{INPUT_KEY, Input, record};
pub use input::{InputPath, JsonFolder, JsonlFolder, ModelFolder, ShardFiles, TsvFolder};
pub(crate) use keys::Key;
pub(crate) use names::check_folder_name;
pub(crate) use prepare::Preparations;
pub(crate) use read::{Override, read_with_overrides};
pub use read::{read_recipe, with_overrides};
pub use shard_paths::ShardPaths;
pub use sweeps::Sweeps;

use crate::{Error, Result};

/// The keys of a recipe, and their roles in an experiment.
///
/// The implementing struct is read from TOML with [`read_recipe`](crate::read_recipe). The struct
/// needs `#[serde(default, deny_unknown_fields)]`, a field `run` of type [`RunConfig`], one map of
/// arms, and an [`InputPath`](crate::InputPath) for every input file or folder. The identity of
/// results is derived from these fields.
pub trait Recipe: Clone + Serialize + DeserializeOwned {
    /// The program's name; the default run folder is `runs/<name>`.
    const NAME: &'static str;

    /// Description of the program for `--help`.
    const ABOUT: &'static str;

    /// Example commands for `--help`, one per line.
    const EXAMPLES: &'static str;

    /// The key that `--model DIR` sets. A key that ends in `.*` denotes a section with one folder
    /// per name. The arguments `--model [NAME=]DIR` together replace the whole section.
    const MODEL: &'static str = "model.path";

    /// Keys or sections that only the evaluation uses, such as `evaluation` and `data.evaluation`;
    /// `*` matches one part of a key, as in `arms.*.title`. A change of such a key, or of a file
    /// that the key names, repeats the evaluation without training. All other keys belong to
    /// training; changing them is an error.
    const EVALUATION_KEYS: &'static [&'static str] = &[];

    /// The names of training stages, as passed to [`Trial::fit`](crate::Trial::fit); required for
    /// recipes with [`adapters`](Self::adapters).
    const STAGES: &'static [&'static str] = &[];

    /// The options of one arm, which differ between the compared models.
    type Arm;

    /// The section `[run]`.
    fn run(&self) -> &RunConfig;

    /// The section `[run]`, which `--seeds` and `--arms` change.
    fn run_mut(&mut self) -> &mut RunConfig;

    /// The arms by name.
    fn arms(&self) -> &BTreeMap<String, Self::Arm>;

    /// Adapters that are trained instead of the encoder:
    /// [`BaseModel::adapters`](crate::BaseModel::adapters).
    fn adapters(&self) -> Option<&Adapters> {
        None
    }

    /// Fills in values that follow from other keys, such as the arms of [`Sweeps`](crate::Sweeps).
    /// Called before arms are selected, possibly more than once.
    ///
    /// # Errors
    /// An error that names the key.
    fn complete(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Validates the values of the recipe. Called after arms are selected and written to
    /// [`RunConfig::arms`], and after every input that is set was found to exist.
    ///
    /// # Errors
    /// An error that names the key.
    fn validate(&self) -> anyhow::Result<()>;

    /// Reads every input once, to detect damaged files before training. Called before the first
    /// trial that is trained or evaluated. Missing inputs are rejected earlier.
    ///
    /// # Errors
    /// An error that names the file.
    fn check_inputs(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Whether no trial reads or writes files of another one, so that `--jobs` may compute them at the
    /// same time. Work of [`Experiment::each_seed`](crate::Experiment::each_seed) precedes the
    /// trials in any case. Called after arms are selected.
    fn trials_are_independent(&self) -> bool {
        true
    }

    /// The variants of an arm, each with a separate model and folder. If the list is empty, the arm
    /// has one model.
    fn variants(&self, arm: &str) -> Vec<String> {
        let _ = arm;
        Vec::new()
    }
}

/// The section `[run]`: seeds, arms and hardware options. Hardware options except `precision`
/// change results in the last digits only, so a run can be resumed with other values of these
/// options. Levels of `float32_matmul` that allow TF32, which has fewer bits than float32, change
/// more digits; the records of a run contain the level.
///
/// ```
/// use experiment::RunConfig;
///
/// let run = RunConfig::default();
/// assert_eq!(run.seeds, [0]);
/// assert_eq!(run.device, "auto");
/// assert!(run.arms.is_none()); // all
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Seeds; all arms are run for each of them.
    pub seeds: Vec<u64>,
    /// Arms to run, in this order; `*` and `?` match as in file names. Absent: all arms. After the
    /// experiment is opened: the names of the selected arms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arms: Option<Vec<String>>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Threads inside an operation; 0: one per core.
    pub threads: usize,
    /// `auto`, `highest`, `high` or `medium`; the last two allow TF32 on a GPU.
    pub float32_matmul: String,
    /// Compute precision: `f32`, `bf16`, on a GPU `f16`, or `auto`, which is `bf16` on every GPU
    /// and on processors with its instructions, and `f32` on others. Parameters and optimiser stay
    /// float32. After the experiment is opened: the selected precision.
    pub precision: String,
    /// Whether to store only the inputs of encoder layers and recompute the layers in the backward
    /// pass. Recomputation needs less memory and one more forward pass. Results do not change.
    pub activation_checkpointing: bool,
    /// Number of profiled steps per training stage, recorded in `profile/` of the stage's folder;
    /// see [`Stage::with_profile`](trainer::Stage::with_profile).
    #[serde(skip_serializing_if = "is_zero")]
    pub profile_steps: u64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seeds: vec![0],
            arms: None,
            device: "auto".into(),
            threads: 0,
            float32_matmul: "auto".into(),
            precision: "f32".into(),
            activation_checkpointing: false,
            profile_steps: 0,
        }
    }
}

/// Whether the value is the default, which is not serialised. Recipes written before the key
/// existed thus stay unchanged.
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl RunConfig {
    /// Returns the names in `arms`, none if the key is absent. After the experiment is opened,
    /// these are the selected arms.
    ///
    /// ```
    /// use experiment::RunConfig;
    ///
    /// let run = RunConfig { arms: Some(vec!["base".into()]), ..RunConfig::default() };
    /// assert_eq!(run.selected_arms(), ["base"]);
    /// ```
    pub fn selected_arms(&self) -> &[String] {
        self.arms.as_deref().unwrap_or(&[])
    }
}

/// Completes a recipe and puts the selected arms into `run.arms`; `patterns` are the values of
/// `--arms`.
pub(crate) fn select_arms<R: Recipe>(recipe: &mut R, patterns: &[String]) -> Result<()> {
    recipe.complete()?;
    let run_arms = recipe.run().arms.clone();
    let selected = match patterns {
        [] => arms::select_by_recipe(recipe.arms().keys(), run_arms.as_deref())?,
        _ => arms::select_by_arguments(recipe.arms().keys(), run_arms.as_deref(), patterns)?,
    };
    recipe.run_mut().arms = Some(selected);
    Ok(())
}

/// Rejects missing or repeated seeds, and invalid or repeated variants of the selected arms.
pub(crate) fn check_seeds_and_variants<R: Recipe>(recipe: &R) -> Result<()> {
    arms::check_seeds(&recipe.run().seeds)?;
    for arm in recipe.run().selected_arms() {
        let variants = recipe.variants(arm);
        for (number, variant) in variants.iter().enumerate() {
            check_folder_name(&format!("variants of {arm}"), variant)?;
            if variants.iter().take(number).any(|earlier| earlier == variant) {
                let reason = format!("{variant} is listed twice");
                return Err(Error::setting(format!("variants of {arm}"), reason));
            }
        }
    }
    Ok(())
}

/// Rejects unknown stages and `keep_models` in a recipe with adapters. `keep_models` stores
/// complete models, but only adapters and heads are trained.
pub(crate) fn check_adapters<R: Recipe>(recipe: &R) -> Result<()> {
    let Some(adapters) = recipe.adapters() else { return Ok(()) };
    let is_unknown = |stage: &&String| !R::STAGES.contains(&stage.as_str());
    if let Some(stage) = adapters.encoder_learns_in.iter().find(is_unknown) {
        let reason = format!("the stages of {} are {}", R::NAME, R::STAGES.join(", "));
        return Err(Error::setting(format!("encoder_learns_in = [{stage:?}]"), reason));
    }
    // The key is serialised only if it is true.
    fn has_keep_models(value: &Value) -> bool {
        match value {
            Value::Object(table) => {
                table.contains_key("keep_models") || table.values().any(has_keep_models)
            }
            Value::Array(values) => values.iter().any(has_keep_models),
            _ => false,
        }
    }
    match serde_json::to_value(recipe).is_ok_and(|recipe| has_keep_models(&recipe)) {
        true => Err(Error::setting("keep_models", "not supported with adapters")),
        false => Ok(()),
    }
}
