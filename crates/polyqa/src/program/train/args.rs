//! The command-line arguments of `polyqa train`.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::value_parser;
use experiment::{Adapters, BaseModel, RunConfig};
use mlqa_eval::{InvalidQuestions, Language, WindowConfig, WindowScore};
use model_hub::{Origin, ResolvedModel};
use xlmr_model::{BottleneckConfig, LoraConfig};

use crate::program::model::ModelArg;

use super::recipe::{Data, EXAMPLES, NoAnswerSource, Recipe, Unanswerable};

/// Fine-tune an encoder on questions with answers, and evaluate it
///
/// An interrupted run resumes when it is started again with the same --out.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub model: ModelArg,
    /// Training questions in SQuAD form; several files are concatenated
    #[arg(long, value_name = "FILE", required = true, num_args = 1.., help_heading = "Data")]
    train: Vec<PathBuf>,
    /// Files or folders of questions to answer after training; questions with gold answers are
    /// scored
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., help_heading = "Data")]
    dev: Vec<PathBuf>,
    /// Questions with gold answers for fitting the calibration [default: the files of --dev]
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Data")]
    calibration: Vec<PathBuf>,
    /// How to fit when the reader returns "no answer", if all questions of the calibration have
    /// answers
    #[arg(long, value_enum, default_value = "mismatched", help_heading = "Data")]
    no_answer: NoAnswerSource,
    /// Run folder: model/ (with --lora or --bottleneck also adapter/), predictions.json,
    /// n-best.json, null-odds.json, table.md and summary.json
    #[arg(long, value_name = "DIR", default_value = "runs/reader", help_heading = "Run")]
    pub out: PathBuf,
    /// How to handle training questions without an answer
    #[arg(long, value_enum, default_value = "train", help_heading = "Data")]
    unanswerable: Unanswerable,
    /// How to handle training questions whose answers are not at their offsets, or whose labels
    /// contradict each other
    #[arg(long, value_enum, default_value = "error", help_heading = "Data")]
    invalid_questions: InvalidQuestions,
    /// Train each window that contains the answer together with up to N negatives: windows of the
    /// same article without the answer. This makes scores comparable across the windows of a
    /// document. A negative takes as much time as any other window. Articles are recognised by
    /// their titles [default: 0]
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(..=MAX_NEGATIVES), help_heading = "Training")]
    negatives: Option<u8>,
    /// Epochs
    #[arg(long, default_value_t = 2, help_heading = "Training")]
    epochs: u64,
    /// Peak learning rate; decays linearly to 0
    #[arg(long, default_value_t = 3e-5, help_heading = "Training")]
    learning_rate: f64,
    /// Windows per training step, negatives not counted
    #[arg(long, default_value_t = 12, help_heading = "Training")]
    batch_size: usize,
    /// Train the head and a LoRA of this rank on queries, keys and values, instead of all weights.
    /// Alpha is twice the rank. adapter/ contains the LoRA in PEFT's format, and model/ contains
    /// the merged weights
    #[arg(long, value_name = "RANK", value_parser = value_parser!(i64).range(1..=MAX_RANK), help_heading = "Adapters")]
    lora: Option<i64>,
    /// Train the head and a bottleneck adapter after every layer, instead of all weights. The
    /// adapter's width is the hidden size divided by REDUCTION. adapter/ and model/adapters/
    /// contain the adapter in AdapterHub's format
    #[arg(long, value_name = "REDUCTION", value_parser = value_parser!(i64).range(1..), help_heading = "Adapters")]
    bottleneck: Option<i64>,
    /// Random seed for head initialisation, data order and dropout
    #[arg(long, default_value_t = 42, value_parser = value_parser!(u64).range(..=MAX_SEED), help_heading = "Training")]
    seed: u64,
    /// Language of the contexts of --dev and --calibration, which selects the scoring rules
    /// [default: from the file's name, such as test-context-de-question-en.json or xquad.de.json;
    /// else en, with a note]
    #[arg(long, value_name = "CODE", value_parser = Language::registered, help_heading = "Data")]
    language: Option<Language>,
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", help_heading = "Run")]
    device: String,
    /// Set any key of the run's recipe.toml, such as windows.max_length=256
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Run")]
    set: Vec<String>,
}

/// The maximum integer in a recipe file.
const MAX_SEED: u64 = i64::MAX.unsigned_abs();
/// Maximum number of negative windows; more would exceed the memory of a training step.
const MAX_NEGATIVES: i64 = 64;
/// Maximum rank of a LoRA, which is larger than the width of any encoder.
const MAX_RANK: i64 = 1 << 16;

impl Args {
    /// Returns the recipe of the run. Values that are not set on the command line equal the
    /// defaults of `run_qa` in transformers.
    pub fn recipe(&self, model: &ResolvedModel) -> Result<Recipe> {
        let mut dev = Vec::new();
        for path in &self.dev {
            dev.extend(question_files(path)?);
        }
        let mut recipe = Recipe {
            run: RunConfig { device: self.device.clone(), ..RunConfig::default() },
            model: BaseModel {
                path: model.folder.clone().into(),
                revision: model
                    .origin
                    .as_ref()
                    .map(|Origin { repository, commit, .. }| format!("{repository}@{commit}")),
                ..BaseModel::default()
            },
            data: Data {
                train: self.train.iter().map(|path| path.clone().into()).collect(),
                dev: dev.into_iter().map(Into::into).collect(),
                calibration: self.calibration.iter().map(|path| path.clone().into()).collect(),
                language: self.language,
                unanswerable: self.unanswerable,
                invalid_questions: self.invalid_questions,
                negatives: self.negatives.map(usize::from),
                no_answer: self.no_answer,
                ..Data::default()
            },
            ..Recipe::default()
        };
        let limits = recipe.model.limits()?;
        recipe.windows = WindowConfig::for_model(limits.positions);
        // Training with negatives normalises the scores of several windows together, so the logits
        // of different windows are comparable. Without negatives, margins over "no answer" are more
        // comparable than logits.
        recipe.decoding.window_score = match self.negatives {
            None | Some(0) => WindowScore::Margin,
            Some(_) => WindowScore::Raw,
        };
        recipe.training.epochs = self.epochs;
        recipe.training.learning_rate = self.learning_rate;
        recipe.training.batch_size = self.batch_size;
        recipe.training.seed = self.seed;
        if self.lora.is_some() || self.bottleneck.is_some() {
            let bottleneck = |reduction| BottleneckConfig { reduction, ..Default::default() };
            recipe.model.adapters = Some(Adapters {
                lora: self.lora.map(LoraConfig::of_rank),
                bottleneck: self.bottleneck.map(bottleneck),
                ..Adapters::default()
            });
        }
        Ok(experiment::with_overrides(&recipe, &self.set)?)
    }
}

/// Returns `path` if it is a file, or the question files of the folder `path`, sorted by name.
fn question_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(|| path.display().to_string())? {
        let file = entry?.path();
        let name = file.file_name().expect("an entry of a folder has a name");
        let name = name.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        // Hidden files are not data: macOS stores attributes of `dev.json` in `._dev.json`.
        let is_question_file = !name.starts_with('.')
            && [".json", ".jsonl", ".parquet"].iter().any(|extension| name.ends_with(extension));
        if is_question_file {
            files.push(file);
        }
    }
    ensure!(!files.is_empty(), "{}: no question file (.json) found", path.display());
    files.sort();
    Ok(files)
}
