use std::path::PathBuf;

use kg_triples::entity_linking::{LinkedText, PageText};
use kg_triples::jsonl::{JsonlReader, JsonlWriter};
use kg_triples::knowledge::{
    Descriptions, EntailmentDataset, EntailmentExample, EntailmentSource, SameLanguage,
};
use kg_triples::{KgError, KnowledgeGraph, Language, each_once};

use crate::table::Table;
use crate::{Done, at_least_one, choice, load_tokenizer, spinner};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples entailment --kg data/mini-kg --labels --tokenizer data/base \\
    --out entailment.jsonl.gz
With an extract of Wikidata and pages of entities:
  kg-triples entailment --kg wikidata --entities codex \\
    --tokenizer xlm-roberta-base --out entailment.jsonl.gz
  kg-triples entailment --kg wikidata --texts pages.jsonl.gz \\
    --tokenizer xlm-roberta-base --count 1000000 --out entailment.jsonl.gz
  kg-triples entailment --kg extract --wikidata --tokenizer xlm-roberta-base \\
    --held-out-fraction 0.001 --held-out asked.jsonl \\
    --out entailment.jsonl.gz")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    kg: PathBuf,
    /// Folder with entities.<lang>.jsonl[.gz]: id, label, description, extract
    #[arg(long, value_name = "DIR", required_unless_present_any = ["texts", "labels", "wikidata"])]
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
    #[arg(long, default_value_t = EntailmentSource::<PathBuf>::default().smoothing)]
    smoothing: f64,
    /// Fraction of the triples that are left out of --out
    #[arg(long, default_value_t = 0.0, value_name = "FRACTION")]
    held_out_fraction: f64,
    /// Second file, for the triples left out whose subject and relation have one object
    #[arg(long, value_name = "FILE.jsonl[.gz]", requires = "held_out_fraction")]
    held_out: Option<PathBuf>,
    /// Seed of all draws
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// JSONL file to write; compressed if it ends in .gz
    #[arg(long, value_name = "FILE.jsonl[.gz]")]
    out: PathBuf,
}

pub fn run(args: Args) -> Done {
    each_once("languages", args.languages.iter().flatten())?;
    at_least_one(args.count)?;
    let bar = spinner("reading");
    let tokenizer = load_tokenizer(&args.tokenizer)?;
    let graph = KnowledgeGraph::read_dir(&args.kg)?;
    let (descriptions, labels) = descriptions(&args, &graph)?;
    bar.set_message("encoding descriptions");
    let texts = descriptions.encode(&tokenizer, args.description_tokens)?;
    let described = texts.len();
    let source = EntailmentSource::<PathBuf> {
        languages: args.languages.clone().unwrap_or_default(),
        // Of triples whose ends share a language only monolingual examples can be made.
        same_language: if args.monolingual { SameLanguage::Allow } else { args.same_language },
        smoothing: args.smoothing,
        description_tokens: args.description_tokens,
        held_out_fraction: args.held_out_fraction,
        seed: args.seed,
        ..EntailmentSource::default()
    };
    let data = EntailmentDataset::with_texts(graph, texts, &source)?;
    let report = data.report();
    bar.set_message("writing");
    let multilingual = !args.monolingual;
    let mut writer = JsonlWriter::<EntailmentExample>::create(&args.out)?;
    let written = match args.count.filter(|_| report.train > 0) {
        Some(count) => {
            let drawn = (0..count).map(|index| data.drawn(multilingual, args.seed, index));
            write(&mut writer, drawn)?
        }
        None => write(&mut writer, data.once(multilingual, args.seed))?,
    };
    if written == 0 {
        return Err(KgError::Empty {
            what: format!("examples of {} triples", report.triples),
            hint: format!(
                "{} have no described subject, {} no described object, {} no descriptions in \
                 languages that are wanted",
                report.without_subject, report.without_object, report.without_language
            ),
        });
    }
    let (mut held_out, mut writers) = (0, vec![writer]);
    if let Some(path) = &args.held_out {
        let mut second = JsonlWriter::<EntailmentExample>::create(path)?;
        held_out = write(&mut second, data.held_out(multilingual, args.seed))?;
        if held_out == 0 {
            return Err(KgError::Empty {
                what: format!("held-out examples for {}", path.display()),
                hint: format!(
                    "of {} triples none was left out whose subject and relation have one object, \
                     {} with several; raise --held-out-fraction",
                    report.triples, report.ambiguous
                ),
            });
        }
        writers.push(second);
    }
    JsonlWriter::finish_all(writers)?;
    bar.finish_and_clear();

    let mut table = Table::default();
    table.count("entities described", described);
    if args.labels {
        table.count("labels that stand for descriptions", labels);
    }
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
    if args.held_out.is_some() {
        table.count("held-out examples", held_out);
    }
    table.print();
    Ok(())
}

/// The descriptions that the arguments ask for, and how many of them are labels.
fn descriptions(args: &Args, graph: &KnowledgeGraph) -> Result<(Descriptions, usize), KgError> {
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

/// How many were written.
fn write(
    writer: &mut JsonlWriter<EntailmentExample>,
    examples: impl Iterator<Item = Result<EntailmentExample, KgError>>,
) -> Result<usize, KgError> {
    let mut written = 0;
    for example in examples {
        writer.write(&example?)?;
        written += 1;
    }
    Ok(written)
}
