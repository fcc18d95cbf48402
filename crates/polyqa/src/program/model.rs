//! Options for the model and the reader.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use experiment::{RunConfig, Runtime};
use mlqa_eval::{Compatible, WindowScore};
use model_hub::{Hub, ResolvedModel};
use torch_ext::{DeviceChoice, Precision, resolve_device};

use crate::default_reader;
use crate::reader::with_long_questions;
use crate::{MODEL_VARIABLE, Reader, Retriever, default_model, select_precision};

/// The command-line option `--model`.
#[derive(clap::Args)]
pub struct ModelArg {
    /// Model: a Hugging Face folder, the folder of a training run, or a repository of the hub as owner/name or
    /// owner/name@revision, which is downloaded if it is not cached
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
}

impl ModelArg {
    /// Returns the model's folder, and prints the progress of downloads.
    pub fn resolve(&self) -> Result<ResolvedModel> {
        resolve(&self.model)
    }
}

/// Resolves a model's name to its folder, and prints the progress of downloads. The folder of a
/// training run has the model in its subfolder `model`.
pub fn resolve(model: &str) -> Result<ResolvedModel> {
    let in_run = Path::new(model).join("model");
    let is_run =
        !Path::new(model).join("config.json").exists() && in_run.join("config.json").exists();
    let in_run = in_run.to_str().filter(|_| is_run);
    let model = in_run.unwrap_or(model); // the name of a model
    check_is_model(Path::new(model))?;
    let mut current_bar = None;
    let resolved = Hub::from_env().resolve(model, &mut |progress| {
        let bar = match &mut current_bar {
            Some((file, bar)) if *file == progress.file => bar,
            slot => {
                let bar = cli::byte_progress(Some(progress.total));
                &mut slot.insert((progress.file.to_owned(), bar)).1
            }
        };
        bar.set_position(progress.done);
    });
    if let Some((_, bar)) = current_bar {
        bar.finish_and_clear();
    }
    Ok(resolved?)
}

/// Files of which a model's folder has at least one.
const CONFIGS: [&str; 3] = ["config.json", "adapter_config.json", "modules.json"];

/// Maximum number of models that the error for another folder names.
const NAMED_MODELS: usize = 3;

/// Maximum depth of the models in a run's folder: `seed-0/ARM/GROUP/model`.
const MAX_DEPTH: usize = 4;

/// Returns an error for a folder without a model, such as that of a recipe's run; the error names
/// the models in the folder.
fn check_is_model(folder: &Path) -> Result<()> {
    if !folder.is_dir() || is_model(folder) {
        return Ok(());
    }
    let mut models = Vec::new();
    find_models(folder, MAX_DEPTH, &mut models);
    let names: Vec<String> =
        models.iter().take(NAMED_MODELS).map(|path| path.display().to_string()).collect();
    let hint = match (models.len(), if models.len() > NAMED_MODELS { ", …" } else { "" }) {
        (0, _) => String::new(),
        (_, more) => format!("; models in it: {}{more}", names.join(", ")),
    };
    bail!("{}: not a model, there is no config.json{hint}", folder.display())
}

fn is_model(folder: &Path) -> bool {
    CONFIGS.iter().any(|name| folder.join(name).exists())
}

/// Adds the models below a folder, in the order of their paths, until one more than
/// [`NAMED_MODELS`] is found. A folder that cannot be read has none.
fn find_models(folder: &Path, depth: usize, models: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    for path in folders {
        if models.len() > NAMED_MODELS {
            return;
        }
        match is_model(&path) {
            true => models.push(path),
            false if depth > 1 => find_models(&path, depth - 1, models),
            false => {}
        }
    }
}

