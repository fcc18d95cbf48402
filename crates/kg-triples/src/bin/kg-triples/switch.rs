use std::path::PathBuf;

use kg_triples::entity_linking::{LinkedText, Sitelinks};
use kg_triples::jsonl::{JsonlReader, JsonlWriter};
use kg_triples::switch::{
    EntityLabels, LanguageRule, MarkedReader, SwitchConfig, SwitchReport, SwitchedText,
    TaggedReader, TextUnit, switch_texts, tagged_pair,
};
use kg_triples::{Error, Language};
use serde::{Deserialize, Serialize};

use crate::out::Out;
use crate::switched_files::{LabelProbe, TextFiles, Validation};
use crate::table::{Table, blank_line};
use crate::{Done, choice, spinner};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples link --entities data/codex --languages en --out linked.jsonl.gz
  kg-triples switch --texts linked.jsonl.gz --entities data/codex \\
    --languages de,es,ar,zh --out switched.jsonl
  kg-triples switch --texts linked.jsonl.gz --entities data/codex \\
    --languages de,zh --format entitycs --with-source --out corpus.jsonl
  kg-triples switch --tagged corpus.jsonl --out again.jsonl
  kg-triples switch --texts linked.jsonl.gz --entities data/codex \\
    --languages de,zh --with-source --by-language --hold-out 0.1 --out switched
With pages of Wikipedia and an extract of Wikidata:
  kg-triples switch --texts linked.jsonl.gz --labels kg/labels.tsv \\
    --count 5 --seed 1 --out switched.jsonl.gz
With sentences that hold links as [[title|text]]:
  kg-triples switch --marked sentences.txt --sitelinks kg/sitelinks.tsv \\
    --labels kg/labels.tsv --out switched.jsonl.gz

A sentence is switched into --languages that have labels of all its mentions, at most --count of
them; an entity without any label keeps its text and does not count. Languages of --pool are drawn
from as well, and nothing is written in them. The released corpus of EntityCS is read with --tagged.

A prepared folder has texts to train on in train/, those of --validation in validation/, and with
--hold-out in probe/ the labels of entities that were switched and of those that never were.")]
pub struct Args {
    /// Linked texts, JSONL: id, lang, text, mentions
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', required_unless_present_any = ["marked", "tagged"])]
    texts: Vec<PathBuf>,
    /// Text with a sentence a line, links as [[title|text]]
    #[arg(long, value_name = "FILE", requires = "sitelinks", conflicts_with = "texts")]
    marked: Option<PathBuf>,
    /// TSV file: id, lang, title
    #[arg(long, value_name = "FILE", requires = "marked")]
    sitelinks: Option<PathBuf>,
    /// Sentences of EntityCS's corpus, which are written as linked texts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["texts", "marked", "labels", "entities"])]
    tagged: Option<PathBuf>,
    /// Labels of entities, TSV: id, lang, label, kind
    #[arg(long, value_name = "FILE", required_unless_present_any = ["entities", "tagged"])]
    labels: Option<PathBuf>,
    /// Folder with entities.<lang>.jsonl[.gz], whose labels are taken
    #[arg(long, value_name = "DIR", conflicts_with = "labels")]
    entities: Option<PathBuf>,
    /// Language of the texts
    #[arg(long, value_name = "LANG", default_value_t = SwitchConfig::default().source)]
    source: Language,
    /// Languages to switch into [default: all that have labels]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…")]
    languages: Option<Vec<Language>>,
    /// Languages that are drawn from as well, and not written
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", requires = "languages")]
    pool: Vec<Language>,
    /// Languages of a sentence: shared (by all its mentions) or per_mention
    #[arg(long, default_value = "shared", value_parser = choice::<LanguageRule>)]
    rule: LanguageRule,
    /// Languages a sentence is switched into at most
    #[arg(long, default_value_t = SwitchConfig::default().count)]
    count: usize,
    /// What is switched as one: sentence or line
    #[arg(long, default_value = "sentence", value_parser = choice::<TextUnit>)]
    unit: TextUnit,
    /// Longest sentence in words
    #[arg(long, default_value_t = SwitchConfig::default().max_words)]
    max_words: usize,
    /// Also write each sentence as it was, before its switched forms
    #[arg(long)]
    with_source: bool,
    /// linked (texts with mentions) or entitycs (as the released corpus, of English texts)
    #[arg(long, default_value = "linked", value_parser = choice::<Form>, conflicts_with = "tagged")]
    format: Form,
    /// Write a file for each language, train/switched.<lang>.jsonl.gz, into the folder --out
    #[arg(long, conflicts_with = "format")]
    by_language: bool,
    /// Fraction of the entities that are never switched, drawn by their ids
    #[arg(long, value_name = "FRACTION", conflicts_with_all = ["format", "tagged"])]
    hold_out: Option<f64>,
    /// Seed of their choice
    #[arg(long, default_value_t = 0, requires = "hold_out")]
    hold_out_seed: u64,
    /// As a control, switch into the labels of other entities; the seed draws whose
    #[arg(long, value_name = "SEED", conflicts_with = "tagged")]
    wrong_labels: Option<u64>,
    /// Texts of each language that are kept from training, drawn by their ids
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "format")]
    validation: usize,
    /// Seed of all draws
    #[arg(long, default_value_t = SwitchConfig::default().seed)]
    seed: u64,
    /// JSONL file to write, compressed if it ends in .gz; or a prepared folder
    #[arg(long, value_name = "FILE.jsonl[.gz]|DIR")]
    out: PathBuf,
}

