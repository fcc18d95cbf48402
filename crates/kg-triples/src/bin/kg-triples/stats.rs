use std::collections::BTreeMap;
use std::path::PathBuf;

use kg_triples::KnowledgeGraph;

use crate::table::{Table, blank_line};
use crate::{CommandResult, spinner};

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
    bar.finish_and_clear();

    let mut table = Table::default();
    table.add_count("triples", graph.len());
    table.add_count("repeated triples", graph.repeated_triples());
    table.add_count("entities", graph.entities().count());
    table.add_count("relations", graph.relations().count());
    table.add_count("languages", graph.languages().len());
    table.print();
    blank_line();

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
    table.print();
    blank_line();

    let mut by_relation: BTreeMap<&str, usize> = BTreeMap::new();
    for triple in graph.triples() {
        *by_relation.entry(triple.relation).or_default() += 1;
    }
    let mut table = Table::default();
    table.add_row(["relation", "triples", "label"]);
    for (relation, count) in by_relation {
        let label = graph.label(relation, "en").unwrap_or_default();
        table.add_row([relation, &count.to_string(), label]);
    }
    table.print();
    Ok(())
}
