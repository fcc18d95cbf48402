use std::path::PathBuf;

use kg_triples::{KnowledgeGraph, MissingRelation, SampleConfig, sample};

use crate::table::Table;
use crate::{Done, choice, spinner};

#[derive(clap::Args)]
#[command(after_help = "Example:
  kg-triples sample --kg wikidata --languages en,de,es,ar,hi,vi,zh --count 20000 --seed 1 --out sampled")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    kg: PathBuf,
    /// Head, relation and tail need labels in all of these
    #[arg(long, value_delimiter = ',', required = true, value_name = "LANG,…")]
    languages: Vec<String>,
    /// Facts to take
    #[arg(long, default_value_t = SampleConfig::default().count)]
    count: usize,
    /// Seed of the sample
    #[arg(long, default_value_t = SampleConfig::default().seed)]
    seed: u64,
    /// Relations without a label in a language: drop their triples, or use the English label
    #[arg(long, default_value = "drop", value_name = "drop|english", value_parser = choice::<MissingRelation>)]
    missing_relation: MissingRelation,
    /// Fewer facts than --count are an error
    #[arg(long)]
    strict: bool,
    /// Folder for the sampled triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> Done {
    let bar = spinner("reading");
    let graph = KnowledgeGraph::read_dir(&args.kg)?;
    bar.set_message("sampling");
    let config = SampleConfig {
        languages: args.languages,
        count: args.count,
        seed: args.seed,
        missing_relation: args.missing_relation,
        strict: args.strict,
    };
    let (sampled, report) = sample(&graph, &config)?;
    bar.set_message("writing");
    sampled.write_dir(&args.out)?;
    bar.finish_and_clear();

    let mut table = Table::default();
    table.count("triples read", report.read);
    table.count("without a label of the head", report.without_head_label);
    table.count("without a label of the tail", report.without_tail_label);
    table.count("without a label of the relation", report.without_relation_label);
    table.count("available", report.available);
    table.count("asked for", report.requested);
    table.count("sampled", report.kept);
    table.count("relation labels taken from English", report.english_relation_labels);
    table.print();
    if report.kept < report.requested {
        eprintln!(
            "note: {} facts were asked for and only {} are available; all were taken",
            report.requested, report.available
        );
    }
    Ok(())
}
