use std::path::PathBuf;

use kg_triples::entity_linking::{LinkedText, PageText, page_files, read_pages};
use kg_triples::jsonl::{JsonlReader, JsonlWriter};
use kg_triples::knowledge::{
    Descriptions, EntailmentConfig, EntailmentExample, EntailmentExamples, SameLanguage,
};
use kg_triples::{KgError, KnowledgeGraph, Language};

use crate::table::Table;
use crate::{Done, choice, load_tokenizer, spinner};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples entailment --kg wikidata --entities codex --tokenizer xlm-roberta-base --out entailment.jsonl.gz
  kg-triples entailment --kg wikidata --texts pages.jsonl.gz --tokenizer xlm-roberta-base --count 1000000 --out entailment.jsonl.gz
  kg-triples entailment --kg sampled --labels --tokenizer xlm-roberta-base --out entailment.jsonl.gz")]
pub struct Args {
    /// Folder with triples.tsv and labels.tsv
    #[arg(long, value_name = "DIR")]
    kg: PathBuf,
    /// Folder with entities.<lang>.jsonl[.gz]: id, label, description, extract
    #[arg(long, value_name = "DIR", required_unless_present_any = ["texts", "labels"])]
    entities: Option<PathBuf>,
    /// Texts that describe their entity, JSONL: id, lang, entity, text
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    texts: Vec<PathBuf>,
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
    /// Seed of all draws
    #[arg(long, default_value_t = EntailmentConfig::default().seed)]
    seed: u64,
    /// JSONL file to write; compressed if it ends in .gz
    #[arg(long, value_name = "FILE.jsonl[.gz]")]
    out: PathBuf,
}

pub fn run(args: Args) -> Done {
    let bar = spinner("reading");
    let tokenizer = load_tokenizer(&args.tokenizer)?;
    let graph = KnowledgeGraph::read_dir(&args.kg)?;
    let wants = |language: Language| args.languages.as_ref().is_none_or(|l| l.contains(&language));
    let mut descriptions = Descriptions::default();
    if let Some(dir) = &args.entities {
        let mut pages = page_files(dir)?;
        pages.retain(|(language, _)| wants(*language));
        read_pages(&pages, |language, page| match page.text(args.page_text) {
            Some(text) => descriptions.add(&page.id, language, text),
            None => Ok(()),
        })?;
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
    let labels = if args.labels { descriptions.add_labels(&graph, wants) } else { 0 };
    bar.set_message("encoding descriptions");
    let encoded = descriptions.encode(&tokenizer, args.description_tokens)?;
    let config = EntailmentConfig {
        multilingual: !args.monolingual,
        same_language: args.same_language,
        seed: args.seed,
    };
    let examples = EntailmentExamples::new(&graph, &encoded, config);
    let report = examples.report();
    if examples.is_empty() {
        return Err(KgError::Empty {
            what: format!("examples of {} triples", report.triples),
            hint: format!(
                "{} have no described subject, {} no described object, {} no descriptions in \
                 languages that are wanted",
                report.without_subject, report.without_object, report.without_language
            ),
        });
    }
    bar.set_message("writing");
    let mut writer = JsonlWriter::<EntailmentExample>::create(&args.out)?;
    let mut written = 0;
    let drawn: Box<dyn Iterator<Item = EntailmentExample>> = match args.count {
        Some(count) => Box::new((0..count).filter_map(|index| examples.example(index))),
        None => Box::new(examples.once()),
    };
    for example in drawn {
        writer.write(&example)?;
        written += 1;
    }
    writer.finish()?;
    bar.finish_and_clear();

    let mut table = Table::default();
    table.count("entities described", descriptions.len());
    if args.labels {
        table.count("labels that stand for descriptions", labels);
    }
    table.count("triples", report.triples);
    table.count("without a described subject", report.without_subject);
    table.count("without a described object", report.without_object);
    table.count("without descriptions in wanted languages", report.without_language);
    table.count("usable", report.usable);
    table.count("with descriptions in one language", report.fallbacks);
    table.count("relations", report.relations);
    table.count("examples", written);
    table.print();
    Ok(())
}
