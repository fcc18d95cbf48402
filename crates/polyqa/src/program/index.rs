//! `polyqa index`.
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use collection::{Collection, Snapshot, Writer};
use experiment::{RunConfig, Runtime};
use torch_ext::{DeviceChoice, Precision, resolve_device};

use crate::document::{has_rows, is_pipe, read_document, read_rows};
use crate::embedding::embed_passages;
use crate::program::model::resolve;
use crate::{Document, Retriever, passage_ranges, select_precision};

/// Create or change a collection: documents that are read once and searched many times
///
/// A collection is a folder with documents, their passages, a word index and, with --retriever,
/// embeddings. `polyqa answer --collection` and `polyqa serve --collection` search it. Each run is
/// one change: if it is interrupted, the collection remains as it was before. Only embeddings are
/// stored step by step, and computing them continues with the next run.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the collection
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Documents: PDF, HTML, Markdown or text files, whose ids are their paths, or .jsonl files; -
    /// reads one document from standard input
    #[arg(value_name = "DOCUMENT")]
    texts: Vec<PathBuf>,
    /// File with documents, one {"id": "…", "text": "…"} per line
    #[arg(long, value_name = "FILE")]
    documents: Vec<PathBuf>,
    /// Add the documents to an existing collection; a document with the id of an existing one
    /// replaces it
    #[arg(long)]
    add: bool,
    /// Remove the document with this id; may be repeated
    #[arg(long, value_name = "ID")]
    remove: Vec<String>,
    /// Sentence encoder, such as intfloat/multilingual-e5-small, that embeds passages, so that they
    /// are found across languages
    #[arg(long, value_name = "DIR|NAME")]
    retriever: Option<String>,
    /// Prefix of passages for the retriever [default: from its files; "passage: " for E5]
    #[arg(long, value_name = "TEXT", requires = "retriever")]
    passage_prefix: Option<String>,
    /// Prefix of questions for the retriever [default: from its files; "query: " for E5]
    #[arg(long, value_name = "TEXT", requires = "retriever")]
    query_prefix: Option<String>,
    /// Compute precision of the retriever: f32, bf16, int8 (CPU only), f16 (GPU only) or auto. It
    /// must be the precision of `polyqa answer` [default: POLYQA_PRECISION, or auto]
    #[arg(long, value_name = "TYPE", requires = "retriever")]
    precision: Option<String>,
    /// Device of the retriever: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", requires = "retriever")]
    device: String,
}

