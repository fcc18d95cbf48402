use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mlqa_eval::{Dataset, DatasetName, Language, TableLanguage};
use qa_translate::{Error, MixConfig, Pairs, mix, read_translations};
use serde_json::Value;
use shards::{Preparation, PreparedFolder};

use crate::{CommandResult, print_line};

/// Create rows with question and passage in different languages
///
/// The source language is combined with every translated language in both directions, so there are
/// two rows for each question and translated language.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate translate --in data/xquad/xquad.en.json --split xquad \\
    --parallel de=data/xquad/xquad.de.json,es=data/xquad/xquad.es.json \\
    --out translated
  qa-translate mix --in data/xquad/xquad.en.json --translated translated \\
    --split xquad --out mixed
  qa-translate mix --in data/xquad/xquad.en.json --translated translated \\
    --split xquad --to de,es --all-pairs --out all

The prepared folder has one file per pair of languages, named like MLQA's files, and manifest.json
with the counts and the command.")]
pub struct Args {
    /// Source questions of the translations in --translated, SQuAD JSON or rows
    #[arg(long = "in", value_name = "FILE")]
    source: PathBuf,
    /// Language of the source data
    #[arg(long, default_value = "en", value_name = "LANG", value_parser = Language::registered)]
    from: Language,
    /// Output folder of `qa-translate translate`
    #[arg(long, value_name = "DIR")]
    translated: PathBuf,
    /// Languages to mix [default: all languages of the folder]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…", value_parser = Language::registered)]
    to: Option<Vec<Language>>,
    /// Prefix of the file names
    #[arg(long, default_value = "train")]
    split: String,
    /// Mix all pairs of languages, instead of only the pairs with the source language
    #[arg(long)]
    all_pairs: bool,
    /// Also use questions whose translated passage was discarded
    #[arg(long)]
    without_pair: bool,
    /// Random seed of the order of rows
    #[arg(long, default_value_t = MixConfig::default().seed)]
    seed: u64,
    /// Prepared folder to write, with one file per pair of languages
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Returns the languages x of the files `{split}-context-x-question-x.json` in a folder, in table
/// order.
fn translated_languages(folder: &Path, split: &str) -> Result<Vec<Language>, Error> {
    let mut languages = BTreeSet::new();
    for entry in atomic_file::fs::read_dir(folder)? {
        let file = entry?.file_name();
        let name = file.to_str().and_then(|file| file.parse::<DatasetName>().ok());
        let name = name.filter(|name| name.split == split && name.context == name.question);
        languages.extend(name.map(|name| TableLanguage(name.context)));
    }
    Ok(languages.into_iter().map(|TableLanguage(language)| language).collect())
}

pub fn run(args: &Args) -> CommandResult {
    if let (Ok(out), Ok(translated)) = (args.out.canonicalize(), args.translated.canonicalize())
        && out == translated
    {
        return Err(Error::Config {
            key: "--out",
            value: out.display().to_string(),
            rule: "another folder than --translated, whose files have the same names",
        });
    }
    let source = Dataset::read(&args.source)?;
    let languages: Vec<Language> = match &args.to {
        Some(languages) => languages.clone(),
        None => translated_languages(&args.translated, &args.split)?,
    };
    let languages: Vec<Language> = languages.into_iter().filter(|&to| to != args.from).collect();
    if languages.is_empty() {
        return Err(Error::Empty {
            hint: format!(
                "no {}-context-x-question-x.json of another language in {}",
                args.split,
                args.translated.display()
            ),
        });
    }
    let with_source_passages = args.without_pair;
    let translations = read_translations(
        &args.translated,
        &args.split,
        args.from,
        &languages,
        with_source_passages,
    )?;
    let config = MixConfig {
        source_language: args.from,
        pairs: if args.all_pairs { Pairs::AllPairs } else { Pairs::Source },
        require_pair: !args.without_pair,
        seed: args.seed,
    };
    let mixed = mix(&source, &translations, &config)?;
    let folder = PreparedFolder::start(&args.out)?;
    mixed.write_pairs(&folder.file("")?, &args.split)?;
    let rows = mixed.report.in_table_order().into_iter();
    let rows = rows.map(|(context, question, rows)| (format!("{context}-{question}"), rows.into()));
    let counts = Value::Object(rows.collect());
    let seed = Some(args.seed);
    let (arguments, inputs) = (cli::arguments(), cli::inputs());
    folder.finish(Preparation { program: "qa-translate mix", arguments, inputs, seed, counts })?;
    for (context, question, count) in mixed.report.in_table_order() {
        print_line(&format!("context {context}, question {question}: {count} rows"));
    }
    if mixed.report.without_pair > 0 {
        print_line(&format!("{} rows have no translated passage", mixed.report.without_pair));
    }
    Ok(())
}