/// How sentences are written.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Linked,
    #[serde(rename = "entitycs")]
    EntityCs,
}

pub fn run(args: Args) -> Done {
    let needs_folder = args.by_language || args.hold_out.is_some() || args.validation > 0;
    let rule = "a folder for --by-language, --hold-out and --validation";
    let out = Out::start(&args.out, needs_folder.then_some(rule))?;
    if let Some(path) = &args.tagged {
        return untag(path, &args, out);
    }
    let fraction = args.hold_out.unwrap_or(0.0);
    if !(0.0..1.0).contains(&fraction) {
        let value = fraction.to_string();
        return Err(Error::Config { key: "hold_out", value, rule: "from 0 to below 1" });
    }
    if let (Form::EntityCs, false) = (args.format, args.source == Language::EN) {
        return Err(Error::Config {
            key: "source",
            value: args.source.to_string(),
            rule: "en for --format entitycs",
        });
    }
    let bar = spinner("reading labels");
    let wanted = args.languages.clone().map(|mut languages| {
        languages.extend(args.pool.iter().chain([&args.source]));
        languages
    });
    let mut labels = match (&args.labels, &args.entities) {
        (Some(path), _) => EntityLabels::read(path, wanted.as_deref())?,
        (None, Some(folder)) => EntityLabels::read_pages(folder, wanted.as_deref())?,
        (None, None) => EntityLabels::default(),
    };
    let languages = args.languages.clone();
    let languages = languages.unwrap_or_else(|| labels.languages().into_keys().collect());
    let held_out = labels.hold_out(fraction, args.hold_out_seed);
    if let Some(seed) = args.wrong_labels {
        labels.exchange(args.source, seed);
    }
    let config = SwitchConfig {
        source: args.source,
        languages,
        pool: args.pool.clone(),
        rule: args.rule,
        count: args.count,
        unit: args.unit,
        max_words: args.max_words,
        seed: args.seed,
    };
    config.validate()?;
    bar.set_message("switching");
    let switching = Switching { labels: &labels, config: &config, args: &args };
    let (tables, written) = match (&args.marked, &args.sitelinks) {
        (Some(path), Some(sitelinks)) => {
            let sitelinks = Sitelinks::read(sitelinks)?;
            let mut texts = MarkedReader::open(path, args.source, &sitelinks)?;
            let written = switching.write(texts.by_ref(), &out, held_out)?;
            (texts.tables(), written)
        }
        _ => {
            let files = args.texts.iter().map(JsonlReader::<LinkedText>::open);
            let files: Vec<_> = files.collect::<Result<_, _>>()?;
            (0, switching.write(files.into_iter().flatten(), &out, held_out)?)
        }
    };
    let Written { report, left_out, counts } = written;
    out.finish("kg-triples switch", Some(args.seed), counts)?;
    bar.finish_and_clear();
    print(&report, tables, left_out);
    Ok(())
}

struct Switching<'a> {
    labels: &'a EntityLabels,
    config: &'a SwitchConfig,
    args: &'a Args,
}

/// What was written.
struct Written {
    report: SwitchReport,
    /// Texts that the form cannot hold.
    left_out: usize,
    counts: serde_json::Value,
}

