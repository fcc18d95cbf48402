//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use experiment::{BaseModel, InputPath, RunConfig, TsvFolder};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::fusion::{PairedText, SoftTeaching, StudentStart};
use trainer::TrainConfig;
use transfer_eval::xnli::NliConfig;
use xlmr_model::{Config, FusionConfig};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The source language, and those that are translated into it.
    pub languages: Vec<Language>,
    /// Where the second model of arms with `soft` starts.
    pub student: StudentStart,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub encoding: NliConfig,
    /// Which layers read both texts.
    pub fusion: FusionConfig,
    pub soft: SoftTeaching,
    /// Of the first model of arms with `soft`.
    pub teacher: TrainConfig,
    pub training: TrainConfig,
    pub evaluation: Evaluation,
}

/// Where the pairs lie.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Folder with `multinli.train.<lang>.tsv`, row by row translations of each other.
    pub train: TsvFolder,
    /// `xnli.test.tsv`, pairs of all languages.
    pub evaluation: InputPath,
    /// The same rows in the source language, in a file of the same form.
    pub second: InputPath,
}

/// What stands beside a text in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[default]
    Translation,
    /// That of another text of the same class, as a control.
    Unrelated,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// What tables call it; absent: its name.
    pub title: Option<String>,
    /// k in place of `fusion.cross`; 0: both texts are read alone, translate-train.
    pub cross: Option<usize>,
    pub source: Source,
    /// Phase two: learns from a first model, too.
    pub soft: bool,
    /// In place of `training.steps`.
    pub steps: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// What is read beside each text, one after the other.
    pub second: Vec<PairedText>,
    /// Pairs in a batch.
    pub batch_size: usize,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { second: vec![PairedText::Translation], batch_size: 64 }
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "filter-xnli";
    const ABOUT: &'static str = "Trains a classifier that reads each pair of sentences beside its \
        translation in some layers, with soft labels in a second phase (FILTER)";
    const EXAMPLES: &'static str = "\
filter-xnli examples/filter-xnli/small.toml --seeds 3
filter-xnli examples/filter-xnli/recipe.toml --model xlm-roberta-large \\
    --set data.train=XNLI-MT-1.0/multinli --set data.evaluation=XNLI-1.0/xnli.test.tsv \\
    --set data.second=xnli.test.to-english.tsv --out runs/filter-xnli";
    const EVALUATION: &'static [&'static str] =
        &["evaluation", "data.evaluation", "data.second", "arms.*.title"];
    experiment::recipe_fields!(Arm, stages: ["teacher", "train"]);

    fn validate(&self) -> Result<()> {
        let data = &self.data;
        ensure!(self.languages.len() > 1, "languages: name the source language and others");
        data.train.required("data.train", "a folder with multinli.train.<lang>.tsv")?;
        data.evaluation.required("data.evaluation", "test pairs, as xnli.test.tsv")?;
        data.second.required("data.second", "the same pairs in the source language")?;
        self.model.limits()?.check_length("encoding.max_length", self.encoding.max_length)?;
        let config = Config::of_folder(&self.model.path)?;
        let layers = usize::try_from(config.num_hidden_layers).unwrap_or(0);
        self.fusion.validate(layers).context("fusion")?;
        self.soft.validate()?;
        self.teacher.validate().context("teacher")?;
        self.training.validate().context("training")?;
        let Evaluation { second, batch_size } = &self.evaluation;
        ensure!(!second.is_empty(), "evaluation.second = []: one reading or more");
        ensure!(*batch_size > 0, "evaluation.batch_size = 0: must be 1 or more");
        Ok(())
    }
}

impl Recipe {
    /// Which layers read both texts in an arm.
    pub fn fusion(&self, arm: &Arm) -> FusionConfig {
        FusionConfig { cross: arm.cross.unwrap_or(self.fusion.cross), ..self.fusion }
    }

    /// The last stage of an arm.
    pub fn training(&self, arm: &Arm) -> TrainConfig {
        TrainConfig { steps: arm.steps.or(self.training.steps), ..self.training.clone() }
    }
}
