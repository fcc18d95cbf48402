use std::collections::BTreeMap;
use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::entity_linking::{LabelReport, LinkReport};
use kg_triples::jsonl::JsonlWriter;
use kg_triples::knowledge::{
    Candidate, Descriptions, EncodedDescriptions, EntityCounts, HeldOut, LanguageMix,
    MentionConfig, MentionExample, MentionExamples, MentionReport, Resampling,
};
use kg_triples::{Error, Language};
use serde_json::json;
use tokenizers::Tokenizer;

use crate::out::{Out, Probe, QUERY_FOLDER_RULE};
use crate::sources::{self, Links, SourceArgs, Sources, Texts};
use crate::table::{Table, blank_line};
use crate::{CommandResult, check_positive, load_tokenizer};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples mentions --entities data/codex --languages en,de \\
    --tokenizer data/base --count 100 --out mentions.jsonl.gz
  kg-triples mentions --entities data/codex --languages en,de \\
    --tokenizer data/base --hold-out texts=0.1,pairs=0.2,entities=0.1 \\
    --out mentions
With linked texts, or pages of Wikipedia:
  kg-triples mentions --texts linked.jsonl.gz --entities codex \\
    --languages en,de --tokenizer xlm-roberta-base --out mentions
  kg-triples mentions --wiki en=enwiki.jsonl.gz,de=dewiki.jsonl.gz \\
    --sitelinks sitelinks.tsv --tokenizer xlm-roberta-base --count 1000000 \\
    --smoothing 0.3 --hold-out texts=0.001,pairs=0.001,entities=0.001 \\
    --out mentions

Texts come from --texts (already linked), --wiki (WikiExtractor --links --json), or the pages of
--entities, in which labels are linked. Descriptions come from --entities, or otherwise from the
texts that are pages of entities.

A folder contains train/ and, with --hold-out, probe/: queries about unseen texts, unseen language
pairs and unseen entities, and candidate descriptions. No training line has a held-out text, a
held-out entity, or an entity with a held-out language pair.")]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Path of tokenizer.json, or of the model folder that contains it
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,
    /// Maximum length of a passage in tokens, including special tokens
    #[arg(long, default_value_t = MentionConfig::default().max_tokens)]
    max_tokens: usize,
    /// Maximum length of a description in tokens, including special tokens
    #[arg(long, default_value_t = 256)]
    description_tokens: usize,
    /// Use descriptions in the language of the passage instead of descriptions in other languages
    /// (an ablation)
    #[arg(long)]
    monolingual: bool,
    /// Number of examples, sampled by language with --smoothing [default: one example per passage]
    #[arg(long)]
    count: Option<usize>,
    /// Exponent of the sampling by language: a language with n passages is sampled in proportion to
    /// n^EXPONENT
    #[arg(long, default_value_t = 0.3, requires = "count")]
    smoothing: f64,
    /// Exponent of the sampling by entity: an entity with n mentions is sampled in proportion to
    /// n^EXPONENT; a value below 1 increases the share of rare entities
    #[arg(long, default_value_t = 1.0, requires = "count")]
    entity_smoothing: f64,
    /// Use only the N most mentioned entities: those with the highest sum of ln(1 + mentions) over
    /// all languages
    #[arg(long, value_name = "N")]
    most_mentioned: Option<usize>,
    /// Fractions of texts, language pairs and entities that are held out of training for the three
    /// probes
    #[arg(long, value_name = "texts=F,pairs=F,entities=F", value_parser = parse_fractions)]
    hold_out: Option<Fractions>,
    /// Maximum number of queries of each probe; the three probes are unseen texts, pairs and
    /// entities
    #[arg(long, default_value_t = HeldOut::default().queries, requires = "hold_out")]
    queries: usize,
    /// Maximum number of queries about one entity in each probe [default: unlimited]
    #[arg(long, value_name = "N", requires = "hold_out")]
    queries_per_entity: Option<usize>,
    /// Number of candidate entities of the probes, including the entities of their queries
    #[arg(long, default_value_t = 32_768, requires = "hold_out")]
    candidates: usize,
    /// Random seed
    #[arg(long, default_value_t = MentionConfig::default().seed)]
    seed: u64,
    /// Prepared folder to write, or FILE.jsonl[.gz] to write only the training examples
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Held-out fractions of texts, pairs and entities.
type Fractions = [f64; 3];

/// Parses `texts=0.1,pairs=0.2,entities=0.1`.
fn parse_fractions(text: &str) -> Result<Fractions, String> {
    let mut fractions = [0.0; 3];
    for part in text.split(',') {
        let expected = || format!("expected texts=F, pairs=F or entities=F, got {part:?}");
        let (name, value) = part.split_once('=').ok_or_else(expected)?;
        let index = ["texts", "pairs", "entities"].iter().position(|known| *known == name);
        fractions[index.ok_or_else(expected)?] = value.parse().map_err(|_| expected())?;
    }
    Ok(fractions)
}

