//! `xlmr-model trim`: writes a model folder with a smaller vocabulary.
use std::path::{Path, PathBuf};

use atomic_file::{Lines, one_line};
use serde_json::Value;
use xlmr_model::{Error, Result, VocabularyTrim};

/// Arguments of `trim`.
#[derive(clap::Args)]
#[command(after_help = "\
Texts are all strings of .json and .jsonl files, and the lines of other files, where a tab also
separates texts. Every file may be compressed (.gz). The trimmed vocabulary contains the tokens of
the texts, the entries of --keep, special tokens, single characters and bytes. The program checks
that trimming does not change the tokens of the texts.

Examples:
  xlmr-model trim --model models/xlm-roberta-base --out models/xlm-roberta-en-de \\
      --texts en.txt de.txt.gz train.json
  xlmr-model trim --model models/xlm-roberta-base --keep pieces.txt --out models/xlm-roberta-kept")]
pub struct Args {
    /// Model folder: config.json, model.safetensors and tokenizer.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Texts whose tokens stay in the vocabulary
    #[arg(long, value_name = "FILE", required_unless_present = "keep", num_args = 1..)]
    texts: Vec<PathBuf>,
    /// File of vocabulary entries to keep, one per line
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Folder for the trimmed model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the output folder if it exists
    #[arg(long)]
    force: bool,
}

/// Number of texts that are tokenised together.
const BATCH_SIZE: usize = 4096;

/// Trims the vocabulary and prints sizes.
pub fn trim(args: &Args) -> Result<()> {
    let mut trim = VocabularyTrim::open(&args.model)?;
    let mut n_texts = 0;
    for_each_batch(&args.texts, "reading texts", &mut |batch| {
        n_texts += batch.len();
        trim.add_texts(batch)
    })?;
    if let (Some(path), 0) = (args.texts.first(), n_texts) {
        return Err(invalid_data(path, "--texts: expected at least one text, found none".into()));
    }
    if let Some(path) = &args.keep {
        for_each_line(path, &mut |number, line| match trim.add_token(line) {
            true => Ok(()),
            false => {
                let token = one_line(line);
                let reason = format!("line {number}: the vocabulary has no entry {token:?}");
                Err(invalid_data(path, reason))
            }
        })?;
    }
    let trimmed = trim.finish()?;
    for_each_batch(&args.texts, "checking texts", &mut |batch| trimmed.check_texts(batch))?;
    let report = trimmed.write(&args.out, args.force)?;
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    println!("texts             {n_texts}");
    println!("token embeddings  {} -> {} rows", report.rows_before, report.rows);
    println!("weights           {} -> {}", megabytes(report.bytes_before), megabytes(report.bytes));
    Ok(())
}

type BatchFn<'a> = &'a mut dyn FnMut(Vec<String>) -> Result<()>;

/// Calls `visit` with batches of the texts of all files.
fn for_each_batch(files: &[PathBuf], label: &'static str, visit: BatchFn) -> Result<()> {
    let progress = cli::progress(files.len(), label);
    let mut batch = Vec::new();
    for path in files {
        for_each_text(path, &mut |text| {
            batch.push(text);
            match batch.len() {
                BATCH_SIZE => visit(std::mem::take(&mut batch)),
                _ => Ok(()),
            }
        })?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    visit(batch)
}

/// Calls `visit` with each text of a file.
fn for_each_text(path: &Path, visit: &mut dyn FnMut(String) -> Result<()>) -> Result<()> {
    let name = path.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let json_error = |source| Error::Json { path: path.to_owned(), source };
    if name.ends_with(".json") {
        let bytes = atomic_file::read(path)?;
        return for_each_string(serde_json::from_slice(&bytes).map_err(json_error)?, visit);
    }
    let is_json_lines = name.ends_with(".jsonl");
    for_each_line(path, &mut |_, line| match is_json_lines {
        true => for_each_string(serde_json::from_str(line).map_err(json_error)?, visit),
        false => line.split('\t').try_for_each(|text| visit(text.to_owned())),
    })
}

/// Calls `visit` with each non-blank line of a file and its number.
fn for_each_line(path: &Path, visit: &mut dyn FnMut(u64, &str) -> Result<()>) -> Result<()> {
    let mut lines = Lines::open(path)?;
    while lines.advance()? {
        let line = std::str::from_utf8(lines.bytes()).map_err(|error| {
            invalid_data(path, format!("line {}: not UTF-8: {error}", lines.number()))
        })?;
        if !line.trim().is_empty() {
            visit(lines.number(), line)?;
        }
    }
    Ok(())
}

/// Calls `visit` with each string in a JSON value.
fn for_each_string(value: Value, visit: &mut dyn FnMut(String) -> Result<()>) -> Result<()> {
    match value {
        Value::String(text) => visit(text),
        Value::Array(values) => {
            values.into_iter().try_for_each(|value| for_each_string(value, visit))
        }
        Value::Object(values) => {
            values.into_iter().try_for_each(|(_, value)| for_each_string(value, visit))
        }
        _ => Ok(()),
    }
}

fn io_error(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), hint: "", source }
}

fn invalid_data(path: &Path, reason: String) -> Error {
    io_error(path, std::io::Error::new(std::io::ErrorKind::InvalidData, reason))
}
