use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cli::{TextOutput, spinner};
use kg_triples::dump::{ExtractReport, NameCounts};
use kg_triples::{Error, KnowledgeGraph, Language};

use crate::CommandResult;
use crate::table::{Table, blank_line};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  kg-triples stats --in data/demo/kg")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long = "in", value_name = "DIR")]
    input: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let bar = spinner("reading");
    let graph = KnowledgeGraph::read_dir(&args.input)?;
    let extract_counts = match graph.has_label_sources() {
        true => read_extract_counts(&args.input)?,
        false => BTreeMap::new(),
    };
    bar.finish_and_clear();

    let mut table = Table::default();
    table.add_count("triples", graph.len());
    table.add_count("repeated triples", graph.repeated_triples());
    table.add_count("entities", graph.entities().count());
    table.add_count("relations", graph.relations().count());
    table.add_count("languages", graph.languages().len());
    table.print(TextOutput::Stdout);
    blank_line(TextOutput::Stdout);

    let mut table = Table::default();
    table.add_row(["language", "entities", "relations", "labelled triples"]);
    for language in graph.languages() {
        let is_labelled = |id: &str| graph.label(id, language.as_str()).is_some();
        let labelled_triples = graph.triples().filter(|triple| {
            is_labelled(triple.head) && is_labelled(triple.relation) && is_labelled(triple.tail)
        });
        table.add_row([
            language.to_string(),
            graph.entities().filter(|id| is_labelled(id)).count().to_string(),
            graph.relations().filter(|id| is_labelled(id)).count().to_string(),
            labelled_triples.count().to_string(),
        ]);
    }
    table.print(TextOutput::Stdout);
    blank_line(TextOutput::Stdout);

    if graph.has_label_sources() {
        print_label_sources(&graph, &extract_counts);
        blank_line(TextOutput::Stdout);
    }

    let mut by_relation: BTreeMap<&str, usize> = BTreeMap::new();
    for triple in graph.triples() {
        *by_relation.entry(triple.relation).or_default() += 1;
    }
    let mut table = Table::default();
    table.add_row(["relation", "triples", "label"]);
    for (relation, count) in by_relation {
        let label = graph.label(relation, "en").unwrap_or("");
        table.add_row([relation, &count.to_string(), label]);
    }
    table.print(TextOutput::Stdout);
    Ok(())
}

/// Reads the counts of labels from `extract.json`, if the folder is an extract.
fn read_extract_counts(folder: &Path) -> Result<BTreeMap<Language, NameCounts>, Error> {
    let path = folder.join("extract.json");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let report: ExtractReport = atomic_file::json::from_slice(&path, &atomic_file::read(&path)?)?;
    Ok(report.label_sources)
}

/// Prints the number of labels by language and source.
fn print_label_sources(graph: &KnowledgeGraph, extract_counts: &BTreeMap<Language, NameCounts>) {
    let mut table = Table::default();
    let mut header = vec!["labels", "language", "variant", "fallback", "mul"];
    if !extract_counts.is_empty() {
        header.push("unused mul");
    }
    table.add_row(header);
    for (language, counts) in graph.label_sources() {
        let mut row = vec![language.to_string()];
        let sources = [counts.language, counts.variant, counts.fallback, counts.mul];
        row.extend(sources.iter().map(u64::to_string));
        if !extract_counts.is_empty() {
            let counts = extract_counts.get(&language).copied();
            row.push(counts.map_or("-".to_owned(), |counts| counts.unused_mul.to_string()));
        }
        table.add_row(row);
    }
    table.print(TextOutput::Stdout);
}