impl Args {
    fn held_out(&self) -> Result<Option<HeldOut>, Error> {
        let Some([texts, pairs, entities]) = self.hold_out else { return Ok(None) };
        let held_out = HeldOut {
            texts,
            pairs,
            entities,
            queries: self.queries,
            per_entity: self.queries_per_entity,
            seed: self.seed,
        };
        held_out.validate()?;
        Ok(Some(held_out))
    }
}

pub fn run(args: Args) -> CommandResult {
    let config = MentionConfig {
        max_tokens: args.max_tokens,
        multilingual: !args.monolingual,
        seed: args.seed,
    };
    check_positive(args.count)?;
    let held_out = args.held_out()?;
    let bar = spinner("reading");
    let tokenizer = load_tokenizer(&args.tokenizer)?;
    let out = Out::start(&args.out, held_out.as_ref().map(|_| QUERY_FOLDER_RULE))?;
    let output = TextOutput::next_to([&args.out]);
    let (sources, mut descriptions, labels) = sources::read(&args.source)?;
    if args.source.entities.is_none() {
        bar.set_message("reading descriptions");
        add_page_descriptions(&sources, &mut descriptions)?;
    }
    if let Some(max_entities) = args.most_mentioned {
        bar.set_message("counting mentions");
        let counts = EntityCounts::from_texts(sources.texts(None))?;
        let most_mentioned = counts.most_mentioned(max_entities);
        descriptions.retain(|entity| most_mentioned.contains(entity));
        sources.link_reports.take();
    }
    bar.set_message("encoding descriptions");
    let encoded = descriptions.encode(&tokenizer, args.description_tokens)?;

    bar.set_message("writing");
    let example_source = ExampleSource {
        sources: &sources,
        descriptions: &encoded,
        tokenizer: &tokenizer,
        config,
        held_out: held_out.as_ref(),
    };
    let mut writer = JsonlWriter::create(out.file("train/mentions.jsonl.gz")?)?;
    let mut examples = example_source.examples(sources.texts(None), args.seed)?;
    for example in examples.by_ref() {
        let example = example?;
        if args.count.is_none() {
            writer.write(&example)?;
        }
    }
    let report = examples.report().clone();
    let link_reports =
        matches!(sources.links, Links::Labels(..)).then(|| sources.link_reports.take());
    if report.examples == 0 && held_out.is_none() {
        return Err(no_examples_error(&report));
    }
    let queries = held_out.as_ref().map(|_| examples.queries()).transpose()?;
    let probe = queries.map(|queries| create_probe(queries, &encoded, args.candidates, args.seed));
    let mut drawn_counts = BTreeMap::new();
    if let Some(count) = args.count {
        let resampling = examples.mention_counts().resampling(args.entity_smoothing)?;
        let mix = example_source.sample_languages(&report, &resampling, args.smoothing)?;
        for example in mix.take(count) {
            let example = example?;
            *drawn_counts.entry(example.language).or_default() += 1;
            writer.write(&example)?;
        }
    }
    let by_language = if args.count.is_some() { &drawn_counts } else { &report.by_language };
    let counts = json!({
        "examples": by_language.values().sum::<usize>(),
        "by_language": by_language,
        "passages": report,
    });
    writer.finish()?;
    let row_counts = out.finish_with("kg-triples mentions", args.seed, counts, probe.as_ref())?;
    bar.finish_and_clear();

    let link_reports = link_reports.as_ref();
    print(&descriptions, &labels, link_reports, &report, &drawn_counts, &row_counts, output);
    Ok(())
}

/// Returns the queries of the three probes, and the candidate descriptions.
fn create_probe(
    queries: [Vec<MentionExample>; 3],
    descriptions: &EncodedDescriptions,
    max_candidates: usize,
    seed: u64,
) -> Probe<MentionExample, Candidate> {
    let all_queries = queries.iter().flatten();
    let gold_pairs =
        all_queries.map(|query| (query.entity.as_str(), query.description_language)).collect();
    let candidates = descriptions.candidates(&gold_pairs, max_candidates, seed);
    let names = ["unseen-texts", "unseen-pairs", "unseen-entities"];
    Probe { queries: names.into_iter().zip(queries).collect(), candidates }
}

