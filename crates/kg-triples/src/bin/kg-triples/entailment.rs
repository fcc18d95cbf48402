use std::collections::BTreeMap;
use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::entity_linking::{LinkedText, PageText};
use kg_triples::jsonl::{JsonlReader, JsonlWriter};
use kg_triples::knowledge::{
    Candidate, Descriptions, EntailmentConfig, EntailmentExample, EntailmentExamples,
    EntailmentReport,
};
use kg_triples::{Error, KnowledgeGraph, Language, check_unique_languages};
use serde_json::json;

use crate::out::{Out, Probe, QUERY_FOLDER_RULE};
use crate::table::Table;
use crate::{CommandResult, check_positive, load_tokenizer, parse_choice};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples entailment --kg data/mini-kg --synthetic --tokenizer data/base \\
    --out entailment.jsonl.gz
  kg-triples entailment --kg data/mini-kg --synthetic --tokenizer data/base \\
    --description-tokens 24 --hold-out 0.2 --count 1000 --out triples
With an extract of Wikidata and pages of entities:
  kg-triples entailment --kg wikidata --entities codex \\
    --tokenizer xlm-roberta-base --hold-out 0.001 --out triples
  kg-triples entailment --kg wikidata --texts pages.jsonl.gz \\
    --tokenizer xlm-roberta-base --count 1000000 --out triples

A folder contains train/ and, with --hold-out, probe/: queries (held-out triples whose subject and
relation have one object) and candidates (objects).")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    kg: PathBuf,
    /// Folder with entities.<lang>.jsonl[.gz], whose lines have id, label, description, extract
    #[arg(long, value_name = "DIR", required_unless_present_any = ["texts", "synthetic"])]
    entities: Option<PathBuf>,
    /// JSONL files whose lines have id, lang, entity and a text that describes the entity
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    texts: Vec<PathBuf>,
    /// Generate the description of an entity from its label and training triples (for small data
    /// sets)
    #[arg(long, conflicts_with_all = ["entities", "texts"])]
    synthetic: bool,
    /// Languages of the descriptions [default: all]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", value_parser = Language::plausible)]
    languages: Option<Vec<Language>>,
    /// Path of tokenizer.json, or of the model folder that contains it
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Maximum length of a description in tokens, including special tokens
    #[arg(long, default_value_t = 256)]
    description_tokens: usize,
    /// Text of --entities used as description: extract, description or either
    #[arg(long, default_value = "extract", value_parser = parse_choice::<PageText>)]
    page_text: PageText,
    /// Use one language instead of two for the two descriptions of an example (an ablation)
    #[arg(long)]
    monolingual: bool,
    /// Number of examples, sampled with replacement [default: one example per triple]
    #[arg(long)]
    count: Option<u64>,
    /// Exponent of the sampling with --count: a subject language with n triples is sampled in
    /// proportion to n^EXPONENT
    #[arg(long, default_value_t = EntailmentConfig::default().smoothing)]
    smoothing: f64,
    /// Fraction of the triples held out for the probe
    #[arg(long, default_value_t = 0.0, value_name = "FRACTION")]
    hold_out: f64,
    /// Number of candidate objects, including the objects of the queries
    #[arg(long, default_value_t = 32_768, requires = "hold_out")]
    candidates: usize,
    /// Random seed
    #[arg(long, default_value_t = EntailmentConfig::default().seed)]
    seed: u64,
    /// Prepared folder to write, or FILE.jsonl[.gz] to write only the training examples
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    check_unique_languages("languages", args.languages.iter().flatten())?;
    check_positive(args.count)?;
    let config = EntailmentConfig {
        // An empty list means all languages.
        languages: args.languages.as_ref().map_or_else(Vec::new, Clone::clone),
        multilingual: !args.monolingual,
        smoothing: args.smoothing,
        description_tokens: args.description_tokens,
        hold_out: args.hold_out,
        seed: args.seed,
    };
    config.validate()?;
    let bar = spinner("reading");
    let tokenizer = load_tokenizer(&args.tokenizer)?;
    let out = Out::start(&args.out, (args.hold_out > 0.0).then_some(QUERY_FOLDER_RULE))?;
    let output = TextOutput::next_to([&args.out]);
    let graph = KnowledgeGraph::read_dir(&args.kg)?;
    let mut table = Table::default();
    let data = if args.synthetic {
        EntailmentExamples::with_triples(graph, &tokenizer, &config)?
    } else {
        let descriptions = read_descriptions(&args)?;
        bar.set_message("encoding descriptions");
        let texts = descriptions.encode(&tokenizer, args.description_tokens)?;
        table.add_count("entities described", texts.entity_count());
        EntailmentExamples::with_texts(graph, texts, &config)?
    };
    let report = data.report();
    bar.set_message("writing");
    let mut writer = JsonlWriter::create(out.file("train/triples.jsonl.gz")?)?;
    let by_language = match args.count.filter(|_| report.train > 0) {
        Some(count) => {
            write_examples(&mut writer, (0..count).map(|index| data.draw(args.seed, index)))?
        }
        None => write_examples(&mut writer, data.iter(args.seed))?,
    };
    let written: usize = by_language.values().sum();
    if written == 0 {
        return Err(no_data_error("examples", &report));
    }
    let probe = (args.hold_out > 0.0).then(|| create_probe(&data, args.candidates)).transpose()?;
    let counts = json!({
        "examples": written,
        "by_language": by_language,
        "triples": report,
    });
    writer.finish()?;
    let row_counts = out.finish_with("kg-triples entailment", args.seed, counts, probe.as_ref())?;
    bar.finish_and_clear();

    table.add_count("triples", report.triples);
    table.add_count("without a described subject", report.without_subject);
    table.add_count("without a described object", report.without_object);
    table.add_count("without descriptions in suitable languages", report.without_language);
    table.add_count("with descriptions", report.train + report.test + report.ambiguous);
    table.add_count("held out, one object", report.test);
    table.add_count("held out, several objects", report.ambiguous);
    table.add_count("relations", report.relations);
    table.add_count("examples", written);
    for (name, size) in row_counts {
        table.add_count(name, size);
    }
    table.print(output);
    Ok(())
}

