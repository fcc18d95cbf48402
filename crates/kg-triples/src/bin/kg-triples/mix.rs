use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cli::{TextOutput, spinner};
use kg_triples::jsonl::JsonlWriter;
use kg_triples::sequence::{
    ConcatSeparator, Directions, Masking, MixedTarget, TripleStyle, visit_sequences,
};
use kg_triples::{
    BuildReport, Control, Error, KnowledgeGraph, SequenceConfig, SequenceKind,
    check_unique_languages,
};

use crate::out::Out;
use crate::table::Table;
use crate::{CommandResult, load_tokenizer, parse_choice};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples mix --in data/demo/kg --tokenizer data/base --pairs en-de \\
    --out en-de.jsonl.gz
  kg-triples mix --in data/demo/kg --tokenizer data/base --kinds monolingual \\
    --out monolingual.jsonl
  kg-triples mix --in data/demo/kg --tokenizer data/base --kinds mixed \\
    --control label_pairs --out pairs
  kg-triples mix --in data/demo/kg --tokenizer data/base \\
    --mixed-target native_entity --mix-weights 1,1,1 --out mixed
With a sample of Wikidata and the tokenizer of XLM-R:
  kg-triples mix --in sampled --tokenizer xlm-roberta-base --pairs en-de \\
    --out en-de.jsonl.gz")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long = "in", value_name = "DIR")]
    input: PathBuf,
    /// Path of tokenizer.json, or of the model folder that contains it [default: tokenizer.json in
    /// the folder --in]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Language pairs [default: en with every other language of the folder]
    #[arg(long, value_delimiter = ',', value_name = "en-de,…", value_parser = parse_pair)]
    pairs: Option<Vec<(String, String)>>,
    /// Kinds of sequences
    #[arg(long, value_delimiter = ',', default_value = "monolingual,mixed,concatenated", value_parser = parse_choice::<SequenceKind>)]
    kinds: Vec<SequenceKind>,
    /// Number of masks per entity: gold_length (one per sub-token), single, or fixed:N
    #[arg(long, default_value = "gold_length", value_parser = parse_masking)]
    masking: Masking,
    /// Masked entity of mixed triples: foreign_entity (in another language than the relation),
    /// native_entity (in the language of the relation) or both
    #[arg(long, default_value = "foreign_entity", value_parser = parse_choice::<MixedTarget>)]
    mixed_target: MixedTarget,
    /// Separator between head, relation and tail: space or comma
    #[arg(long, default_value = "space", value_parser = parse_choice::<TripleStyle>)]
    triple_style: TripleStyle,
    /// Separator between concatenated triples: none (as between head, relation and tail) or
    /// sep_token
    #[arg(long, default_value = "none", value_parser = parse_choice::<ConcatSeparator>)]
    concat_separator: ConcatSeparator,
    /// Orders of the language pair i-j in mixed sequences: forward (only i-j) or both (i-j and j-i)
    #[arg(long, default_value = "both", value_parser = parse_choice::<Directions>)]
    mixed_directions: Directions,
    /// Orders of the language pair i-j in concatenated sequences: forward (only i-j) or both (i-j
    /// and j-i)
    #[arg(long, default_value = "forward", value_parser = parse_choice::<Directions>)]
    concatenated_orders: Directions,
    /// Proportions of monolingual, mixed and concatenated sequences, such as 1,1,1 [default: all
    /// sequences]
    #[arg(long, value_delimiter = ',', num_args = 1..=3, value_name = "W,W,W")]
    mix_weights: Option<Vec<f64>>,
    /// Maximum length of a sequence in tokens, including special tokens; longer sequences are
    /// dropped
    #[arg(long, default_value_t = SequenceConfig::default().max_length)]
    max_length: usize,
    /// Random seed for the order of sequences, --mix-weights and --control
    #[arg(long, default_value_t = SequenceConfig::default().seed)]
    seed: u64,
    /// File of entity ids, one per line; triples whose head is one of these entities are excluded
    #[arg(long, value_name = "FILE")]
    without_heads: Option<PathBuf>,
    /// Use control facts instead of the facts: label_pairs (facts that relate each entity to
    /// itself; use them with --kinds mixed) or false_facts (facts with a wrong tail, drawn from the
    /// tails of their relation)
    #[arg(long, value_parser = parse_choice::<Control>)]
    control: Option<Control>,
    /// Build the sequences of each language pair separately, and write one file per pair to --out
    #[arg(long)]
    by_pair: bool,
    /// JSONL file to write, compressed if it ends in .gz; or a prepared folder
    #[arg(long, value_name = "FILE.jsonl[.gz]|DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let weights = args.mix_weights.as_deref().map(|weights| {
        <[f64; 3]>::try_from(weights).map_err(|_| Error::Config {
            key: "mix_weights",
            value: format!("{weights:?}"),
            rule: "three numbers",
        })
    });
    let config = SequenceConfig {
        kinds: args.kinds,
        masking: args.masking,
        mixed_target: args.mixed_target,
        triple_style: args.triple_style,
        concat_separator: args.concat_separator,
        mixed_directions: args.mixed_directions,
        concatenated_orders: args.concatenated_orders,
        mix_weights: weights.transpose()?,
        max_length: args.max_length,
        seed: args.seed,
    };
    let out = Out::start(&args.out, args.by_pair.then_some("a folder for --by-pair"))?;
    let output = TextOutput::next_to([&args.out]);
    let tokenizer = args.tokenizer.unwrap_or_else(|| args.input.clone());
    check_unique_languages("pairs", args.pairs.iter().flatten().map(|(i, j)| format!("{i}-{j}")))?;
    let bar = spinner("reading");
    let mut graph = KnowledgeGraph::read_dir(&args.input)?;
    if let Some(path) = &args.without_heads {
        let excluded_heads = read_ids(path)?;
        graph = graph.filter(|triple| !excluded_heads.contains(triple.head));
    }
    if let Some(control) = args.control {
        graph = graph.control_graph(control, config.seed)?;
    }
    let tokenizer = load_tokenizer(&tokenizer)?;
    let pairs = match args.pairs {
        Some(pairs) => pairs,
        None => default_pairs(&graph),
    };
    let files: Vec<(String, &[(String, String)])> = match args.by_pair {
        true => pairs.iter().map(|pair| (file_name(pair), std::slice::from_ref(pair))).collect(),
        false => vec![("train/sequences.jsonl.gz".to_owned(), pairs.as_slice())],
    };
    let mut report = BuildReport::default();
    for (name, pairs) in files {
        bar.set_message("writing");
        let mut writer = JsonlWriter::create(out.file(&name)?)?;
        let file_report = visit_sequences(&graph, pairs, &config, &tokenizer, |sequence| {
            writer.write(&sequence)
        })?;
        let is_empty = file_report.sequence_count() == 0;
        report += file_report;
        if is_empty {
            return Err(no_sequences_error(&report));
        }
        writer.finish()?;
    }
    let counts = serde_json::json!({
        "sequences": report.kept,
        "tokens": report.tokens,
        "masked_tokens": report.masked_tokens,
        "dropped": report.dropped,
    });
    out.finish("kg-triples mix", Some(config.seed), counts)?;
    bar.finish_and_clear();

    let mut table = Table::default();
    table.add_count("triples", report.facts);
    table.add_count("language pairs", report.pairs);
    for (kind, count) in &report.kept {
        table.add_count(format!("{} sequences", kind.name()), *count);
    }
    table.add_count("sequences", report.sequence_count());
    table.add_count("tokens", report.tokens);
    table.add_count("masked tokens", report.masked_tokens);
    table.add_count("dropped: no label", report.dropped.missing_label);
    table.add_count("dropped: invalid label", report.dropped.unusable_label);
    table.add_count("dropped: entity too long", report.dropped.entity_too_long);
    table.add_count("dropped: sequence too long", report.dropped.sequence_too_long);
    table.add_count("dropped: mix weights", report.dropped.mix_weights);
    table.print(output);
    Ok(())
}