/// Options of the reader: windows, answers, precision and device.
#[derive(clap::Args)]
#[command(next_help_heading = "Reader")]
pub struct ReaderArgs {
    /// Model: a Hugging Face folder, the folder of a training run, or a repository of the hub as owner/name or
    /// owner/name@revision, which is downloaded if it is not cached [default: POLYQA_MODEL, or the
    /// reader that comes with polyqa]
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,
    /// Folder that may contain the reader that comes with polyqa, see [`default_model`].
    #[arg(skip)]
    pub package: Option<PathBuf>,
    /// Maximum number of answers per question
    #[arg(short = 'n', long, value_name = "N", default_value_t = 3)]
    pub answers: usize,
    /// Report "no answer" if its score exceeds the best answer's by more than this value [default:
    /// the model's fitted thresholds, or no threshold]
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    null_threshold: Option<f64>,
    /// Maximum answer length in tokens
    #[arg(long, value_name = "N", default_value_t = 30)]
    max_answer_length: usize,
    /// Score by which answers from different windows of a document are compared [default: the score
    /// with which the model was calibrated, or margin without a calibration; raw with --compatible
    /// run_qa]
    #[arg(long, value_enum, value_name = "SCORE")]
    window_score: Option<Score>,
    /// Window length in tokens [default: 384, or the model's maximum]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Overlap of neighbouring windows in tokens [default: 128, or a third of the window]
    #[arg(long, value_name = "N")]
    doc_stride: Option<usize>,
    /// Put contexts in segment 1 even if the model's tokenizer returns no token types, for models
    /// that were trained so [default: the segments of the tokenizer's files, as in transformers]
    #[arg(long)]
    segment_ids: bool,
    /// Windows per batch [default: 32; 8 for a large model on the CPU]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Compute precision: f32, bf16, int8 (CPU only), f16 (GPU only), or auto: bf16 on processors
    /// with AMX, int8 on other processors with AVX-512 VNNI, else f32 [default: POLYQA_PRECISION,
    /// or auto]
    #[arg(long, value_name = "TYPE")]
    precision: Option<String>,
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
}

/// The values of `--window-score`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Score {
    /// Sum of start and end logit, as in run_qa of transformers; for readers trained with
    /// --negatives
    Raw,
    /// Log-probability within the window, as in the pipeline of transformers
    Softmax,
    /// Sum of start and end logit, minus the sum for "no answer" in the same window
    Margin,
}

impl From<Score> for WindowScore {
    fn from(score: Score) -> Self {
        match score {
            Score::Raw => Self::Raw,
            Score::Softmax => Self::Softmax,
            Score::Margin => Self::Margin,
        }
    }
}

/// Options of the sentence encoder for the first stage of retrieval.
#[derive(clap::Args)]
#[command(next_help_heading = "Retrieval")]
pub struct RetrieverArgs {
    /// Sentence encoder, such as intfloat/multilingual-e5-small, that selects passages across
    /// languages, together with BM25 (reciprocal rank fusion)
    #[arg(long, value_name = "DIR|NAME")]
    retriever: Option<String>,
    /// Prefix of questions for the retriever [default: from its files; "query: " for E5]
    #[arg(long, value_name = "TEXT", requires = "retriever")]
    query_prefix: Option<String>,
    /// Prefix of passages for the retriever [default: from its files; "passage: " for E5]
    #[arg(long, value_name = "TEXT", requires = "retriever")]
    passage_prefix: Option<String>,
    /// Weight of the retrieval penalty: the score of an answer is reduced by the weight times the
    /// difference between the best passage's and the answer's passage's cosine similarity to the
    /// question. With 0, the retriever only selects passages [default: 80]
    #[arg(long, value_name = "WEIGHT", requires = "retriever")]
    retriever_weight: Option<f32>,
}

impl RetrieverArgs {
    /// Loads the retriever, if one is set, on the reader's device and in the reader's precision.
    pub fn load(&self, reader: &Reader) -> Result<Option<Retriever>> {
        let Some(model) = &self.retriever else { return Ok(None) };
        let reader_model = &reader.pretrained.model;
        let (device, precision) = (reader_model.device(), reader_model.precision());
        let mut retriever = Retriever::load_resolved(&resolve(model)?, device, precision)?;
        let (query, passage) = (self.query_prefix.clone(), self.passage_prefix.clone());
        if let Some(weight) = self.retriever_weight {
            ensure!(weight.is_finite(), "--retriever-weight must be a finite number");
            retriever = retriever.with_penalty_weight(weight);
        }
        Ok(Some(retriever.with_prefixes(query, passage)))
    }
}

