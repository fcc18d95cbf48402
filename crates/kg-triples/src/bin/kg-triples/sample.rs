use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::names::NamesReport;
use kg_triples::{
    Coverage, KnowledgeGraph, LabelSource, LabelSourcesByLanguage, SampleConfig, sample,
    sample_folder,
};

use crate::table::{Table, blank_line};
use crate::{CommandResult, parse_choice};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples sample --kg data/demo/kg --languages en,de --count 100 \\
    --out sampled
  kg-triples names --candidates crates/testkit/fixtures/names.jsonl \\
    --out names.jsonl
  kg-triples sample --kg crates/testkit/fixtures/countries --count 4 \\
    --languages en,de,zh --names names.jsonl --out named
With an extract of Wikidata:
  kg-triples sample --kg kg --languages en,de,es,ar,hi,vi,zh --count 20000 \\
    --seed 1 --out sampled
With labels of the languages themselves only:
  kg-triples sample --kg kg --languages en,de,zh --label-sources language \\
    --out sampled")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv; redirects are resolved if redirects.tsv exists
    #[arg(long, value_name = "DIR")]
    kg: PathBuf,
    /// Languages in which head, relation and tail must have labels (see --coverage)
    #[arg(long, value_delimiter = ',', required = true, value_name = "LANG,…")]
    languages: Vec<String>,
    /// Required labels: all (in all languages) or pairs (there are two languages such that the head
    /// has a label in one, the tail in the other, and the relation in both)
    #[arg(long, default_value = "all", value_name = "all|pairs", value_parser = parse_choice::<Coverage>)]
    coverage: Coverage,
    /// Labels that are used, by the column source of labels.tsv: of the language itself, of a
    /// variant, of a fallback language, or of mul. Other labels count as missing [default: all]
    #[arg(long, value_delimiter = ',', value_parser = parse_choice::<LabelSource>,
        value_name = "language,variant,fallback,mul")]
    label_sources: Vec<LabelSource>,
    /// JSONL file that `kg-triples names` wrote. The best name of an entity replaces its label or
    /// is added as a missing label. With this option, the whole folder --kg is read into memory
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Number of facts to sample
    #[arg(long, default_value_t = SampleConfig::default().count)]
    count: usize,
    /// Random seed of the sample
    #[arg(long, default_value_t = SampleConfig::default().seed)]
    seed: u64,
    /// Output folder for triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let bar = spinner("sampling");
    let config = SampleConfig {
        languages: args.languages,
        coverage: args.coverage,
        label_sources: match args.label_sources.is_empty() {
            true => LabelSource::ALL.to_vec(),
            false => args.label_sources,
        },
        count: args.count,
        seed: args.seed,
    };
    let mut names_report = NamesReport::default();
    let (sampled, report) = match &args.names {
        None => sample_folder(&args.kg, &config)?,
        Some(names) => {
            let graph = KnowledgeGraph::read_dir(&args.kg)?;
            let graph = graph.with_redirects(&args.kg.join("redirects.tsv"))?;
            let (graph, report) = graph.with_names(names)?;
            names_report = report;
            sample(&graph, &config)?
        }
    };
    bar.set_message("writing");
    sampled.write_dir(&args.out)?;
    bar.finish_and_clear();

    let mut table = Table::default();
    if args.names.is_some() {
        table.add_count("labels replaced by a name", names_report.replaced);
        table.add_count("missing labels added", names_report.added);
    }
    table.add_count("triples read", report.read);
    table.add_count("duplicates", report.repeated);
    table.add_count("of an entity with itself", report.self_loops);
    table.add_count("without a label of the head", report.without_head_label);
    table.add_count("without a label of the tail", report.without_tail_label);
    table.add_count("without a label of the relation", report.without_relation_label);
    table.add_count("available", report.available);
    table.add_count("requested", report.requested);
    table.add_count("sampled", report.sampled);
    table.print(TextOutput::Stdout);
    if sampled.has_label_sources() {
        blank_line(TextOutput::Stdout);
        print_label_sources(&sampled.label_sources());
    }
    if report.sampled < report.requested {
        eprintln!(
            "note: {} facts were requested, {} are available; all of them were sampled",
            report.requested, report.available
        );
    }
    Ok(())
}

/// Prints the number of labels of the sampled facts by language and source.
fn print_label_sources(counts: &LabelSourcesByLanguage) {
    let mut table = Table::default();
    table.add_row(["labels", "language", "variant", "fallback", "mul"]);
    for (language, counts) in counts {
        table.add_row([
            language.to_string(),
            counts.language.to_string(),
            counts.variant.to_string(),
            counts.fallback.to_string(),
            counts.mul.to_string(),
        ]);
    }
    table.print(TextOutput::Stdout);
}