/// Creates the error for an empty output. Its hint contains the counts of skipped triples.
fn no_data_error(output: &str, report: &EntailmentReport) -> Error {
    Error::Empty {
        what: format!("{output} of {} triples", report.triples),
        hint: format!(
            "{} have no described subject, {} no described object, {} no descriptions in \
             suitable languages, {} are held out with one object for subject and relation, {} \
             with several; add triples or descriptions, or change --hold-out",
            report.without_subject,
            report.without_object,
            report.without_language,
            report.test,
            report.ambiguous
        ),
    }
}

/// Returns the queries (held-out triples) and the candidate objects.
fn create_probe(
    data: &EntailmentExamples,
    max_candidates: usize,
) -> Result<Probe<EntailmentExample, Candidate>, Error> {
    let (queries, candidates) = data.probe(max_candidates)?;
    if queries.is_empty() {
        return Err(no_data_error("queries", &data.report()));
    }
    Ok(Probe { queries: vec![("unseen-triples", queries)], candidates })
}

/// Reads the descriptions from the files of `--entities` and `--texts`.
fn read_descriptions(args: &Args) -> Result<Descriptions, Error> {
    let is_requested =
        |language: Language| args.languages.as_ref().is_none_or(|l| l.contains(&language));
    let mut descriptions = match &args.entities {
        Some(folder) => Descriptions::from_pages(folder, args.page_text, is_requested)?,
        None => Descriptions::default(),
    };
    for path in &args.texts {
        for text in JsonlReader::<LinkedText>::open(path)? {
            let text = text?;
            if let Some(entity) = &text.entity
                && is_requested(text.language)
            {
                descriptions.add(entity, text.language, &text.text)?;
            }
        }
    }
    Ok(descriptions)
}

/// Writes the examples and counts them by the language of the subject's description.
fn write_examples(
    writer: &mut JsonlWriter<EntailmentExample>,
    examples: impl Iterator<Item = Result<EntailmentExample, Error>>,
) -> Result<BTreeMap<Language, usize>, Error> {
    let mut counts = BTreeMap::new();
    for example in examples {
        let example = example?;
        writer.write(&example)?;
        *counts.entry(example.subject_language).or_default() += 1;
    }
    Ok(counts)
}
