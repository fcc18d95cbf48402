use std::ffi::OsStr;
use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::Error;
use kg_triples::jsonl::{self, JsonlReader};
use kg_triples::names::{NameCandidate, Votes, write_labels};

use crate::CommandResult;
use crate::table::Table;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples names --labels crates/testkit/fixtures/countries/labels.tsv \\
    --candidates crates/testkit/fixtures/names.jsonl --out names.jsonl
  kg-triples names --candidates crates/testkit/fixtures/names.jsonl \\
    --threshold 3 --out labels.tsv

A line of --candidates:
  {\"entity\": \"Q183\", \"lang\": \"de\", \"name\": \"Deutschland\", \"source\": \"mt:en\"}
A source has one vote for a name of an entity in a language. The id of a source should contain
the method and the language of its input. \"primary\": true marks the preferred name of a source,
such as a label in contrast to aliases. Names that differ only in case, punctuation, symbols,
Unicode normal form, invisible characters or optional marks (such as Arabic vowel signs) are the
same; diacritics, tone marks and viramas distinguish names. If --out ends in .tsv, it contains the best name of each entity and language. Otherwise
a line has entity, lang and values: a list of [support, name, primary], best first.")]
pub struct Args {
    /// JSONL files of name candidates, whose lines have entity, lang, name, source
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', required = true)]
    candidates: Vec<PathBuf>,
    /// TSV file of labels (id, lang, label, kind); labels of entities are added as candidates of a
    /// source with the id "labels"
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// TSV file of aliases (id, lang, alias, kind, source); aliases of entities are added as
    /// candidates of the source "labels" that are not primary
    #[arg(long, value_name = "FILE")]
    aliases: Option<PathBuf>,
    /// Minimum number of sources that must propose a name
    #[arg(long, default_value_t = 2, value_name = "N")]
    threshold: usize,
    /// Output file: a table of labels if it ends in .tsv, otherwise JSON lines
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let bar = spinner("reading");
    let mut votes = Votes::default();
    if let Some(labels) = &args.labels {
        votes.add_labels(labels)?;
    }
    if let Some(aliases) = &args.aliases {
        votes.add_aliases(aliases)?;
    }
    for path in &args.candidates {
        for candidate in JsonlReader::<NameCandidate>::open(path)? {
            votes.add(candidate?);
        }
    }
    let (names, report) = votes.rank(args.threshold);
    if names.is_empty() {
        return Err(Error::Empty {
            what: args.out.display().to_string(),
            hint: format!(
                "none of {} names has the support of {} sources; lower --threshold or add sources",
                report.names, args.threshold
            ),
        });
    }
    match args.out.extension() == Some(OsStr::new("tsv")) {
        true => write_labels(&args.out, &names)?,
        false => jsonl::write(&args.out, &names)?,
    }
    bar.finish_and_clear();

    let mut table = Table::default();
    table.add_count("candidates", report.candidates);
    table.add_count("without a letter or number", report.symbols_only);
    table.add_count("names", report.names);
    table.add_count("names with enough support", report.accepted);
    table.add_count("entities with such a name, by language", report.entities);
    table.print(TextOutput::next_to([&args.out]));
    Ok(())
}
