use std::ffi::OsStr;
use std::path::PathBuf;

use kg_triples::Error;
use kg_triples::jsonl::{self, JsonlReader};
use kg_triples::names::{NameCandidate, Votes, write_labels};

use crate::table::Table;
use crate::{CommandResult, spinner};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples names --labels crates/testkit/fixtures/countries/labels.tsv \\
    --candidates crates/testkit/fixtures/names.jsonl --out names.jsonl
  kg-triples names --candidates crates/testkit/fixtures/names.jsonl \\
    --threshold 3 --out labels.tsv

A line of --candidates:
  {\"entity\": \"Q183\", \"lang\": \"de\", \"name\": \"Deutschland\", \"source\": \"mt:en\"}
A source has one vote for a name of an entity in a language. Name it by method and source
language. \"primary\": true marks a name that a source lists first, as labels before aliases.
Case, punctuation and symbols are ignored. An --out that ends in .tsv contains the best name
of each entity; any other contains lines of entity, lang and values: [support, name, primary], best
first.")]
pub struct Args {
    /// JSONL files of name candidates: entity, lang, name, source
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', required = true)]
    candidates: Vec<PathBuf>,
    /// TSV file of labels (id, lang, label, kind), which are added as candidates of a source named
    /// labels
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Minimum number of sources that propose a name
    #[arg(long, default_value_t = 2, value_name = "N")]
    threshold: usize,
    /// Output file: labels.tsv, or JSON lines
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let bar = spinner("reading");
    let mut votes = Votes::default();
    if let Some(labels) = &args.labels {
        votes.add_labels(labels)?;
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
    table.count("candidates", report.candidates);
    table.count("without a letter or number", report.symbols_only);
    table.count("names", report.names);
    table.count("names with enough support", report.accepted);
    table.count("entities with such a name, by language", report.entities);
    table.print();
    Ok(())
}
