//! `polyqa doctor`.
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::earlier_readers::trained_with_segments;
use crate::reader::default_windows;
use crate::retriever_files::load_settings;
use crate::{Calibration, default_model};
use anyhow::Result;
use cli::TextOutput;
use model_hub::{Origin, ResolvedModel};
use serde_json::{Map, Value};
use tch::Cuda;
use xlmr_model::{Config, Head, Inspection};

use crate::program::model::resolve;

/// Print the version, GPUs, threads and default reader, or the possible uses of a model
#[derive(clap::Args)]
#[command(after_help = "\
With --model, the lines answer, train and encode (as --retriever) state what the model can be used
for. Configuration, tokenizer and the headers of the weights are read, not the weights.

Examples:
  polyqa doctor
  polyqa doctor --model runs/mine/model
  polyqa doctor --model xlm-roberta-base --json

Exit code: 0, or 2 if the model cannot answer questions.")]
pub struct Args {
    /// Model to check: a Hugging Face folder, or a repository of the hub, which is downloaded if it
    /// is not cached
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,
    /// Folder that may contain the reader that comes with polyqa, see [`default_model`].
    #[arg(skip)]
    pub package: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Names and values, in the order of the output.
type Properties = Vec<(&'static str, String)>;

pub fn run(args: &Args) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gpus = match (Cuda::is_available(), Cuda::device_count()) {
        (true, count) => count.to_string(),
        (false, 0) => "none".to_owned(),
        (false, count) => format!("{count}, but libtorch cannot use them (driver, or a CPU build)"),
    };
    let mut lines = vec![
        ("polyqa", env!("CARGO_PKG_VERSION").to_owned()),
        ("GPUs", gpus),
        ("threads", format!("{} of {cores} cores", tch::get_num_threads())),
    ];
    if args.model.is_none() {
        let reader = default_model(args.package.as_deref());
        lines.push(("reader", reader.unwrap_or_else(|error| format!("none: {error}"))));
    }
    let result = args.model.as_ref().map_or(Ok(()), |name| describe_model(name, &mut lines));
    if args.json {
        let error = result.as_ref().err().map(|error| ("error", cli::describe(error.as_ref())));
        let entries = lines.into_iter().chain(error);
        let object: Map<String, Value> =
            entries.map(|(name, value)| (name.replace(' ', "_"), value.into())).collect();
        TextOutput::Stdout.print(&format!("{}\n", Value::from(object)))?;
    } else {
        let mut text = String::new();
        for (name, value) in &lines {
            let _ = writeln!(text, "{name:10} {}", atomic_file::one_line(value));
        }
        TextOutput::Stdout.print(&text)?;
    }
    result
}

/// Adds a model's properties and its possible uses to `lines`.
fn describe_model(name: &str, lines: &mut Properties) -> Result<()> {
    let ResolvedModel { folder, origin } = resolve(name)?;
    let repository = origin.as_ref().map_or_else(String::new, |origin| origin.repository.clone());
    if let Some(Origin { repository, commit, .. }) = origin {
        lines.push(("origin", format!("{repository} at {commit}")));
    }
    lines.push(("model", folder.display().to_string()));
    let inspection = describe_files(&folder, lines).inspect_err(|_| {
        lines.extend(["answer", "train", "encode"].map(|purpose| (purpose, "no".to_owned())));
    })?;
    let answer = check_reader(&folder, &inspection, lines);
    let verdict = |result: Result<()>| match result {
        Ok(()) => "yes".to_owned(),
        Err(error) => format!("no: {}", cli::describe(error.as_ref())),
    };
    let train = verdict(inspection.report(Head::Span).map(drop).map_err(Into::into));
    let merged = inspection.report(Head::None)?.merged.len();
    if merged > 0 {
        lines.push(("adapter", format!("LoRA that changes {merged} tensors, merged on loading")));
    }
    let trainable_only = answer.is_err() && train == "yes";
    lines.push(("answer", if answer.is_ok() { "yes" } else { "no" }.to_owned()));
    lines.push(("train", train));
    let encode = verdict(load_settings(&folder, &repository).map(drop).map_err(Into::into));
    lines.push(("encode", encode));
    if trainable_only {
        let command = format!("polyqa train --model {name} --train FILE --out DIR");
        lines.push(("next", command));
    }
    answer
}

/// Adds the properties of configuration, weights and tokenizer to `lines`. Every use of a model
/// requires these files.
fn describe_files(folder: &Path, lines: &mut Properties) -> Result<Inspection> {
    let config = Config::of_folder(folder).inspect_err(|error| {
        // The returned error explains why the configuration is not supported.
        let is_type = matches!(error, xlmr_model::Error::Config { key, .. } if key == "model_type");
        let remark = if is_type { " (not supported)" } else { "" };
        // A file that cannot be read has no type to show; the returned error reports it.
        let file = atomic_file::read_limited(folder.join("config.json"), 16 << 20);
        let config: Option<Value> = file.ok().and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(name) = config.as_ref().and_then(|config| config.get("model_type")?.as_str()) {
            lines.push(("type", format!("{name}{remark}")));
        }
    })?;
    let class = config.architectures.first().map_or("no class named", String::as_str);
    lines.push(("type", format!("{}, {class}", config.architecture.model_type())));
    let layers = config.num_hidden_layers;
    let attention_heads = config.num_attention_heads;
    let encoder =
        format!("{layers} layers of {}, {attention_heads} attention heads", config.hidden_size);
    lines.push(("encoder", encoder));
    lines.push(("vocabulary", config.vocab_size.to_string()));
    lines.push(("max length", format!("{} tokens", config.max_length())));
    let inspection = Inspection::of_folder(folder)?;
    let dtypes: Vec<&str> = inspection.dtypes.iter().map(String::as_str).collect();
    let megabytes = inspection.bytes.div_ceil(1_000_000);
    let dtypes = dtypes.join(", ");
    let weights = format!("{megabytes} MB, {} parameters in {dtypes}", inspection.parameters);
    lines.push(("weights", weights));
    let (kind, size) = inspection.tokenizer;
    lines.push(("tokenizer", format!("{kind}, {size} tokens")));
    if !inspection.notes.is_empty() {
        lines.push(("note", inspection.notes.join("; ")));
    }
    Ok(inspection)
}

/// Describes a calibration in words.
fn describe(calibration: &Calibration) -> String {
    let Calibration { temperature, questions, .. } = calibration;
    if *questions == 0 {
        return "none; `polyqa train --dev` fits one".to_owned();
    }
    let thresholds =
        [false, true].map(|is_other_language| calibration.threshold(is_other_language));
    let thresholds = match thresholds {
        [None, None] => String::new(),
        [Some(same), Some(other)] if same == other => format!(" and null threshold {same:.2}"),
        [Some(same), Some(other)] => {
            format!(" and null thresholds {same:.2} and {other:.2} (texts in other languages)")
        }
        [Some(same), None] => {
            format!(" and null threshold {same:.2} (texts in the question's language only)")
        }
        [None, Some(other)] => {
            format!(" and null threshold {other:.2} (texts in other languages only)")
        }
    };
    format!("temperature {temperature:.2}{thresholds} on {questions} questions")
}

/// Checks that the model can be loaded as a reader, and adds its head and reader settings to
/// `lines`.
fn check_reader(folder: &Path, inspection: &Inspection, lines: &mut Properties) -> Result<()> {
    let head_check = inspection.check_trained(Head::Span);
    let head = if head_check.is_ok() { Head::Span.name() } else { "none" };
    lines.push(("QA head", head.to_owned()));
    head_check?;
    let calibration = Calibration::read(folder)?;
    let segments = if inspection.pair_segments.is_some() {
        "the context is in segment 1"
    } else if trained_with_segments(folder, &inspection.config)? {
        "the context is in segment 1 (reader of an earlier version of polyqa)"
    } else if inspection.config.type_vocab_size > 1 {
        "all tokens are in segment 0, because the tokenizer returns no token types"
    } else {
        "one"
    };
    lines.push(("segments", segments.to_owned()));
    let windows = default_windows(&inspection.config);
    let windows = format!("{} tokens, {} shared", windows.max_length, windows.doc_stride);
    lines.push(("windows", windows));
    lines.push(("calibrated", describe(&calibration)));
    Ok(())
}
