use std::collections::BTreeMap;
use std::path::PathBuf;

use cli::{TextOutput, spinner};
use kg_triples::jsonl::{self, JsonlReader};
use kg_triples::phrases::{PhraseConfig, PhraseMiner, PhraseReport, QueryDocuments, mine_passages};
use kg_triples::{Error, Language};

use crate::CommandResult;
use crate::out::Out;
use crate::table::Table;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples phrases --queries crates/testkit/fixtures/queries.jsonl \\
    --min-chars 0 --unequal --out passages.jsonl.gz
With your queries:
  kg-triples phrases --queries zh.jsonl --min-chars 150 --out passages.jsonl
  kg-triples phrases --queries de.jsonl --title-fraction 1/2 \\
    --out passages.jsonl.gz

A line of --queries is a query with its results, best first:
  {\"query\": \"…\", \"lang\": \"en\",
   \"documents\": [{\"title\": \"…\", \"text\": \"…\"}]}
A line of --out is a passage with its phrases; offsets are in Unicode code
points:
  {\"lang\": \"en\", \"text\": \"…\", \"phrases\": [{\"phrase\": \"…\",
   \"occurrences\": [{\"start\": 4, \"end\": 19}]}]}")]
pub struct Args {
    /// JSONL files of queries with their documents (search results)
    #[arg(long, required = true, value_name = "FILE,…", value_delimiter = ',')]
    queries: Vec<PathBuf>,
    /// Number of search results used per query
    #[arg(long, default_value_t = PhraseConfig::default().titles)]
    titles: usize,
    /// Fraction of the titles that must contain a phrase, such as 0.7 or 7/10
    #[arg(long, default_value_t = PhraseConfig::default().title_fraction, value_parser = parse_fraction)]
    title_fraction: f64,
    /// Minimum length of a passage in code points
    #[arg(long, default_value_t = PhraseConfig::default().min_chars)]
    min_chars: usize,
    /// Write all passages instead of an equal number of passages per language
    #[arg(long)]
    unequal: bool,
    /// Random seed of the selection of passages
    #[arg(long, default_value_t = PhraseConfig::default().seed)]
    seed: u64,
    /// JSONL file to write, compressed if it ends in .gz; or a prepared folder
    #[arg(long, value_name = "FILE.jsonl[.gz]|DIR")]
    out: PathBuf,
}

pub fn run(args: Args) -> CommandResult {
    let out = Out::start(&args.out, None)?;
    let output = TextOutput::next_to([&args.out]);
    let config = PhraseConfig {
        titles: args.titles,
        title_fraction: args.title_fraction,
        min_chars: args.min_chars,
        equalise: !args.unequal,
        seed: args.seed,
    };
    let miner = PhraseMiner::new(config)?;
    let bar = spinner("mining");
    let mut count = 0u64;
    let files = args.queries.iter().map(JsonlReader::<QueryDocuments>::open);
    let files: Vec<_> = files.collect::<Result<_, _>>()?;
    let records = files.into_iter().flatten().inspect(|_| {
        count += 1;
        if count.is_multiple_of(1000) {
            bar.set_message(format!("mining, {count} queries"));
        }
    });
    let (passages, reports) = mine_passages(records, &miner)?;
    if passages.is_empty() {
        let sum =
            |field: fn(&PhraseReport) -> usize| -> usize { reports.values().map(field).sum() };
        return Err(Error::Empty {
            what: format!("passages of {} queries", sum(|report| report.queries)),
            hint: format!(
                "{} queries have a phrase; of their {} paragraphs, {} are shorter than --min-chars",
                sum(|report| report.queries_with_phrases),
                sum(|report| report.paragraphs),
                sum(|report| report.too_short)
            ),
        });
    }
    bar.set_message("writing");
    jsonl::write(out.file("train/passages.jsonl.gz")?, &passages)?;
    let to_json = |report: &PhraseReport| serde_json::json!({ "passages": report.passages, "phrases": report.passage_phrases });
    let counts = reports.iter().map(|(language, report)| (language.to_string(), to_json(report)));
    out.finish("kg-triples phrases", Some(args.seed), counts.collect())?;
    bar.finish_and_clear();
    print_table(&reports, output);
    Ok(())
}

fn print_table(reports: &BTreeMap<Language, PhraseReport>, output: TextOutput) {
    let mut table = Table::default();
    table.add_row(std::iter::once("".to_owned()).chain(reports.keys().map(ToString::to_string)));
    let mut row = |name: &str, field: fn(&PhraseReport) -> String| {
        table.add_row(std::iter::once(name.to_owned()).chain(reports.values().map(field)));
    };
    row("queries", |report| report.queries.to_string());
    row("titles", |report| report.titles.to_string());
    row("candidates", |report| report.candidates.to_string());
    row("after stop words", |report| report.after_stop_words.to_string());
    row("knowledge phrases", |report| report.phrases.to_string());
    row("queries with phrases", |report| report.queries_with_phrases.to_string());
    row("paragraphs of their documents", |report| report.paragraphs.to_string());
    row("too short", |report| report.too_short.to_string());
    row("with a phrase", |report| report.paragraphs_with_phrases.to_string());
    row("distinct passages", |report| report.distinct_passages.to_string());
    row("passages", |report| report.passages.to_string());
    row("phrases", |report| report.passage_phrases.to_string());
    row("occurrences", |report| report.occurrences.to_string());
    row("words per phrase", |report| format_decimal(report.words_per_phrase()));
    row("phrases per passage", |report| format_decimal(report.phrases_per_passage()));
    table.print(output);
}

/// Parses a fraction such as `0.7` or `7/10`.
fn parse_fraction(text: &str) -> Result<f64, String> {
    let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
    match (numerator.parse::<f64>(), denominator.parse::<f64>()) {
        (Ok(numerator), Ok(denominator)) => Ok(numerator / denominator),
        _ => Err("expected a fraction, such as 0.7 or 7/10".into()),
    }
}

fn format_decimal(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}
