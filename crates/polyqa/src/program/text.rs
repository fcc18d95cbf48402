//! `polyqa text`.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cli::TextOutput;
use serde_json::json;

use crate::Documents;

/// Print the text of documents as `polyqa answer` and `polyqa index` read it
///
/// Positions of answers refer to this text. In the text of a PDF file, each page ends with a form
/// feed (U+000C), and a blank line separates paragraphs.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Documents: PDF, HTML, Markdown, text or .jsonl files; - reads one document from standard
    /// input
    #[arg(value_name = "DOCUMENT", required = true)]
    documents: Vec<PathBuf>,
    /// Print one JSON line per document, {"id": "…", "text": "…"}, as `--documents` reads them
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  polyqa text manual.pdf
  polyqa text --json pages/*.html > docs.jsonl";

pub fn run(args: &Args) -> Result<()> {
    let is_standard_input = |path: &&PathBuf| path.as_path() == Path::new("-");
    let count = args.documents.iter().filter(is_standard_input).count();
    ensure!(count < 2, "- (standard input) may be used only once");
    let documents = Documents::from_files(args.documents.iter().cloned())?;
    for document in documents.iter() {
        let document = document?;
        let text = match args.json {
            true => json!({"id": &*document.id, "text": &*document.text}).to_string() + "\n",
            false if document.text.ends_with(['\n', documents::PAGE_BREAK]) => {
                document.text.to_string()
            }
            false => format!("{}\n", document.text),
        };
        TextOutput::Stdout.print(&text).context("cannot write to standard output")?;
    }
    Ok(())
}