const EXAMPLES: &str = "\
Examples:
  polyqa index --documents docs.jsonl --out library
  polyqa index manuals/*.pdf --out library
  polyqa index --documents docs.jsonl --retriever intfloat/multilingual-e5-small --out library
  polyqa index --add --documents new.jsonl --remove old-1 --remove old-2 --out library
  polyqa answer --model runs/mine/model --collection library -q 'Wo liegt Lima?'

Every row of a .jsonl file needs an id, and an id occurs once. A collection with embeddings is changed
with the same --retriever. --retriever without documents embeds the passages without embeddings.";

pub fn run(args: &Args) -> Result<()> {
    let has_documents = !args.texts.is_empty() || !args.documents.is_empty();
    let has_changes = has_documents || !args.remove.is_empty();
    ensure!(has_documents || !args.add, "--add needs documents: pass files or --documents FILE");
    ensure!(
        has_changes || args.retriever.is_some(),
        "nothing to do: pass documents, --documents FILE, --remove ID or --retriever MODEL"
    );
    let is_new = has_documents && !args.add;
    ensure!(
        !is_new || args.remove.is_empty(),
        "pass --add to add or replace documents of an existing collection"
    );
    // Missing files are reported before a model is loaded.
    let inputs = args.texts.iter().chain(&args.documents);
    let is_standard_input = |path: &&PathBuf| path.as_path() == Path::new("-");
    let (standard_input, files): (Vec<_>, Vec<_>) = inputs.partition(is_standard_input);
    ensure!(standard_input.len() < 2, "- (standard input) may be used only once");
    for path in files {
        is_pipe(path)?;
    }
    let existed = args.out.exists();
    let result = index(args, is_new);
    // A new folder whose documents are invalid is not left behind.
    if result.is_err() && !existed && is_empty(&args.out) {
        std::fs::remove_dir_all(&args.out)?;
    }
    result
}

/// Returns whether a folder is a collection without documents.
fn is_empty(folder: &Path) -> bool {
    let snapshot = Collection::open(folder).and_then(|collection| collection.snapshot());
    snapshot.is_ok_and(|snapshot| snapshot.document_count() == 0)
}

fn index(args: &Args, is_new: bool) -> Result<()> {
    let has_documents = !args.texts.is_empty() || !args.documents.is_empty();
    let retriever = load_retriever(args)?;
    let mut writer = open(&args.out, is_new)?;
    match (&retriever, writer.snapshot().encoder()) {
        (Some(retriever), _) => writer.set_encoder(retriever.encoder()?)?,
        (None, Some(_)) if has_documents => bail!(
            "{}: the collection has embeddings; pass the --retriever that computed them, so that new passages \
             are embedded",
            args.out.display()
        ),
        (None, _) => {}
    }
    if has_documents || !args.remove.is_empty() {
        change(args, &mut writer)?;
    }
    let result = match &retriever {
        Some(retriever) => embed(&mut writer, retriever),
        None => Ok(()),
    };
    let counts = describe(writer.snapshot())?;
    writer.finish()?;
    result?;
    cli::print_stderr(&format!("{}: {counts}", args.out.display()));
    Ok(())
}

/// Opens the collection for writing. With `is_new`, it must not have documents.
fn open(folder: &Path, is_new: bool) -> Result<Writer> {
    if !is_new || folder.join("collection.json").exists() {
        let writer = Writer::open(folder)?;
        // A run that was interrupted before its commit leaves an empty collection.
        ensure!(
            !is_new || writer.snapshot().document_count() == 0,
            "{}: the collection exists and has {} documents; pass --add to add or replace documents, or \
             choose another folder",
            folder.display(),
            writer.snapshot().document_count()
        );
        return Ok(writer);
    }
    Ok(Writer::create(folder)?)
}

fn load_retriever(args: &Args) -> Result<Option<Retriever>> {
    let Some(model) = &args.retriever else { return Ok(None) };
    let device = resolve_device(args.device.parse::<DeviceChoice>()?)?;
    let precision = select_precision(args.precision.as_deref(), device)?;
    let float32_matmul = if precision == Precision::F32 { "auto" } else { "highest" }.into();
    let run = RunConfig { float32_matmul, ..RunConfig::default() };
    Runtime::set_up(&RunConfig { device: args.device.clone(), ..run })?;
    let retriever = Retriever::load_resolved(&resolve(model)?, device, precision)?;
    Ok(Some(retriever.with_prefixes(args.query_prefix.clone(), args.passage_prefix.clone())))
}

/// Adds and removes documents as one change. Each input is read once.
fn change(args: &Args, writer: &mut Writer) -> Result<()> {
    for id in &args.remove {
        writer.remove(id)?;
    }
    let bar = cli::spinner("documents");
    let mut count = 0u64;
    let mut add = |document: Document| -> Result<()> {
        let passages = passage_ranges(&document.text);
        let document = collection::Document { id: document.id, text: document.text, passages };
        match args.add {
            true => writer.update(&document)?,
            false => writer.add(&document)?,
        }
        count += 1;
        if count.is_multiple_of(1000) {
            bar.set_message(format!("{count} documents"));
        }
        Ok(())
    };
    for path in &args.texts {
        match has_rows(path) {
            true => read_rows(path, true).try_for_each(|row| add(row?))?,
            false => add(read_document(path)?)?,
        }
    }
    for path in &args.documents {
        read_rows(path, true).try_for_each(|row| add(row?))?;
    }
    bar.set_message("writing");
    writer.commit()?;
    bar.finish_and_clear();
    Ok(())
}

fn embed(writer: &mut Writer, retriever: &Retriever) -> Result<()> {
    let passages = writer.snapshot().passages_without_vectors()?;
    let bar = cli::progress(passages.len(), "embedded passages");
    let embed = |texts: &[&str]| retriever.embed_passages(texts);
    embed_passages(writer, &embed, &mut |count| bar.set_position(count as u64))?;
    bar.finish_and_clear();
    Ok(())
}

fn describe(snapshot: &Snapshot) -> Result<String> {
    let (documents, passages) = (snapshot.document_count(), snapshot.passage_count());
    let counts = format!("{documents} documents, {passages} passages");
    Ok(match snapshot.encoder() {
        Some(_) => format!("{counts}, {} embeddings", snapshot.vector_count()?),
        None => counts,
    })
}

/// Prints a warning if passages have no embeddings yet, because `polyqa index` was interrupted.
pub fn warn_of_missing_embeddings(collection: &Collection, snapshot: &Snapshot) -> Result<()> {
    let numbers = snapshot.passages_without_vectors()?;
    for &number in &numbers {
        let passage = snapshot.passage(number)?;
        // Blank passages have no embeddings.
        if passage.is_some_and(|passage| !passage.text.trim().is_empty()) {
            cli::print_stderr(&format!(
                "warning: {} of {} passages of {} have no embeddings and are found by their words only; run \
                 `polyqa index --retriever` again",
                numbers.len(),
                snapshot.passage_count(),
                collection.folder().display()
            ));
            break;
        }
    }
    Ok(())
}
