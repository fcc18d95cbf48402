use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use atomic_file::cli;
use kg_triples::dump::{DumpTable, ExtractConfig, ExtractReport, ExtractStart, Progress, extract};
use kg_triples::{Error, Language};

use crate::table::Table;
use crate::{CommandResult, parse_choice};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples extract --dump crates/testkit/fixtures/dump.json \\
    --languages en,de --out kg
  kg-triples extract --dump crates/testkit/fixtures/dump.json \\
    --languages en,zh --fallback zh=zh-hans,zh-cn --out kg
  kg-triples extract --dump crates/testkit/fixtures/dump.json \\
    --languages en,de \\
    --tables triples,labels,descriptions,sitelinks,redirects --out kg
  gzip -c crates/testkit/fixtures/dump.json | kg-triples extract --dump - \\
    --languages en --out kg
With dumps of https://dumps.wikimedia.org/wikidatawiki/entities:
  kg-triples extract --dump latest-all.json.bz2 \\
    --languages en,de,es,ar,hi,vi,zh --out kg
  lbzip2 -dc latest-all.json.bz2 | kg-triples extract --dump - \\
    --languages en,de --out kg

The dump is a JSON array or JSON lines, plain or compressed with gzip, bzip2 or zstd. A file without
entities, or with fewer entities than invalid lines, is an error and replaces nothing. Dumps in
N-Triples are not supported.
The output is the tables and extract.json, which counts everything skipped. Progress is stored after
every 64 MiB of the compressed dump. Repeat the same command to resume a killed extract.")]
pub struct Args {
    /// Wikidata JSON dump; - reads standard input
    #[arg(long, value_name = "FILE")]
    dump: PathBuf,
    /// Languages of labels and other texts; codes are case-insensitive, zh and zh-hans are
    /// different languages
    #[arg(long, value_delimiter = ',', required = true, value_name = "LANG,…")]
    languages: Vec<Language>,
    /// Fallback languages for labels and descriptions that are missing in a language, in order of
    /// preference; repeat the option for further languages
    #[arg(long, value_name = "zh=zh-hans,…", value_parser = parse_fallback)]
    fallback: Vec<(Language, Vec<Language>)>,
    /// Tables to write [default: triples, labels and redirects]
    #[arg(long, value_delimiter = ',', value_parser = parse_choice::<DumpTable>,
        value_name = "triples,labels,descriptions,sitelinks,redirects")]
    tables: Vec<DumpTable>,
    /// Number of threads that parse the dump, or 0 for one per core; an additional thread
    /// decompresses the dump
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Memory for sorting in MiB; data that exceeds it is sorted in files in --out
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    memory: usize,
    /// Discard an unfinished extract in --out and start again instead of resuming it
    #[arg(long)]
    restart: bool,
    /// Output folder for the tables
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Parses `zh=zh-hans,zh-cn`.
fn parse_fallback(text: &str) -> Result<(Language, Vec<Language>), String> {
    let (language, codes) =
        text.split_once('=').ok_or("expected language=languages, such as zh=zh-hans,zh-cn")?;
    let code = |code: &str| Language::new(code).map_err(|error| error.to_string());
    Ok((code(language)?, codes.split(',').map(code).collect::<Result<_, _>>()?))
}

pub fn run(args: Args) -> CommandResult {
    let config = ExtractConfig {
        languages: args.languages,
        fallback: args.fallback,
        tables: match args.tables.is_empty() {
            true => DumpTable::GRAPH.to_vec(),
            false => args.tables,
        },
        memory: args.memory.saturating_mul(1 << 20),
        restart: args.restart,
        ..ExtractConfig::default()
    };
    let report = extract_with_progress(&args.dump, &config, &args.out, args.threads)?;
    print_counts(&report);
    for bad in &report.first_bad_lines {
        eprintln!("note: line {}, byte {}: {}; skipped", bad.line, bad.offset, bad.reason);
    }
    Ok(())
}

/// Runs the extract and shows a progress bar of the compressed bytes that were read.
fn extract_with_progress(
    dump: &Path,
    config: &ExtractConfig,
    out: &Path,
    threads: usize,
) -> Result<ExtractReport, Error> {
    let progress = Progress::default();
    let file = std::fs::metadata(dump).ok().filter(std::fs::Metadata::is_file);
    let bar = cli::byte_progress(file.map(|file| file.len()));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Io {
        path: dump.to_owned(),
        action: "start threads for the dump",
        source: std::io::Error::other(error.to_string()),
    })?;
    std::thread::scope(|scope| {
        let (stop_sender, stop_receiver) = channel::<()>();
        let (bar, bar_progress) = (&bar, progress.clone());
        scope.spawn(move || {
            let period = Duration::from_millis(200);
            let mut start_printed = false;
            loop {
                let stopped = stop_receiver.recv_timeout(period) != Err(RecvTimeoutError::Timeout);
                if let (false, Some(start)) = (start_printed, bar_progress.start()) {
                    bar.suspend(|| print_start(start, out));
                    start_printed = true;
                }
                if stopped {
                    break;
                }
                bar.set_position(bar_progress.bytes());
            }
        });
        let report = pool.install(|| extract(dump, config, out, &progress));
        drop(stop_sender);
        bar.finish_and_clear();
        report
    })
}

/// Prints whether an unfinished extract is resumed or discarded.
fn print_start(start: ExtractStart, out: &Path) {
    let out = out.display().to_string();
    let out = atomic_file::one_line(&out);
    match start {
        ExtractStart::New => (),
        ExtractStart::Restarted => {
            eprintln!(
                "note: starts from the beginning; the unfinished extract in {out} is discarded"
            );
        }
        ExtractStart::Resumed(bytes) => eprintln!(
            "note: resumes the unfinished extract in {out} after {bytes} decompressed bytes"
        ),
    }
}

fn print_counts(report: &ExtractReport) {
    let counts = &report.counts;
    let mut table = Table::default();
    for (name, count) in [
        ("lines", report.lines),
        ("invalid lines", report.bad_lines),
        ("items", report.items),
        ("properties", report.properties),
        ("other entities", report.others.values().sum()),
        ("redirects", report.redirects),
        ("repeated entities", report.repeated_entities),
        ("labels", counts.labels),
        ("labels in a fallback language", counts.fallback_labels),
        ("labels in another language", counts.foreign_labels),
        ("empty labels", counts.empty_labels),
        ("lone surrogates", counts.lone_surrogates),
        ("statements", counts.statements),
        ("deprecated", counts.deprecated),
        ("not preferred", counts.not_preferred),
        ("without a value", counts.without_value),
        ("values other than items", counts.other_values),
        ("repeated triples", counts.repeated_triples),
        ("triples", counts.triples),
    ] {
        table.add_row([name.to_owned(), count.to_string()]);
    }
    for (dump_table, name, count) in [
        (DumpTable::Descriptions, "descriptions", counts.descriptions),
        (DumpTable::Sitelinks, "sitelinks", counts.sitelinks),
    ] {
        if report.tables.contains(&dump_table) {
            table.add_row([name.to_owned(), count.to_string()]);
        }
    }
    table.print();
}
