//! The command line, and the keys that decide a run.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use experiment::{BaseModel, InputPath, RunConfig};
use mlqa_eval::{DatasetName, DecodeConfig, Language, WindowConfig};
use serde::{Deserialize, Serialize};
use trainer::TrainConfig;

/// Fine-tunes XLM-R on your questions, answers others, and scores the answers.
///
/// An interrupted run goes on where it was when it is started again with the same --out.
#[derive(Parser)]
#[command(name = "question-answering", after_help = EXAMPLES)]
pub struct Args {
    /// XLM-R as a Hugging Face folder; without --train a model that was fine-tuned before
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Training questions with answers: JSON as SQuAD v1.1 has it
    #[arg(long, value_name = "FILE", required_unless_present = "dev")]
    pub train: Option<PathBuf>,
    /// Questions to answer, in the same form; scored where they have answers
    #[arg(long, visible_alias = "predict", value_name = "FILE")]
    pub dev: Option<PathBuf>,
    /// Gets model/, predictions.json, n-best.json, table.md and summary.json
    #[arg(long, value_name = "DIR", default_value = "runs/question-answering")]
    pub out: PathBuf,
    /// Passes over the training questions
    #[arg(long, default_value_t = 2)]
    epochs: u64,
    /// Peak learning rate, which then falls to 0
    #[arg(long, default_value_t = 3e-5)]
    learning_rate: f64,
    /// Windows in a training step
    #[arg(long, default_value_t = 12)]
    batch_size: usize,
    /// Decides the fresh head, the order of questions and dropout
    #[arg(long, default_value_t = 42, value_parser = value_parser!(u64).range(..=MOST_SEED))]
    seed: u64,
    /// Language of the contexts of --dev, whose rules the score follows; else that of a file named
    /// as MLQA's (test-context-de-question-en.json), else en
    #[arg(long, value_name = "CODE")]
    language: Option<Language>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Sets any key of the run's recipe.toml, such as windows.max_length=256
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// The largest number that a recipe's file can hold.
const MOST_SEED: u64 = i64::MAX.unsigned_abs();

const EXAMPLES: &str = "Examples:
  question-answering --model xlm-roberta-base --train train.json --dev dev.json --out runs/mine
  question-answering --model runs/mine/model --predict questions.json --out runs/answers
  question-answering --model data/base --train data/xquad/xquad.en.json \\
      --dev data/xquad/xquad.de.json --language de --learning-rate 5e-4";

impl Args {
    /// All keys of the run. What is not on the command line is as in `run_qa` of transformers.
    pub fn recipe(&self) -> Result<Recipe> {
        let input = |path: &Option<PathBuf>| path.clone().unwrap_or_default().into();
        let file = self.dev.as_deref().and_then(Path::file_name).unwrap_or_default();
        let named: Option<DatasetName> = file.to_string_lossy().parse().ok();
        let language = self.language.or(named.map(|name| name.context)).unwrap_or(Language::EN);
        let mut recipe = Recipe {
            run: RunConfig { device: self.device.clone(), ..RunConfig::default() },
            model: BaseModel { path: self.model.clone().into(), ..BaseModel::default() },
            data: Data {
                train: input(&self.train),
                dev: input(&self.dev),
                language: Some(language),
            },
            ..Recipe::default()
        };
        let limits = recipe.model.limits()?;
        recipe.windows = WindowConfig::fitting(limits.positions, limits.segments);
        recipe.training.epochs = self.epochs;
        recipe.training.learning_rate = self.learning_rate;
        recipe.training.batch_size = self.batch_size;
        recipe.training.seed = self.seed;
        Ok(experiment::with_overrides(&recipe, &self.set)?)
    }
}

/// The keys of a run, as its recipe.toml has them.
#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    pub model: BaseModel,
    pub data: Data,
    pub windows: WindowConfig,
    pub training: TrainConfig,
    pub decoding: DecodeConfig,
    /// There is one model, so one arm.
    arms: BTreeMap<String, Arm>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    pub train: InputPath,
    pub dev: InputPath,
    /// Language of the contexts of `dev`.
    pub language: Option<Language>,
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
    const NAME: &'static str = "question-answering";
    const ABOUT: &'static str = "Fine-tunes XLM-R on your questions and answers others";
    const EXAMPLES: &'static str = EXAMPLES;
    const EVALUATION: &'static [&'static str] = &["data.dev", "data.language", "decoding"];
    experiment::recipe_fields!(Arm);

    fn complete(&mut self) -> Result<()> {
        // The seed is a key of the model: another one needs another folder.
        self.run.seeds = vec![self.training.seed];
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        let limits = self.model.limits()?;
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        self.training.validate().context("training")?;
        self.decoding.validate().context("decoding")
    }
}
