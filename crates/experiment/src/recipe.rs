//! What a program must say about its recipe.
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Adapters, Error, Result};

/// The keys of a program, and what they mean to an experiment.
///
/// The struct is read from TOML with [`read_recipe`](crate::read_recipe). Give it
/// `#[serde(default, deny_unknown_fields)]`, a field `run` of type [`RunConfig`], one map of arms,
/// and an [`InputPath`](crate::InputPath) for every file or folder that it reads. All that decides
/// a result follows from these: nothing is listed by hand.
pub trait Recipe: Clone + Serialize + DeserializeOwned {
    /// The program's name; the default run folder is `runs/<name>`.
    const NAME: &'static str;

    /// What the program does, for `--help`.
    const ABOUT: &'static str;

    /// Commands that work, one on each line, for `--help`.
    const EXAMPLES: &'static str;

    /// The key that `--model DIR` sets. One that ends in `.*` is a section of folders by name, all
    /// of which `--model [NAME=]DIR` replaces.
    const MODEL: &'static str = "model.path";

    /// Keys that only the evaluation reads, or sections of them, such as `evaluation` and
    /// `data.evaluation`; `*` stands for one part of a key, as in `arms.*.title`. A change in them,
    /// or in a file that they name, evaluates again without training. A key that is forgotten here
    /// is one of training: a change in it is refused.
    const EVALUATION: &'static [&'static str] = &[];

    /// The names that [`Trial::fit`](crate::Trial::fit) is given, of a recipe with
    /// [`adapters`](Self::adapters).
    const STAGES: &'static [&'static str] = &[];

    /// One arm: what differs between the models that are compared.
    type Arm;

    /// The section `[run]`.
    fn run(&self) -> &RunConfig;

    /// The section `[run]`, to be changed by `--seeds` and `--arms`.
    fn run_mut(&mut self) -> &mut RunConfig;

    /// The arms by name.
    fn arms(&self) -> &BTreeMap<String, Self::Arm>;

    /// What learns in place of the encoder: [`BaseModel::adapters`](crate::BaseModel::adapters).
    fn adapters(&self) -> Option<&Adapters> {
        None
    }

    /// Fills in what follows from other keys, such as arms that are made from a list of values.
    /// Called before arms are selected, perhaps more than once.
    ///
    /// # Errors
    /// Naming the key.
    fn complete(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Checks what no other crate checks. [`RunConfig::arms`] holds the selected arms, and every
    /// input that is set exists.
    ///
    /// # Errors
    /// Naming the key.
    fn validate(&self) -> anyhow::Result<()>;

    /// Reads every input once, so that a damaged file is found before training. Called before the
    /// first trial that is trained or evaluated. That inputs exist is checked anyway.
    ///
    /// # Errors
    /// Naming the file.
    fn check_inputs(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The variants of an arm, each with a model and a folder; none: the arm has one model.
    fn variants(&self, arm: &str) -> Vec<String> {
        let _ = arm;
        Vec::new()
    }
}

/// The section `[run]`: what is run and on what. But for `precision` it decides no trial's result
/// but in the last digits, so a run goes on when it changes. Levels of `float32_matmul` with fewer
/// bits than float32 (TF32) decide more of them; the folder's records name the level.
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
    /// One run of all arms for each.
    pub seeds: Vec<u64>,
    /// Arms to run, in this order; `*` and `?` match as in file names. Absent: all arms. An open
    /// experiment has the selected names here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arms: Option<Vec<String>>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Threads inside an operation; 0: one per core.
    pub threads: usize,
    /// `auto`, `highest`, `high` or `medium`; the last two allow TF32 on a GPU.
    pub float32_matmul: String,
    /// What models compute in: `f32`, `bf16`, or on a GPU `f16`. Parameters and optimiser stay
    /// float32.
    pub precision: String,
    /// Keeps what goes into each encoder layer alone, and computes the layer again on the way back:
    /// less memory for one more forward pass. It changes no digit.
    pub activation_checkpointing: bool,
    /// Steps of each training stage that libtorch's profiler records, into `profile/` in the
    /// stage's folder; see [`Stage::with_profile`](trainer::Stage::with_profile).
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

/// Left out where it is written, so that recipes without it are the same as before it came.
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl RunConfig {
    /// The names in `arms`: in an open experiment, the selected arms.
    ///
    /// ```
    /// use experiment::RunConfig;
    ///
    /// let run = RunConfig { arms: Some(vec!["base".into()]), ..RunConfig::default() };
    /// assert_eq!(run.selected(), ["base"]);
    /// ```
    pub fn selected(&self) -> &[String] {
        self.arms.as_deref().unwrap_or_default()
    }
}

/// Completes a recipe and puts the selected arms into `run.arms`; `patterns` are those of `--arms`.
pub(crate) fn select_arms<R: Recipe>(recipe: &mut R, patterns: &[String]) -> Result<()> {
    recipe.complete()?;
    let in_recipe = recipe.run().arms.clone();
    let selected = match patterns {
        [] => crate::arms::listed(recipe.arms().keys(), in_recipe.as_deref())?,
        _ => crate::arms::chosen(recipe.arms().keys(), in_recipe.as_deref(), patterns)?,
    };
    recipe.run_mut().arms = Some(selected);
    Ok(())
}

/// Refuses seeds, arms and variants that cannot be run.
pub(crate) fn check_runnable<R: Recipe>(recipe: &R) -> Result<()> {
    crate::arms::check_seeds(&recipe.run().seeds)?;
    for arm in recipe.run().selected() {
        let variants = recipe.variants(arm);
        for (number, variant) in variants.iter().enumerate() {
            crate::names::check_plain(&format!("variants of {arm}"), variant)?;
            if variants.iter().take(number).any(|earlier| earlier == variant) {
                let reason = format!("{variant} is listed twice");
                return Err(Error::setting(format!("variants of {arm}"), reason));
            }
        }
    }
    Ok(())
}