impl ReaderArgs {
    /// Rejects invalid values before any file is read.
    pub fn check(&self) -> Result<()> {
        self.model_name()?;
        ensure!(self.answers > 0, "--answers must be at least 1");
        ensure!(self.batch_size != Some(0), "--batch-size must be at least 1");
        if let Some(threshold) = self.null_threshold {
            ensure!(
                threshold.is_finite(),
                "--null-threshold must be a finite number, not {threshold}"
            );
        }
        Ok(())
    }

    /// Returns the model of the command line, or the default.
    fn model_name(&self) -> Result<String> {
        match &self.model {
            Some(model) => Ok(model.clone()),
            None => Ok(default_model(self.package.as_deref())?),
        }
    }

    /// Returns the model's folder, and prints the progress of downloads. Prints a note if the model
    /// is the value of an environment variable, because nothing else shows it.
    fn resolve_model(&self) -> Result<ResolvedModel> {
        let model = self.model_name()?;
        if self.model.is_some() || default_reader::variable().is_none() {
            return resolve(&model);
        }
        let resolved = resolve(&model).context(MODEL_VARIABLE)?;
        cli::print_stderr(&format!("note: the model is {model} ({MODEL_VARIABLE})"));
        Ok(resolved)
    }

    /// Loads the reader, and returns it with the model's name: the repository or, for a local
    /// model, the folder's name. If the folder's name is `model`, the parent folder's name is
    /// returned, which is the name of the run.
    pub fn load(&self, compatible: Option<Compatible>) -> Result<(Reader, String)> {
        let device = resolve_device(self.device.parse::<DeviceChoice>()?)?;
        let precision = select_precision(self.precision.as_deref(), device)?;
        // In precisions other than f32, only the head runs in float32. With int8, attention also
        // runs in float32 on processors without AVX-512 BF16. These matrix multiplications are not
        // tuned, because compiling oneDNN kernels would delay the start.
        let float32_matmul = if precision == Precision::F32 { "auto" } else { "highest" }.into();
        let run = RunConfig { float32_matmul, ..RunConfig::default() };
        Runtime::set_up(&RunConfig { device: self.device.clone(), ..run })?;
        let ResolvedModel { folder, origin } = self.resolve_model()?;
        let reader = Reader::load(&folder, device, precision)?;
        let mut windows = reader.windows().clone();
        windows.max_length = self.max_length.unwrap_or(windows.max_length);
        windows.doc_stride = self.doc_stride.unwrap_or(windows.doc_stride);
        windows.segment_ids |= self.segment_ids;
        let mut windows = with_long_questions(windows);
        windows.compatible = compatible;
        let mut decoding = reader.decoding().clone();
        decoding.max_answer_length = self.max_answer_length;
        if compatible == Some(Compatible::RunQa) {
            decoding.n_best = decoding.n_best.max(self.answers);
        }
        decoding.compatible = compatible;
        decoding.window_score = match (compatible, self.window_score) {
            (Some(Compatible::RunQa), _) => WindowScore::Raw,
            (None, Some(score)) => score.into(),
            (None, None) => decoding.window_score,
        };
        let batch_size = self.batch_size.unwrap_or(reader.batch_size);
        let reader = reader
            .with_windows(windows)?
            .with_decoding(decoding)?
            .with_batch_size(batch_size)
            .with_max_answers(self.answers)
            .with_null_threshold(self.null_threshold);
        let reader = match compatible {
            Some(Compatible::RunQa) => reader.without_no_answer_fit(),
            None => reader,
        };
        let name = match origin {
            Some(origin) => origin.repository,
            None => {
                let run = folder.parent().filter(|_| folder.ends_with("model"));
                let name = run.and_then(Path::file_name).or(folder.file_name());
                // A path such as `.` or `..` has no name.
                name.unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
            }
        };
        Ok((reader, name))
    }
}
