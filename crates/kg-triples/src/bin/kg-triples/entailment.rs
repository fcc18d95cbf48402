use std::collections::BTreeMap;
use std::path::PathBuf;

use kg_triples::entity_linking::{LinkedText, PageText};
use kg_triples::jsonl::{JsonlReader, JsonlWriter};
use kg_triples::knowledge::{
    Candidate, Descriptions, EntailmentConfig, EntailmentExample, EntailmentExamples,
    EntailmentReport, SameLanguage,
};
use kg_triples::{Error, KnowledgeGraph, Language, each_once};
use serde_json::json;

use crate::out::{FOR_QUERIES, Out, Probe};
use crate::table::Table;
use crate::{Done, at_least_one, choice, load_tokenizer, spinner};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples entailment --kg data/mini-kg --labels --tokenizer data/base \\
    --out entailment.jsonl.gz
  kg-triples entailment --kg data/mini-kg --synthetic --tokenizer data/base \\
    --description-tokens 24 --hold-out 0.2 --count 1000 --out triples
With an extract of Wikidata and pages of entities:
  kg-triples entailment --kg wikidata --entities codex \\
    --tokenizer xlm-roberta-base --hold-out 0.001 --out triples
  kg-triples entailment --kg wikidata --texts pages.jsonl.gz \\
    --tokenizer xlm-roberta-base --count 1000000 --out triples
  kg-triples entailment --kg extract --wikidata --tokenizer xlm-roberta-base \\
    --hold-out 0.001 --out triples

A folder holds train/ and, with --hold-out, probe/: held-out triples whose subject and relation have
one object, and the objects as candidates.")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    kg: PathBuf,
    /// Folder with entities.<lang>.jsonl[.gz]: id, label, description, extract
    #[arg(long, value_name = "DIR", required_unless_present_any = ["texts", "labels", "wikidata", "synthetic"])]
    entities: Option<PathBuf>,
    /// Texts that describe their entity, JSONL: id, lang, entity, text
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    texts: Vec<PathBuf>,
    /// Wikidata's short descriptions: descriptions.tsv in --kg, as `extract` writes it
    #[arg(long)]
    wikidata: bool,
    /// Let labels of --kg stand for descriptions that are missing
    #[arg(long)]
    labels: bool,
    /// Describe entities by their labels and other training triples: a stand-in for small data
    #[arg(long, conflicts_with_all = ["entities", "texts", "labels", "wikidata"])]
    synthetic: bool,
    /// Languages of descriptions [default: all]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…")]
    languages: Option<Vec<Language>>,
    /// tokenizer.json, or the model folder that holds it
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Longest description in tokens, special tokens counted
    #[arg(long, default_value_t = 256)]
    description_tokens: usize,
    /// Which text of --entities describes: extract, description or either
    #[arg(long, default_value = "extract", value_parser = choice::<PageText>)]
    page_text: PageText,
    /// Both descriptions in one language
    #[arg(long)]
    monolingual: bool,
    /// Triples whose ends share their only language: skip or allow
    #[arg(long, default_value = "skip", value_parser = choice::<SameLanguage>)]
    same_language: SameLanguage,
    /// Examples to draw, with replacement [default: each triple once]
    #[arg(long)]
    count: Option<u64>,
    /// With --count: exponent of the number of triples in the share of each language of the subject
    #[arg(long, default_value_t = EntailmentConfig::default().smoothing)]
    smoothing: f64,
    /// Fraction of the triples that is kept for the probe
    #[arg(long, alias = "held-out-fraction", default_value_t = 0.0, value_name = "FRACTION")]
    hold_out: f64,
    /// Objects that are candidates, with those of the queries
    #[arg(long, default_value_t = 32_768, requires = "hold_out")]
    candidates: usize,
    /// Seed of all draws
    #[arg(long, default_value_t = EntailmentConfig::default().seed)]
    seed: u64,
    /// Prepared folder to write, or FILE.jsonl[.gz] for training lines alone
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> Done {
    each_once("languages", args.languages.iter().flatten())?;
    at_least_one(args.count)?;
    let config = EntailmentConfig {
        languages: args.languages.clone().unwrap_or_default(),
        multilingual: !args.monolingual,
        // Of triples whose ends share a language only monolingual examples can be made.
        same_language: if args.monolingual { SameLanguage::Allow } else { args.same_language },
        smoothing: args.smoothing,
        description_tokens: args.description_tokens,
        hold_out: args.hold_out,
        seed: args.seed,
    };
    config.validate()?;
    let bar = spinner("reading");
    let tokenizer = load_tokenizer(&args.tokenizer)?;
    let out = Out::start(&args.out, (args.hold_out > 0.0).then_some(FOR_QUERIES))?;
    let graph = KnowledgeGraph::read_dir(&args.kg)?;
    let mut table = Table::default();
    let data = if args.synthetic {
        EntailmentExamples::with_triples(graph, &tokenizer, &config)?
    } else {
        let (descriptions, labels) = descriptions(&args, &graph)?;
        bar.set_message("encoding descriptions");
        let texts = descriptions.encode(&tokenizer, args.description_tokens)?;
        table.count("entities described", texts.entities());
        if args.labels {
            table.count("labels that stand for descriptions", labels);
        }
        EntailmentExamples::with_texts(graph, texts, &config)?
    };
    let report = data.report();
    bar.set_message("writing");
    let mut writer = JsonlWriter::create(out.file("train/triples.jsonl.gz")?)?;
    let by_language = match args.count.filter(|_| report.train > 0) {
        Some(count) => write(&mut writer, (0..count).map(|index| data.drawn(args.seed, index)))?,
        None => write(&mut writer, data.once(args.seed))?,
    };
    let written: usize = by_language.values().sum();
    if written == 0 {
        return Err(nothing("examples", &report));
    }
    let probe = match args.hold_out > 0.0 {
        true => Some(probe(&data, args.candidates)?),
        false => None,
    };
    let counts = json!({
        "examples": written,
        "by_language": by_language,
        "triples": report,
    });
    writer.finish()?;
    let sizes = out.finish_with("kg-triples entailment", args.seed, counts, probe.as_ref())?;
    bar.finish_and_clear();

    table.count("triples", report.triples);
    table.count("without a described subject", report.without_subject);
    table.count("without a described object", report.without_object);
    table.count("without descriptions in wanted languages", report.without_language);
    table.count("usable", report.train + report.test + report.ambiguous);
    table.count("with descriptions in one language", report.one_language);
    table.count("left out with one object", report.test);
    table.count("left out with several objects", report.ambiguous);
    table.count("relations", report.relations);
    table.count("examples", written);
    for (name, size) in sizes {
        table.count(name, size);
    }
    table.print();
    Ok(())
}

