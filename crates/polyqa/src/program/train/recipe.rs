//! Configuration keys of a training run.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::{BaseModel, InputPath, RunConfig};
use mlqa_eval::{DecodeConfig, InvalidQuestions, Language, WindowConfig};
use serde::{Deserialize, Serialize};
use tasks::question_answering::NegativeLoss;
use trainer::TrainConfig;

/// Name of the only training stage.
pub const STAGE: &str = "fine-tune";

/// Example commands in the help.
pub const EXAMPLES: &str = "\
Examples:
  polyqa train --model xlm-roberta-base --train train.json --dev dev.json --out runs/mine
  polyqa train --model xlm-roberta-base --train train-v2.0.json --dev dev-v2.0.json
  polyqa train --model xlm-roberta-base --train train.json --dev MLQA_V1/test
  polyqa train --model data/base --train data/xquad/xquad.en.json \\
      --dev data/xquad/xquad.de.json --learning-rate 5e-4";

/// The keys of a run, as stored in its recipe.toml.
#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    pub model: BaseModel,
    pub data: Data,
    pub windows: WindowConfig,
    pub training: TrainConfig,
    pub decoding: DecodeConfig,
    /// A single arm, because there is one model.
    pub arms: BTreeMap<String, Arm>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    pub train: Vec<InputPath>,
    pub dev: Vec<InputPath>,
    /// Files on which the calibration is fitted; if empty, the files of `dev`.
    pub calibration: Vec<InputPath>,
    /// Language of the contexts of `dev` and `calibration`.
    pub language: Option<Language>,
    pub unanswerable: Unanswerable,
    /// How invalid training questions are handled.
    #[serde(skip_serializing_if = "is_error")]
    pub invalid_questions: InvalidQuestions,
    /// Maximum number of negative windows per window with an answer; default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negatives: Option<usize>,
    #[serde(skip_serializing_if = "is_shared")]
    pub negative_loss: NegativeLoss,
    /// How "no answer" is fitted if no question of the calibration is unanswerable.
    #[serde(skip_serializing_if = "is_mismatched")]
    pub no_answer: NoAnswerSource,
}

/// Returns whether the loss is the default. The default is not serialised, so that the recipe
/// equals the recipes of runs from before this key existed.
fn is_shared(loss: &NegativeLoss) -> bool {
    *loss == NegativeLoss::Shared
}

/// Returns whether the mode is the default, which is not serialised, like the default loss.
fn is_error(mode: &InvalidQuestions) -> bool {
    *mode == InvalidQuestions::Error
}

/// Returns whether the fit is the default, which is not serialised, like the default loss.
fn is_mismatched(fit: &NoAnswerSource) -> bool {
    *fit == NoAnswerSource::Mismatched
}

/// How "no answer" is fitted if all questions of the calibration have answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum NoAnswerSource {
    /// Pair the questions of the calibration with paragraphs of other articles
    #[default]
    Mismatched,
    /// Do not fit "no answer": every question has an answer
    Never,
}

/// How training questions without an answer are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Unanswerable {
    /// Train the windows of these questions to predict start and end at the first token, as in
    /// SQuAD 2.0
    #[default]
    Train,
    /// Skip these questions
    Drop,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            run: RunConfig::default(),
            model: BaseModel::default(),
            data: Data::default(),
            windows: WindowConfig::default(),
            training: TrainConfig {
                weight_decay: 0.0,
                checkpoint_steps: Some(500),
                ..TrainConfig::default()
            },
            decoding: DecodeConfig::default(),
            arms: BTreeMap::from([("reader".to_owned(), Arm {})]),
        }
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "train";
    const ABOUT: &'static str = "Fine-tunes an encoder on questions and evaluates it";
    const EXAMPLES: &'static str = EXAMPLES;
    const EVALUATION_KEYS: &'static [&'static str] =
        &["data.dev", "data.calibration", "data.language", "data.no_answer", "decoding"];
    experiment::recipe_fields!(Arm, stages: [STAGE]);

    fn complete(&mut self) -> Result<()> {
        // The seed identifies the model: a run with another seed requires another folder.
        self.run.seeds = vec![self.training.seed];
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        let limits = self.model.limits()?;
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        self.training.validate().context("training")?;
        if let Some(language) = self.data.language {
            Language::registered(language.as_str()).context("data.language")?;
        }
        self.decoding.validate().context("decoding")
    }
}
