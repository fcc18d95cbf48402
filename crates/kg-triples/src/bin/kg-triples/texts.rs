use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::{Error, KnowledgeGraph, Language};
use shards::{Preparation, PreparedFolder};

use crate::CommandResult;
use crate::table::Table;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples texts --in data/demo/kg --out texts
  kg-triples texts --in data/demo/kg --languages de,zh --out texts

Writes texts/train/triples.de.txt and so on. `mlqa-eval coverage` compares them with questions.")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long = "in", value_name = "DIR")]
    input: PathBuf,
    /// Languages [default: all languages of the folder]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", value_parser = Language::plausible)]
    languages: Vec<Language>,
    /// Prepared folder to write; its files train/triples.<language>.txt contain one triple per line
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let out = PreparedFolder::start(&args.out)?;
    let bar = spinner("reading");
    let graph = KnowledgeGraph::read_dir(&args.input)?;
    let languages =
        if args.languages.is_empty() { graph.languages() } else { args.languages.as_slice() };
    if languages.is_empty() {
        let hint = format!("{} has no label", args.input.display());
        return Err(Error::Empty { what: "languages".into(), hint });
    }
    bar.set_message("writing");
    let mut table = Table::default();
    table.add_row(["language", "triples", "without a label"]);
    let line_counts = graph.write_texts(languages, &out.file("train")?)?;
    let mut counts = serde_json::Map::new();
    for (language, lines) in languages.iter().zip(line_counts) {
        let skipped = graph.len() - lines;
        table.add_row([language.to_string(), lines.to_string(), skipped.to_string()]);
        counts.insert(language.to_string(), lines.into());
    }
    let counts = counts.into();
    out.finish(Preparation {
        program: "kg-triples texts",
        arguments: cli::arguments(),
        inputs: cli::inputs(),
        seed: None,
        counts,
    })?;
    bar.finish_and_clear();
    table.print(TextOutput::Stdout);
    Ok(())
}
