use std::error::Error as AnyError;
use std::path::{Path, PathBuf};

use mlqa_eval::Language;
use qa_translate::{
    BySearch, Error, SpanReport, TranslatedSpans, Translator, TypedText, translate_spans,
};
use serde_json::json;
use shards::{Preparation, Preparing};
use transfer_eval::ner::{Scheme, Sentence, entities, read_ner, write_ner};

use crate::provider::{Options, Progress, each_once};
use crate::{Done, dropped, say};

/// Translate tagged sentences and find their entities again.
///
/// Reads what `transfer-eval ner` reads: CoNLL columns, WikiAnn or Universal NER, plain or packed
/// by gzip. Writes `<name>.<language>.conll` for each language into the prepared folder --out: a word,
/// a tab and its tag (IOB2) a line. A sentence of which an entity was not found again is left out.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate ner --in crates/testkit/fixtures/translate/en.conll --to fr \\
    --file crates/testkit/fixtures/translate/fr.jsonl --out french
With a server that speaks as LibreTranslate does, or a language model:
  qa-translate ner --in train.conll --to de,zh --out translated \\
    --server http://localhost:5000
  qa-translate ner --in train.conll --to de --out translated --nearest \\
    --chat http://localhost:8080 --model gemma

What a server translates is kept after each batch, beside --out in
<out>.cache.<language>.jsonl or in --cache; the same command goes on where it was
stopped.")]
pub struct Args {
    /// Sentences to translate
    #[arg(long = "in", value_name = "FILE")]
    source: PathBuf,
    /// Language of the source data
    #[arg(long, default_value = "en", value_name = "LANG")]
    from: Language,
    /// Languages to translate into
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", required = true)]
    to: Vec<Language>,
    #[command(flatten)]
    options: Options,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Returns a file's name without `.gz` and extension.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

/// Converts a sentence to a text with its entities.
fn text(sentence: &Sentence, language: Language) -> Result<TypedText, Error> {
    let mut spans: Vec<_> = entities(&sentence.tags, Scheme::Lenient).into_iter().collect();
    spans.sort_by_key(|entity| entity.start);
    let spans = spans.into_iter().map(|entity| (entity.start..entity.end + 1, entity.kind));
    TypedText::from_words(&sentence.words, spans, language)
}

fn print(to: Language, kept: usize, report: &SpanReport) {
    let found: usize = report.found.values().sum();
    let ways: Vec<String> =
        report.found.iter().map(|(way, count)| format!("{count} by {way}")).collect();
    let ways = if ways.is_empty() { String::new() } else { format!(" ({})", ways.join(", ")) };
    say(&format!(
        "{to}: {kept} of {} sentences kept, {found} of {} entities found{ways}{}",
        report.texts,
        report.spans,
        dropped("entity", &report.dropped)
    ));
}

pub fn run(args: &Args) -> Result<(), Box<dyn AnyError>> {
    // The source language is not a valid target.
    each_once(args.to.iter().chain([&args.from]))?;
    let source = read_ner(&args.source, None)?;
    let source = source.iter().map(|sentence| text(sentence, args.from));
    let source: Vec<TypedText> = source.collect::<Result<_, Error>>()?;
    // The output folder is checked before hours of work; a killed run leaves no part of it.
    drop(Preparing::start(&args.out)?);
    let name = args.out.file_name().unwrap_or_default().to_string_lossy();
    let cache = |to: Language| args.out.with_file_name(format!("{name}.cache.{to}.jsonl"));
    let (mut files, mut counts) = (Vec::new(), serde_json::Map::new());
    let finish = |to: Language, translated: TranslatedSpans| -> Done {
        let TranslatedSpans { texts, report } = translated;
        let kept = texts.into_iter().zip(&source).filter_map(|(text, source)| {
            let text = text?;
            (text.spans.len() == source.spans.len()).then(|| {
                let (words, tags) = text.words();
                Sentence { words, tags, ..Sentence::default() }
            })
        });
        let kept: Vec<Sentence> = kept.collect();
        print(to, kept.len(), &report);
        if kept.is_empty() {
            return Err(Error::Empty { hint: format!("no sentence was kept for {to}") });
        }
        counts.insert(to.to_string(), json!({"kept": kept.len(), "report": report}));
        files.push((format!("{}.{to}.conll", stem(&args.source)), kept));
        Ok(())
    };
    let work = |to, translator: &mut dyn Translator, progress: Progress<'_>| {
        let mut place = BySearch { config: args.options.search() };
        translate_spans(&source, args.from, to, translator, &mut place, progress)
    };
    args.options.each(&args.to, cache, work, finish)?;
    let folder = Preparing::start(&args.out)?;
    for (name, sentences) in files {
        write_ner(folder.file(name)?, &sentences)?;
    }
    folder.finish(Preparation {
        program: "qa-translate ner",
        seed: None,
        counts: counts.into(),
    })?;
    Ok(())
}
