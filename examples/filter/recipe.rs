//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use experiment::{BaseModel, InputPath, JsonFolder, RunConfig};
use mlqa_eval::{Language, WindowConfig};
use serde::{Deserialize, Serialize};
use tasks::fusion::{FusedEvaluation, FusedQaConfig, StudentStart};
use trainer::TrainConfig;
use xlmr_model::Config;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The source language, and those of its translations that are trained on.
    pub languages: Vec<Language>,
    /// Languages of the questions that are answered; empty: `languages`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tested: Vec<Language>,
    /// Where the second model of arms with `soft` starts.
    pub student: StudentStart,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub windows: WindowConfig,
    pub qa: FusedQaConfig,
    /// Of the first model of arms with `soft`.
    pub teacher: TrainConfig,
    pub training: TrainConfig,
    pub evaluation: FusedEvaluation,
}

/// Where the questions lie.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// SQuAD-style training questions in the source language.
    pub train: InputPath,
    /// Folder that `qa-translate translate` wrote from them.
    pub translated: JsonFolder,
    /// Folder with `xquad.<lang>.json` to be answered.
    pub evaluation: JsonFolder,
    /// Folder with the same questions in the source language, `xquad.<lang>.json` for those of each
    /// language.
    pub second: JsonFolder,
}

/// What stands beside a text in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[default]
    Translation,
    /// A question of another article in the source language, as a control.
    Unrelated,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// What tables call it; absent: its name.
    pub title: Option<String>,
    /// k in place of `qa.fusion.cross`; 0: both texts are read alone, translate-train.
    pub cross: Option<usize>,
    pub source: Source,
    /// Phase two: learns from a first model, too.
    pub soft: bool,
    /// In place of `training.steps`.
    pub steps: Option<u64>,
    /// Also answers in the translation alone, and carries the answers back by alignment.
    pub projected: bool,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "filter";
    const ABOUT: &'static str = "Trains a reader that reads each question beside its translation \
        in some layers, with soft labels in a second phase (FILTER)";
    const EXAMPLES: &'static str = "\
filter examples/filter/small.toml --seeds 3
filter examples/filter/small.toml --arms 'filter*' --set qa.pairing=all_pairs
filter examples/filter/recipe.toml --model xlm-roberta-large --set data.train=train-v1.1.json \
--set data.translated=translated --set data.evaluation=xquad --set data.second=xquad-to-english";
    const EVALUATION: &'static [&'static str] = &[
        "evaluation",
        "tested",
        "data.evaluation",
        "data.second",
        "arms.*.title",
        "arms.*.projected",
    ];
    experiment::recipe_fields!(Arm, stages: ["teacher", "train"]);

    fn validate(&self) -> Result<()> {
        let (data, limits) = (&self.data, self.model.limits()?);
        ensure!(self.languages.len() > 1, "languages: name the source language and others");
        data.train.required("data.train", "a SQuAD-style training file")?;
        data.translated.required("data.translated", "what `qa-translate` wrote")?;
        data.evaluation.required("data.evaluation", "a folder with xquad.<lang>.json")?;
        data.second.required("data.second", "the same questions in the source language")?;
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        let config = Config::of_folder(&self.model.path)?;
        let layers = usize::try_from(config.num_hidden_layers).unwrap_or(0);
        self.qa.fusion.validate(layers).context("qa.fusion")?;
        self.qa.soft.validate().map_err(|error| anyhow!("qa.{error}"))?;
        self.teacher.validate().context("teacher")?;
        self.training.validate().context("training")?;
        Ok(self.evaluation.validate()?)
    }
}

impl Recipe {
    /// The languages of the questions that are answered.
    pub fn tested(&self) -> &[Language] {
        if self.tested.is_empty() { &self.languages } else { &self.tested }
    }

    /// The task of an arm.
    pub fn qa(&self, arm: &Arm) -> FusedQaConfig {
        let mut config = self.qa.clone();
        config.fusion.cross = arm.cross.unwrap_or(config.fusion.cross);
        config
    }

    /// The last stage of an arm.
    pub fn training(&self, arm: &Arm) -> TrainConfig {
        TrainConfig { steps: arm.steps.or(self.training.steps), ..self.training.clone() }
    }
}
