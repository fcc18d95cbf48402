use std::collections::BTreeMap;
use std::path::PathBuf;

use kg_triples::entity_linking::{LabelReport, LinkReport};
use kg_triples::jsonl::JsonlWriter;
use kg_triples::knowledge::{
    Descriptions, EncodedDescriptions, LanguageMix, MentionConfig, MentionExample, MentionExamples,
    MentionReport, SameLanguage, TokenBoundary,
};
use kg_triples::{KgError, Language};
use tokenizers::Tokenizer;

use crate::sources::{self, Links, SourceArgs, Sources};
use crate::table::{Table, blank_line};
use crate::{Done, at_least_one, choice, load_tokenizer, spinner};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples mentions --entities data/codex --languages en,de \\
    --tokenizer data/base --count 100 --out mentions.jsonl.gz
With linked texts, or pages of Wikipedia:
  kg-triples mentions --texts linked.jsonl.gz --entities codex \\
    --languages en,de --tokenizer xlm-roberta-base --out mentions.jsonl.gz
  kg-triples mentions --wiki en=enwiki.jsonl.gz,de=dewiki.jsonl.gz \\
    --sitelinks sitelinks.tsv --tokenizer xlm-roberta-base --count 1000000 \\
    --smoothing 0.3 --out mentions.jsonl.gz

Texts come from --texts (linked already), --wiki (WikiExtractor --links --json), or from the pages
of --entities, where labels are found and linked. Descriptions come from --entities, or else from
the texts that are pages of entities.")]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// tokenizer.json, or the model folder that holds it
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Longest passage in tokens, special tokens counted
    #[arg(long, default_value_t = MentionConfig::default().max_tokens)]
    max_tokens: usize,
    /// Longest description in tokens, special tokens counted
    #[arg(long, default_value_t = 256)]
    description_tokens: usize,
    /// Descriptions in the language of the passage (an ablation)
    #[arg(long)]
    monolingual: bool,
    /// Entities described in the passage's language only: skip or allow
    #[arg(long, default_value = "skip", value_parser = choice::<SameLanguage>)]
    same_language: SameLanguage,
    /// Tokens that reach across a mention's border: cover or exact
    #[arg(long, default_value = "cover", value_parser = choice::<TokenBoundary>)]
    boundary: TokenBoundary,
    /// Examples to draw, languages by --smoothing [default: each passage once]
    #[arg(long)]
    count: Option<usize>,
    /// Exponent of the languages' sizes
    #[arg(long, default_value_t = 0.3, requires = "count")]
    smoothing: f64,
    /// Seed of all draws
    #[arg(long, default_value_t = MentionConfig::default().seed)]
    seed: u64,
    /// JSONL file to write; compressed if it ends in .gz
    #[arg(long, value_name = "FILE.jsonl[.gz]")]
    out: PathBuf,
}

pub fn run(args: Args) -> Done {
    let config = MentionConfig {
        max_tokens: args.max_tokens,
        multilingual: !args.monolingual,
        same_language: args.same_language,
        boundary: args.boundary,
        seed: args.seed,
    };
    at_least_one(args.count)?;
    let bar = spinner("reading");
    let tokenizer = load_tokenizer(&args.tokenizer)?;
    let (out, count, smoothing) = (args.out.clone(), args.count, args.smoothing);
    let (description_tokens, from_entities) =
        (args.description_tokens, args.source.entities.is_some());
    let (sources, mut descriptions, labels) = sources::read(args.source)?;
    if !from_entities {
        bar.set_message("reading descriptions");
        describe_by_texts(&sources, &mut descriptions)?;
    }
    bar.set_message("encoding descriptions");
    let encoded = descriptions.encode(&tokenizer, description_tokens)?;

    bar.set_message("writing");
    let mut writer = JsonlWriter::create(&out)?;
    let mut examples =
        MentionExamples::new(sources.texts(None), &encoded, &tokenizer, config.clone())?;
    for example in examples.by_ref() {
        let example = example?;
        if count.is_none() {
            writer.write(&example)?;
        }
    }
    let report = examples.report().clone();
    let links = matches!(sources.links, Links::Labels(..)).then(|| sources.linked.take());
    if report.examples == 0 {
        return Err(nothing(&report));
    }
    let mut drawn = BTreeMap::new();
    if let Some(count) = count {
        let mix = drawn_by_language(&sources, &encoded, &tokenizer, &config, &report, smoothing)?;
        for example in mix.take(count) {
            let example = example?;
            *drawn.entry(example.language).or_default() += 1;
            writer.write(&example)?;
        }
    }
    writer.finish()?;
    bar.finish_and_clear();

    print(&descriptions, &labels, links.as_ref(), &report, &drawn);
    Ok(())
}

