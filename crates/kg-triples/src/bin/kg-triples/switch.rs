use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::entity_linking::LinkedText;
use kg_triples::jsonl::JsonlReader;
use kg_triples::switch::{
    EntityLabels, LanguageRule, SwitchConfig, SwitchReport, TaggedReader, switch_texts,
};
use kg_triples::{Error, Language};

use crate::out::Out;
use crate::switched_files::{LabelProbe, TextFiles, Validation};
use crate::table::{Table, blank_line, print_texts};
use crate::{CommandResult, parse_choice};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples link --entities data/codex --languages en --out linked.jsonl.gz
  kg-triples switch --texts linked.jsonl.gz --entities data/codex \\
    --languages de,es,ar,zh --out switched.jsonl
  kg-triples switch --texts linked.jsonl.gz --entities data/codex \\
    --languages de,zh --with-source --by-language --hold-out 0.1 --out switched
With pages of Wikipedia and an extract of Wikidata:
  kg-triples switch --texts linked.jsonl.gz --labels kg/labels.tsv \\
    --count 5 --seed 1 --out switched.jsonl.gz
With the released corpus of EntityCS:
  kg-triples switch --tagged corpus.jsonl --out switched.jsonl.gz

A sentence is switched into at most --count of the --languages that have labels of all its mentions.
An entity without any label is ignored, and its text is unchanged. Languages of --pool take part in
the draw, but nothing is written in them. --tagged reads the released corpus of EntityCS.