/// That nothing is left, and why.
fn nothing(what: &str, report: &EntailmentReport) -> Error {
    Error::Empty {
        what: format!("{what} of {} triples", report.triples),
        hint: format!(
            "{} have no described subject, {} no described object, {} no descriptions in \
             languages that are wanted, {} are held out with one object for subject and relation, \
             {} with several; give more triples or descriptions, or change --hold-out",
            report.without_subject,
            report.without_object,
            report.without_language,
            report.test,
            report.ambiguous
        ),
    }
}

/// The held-out triples as queries, and the objects.
fn probe(
    data: &EntailmentExamples,
    most: usize,
) -> Result<Probe<EntailmentExample, Candidate>, Error> {
    let (queries, candidates) = data.probe(most)?;
    if queries.is_empty() {
        return Err(nothing("queries", &data.report()));
    }
    Ok(Probe { queries: vec![("unseen-triples", queries)], candidates })
}

/// The descriptions that the arguments ask for, and how many of them are labels.
fn descriptions(args: &Args, graph: &KnowledgeGraph) -> Result<(Descriptions, usize), Error> {
    let wants = |language: Language| args.languages.as_ref().is_none_or(|l| l.contains(&language));
    let mut descriptions = match &args.entities {
        Some(folder) => Descriptions::of_pages(folder, args.page_text, wants, |_| true)?,
        None => Descriptions::default(),
    };
    if args.wikidata {
        descriptions.add_table(&args.kg.join("descriptions.tsv"), wants)?;
    }
    for path in &args.texts {
        for text in JsonlReader::<LinkedText>::open(path)? {
            let text = text?;
            if let Some(entity) = &text.entity
                && wants(text.language)
            {
                descriptions.add(entity, text.language, &text.text)?;
            }
        }
    }
    let labels = if args.labels { descriptions.add_labels(graph, wants) } else { 0 };
    Ok((descriptions, labels))
}

/// How many were written, by the language of the subject.
fn write(
    writer: &mut JsonlWriter<EntailmentExample>,
    examples: impl Iterator<Item = Result<EntailmentExample, Error>>,
) -> Result<BTreeMap<Language, usize>, Error> {
    let mut written = BTreeMap::new();
    for example in examples {
        let example = example?;
        writer.write(&example)?;
        *written.entry(example.subject_language).or_default() += 1;
    }
    Ok(written)
}
