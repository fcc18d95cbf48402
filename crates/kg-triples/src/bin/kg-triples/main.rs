//! `kg-triples`: builds training data from knowledge graphs and linked texts.
mod entailment;
mod extract;
mod link;
mod matching;
mod mentions;
mod mix;
mod names;
mod out;
mod pairs;
mod phrases;
mod sample;
mod sources;
mod stats;
mod switch;
mod switched_files;
mod table;
mod texts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kg_triples::{Error, Language};
use tokenizers::Tokenizer;

/// Build training data from knowledge graphs and linked texts.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kg-triples extract --dump crates/testkit/fixtures/dump.json \\
    --languages en,de --out kg
  kg-triples stats --in data/demo/kg
  kg-triples sample --kg data/demo/kg --languages en,de,zh --count 100 \\
    --seed 1 --out sampled
  kg-triples names --candidates crates/testkit/fixtures/names.jsonl \\
    --out names.jsonl
  kg-triples mix --in sampled --tokenizer data/base --pairs en-de \\
    --out en-de.jsonl.gz
  kg-triples texts --in sampled --out texts
  kg-triples link --entities data/codex --languages de,en --out linked.jsonl.gz
  kg-triples switch --texts linked.jsonl.gz --source de \\
    --entities data/codex --languages en,es --out switched.jsonl
  kg-triples match --first crates/testkit/fixtures/matching/facts.jsonl \
    --second crates/testkit/fixtures/matching/claims.jsonl --out matches.run
  kg-triples mentions --entities data/codex --languages en,de --count 100 \\
    --tokenizer data/base --out mentions
  kg-triples entailment --kg data/mini-kg --synthetic --tokenizer data/base \\
    --out triples
  kg-triples pairs --kg data/demo/kg --hold-out 0.2 --out pairs
  kg-triples phrases --queries crates/testkit/fixtures/queries.jsonl \\
    --min-chars 0 --unequal --out passages.jsonl.gz

A folder of triples contains triples.tsv (head_id, relation_id, tail_id) and
labels.tsv (id, lang, label, kind). Exit code 2 and one line on stderr mean
invalid input or an invalid path.";

#[derive(Subcommand)]
enum Command {
    /// Extract triples and labels from a Wikidata dump
    Extract(extract::Args),
    /// Rank the names of each entity by the number of sources that propose them
    Names(names::Args),
    /// Sample triples that have labels in all requested languages
    Sample(sample::Args),
    /// Build monolingual, mixed and concatenated masked sequences
    Mix(mix::Args),
    /// Write triples as plain text, one file per language
    Texts(texts::Args),
    /// Write texts with linked mentions of entities
    Link(link::Args),
    /// Match texts and records of two corpora without labelled data
    Match(matching::Args),
    /// Combine linked mentions in texts with descriptions of the mentioned entities
    Mentions(mentions::Args),
    /// Combine triples with descriptions of their subject and object
    Entailment(entailment::Args),
    /// Build pairs of texts about one entity, for contrastive training
    Pairs(pairs::Args),
    /// Mine knowledge phrases from queries, and passages that contain these phrases
    Phrases(phrases::Args),
    /// Replace linked mentions in sentences by labels in other languages
    Switch(switch::Args),
    /// Count triples and labels by language and relation
    Stats(stats::Args),
}

fn main() -> ExitCode {
    cli::protect_inputs();
    let command = match cli::parse() {
        Ok(Cli { command }) => command,
        Err(code) => return code,
    };
    let result = match command {
        Command::Extract(args) => extract::run(args),
        Command::Names(args) => names::run(args),
        Command::Sample(args) => sample::run(args),
        Command::Mix(args) => mix::run(args),
        Command::Texts(args) => texts::run(args),
        Command::Link(args) => link::run(args),
        Command::Match(args) => matching::run(args),
        Command::Mentions(args) => mentions::run(args),
        Command::Entailment(args) => entailment::run(args),
        Command::Pairs(args) => pairs::run(args),
        Command::Phrases(args) => phrases::run(args),
        Command::Switch(args) => switch::run(args),
        Command::Stats(args) => stats::run(args),
    };
    cli::end(result)
}

/// Loads a `tokenizer.json` from a file or from the folder that contains it.
fn load_tokenizer(path: &Path) -> Result<Tokenizer, Error> {
    tokenizer_file::read(path)
        .map_err(|error| Error::Tokenizer(format!("{error} (change --tokenizer)")))
}

/// Parses an enum variant by its serde name; hyphens are accepted in place of underscores.
fn parse_choice<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.replace('-', "_").into()).map_err(|error| error.to_string())
}

/// Returns an error if the option `--count` is 0, because the output would be empty.
fn check_positive<N: From<u8> + PartialEq>(count: Option<N>) -> CommandResult {
    match count == Some(N::from(0)) {
        true => Err(Error::Config { key: "count", value: "0".into(), rule: "1 or more" }),
        false => Ok(()),
    }
}

/// Parses `en=enwiki.jsonl.gz`.
fn parse_language_file(text: &str) -> Result<(Language, PathBuf), String> {
    let (code, path) =
        text.split_once('=').ok_or("expected language=file, such as en=enwiki.jsonl.gz")?;
    Ok((Language::plausible(code).map_err(|error| error.to_string())?, path.into()))
}

/// The result of a command.
type CommandResult = Result<(), Error>;
