use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use kg_triples::entity_linking::{LinkedText, Sitelinks};
use kg_triples::jsonl::{JsonlReader, JsonlWriter};
use kg_triples::switch::{
    EntityLabels, LanguageRule, MarkedReader, SwitchConfig, SwitchReport, SwitchedText,
    TaggedReader, TextUnit, switch_texts, tagged_pair,
};
use kg_triples::{KgError, Language};
use serde::{Deserialize, Serialize};

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
    --languages de,zh --with-source --by-language --out switched
With pages of Wikipedia and an extract of Wikidata:
  kg-triples switch --texts linked.jsonl.gz --labels kg/labels.tsv \\
    --count 5 --seed 1 --out switched.jsonl.gz
With sentences that hold links as [[title|text]]:
  kg-triples switch --marked sentences.txt --sitelinks kg/sitelinks.tsv \\
    --labels kg/labels.tsv --out switched.jsonl.gz

A mention is switched if its entity has a label in one of --languages; a sentence is switched into
languages that have labels of all of these mentions, at most --count of them. The released corpus of
EntityCS is read with --tagged.")]
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
    /// Write a file for each language, switched.<lang>.jsonl.gz, into the folder --out
    #[arg(long, conflicts_with_all = ["format", "tagged"])]
    by_language: bool,
    /// Seed of all draws
    #[arg(long, default_value_t = SwitchConfig::default().seed)]
    seed: u64,
    /// JSONL file to write; compressed if it ends in .gz
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
    if let Some(path) = &args.tagged {
        return untag(path, &args);
    }
    if let (Form::EntityCs, false) = (args.format, args.source == Language::EN) {
        return Err(KgError::Config {
            key: "source",
            value: args.source.to_string(),
            rule: "en for --format entitycs",
        });
    }
    let bar = spinner("reading labels");
    let wanted = args.languages.as_deref();
    let labels = match (&args.labels, &args.entities) {
        (Some(path), _) => EntityLabels::read(path, wanted)?,
        (None, Some(folder)) => EntityLabels::read_pages(folder, wanted)?,
        (None, None) => EntityLabels::default(),
    };
    let languages = args.languages.clone();
    let languages = languages.unwrap_or_else(|| labels.languages().into_keys().collect());
    let config = SwitchConfig {
        source: args.source,
        languages,
        rule: args.rule,
        count: args.count,
        unit: args.unit,
        max_words: args.max_words,
        seed: args.seed,
    };
    config.validate()?;
    bar.set_message("switching");
    let (report, tables, left_out) = match (&args.marked, &args.sitelinks) {
        (Some(path), Some(sitelinks)) => {
            let sitelinks = Sitelinks::read(sitelinks)?;
            let mut texts = MarkedReader::open(path, args.source, &sitelinks)?;
            let (report, left_out) = write(texts.by_ref(), &labels, &config, &args)?;
            (report, texts.tables(), left_out)
        }
        _ => {
            let files = args.texts.iter().map(JsonlReader::<LinkedText>::open);
            let files: Vec<_> = files.collect::<Result<_, _>>()?;
            let (report, left_out) = write(files.into_iter().flatten(), &labels, &config, &args)?;
            (report, 0, left_out)
        }
    };
    bar.finish_and_clear();
    print(&report, tables, left_out);
    Ok(())
}

/// Switches and writes; also returns how many texts the form cannot hold.
fn write(
    texts: impl Iterator<Item = Result<LinkedText, KgError>>,
    labels: &EntityLabels,
    config: &SwitchConfig,
    args: &Args,
) -> Result<(SwitchReport, usize), KgError> {
    let (mut left_out, mut written) = (0, 0);
    let report = match args.format {
        Form::Linked => {
            let mut files = Files::new(args);
            let report = switch_texts(texts, labels, config, |_, sentence, forms| {
                let source = args.with_source.then_some(sentence);
                let forms = forms.iter().map(|form| &form.text);
                source.into_iter().chain(forms).try_for_each(|text| files.write(text))
            })?;
            finish(files.writers.into_values(), &report)?;
            report
        }
        Form::EntityCs => {
            let mut writer = JsonlWriter::create(&args.out)?;
            let report = switch_texts(texts, labels, config, |number, sentence, forms| {
                let source = args.with_source.then_some(None);
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
                return Err(KgError::Empty {
                    what: format!("switched forms of {} sentences", report.sentences),
                    hint: format!("{left_out} have tags in their text; --format linked holds them"),
                });
            }
            finish([writer], &report)?;
            report
        }
    };
    Ok((report, left_out))
}

/// Names the file, if something was switched.
fn finish<T: Serialize>(
    writers: impl IntoIterator<Item = JsonlWriter<T>>,
    report: &SwitchReport,
) -> Done {
    if report.switched == 0 {
        return Err(KgError::Empty {
            what: format!("switched forms of {} sentences", report.sentences),
            hint: format!(
                "{} texts are in another language than --source, {} sentences are too long, {} \
                 have no mention, {} no language with the labels of all their mentions (see --rule)",
                report.other_language, report.too_long, report.without_mention, report.unswitched
            ),
        });
    }
    JsonlWriter::finish_all(writers)
}

/// One file, or one for each language.
struct Files<'a> {
    args: &'a Args,
    writers: BTreeMap<Option<Language>, JsonlWriter<LinkedText>>,
}

impl<'a> Files<'a> {
    fn new(args: &'a Args) -> Self {
        Self { args, writers: BTreeMap::new() }
    }

    fn write(&mut self, text: &LinkedText) -> Done {
        let language = self.args.by_language.then_some(text.language);
        let writer = match self.writers.entry(language) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let out = &self.args.out;
                let path = language.map(|code| out.join(format!("switched.{code}.jsonl.gz")));
                entry.insert(JsonlWriter::create(path.as_ref().unwrap_or(out))?)
            }
        };
        writer.write(text)
    }
}

/// Writes the released corpus as linked texts.
fn untag(path: &PathBuf, args: &Args) -> Done {
    let bar = spinner("reading");
    let mut writer = JsonlWriter::create(&args.out)?;
    let mut report = SwitchReport::default();
    for text in TaggedReader::open(path, args.with_source)? {
        let text = text?;
        let (texts, mentions) = report.by_language.entry(text.language).or_default();
        *texts += 1;
        *mentions += text.mentions.len();
        writer.write(&text)?;
    }
    if report.by_language.is_empty() {
        let hint = "the file has no sentence".to_owned();
        return Err(KgError::Empty { what: path.display().to_string(), hint });
    }
    writer.finish()?;
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
