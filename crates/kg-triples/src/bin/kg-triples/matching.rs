use std::path::PathBuf;

use cli::{TextOutput, progress, spinner};
use kg_triples::matching::{
    Corpora, EmbedConfig, Rankings, TermConfig, TermKind, embed, rank_by_bm25, rank_by_cosine,
    read_documents, write_run,
};
use kg_triples::phrases::StopWords;
use kg_triples::switch::EntityLabels;
use kg_triples::{Error, Language};
use serde::Deserialize;

use crate::table::Table;
use crate::{CommandResult, parse_choice};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples match --first crates/testkit/fixtures/matching/facts.jsonl \\
    --second crates/testkit/fixtures/matching/claims.jsonl \\
    --stop-words en --out matches.run
  kg-triples match --first crates/testkit/fixtures/matching/countries.jsonl \\
    --second crates/testkit/fixtures/matching/german.jsonl \\
    --labels data/mini-kg/labels.tsv --languages en,de --out matches.run
With BM25, as a control:
  kg-triples match --first facts.jsonl --second claims.jsonl --method bm25 \\
    --terms 1 --out bm25.run

A line of --first and --second is a text, a record, or both:
  {\"id\": \"7\", \"text\": \"Lima is the capital of Peru.\"}
  {\"id\": \"8\", \"fields\": {\"country\": \"Peru\", \"capital\": \"Lima\"}}
Documents are connected by common terms. Terms are created by --first; documents of --second join
them. With --labels or --entities, labels of one entity are connected, so that texts in different
languages are. Random walks from all documents train a vector for each document. --out is a TREC
run, which `transfer-eval retrieval run` and trec_eval score.")]
pub struct Args {
    /// JSONL file of the documents to rank: id, text, fields
    #[arg(long, value_name = "FILE")]
    first: PathBuf,
    /// JSONL file of the documents for which the first ones are ranked
    #[arg(long, value_name = "FILE")]
    second: PathBuf,
    /// TSV file of entity labels in several languages: id, lang, label, kind
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Folder with entities.<lang>.jsonl[.gz], from which labels are read instead of --labels
    #[arg(long, value_name = "DIR", conflicts_with = "labels")]
    entities: Option<PathBuf>,
    /// Languages of the labels [default: all]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", value_parser = Language::plausible)]
    languages: Option<Vec<Language>>,
    /// Terms: sequences of up to N words, or index (words, their prefixes, and pairs of Han
    /// characters, as in the word index of polyqa)
    #[arg(long, value_name = "N|index", default_value = "3", value_parser = parse_terms)]
    terms: TermKind,
    /// Languages whose stop words are removed from sequences of words
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", value_parser = Language::plausible)]
    stop_words: Vec<Language>,
    /// Remove terms that do not connect the two corpora
    #[arg(long)]
    only_shared: bool,
    /// Ranking: walks (vectors of random walks) or bm25 (a control without training)
    #[arg(long, default_value = "walks", value_parser = parse_choice::<Method>)]
    method: Method,
    /// Number of random walks from each document
    #[arg(long, value_name = "N", default_value_t = EmbedConfig::default().walks)]
    walks: usize,
    /// Number of steps of a random walk
    #[arg(long, value_name = "N", default_value_t = EmbedConfig::default().walk_length)]
    walk_length: usize,
    /// Maximum distance of nodes in a walk that predict each other
    #[arg(long, value_name = "N", default_value_t = EmbedConfig::default().window)]
    window: usize,
    /// Number of dimensions of the vectors
    #[arg(long, value_name = "N", default_value_t = EmbedConfig::default().dimensions)]
    dimensions: usize,
    /// Initial learning rate, which decreases linearly to 0
    #[arg(long, value_name = "RATE", default_value_t = EmbedConfig::default().learning_rate)]
    learning_rate: f32,
    /// Random seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Maximum number of ranked documents for each document of --second
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Output file: a TREC run
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// How documents are ranked.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    Walks,
    Bm25,
}

fn parse_terms(text: &str) -> Result<TermKind, String> {
    match (text, text.parse()) {
        ("index", _) => Ok(TermKind::Index),
        (_, Ok(max)) if max > 0 => Ok(TermKind::WordNgrams { max }),
        _ => Err("expected a number of words from 1, or index".into()),
    }
}

pub fn run(args: Args) -> CommandResult {
    if args.limit == 0 {
        return Err(Error::Config { key: "limit", value: "0".into(), rule: "1 or more" });
    }
    let bar = spinner("reading");
    let first = read_documents(&args.first)?;
    let second = read_documents(&args.second)?;
    let languages = args.languages.as_deref();
    let labels = match (&args.labels, &args.entities) {
        (Some(file), _) => Some(EntityLabels::read(file, languages)?),
        (None, Some(folder)) => Some(EntityLabels::read_pages(folder, languages)?),
        (None, None) => None,
    };
    let stop_words = args.stop_words.iter().map(|language| StopWords::built_in(*language));
    let config = TermConfig { kind: args.terms, stop_words: stop_words.collect::<Result<_, _>>()? };
    bar.set_message("collecting terms");
    let corpora = Corpora::new(&first, &second, labels.as_ref(), &config)?;
    let mut table = Table::default();
    table.add_count("documents, first", first.len());
    table.add_count("documents, second", second.len());
    table.add_count("terms", corpora.term_count());
    table.add_count("pairs of labels", corpora.label_link_count());
    bar.finish_and_clear();
    let (rankings, tag) = match args.method {
        Method::Bm25 => (rank_by_bm25(&corpora, args.limit), "bm25"),
        Method::Walks => (rank_by_walks(&corpora, &args, &mut table)?, "walks"),
    };
    write_run(&args.out, &rankings, &first, &second, tag)?;
    let without = rankings.iter().filter(|ranking| ranking.is_empty()).count();
    table.add_count("documents without a ranking, second", without);
    table.print(TextOutput::next_to([&args.out]));
    Ok(())
}

fn rank_by_walks(corpora: &Corpora, args: &Args, table: &mut Table) -> Result<Rankings, Error> {
    let graph = corpora.graph(args.only_shared)?;
    table.add_count("terms in the graph", graph.terms().len());
    table.add_count("edges", graph.edge_count());
    let config = EmbedConfig {
        walks: args.walks,
        walk_length: args.walk_length,
        dimensions: args.dimensions,
        window: args.window,
        learning_rate: args.learning_rate,
        seed: args.seed,
        ..EmbedConfig::default()
    };
    let documents = graph.first().chain(graph.second());
    let starts = documents.filter(|node| !graph.neighbours(*node).is_empty()).count();
    let bar = progress(starts.saturating_mul(args.walks), "random walks");
    let embeddings = embed(&graph, &config, |walks| bar.set_position(walks as u64))?;
    bar.set_message("ranking");
    let rankings = rank_by_cosine(&graph, &embeddings, args.limit);
    bar.finish_and_clear();
    Ok(rankings)
}