/// Adds each text that is the page of an entity as a description of this entity.
fn add_page_descriptions(sources: &Sources, descriptions: &mut Descriptions) -> CommandResult {
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

fn no_examples_error(report: &MentionReport) -> Error {
    Error::Empty {
        what: format!("examples of {} passages", report.passages),
        hint: format!(
            "{} have no mention, {} no described entity, {} no description in a suitable language, \
             {} no mention that can be aligned with tokens",
            report.without_mention,
            report.without_description,
            report.without_language,
            report.unaligned
        ),
    }
}

/// Inputs and options from which examples are created.
struct ExampleSource<'s> {
    sources: &'s Sources,
    descriptions: &'s EncodedDescriptions,
    tokenizer: &'s Tokenizer,
    config: MentionConfig,
    held_out: Option<&'s HeldOut>,
}

impl<'s> ExampleSource<'s> {
    /// Returns an iterator over the examples of `texts`.
    fn examples<'t>(
        &'t self,
        texts: Texts<'t>,
        seed: u64,
    ) -> Result<MentionExamples<'t, Texts<'t>>, Error> {
        let config = MentionConfig { seed, ..self.config.clone() };
        let examples = MentionExamples::new(texts, self.descriptions, self.tokenizer, config)?;
        match self.held_out {
            Some(held_out) => examples.holding_out(held_out),
            None => Ok(examples),
        }
    }

    /// Returns an endless iterator over examples, which samples languages by `--smoothing`.
    /// Languages without examples are excluded.
    fn sample_languages<'t>(
        &'t self,
        report: &MentionReport,
        resampling: &'t Resampling,
        smoothing: f64,
    ) -> Result<impl Iterator<Item = Result<MentionExample, Error>> + use<'t, 's>, Error> {
        let languages: Vec<_> = report
            .by_language
            .iter()
            .map(|(language, size)| {
                let language = *language;
                let open_examples = move |epoch: u64| {
                    let texts = self.sources.texts(Some(language));
                    // Held-out texts are skipped, because the first pass over the texts has already
                    // created all queries from them.
                    let training_texts = texts.filter(|text| match (text, self.held_out) {
                        (Ok(text), Some(held_out)) => !held_out.holds_out_text(&text.id),
                        _ => true,
                    });
                    let seed = self.config.seed ^ (epoch << 32);
                    Ok(self.examples(Box::new(training_texts), seed)?.resampled(resampling))
                };
                (*size, open_examples)
            })
            .collect();
        LanguageMix::new(languages, smoothing, self.config.seed)
    }
}

fn print(
    descriptions: &Descriptions,
    labels: &BTreeMap<Language, LabelReport>,
    link_reports: Option<&BTreeMap<Language, LinkReport>>,
    report: &MentionReport,
    drawn_counts: &BTreeMap<Language, usize>,
    row_counts: &[(&str, usize)],
    output: TextOutput,
) {
    let described_counts = descriptions.counts();
    let mut table = Table::default();
    let mut header = vec!["language", "described"];
    if link_reports.is_some() {
        header.extend(["labels", "ambiguous", "too short", "links", "self-links", "entities"]);
    }
    header.push("passages used");
    if !drawn_counts.is_empty() {
        header.push("drawn");
    }
    table.add_row(header);
    let mut languages: Vec<Language> =
        described_counts.keys().chain(report.by_language.keys()).copied().collect();
    languages.sort_unstable();
    languages.dedup();
    for language in languages {
        let mut row = vec![language.to_string()];
        // A language that a count lacks has none.
        let mut push_count = |count: Option<usize>| row.push(count.unwrap_or(0).to_string());
        push_count(described_counts.get(&language).copied());
        if let Some(link_reports) = link_reports {
            let (label, link) = (labels.get(&language), link_reports.get(&language));
            push_count(label.map(|label| label.labels));
            push_count(label.map(|label| label.ambiguous));
            push_count(label.map(|label| label.too_short));
            push_count(link.map(|link| link.mentions));
            push_count(link.map(|link| link.self_links));
            push_count(link.map(|link| link.entities.len()));
        }
        push_count(report.by_language.get(&language).copied());
        if !drawn_counts.is_empty() {
            push_count(drawn_counts.get(&language).copied());
        }
        table.add_row(row);
    }
    table.print(output);
    blank_line(output);

    let mut table = Table::default();
    table.add_count("texts", report.texts);
    table.add_count("passages", report.passages);
    table.add_count("without a mention", report.without_mention);
    table.add_count("without a description", report.without_description);
    table.add_count("without a description in a suitable language", report.without_language);
    table.add_count("mentions not aligned with tokens", report.unaligned);
    table.add_count("held out", report.held_out);
    table.add_count("passages used", report.examples);
    table.add_count("tokens", report.tokens);
    table.add_count("mention tokens", report.mention_tokens);
    if !drawn_counts.is_empty() {
        table.add_count("drawn", drawn_counts.values().sum());
    }
    for (name, size) in row_counts {
        table.add_count(name, *size);
    }
    table.print(output);
}