/// Takes texts that are pages of entities as their descriptions.
fn describe_by_texts(sources: &Sources, descriptions: &mut Descriptions) -> Done {
    for text in sources.texts(None) {
        let text = text?;
        if let Some(entity) = &text.entity
            && !text.text.trim().is_empty()
        {
            descriptions.add(entity, text.language, &text.text)?;
        }
    }
    Ok(())
}

fn nothing(report: &MentionReport) -> KgError {
    KgError::Empty {
        what: format!("examples of {} passages", report.passages),
        hint: format!(
            "{} have no mention, {} no described entity, {} no description in a language that is \
             wanted, {} do not fit the tokens",
            report.without_mention,
            report.without_description,
            report.without_language,
            report.unaligned
        ),
    }
}

/// An endless row of examples of all languages that have some.
fn drawn_by_language<'s>(
    sources: &'s Sources,
    descriptions: &'s EncodedDescriptions,
    tokenizer: &'s Tokenizer,
    config: &'s MentionConfig,
    report: &MentionReport,
    smoothing: f64,
) -> Result<impl Iterator<Item = Result<MentionExample, KgError>>, KgError> {
    let languages: Vec<_> = report
        .by_language
        .iter()
        .map(|(language, size)| {
            let language = *language;
            let open = move |epoch: u64| {
                let config = MentionConfig { seed: config.seed ^ (epoch << 32), ..config.clone() };
                MentionExamples::new(sources.texts(Some(language)), descriptions, tokenizer, config)
            };
            (*size, open)
        })
        .collect();
    LanguageMix::new(languages, smoothing, config.seed)
}

fn print(
    descriptions: &Descriptions,
    labels: &BTreeMap<Language, LabelReport>,
    links: Option<&BTreeMap<Language, LinkReport>>,
    report: &MentionReport,
    drawn: &BTreeMap<Language, usize>,
) {
    let described = descriptions.counts();
    let mut table = Table::default();
    let mut header = vec!["language", "described"];
    if links.is_some() {
        header.extend(["labels", "ambiguous", "too short", "links", "own page", "entities"]);
    }
    header.push("passages used");
    if !drawn.is_empty() {
        header.push("drawn");
    }
    table.row(header);
    let mut languages: Vec<Language> =
        described.keys().chain(report.by_language.keys()).copied().collect();
    languages.sort_unstable();
    languages.dedup();
    for language in languages {
        let mut row = vec![language.to_string()];
        let mut count = |count: Option<usize>| row.push(count.unwrap_or_default().to_string());
        count(described.get(&language).copied());
        if let Some(links) = links {
            let (label, link) = (labels.get(&language), links.get(&language));
            count(label.map(|label| label.labels));
            count(label.map(|label| label.ambiguous));
            count(label.map(|label| label.too_short));
            count(link.map(|link| link.mentions));
            count(link.map(|link| link.own_page));
            count(link.map(|link| link.entities.len()));
        }
        count(report.by_language.get(&language).copied());
        if !drawn.is_empty() {
            count(drawn.get(&language).copied());
        }
        table.row(row);
    }
    table.print();
    blank_line();

    let mut table = Table::default();
    table.count("texts", report.texts);
    table.count("passages", report.passages);
    table.count("without a mention", report.without_mention);
    table.count("without a description", report.without_description);
    table.count("without a description in a wanted language", report.without_language);
    table.count("mentions that do not fit the tokens", report.unaligned);
    table.count("passages used", report.examples);
    table.count("with a description in the same language", report.fallbacks);
    table.count("tokens", report.tokens);
    table.count("mention tokens", report.mention_tokens);
    if !drawn.is_empty() {
        table.count("drawn", drawn.values().sum());
    }
    table.print();
}
