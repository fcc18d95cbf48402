use std::error::Error as AnyError;
use std::path::{Path, PathBuf};

use mlqa_eval::Language;
use qa_translate::{
    BySearch, Error, SpanReport, TranslatedSpans, Translator, TypedText, translate_spans_with,
};
use serde_json::json;
use shards::{Preparation, PreparedFolder};
use transfer_eval::ner::{Scheme, Sentence, find_entities, read_ner, write_ner};

use crate::provider::{OnProgress, Options, check_unique, format_replies};
use crate::{CommandResult, format_dropped, print_line};

/// Translate tagged sentences and project their entities
///
/// Reads the formats of `transfer-eval ner`: CoNLL columns, WikiAnn or Universal NER, plain or
/// gzip-compressed. Writes `<name>.<language>.conll` for each language to the prepared folder
/// --out, with a word, a tab and its tag (IOB2) per line. Sentences with an entity that is not
/// found in the translation are skipped.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate ner --in crates/testkit/fixtures/translate/en.conll --to fr \\
    --file crates/testkit/fixtures/translate/fr.jsonl --out french
With a LibreTranslate-compatible server, or a language model:
  qa-translate ner --in train.conll --to de,zh --out translated \\
    --server http://localhost:5000
  qa-translate ner --in train.conll --to de --out translated --nearest \\
    --chat http://localhost:8080 --model gemma

Translations of a server are cached after each batch, next to --out in
<out>.cache.<language>.jsonl or in --cache; the same command resumes an interrupted
run.")]
pub struct Args {
    /// Sentences to translate
    #[arg(long = "in", value_name = "FILE")]
    source: PathBuf,
    /// Language of the source data
    #[arg(long, default_value = "en", value_name = "LANG", value_parser = Language::registered)]
    from: Language,
    /// Languages to translate into
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", required = true, value_parser = Language::registered)]
    to: Vec<Language>,
    #[command(flatten)]
    options: Options,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Returns the name of a file without `.gz` and extension.
fn stem(path: &Path) -> String {
    let name = path.file_name().expect("a file that was read has a name").to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

/// Converts a sentence to a text with its entities. The untokenised text of the sentence is used if
/// it consists of the words.
fn typed_text(sentence: &Sentence, language: Language) -> Result<TypedText, Error> {
    let mut spans: Vec<_> = find_entities(&sentence.tags, Scheme::Lenient).into_iter().collect();
    spans.sort_by_key(|entity| entity.start);
    let spans = spans.into_iter().map(|entity| (entity.start..entity.end + 1, entity.kind));
    let spans: Vec<_> = spans.collect();
    if let Some(text) = &sentence.text
        && let Some(text) = TypedText::from_sentence(text, &sentence.words, spans.clone())?
    {
        return Ok(text);
    }
    TypedText::from_words(&sentence.words, spans, language)
}

fn print_summary(to: Language, kept: usize, report: &SpanReport) {
    let found: usize = report.found.values().sum();
    let methods: Vec<String> =
        report.found.iter().map(|(method, count)| format!("{count} by {method}")).collect();
    let methods =
        if methods.is_empty() { String::new() } else { format!(" ({})", methods.join(", ")) };
    print_line(&format!(
        "{to}: {kept} of {} sentences kept, {found} of {} entities found{methods}{}{}",
        report.texts,
        report.spans,
        format_dropped("entity", &report.dropped),
        format_replies(&report.replies)
    ));
}

pub fn run(args: &Args) -> Result<(), Box<dyn AnyError>> {
    // The source language is not a valid target.
    check_unique(args.to.iter().chain([&args.from]))?;
    let source = read_ner(&args.source, None)?;
    let source = source.iter().map(|sentence| typed_text(sentence, args.from));
    let source: Vec<TypedText> = source.collect::<Result<_, Error>>()?;
    // The output folder is checked before the translation, which may take hours. The folder is
    // created only at the end, so that a killed run leaves no temporary folder.
    drop(PreparedFolder::start(&args.out)?);
    // Of `.`, only the absolute path has a name.
    let out = match args.out.file_name() {
        Some(_) => args.out.clone(),
        None => std::path::absolute(&args.out)?,
    };
    let name = out.file_name().expect("a prepared folder has a name").to_string_lossy();
    let cache = |to: Language| out.with_file_name(format!("{name}.cache.{to}.jsonl"));
    let (mut files, mut counts) = (Vec::new(), serde_json::Map::new());
    let finish = |to: Language, translated: TranslatedSpans| -> CommandResult {
        let TranslatedSpans { texts, report } = translated;
        let kept = texts.into_iter().zip(&source).filter_map(|(text, source)| {
            let text = text?;
            (text.spans.len() == source.spans.len()).then(|| {
                let (words, tags) = text.words();
                Sentence { words, tags, ..Sentence::default() }
            })
        });
        let kept: Vec<Sentence> = kept.collect();
        print_summary(to, kept.len(), &report);
        if kept.is_empty() {
            return Err(Error::Empty { hint: format!("no sentence was kept for {to}") });
        }
        counts.insert(to.to_string(), json!({"kept": kept.len(), "report": report}));
        files.push((format!("{}.{to}.conll", stem(&args.source)), kept));
        Ok(())
    };
    let translate = |to, translator: &mut dyn Translator, progress: OnProgress<'_>| {
        let mut placer = BySearch { config: args.options.search() };
        let notation = args.options.notation(|| source.clone(), args.from, to, translator)?;
        translate_spans_with(&source, args.from, to, translator, notation, &mut placer, progress)
    };
    args.options.for_each_language(&args.to, cache, translate, finish)?;
    let folder = PreparedFolder::start(&args.out)?;
    for (name, sentences) in files {
        write_ner(folder.file(name)?, &sentences)?;
    }
    folder.finish(Preparation {
        program: "qa-translate ner",
        arguments: cli::arguments(),
        inputs: cli::inputs(),
        seed: None,
        counts: counts.into(),
    })?;
    Ok(())
}