impl Switching<'_> {
    fn write(
        &self,
        texts: impl Iterator<Item = Result<LinkedText, Error>>,
        out: &Out,
        held_out: EntityLabels,
    ) -> Result<Written, Error> {
        match self.args.format {
            Form::Linked => self.linked(texts, out, held_out),
            Form::EntityCs => self.tagged(texts, out),
        }
    }

    fn linked(
        &self,
        texts: impl Iterator<Item = Result<LinkedText, Error>>,
        out: &Out,
        held_out: EntityLabels,
    ) -> Result<Written, Error> {
        let Self { labels, config, args } = *self;
        let mut files = TextFiles::new(out, args.by_language, args.validation());
        let mut probe = LabelProbe::new(held_out);
        let report = switch_texts(texts, labels, config, |_, sentence, forms| {
            probe.note(sentence, args.source, forms);
            let source = args.with_source.then_some(sentence);
            let forms = forms.iter().map(|form| &form.text);
            source.into_iter().chain(forms).try_for_each(|text| files.write(text))
        })?;
        check_switched(&report)?;
        let mut counts = files.finish()?;
        if args.hold_out.is_some() {
            counts["probe: switched, held out"] = probe.write(out, labels, args.source)?;
        }
        Ok(Written { report, left_out: 0, counts })
    }

    fn tagged(
        &self,
        texts: impl Iterator<Item = Result<LinkedText, Error>>,
        out: &Out,
    ) -> Result<Written, Error> {
        let mut writer = JsonlWriter::create(out.file("train/corpus.jsonl.gz")?)?;
        let mut written = 0;
        let mut left_out = 0;
        let report = switch_texts(texts, self.labels, self.config, |number, sentence, forms| {
            let source = self.args.with_source.then_some(None);
            let forms = forms.iter().map(Some);
            for form in source.into_iter().chain(forms) {
                let form: Option<&SwitchedText> = form;
                match tagged_pair(number, sentence, form) {
                    Some(pair) => {
                        writer.write(&pair)?;
                        written += 1;
                    }
                    None => left_out += 1,
                }
            }
            Ok(())
        })?;
        if written == 0 && left_out > 0 {
            return Err(Error::Empty {
                what: format!("switched forms of {} sentences", report.sentences),
                hint: format!("{left_out} have tags in their text; --format linked holds them"),
            });
        }
        check_switched(&report)?;
        writer.finish()?;
        Ok(Written { report, left_out, counts: serde_json::json!({ "train": written }) })
    }
}

impl Args {
    fn validation(&self) -> Validation {
        Validation::new(self.validation, self.seed)
    }
}

fn check_switched(report: &SwitchReport) -> Done {
    if report.switched > 0 {
        return Ok(());
    }
    Err(Error::Empty {
        what: format!("switched forms of {} sentences", report.sentences),
        hint: format!(
            "{} texts are in another language than --source, {} sentences are too long, {} have no \
             mention, {} no language with the labels of all their mentions (see --rule)",
            report.other_language, report.too_long, report.without_mention, report.unswitched
        ),
    })
}

/// Writes the released corpus as linked texts.
fn untag(path: &PathBuf, args: &Args, out: Out) -> Done {
    let bar = spinner("reading");
    let mut files = TextFiles::new(&out, args.by_language, args.validation());
    let mut report = SwitchReport::default();
    for text in TaggedReader::open(path, args.with_source)? {
        let text = text?;
        let (texts, mentions) = report.by_language.entry(text.language).or_default();
        *texts += 1;
        *mentions += text.mentions.len();
        files.write(&text)?;
    }
    if report.by_language.is_empty() {
        let hint = "the file has no sentence".to_owned();
        return Err(Error::Empty { what: path.display().to_string(), hint });
    }
    let counts = files.finish()?;
    out.finish("kg-triples switch", Some(args.seed), counts)?;
    bar.finish_and_clear();
    by_language(&report);
    Ok(())
}

fn by_language(report: &SwitchReport) {
    let mut table = Table::default();
    table.row(["language", "texts", "mentions"]);
    for (language, (texts, mentions)) in &report.by_language {
        table.row([language.to_string(), texts.to_string(), mentions.to_string()]);
    }
    table.print();
}

fn print(report: &SwitchReport, tables: usize, left_out: usize) {
    by_language(report);
    blank_line();
    let mut table = Table::default();
    table.count("texts", report.texts);
    table.count("texts in other languages", report.other_language);
    if tables > 0 {
        table.count("lines of tables", tables);
    }
    table.count("sentences", report.sentences);
    table.count("too long", report.too_long);
    table.count("without a mention", report.without_mention);
    table.count("without a language", report.unswitched);
    table.count("switched", report.switched);
    table.count("mentions left out", report.overlapping);
    if left_out > 0 {
        table.count("with tags in their text, not written", left_out);
    }
    table.print();
}
