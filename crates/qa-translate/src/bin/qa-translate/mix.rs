use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mlqa_eval::{Dataset, DatasetName, Language, TableOrder};
use qa_translate::{Error, MixConfig, Pairs, mix, read_translations};
use serde_json::Value;
use shards::{Preparation, Preparing};

use crate::{Done, say};

/// Make rows with question and passage in different languages.
///
/// English with each other language, in both directions: two rows for each question and language.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  qa-translate translate --in data/xquad/xquad.en.json --split xquad \\
    --parallel de=data/xquad/xquad.de.json,es=data/xquad/xquad.es.json \\
    --out translated
  qa-translate mix --in data/xquad/xquad.en.json --translated translated \\
    --split xquad --out mixed
  qa-translate mix --in data/xquad/xquad.en.json --translated translated \\
    --split xquad --to de,es --all-pairs --one-file mixed.json

--out prepares a folder with a file for each pair of languages, named as MLQA
names its files, and how they were made in manifest.json;
--one-file writes all rows, shuffled, with question_language and context_language
beside each question.")]
pub struct Args {
    /// The questions that were translated, SQuAD-style JSON or rows
    #[arg(long = "in", value_name = "FILE")]
    source: PathBuf,
    /// Their language
    #[arg(long, default_value = "en", value_name = "LANG")]
    from: Language,
    /// Folder that `qa-translate translate` wrote
    #[arg(long, value_name = "DIR")]
    translated: PathBuf,
    /// Languages to mix in [default: all that the folder has]
    #[arg(long, value_delimiter = ',', value_name = "LANG,…")]
    to: Option<Vec<Language>>,
    /// The first word of the file names
    #[arg(long, default_value = "train")]
    split: String,
    /// Mix every two languages, not only the source's with each other
    #[arg(long)]
    all_pairs: bool,
    /// Also use questions whose translated passage was discarded
    #[arg(long)]
    without_pair: bool,
    /// Seed of the order of rows
    #[arg(long, default_value_t = MixConfig::default().seed)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Output {
    /// Prepared folder for one file for each pair of languages
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One file for all rows
    #[arg(long, value_name = "FILE")]
    one_file: Option<PathBuf>,
}

/// The languages x of a folder's files `{split}-context-x-question-x.json`, in table order.
fn translated_languages(folder: &Path, split: &str) -> Result<Vec<Language>, Error> {
    let failed = || Error::io(folder, "read the folder");
    let mut languages = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let file = entry.map_err(failed())?.file_name();
        let name = file.to_str().and_then(|file| file.parse::<DatasetName>().ok());
        let name = name.filter(|name| name.split == split && name.context == name.question);
        languages.extend(name.map(|name| TableOrder(name.context)));
    }
    Ok(languages.into_iter().map(|TableOrder(language)| language).collect())
}

pub fn run(args: &Args) -> Done {
    if let Some(out) = &args.output.out
        && let (Ok(out), Ok(translated)) = (out.canonicalize(), args.translated.canonicalize())
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
    let reworded = args.without_pair;
    let translations =
        read_translations(&args.translated, &args.split, args.from, &languages, reworded)?;
    let config = MixConfig {
        source_language: args.from,
        pairs: if args.all_pairs { Pairs::AllPairs } else { Pairs::Source },
        require_pair: !args.without_pair,
        seed: args.seed,
    };
    let mixed = mix(&source, &translations, &config)?;
    if let Some(out) = &args.output.out {
        let folder = Preparing::start(out)?;
        mixed.write_pairs(&folder.file("")?, &args.split)?;
        let rows = mixed.report.in_table_order().into_iter();
        let rows =
            rows.map(|(context, question, rows)| (format!("{context}-{question}"), rows.into()));
        let counts = Value::Object(rows.collect());
        let seed = Some(args.seed);
        folder.finish(Preparation { program: "qa-translate mix", seed, counts })?;
    }
    if let Some(path) = &args.output.one_file {
        mixed.write_one(path)?;
    }
    for (context, question, count) in mixed.report.in_table_order() {
        say(&format!("context {context}, question {question}: {count} rows"));
    }
    if mixed.report.without_pair > 0 {
        say(&format!("{} of them without a translated passage", mixed.report.without_pair));
    }
    Ok(())
}