A prepared folder contains training texts (train/), validation texts (validation/, with
--validation), and the labels of switched and of held-out entities (probe/, with --hold-out).")]
pub struct Args {
    /// JSONL files of linked texts: id, lang, text, mentions
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', required_unless_present = "tagged")]
    texts: Vec<PathBuf>,
    /// File in the format of the released EntityCS corpus; its sentences are only converted to
    /// linked texts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["texts", "labels", "entities"])]
    tagged: Option<PathBuf>,
    /// TSV file of entity labels: id, lang, label, kind
    #[arg(long, value_name = "FILE", required_unless_present_any = ["entities", "tagged"])]
    labels: Option<PathBuf>,
    /// Folder with entities.<lang>.jsonl[.gz], from which labels are read instead of --labels
    #[arg(long, value_name = "DIR", conflicts_with = "labels")]
    entities: Option<PathBuf>,
    /// Language of the texts
    #[arg(long, value_name = "LANG", default_value_t = SwitchConfig::default().source, value_parser = Language::plausible)]
    source: Language,
    /// Languages to switch into [default: all languages with labels]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", value_parser = Language::plausible)]
    languages: Option<Vec<Language>>,
    /// Additional languages that can be drawn for a sentence, but in which no sentence is written
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", requires = "languages", value_parser = Language::plausible)]
    pool: Vec<Language>,
    /// Languages that can be drawn for a sentence: shared (every labelled entity of the sentence
    /// has a label in the language) or per_mention (at least one entity has a label in the
    /// language)
    #[arg(long, default_value = "shared", value_parser = parse_choice::<LanguageRule>)]
    rule: LanguageRule,
    /// Maximum number of languages that are drawn per sentence
    #[arg(long, default_value_t = SwitchConfig::default().count)]
    count: usize,
    /// Maximum length of a sentence in words; longer sentences are skipped
    #[arg(long, default_value_t = SwitchConfig::default().max_words)]
    max_words: usize,
    /// Also write the original sentence before its switched forms
    #[arg(long)]
    with_source: bool,
    /// Write one file per language, train/switched.<lang>.jsonl.gz, to the folder --out
    #[arg(long)]
    by_language: bool,
    /// Fraction of the entities to hold out, selected by a hash of the id. Mentions of held-out
    /// entities are never switched
    #[arg(long, value_name = "FRACTION", conflicts_with = "tagged")]
    hold_out: Option<f64>,
    /// Random seed for the selection of held-out entities
    #[arg(long, default_value_t = 0, requires = "hold_out")]
    hold_out_seed: u64,
    /// Use wrong labels as a control: mentions are replaced by labels of other entities, drawn with
    /// this random seed
    #[arg(long, value_name = "SEED", conflicts_with = "tagged")]
    wrong_labels: Option<u64>,
    /// Number of texts per language that are held out for validation; they are selected by a hash
    /// of the id
    #[arg(long, value_name = "N", default_value_t = 0)]
    validation: usize,
    /// Random seed
    #[arg(long, default_value_t = SwitchConfig::default().seed)]
    seed: u64,
    /// JSONL file to write, compressed if it ends in .gz; or a prepared folder
    #[arg(long, value_name = "FILE.jsonl[.gz]|DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let needs_folder = args.by_language || args.hold_out.is_some() || args.validation > 0;
    let rule = "a folder for --by-language, --hold-out and --validation";
    let out = Out::start(&args.out, needs_folder.then_some(rule))?;
    let output = TextOutput::next_to([&args.out]);
    if let Some(path) = &args.tagged {
        return convert_tagged(path, &args, out);
    }
    let fraction = args.hold_out.unwrap_or(0.0);
    if !(0.0..1.0).contains(&fraction) {
        let value = fraction.to_string();
        return Err(Error::Config { key: "hold_out", value, rule: "from 0 to below 1" });
    }
    let bar = spinner("reading labels");
    let label_languages = args.languages.clone().map(|mut languages| {
        languages.extend(args.pool.iter().chain([&args.source]));
        languages
    });
    let mut labels = match (&args.labels, &args.entities) {
        (Some(path), _) => EntityLabels::read(path, label_languages.as_deref())?,
        (None, Some(folder)) => EntityLabels::read_pages(folder, label_languages.as_deref())?,
        (None, None) => EntityLabels::default(),
    };
    let languages = args.languages.clone();
    let languages = languages.unwrap_or_else(|| labels.label_counts().into_keys().collect());
    let held_out = labels.hold_out(fraction, args.hold_out_seed);
    if let Some(seed) = args.wrong_labels {
        labels.assign_wrong_labels(args.source, seed);
    }
    let config = SwitchConfig {
        source: args.source,
        languages,
        pool: args.pool.clone(),
        rule: args.rule,
        count: args.count,
        max_words: args.max_words,
        seed: args.seed,
    };
    config.validate()?;
    bar.set_message("switching");
    let files = args.texts.iter().map(JsonlReader::<LinkedText>::open);
    let texts: Vec<_> = files.collect::<Result<_, _>>()?;
    let validation = Validation::new(args.validation, args.seed);
    let mut files = TextFiles::new(&out, args.by_language, validation);
    let mut probe = LabelProbe::new(held_out);
    let report =
        switch_texts(texts.into_iter().flatten(), &labels, &config, |_, sentence, forms| {
            probe.record(sentence, args.source, forms);
            let source = args.with_source.then_some(sentence);
            let forms = forms.iter().map(|form| &form.text);
            source.into_iter().chain(forms).try_for_each(|text| files.write(text))
        })?;
    check_switched(&report)?;
    let mut counts = files.finish()?;
    if args.hold_out.is_some() {
        counts["probe: switched, held out"] = probe.write(&out, &labels, args.source)?;
    }
    out.finish("kg-triples switch", Some(args.seed), counts)?;
    bar.finish_and_clear();
    print(&report, output);
    Ok(())
}

fn check_switched(report: &SwitchReport) -> CommandResult {
    if report.switched > 0 {
        return Ok(());
    }
    Err(Error::Empty {
        what: format!("switched forms of {} sentences", report.sentences),
        hint: format!(
            "{} texts are in another language than --source, {} sentences are too long, {} have no \
             mention, {} no language with labels of all their mentions (see --rule)",
            report.other_language, report.too_long, report.without_mention, report.unswitched
        ),
    })
}

/// Converts sentences of the released corpus to linked texts.
fn convert_tagged(path: &PathBuf, args: &Args, out: Out) -> CommandResult {
    let output = TextOutput::next_to([&args.out]);
    let bar = spinner("reading");
    let validation = Validation::new(args.validation, args.seed);
    let mut files = TextFiles::new(&out, args.by_language, validation);
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
    print_texts(&report.by_language, output);
    Ok(())
}

fn print(report: &SwitchReport, output: TextOutput) {
    print_texts(&report.by_language, output);
    blank_line(output);
    let mut table = Table::default();
    table.add_count("texts", report.texts);
    table.add_count("texts in other languages", report.other_language);
    table.add_count("sentences", report.sentences);
    table.add_count("too long", report.too_long);
    table.add_count("without a mention", report.without_mention);
    table.add_count("without a language", report.unswitched);
    table.add_count("switched", report.switched);
    table.add_count("skipped mentions", report.overlapping);
    table.print(output);
}