fn no_sequences_error(report: &BuildReport) -> Error {
    Error::Empty {
        what: format!("sequences of {} triples", report.facts),
        hint: format!(
            "dropped sequences: {} lack a label, {} have an invalid label, {} have an entity that \
             is too long, {} are too long",
            report.dropped.missing_label,
            report.dropped.unusable_label,
            report.dropped.entity_too_long,
            report.dropped.sequence_too_long
        ),
    }
}

/// Reads the ids of a file, one per line.
fn read_ids(path: &Path) -> Result<BTreeSet<String>, Error> {
    let text = atomic_file::read_to_string(path)?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn file_name((i, j): &(String, String)) -> String {
    format!("train/{i}-{j}.jsonl.gz")
}

/// Returns a pair for each language other than English: English and this language.
fn default_pairs(graph: &KnowledgeGraph) -> Vec<(String, String)> {
    let other_languages = graph.languages().iter().filter(|language| **language != "en");
    other_languages.map(|language| ("en".to_owned(), language.as_str().to_owned())).collect()
}

/// Parses a pair such as `en-de`. If a code contains a hyphen, the separator must be a colon, as in
/// `en:zh-hant`.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(':').or_else(|| text.split_once('-'));
    match parts {
        Some((i, j)) if !i.is_empty() && !j.is_empty() => Ok((i.into(), j.into())),
        _ => Err("expected two languages, such as en-de (or en:zh-hant)".into()),
    }
}

fn parse_masking(text: &str) -> Result<Masking, String> {
    match text.split_once(':') {
        Some(("fixed" | "fixed_length", masks)) => {
            let masks = masks.parse().map_err(|_| format!("invalid number of masks {masks:?}"))?;
            Ok(Masking::FixedLength { masks })
        }
        _ => parse_choice(text).map_err(|_| "expected gold_length, single or fixed:N".into()),
    }
}
