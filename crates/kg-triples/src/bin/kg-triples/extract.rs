use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use cli::TextOutput;
use kg_triples::dump::{
    DumpTable, ExtractConfig, ExtractProgress, ExtractReport, ExtractStart, MulRule, TermLookup,
    extract, has_unfinished_extract,
};
use kg_triples::{Error, Language};

use crate::table::{Table, blank_line};
use crate::{CommandResult, parse_choice};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  kg-triples extract --dump crates/testkit/fixtures/dump.json \\
    --languages en,de --out kg
  kg-triples extract --dump crates/testkit/fixtures/dump.json \\
    --languages en,zh --fallback zh=zh-hans,zh-cn --out kg-zh
  kg-triples extract --dump crates/testkit/fixtures/dump.json \\
    --languages en,zh --lookup exact --out kg-exact
  kg-triples extract --dump crates/testkit/fixtures/dump.json \\
    --languages en,de \\
    --tables triples,labels,descriptions,aliases,sitelinks,redirects --out kg
  gzip -c crates/testkit/fixtures/dump.json | kg-triples extract --dump - \\
    --languages en --out kg-en
With dumps of https://dumps.wikimedia.org/wikidatawiki/entities:
  kg-triples extract --dump latest-all.json.bz2 \\
    --languages en,de,es,ar,hi,vi,zh --out kg
  lbzip2 -dc latest-all.json.bz2 | kg-triples extract --dump - \\
    --languages en,de --out kg

Names are looked up as on Wikidata: in the language, its variants (zh-hans for zh), its fallback
languages (de for lb), then mul, where Wikidata stores names that are equal in many languages.
English is not used for other languages; --fallback can add it.

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
    #[arg(long, value_delimiter = ',', required = true, value_name = "LANG,…", value_parser = Language::plausible)]
    languages: Vec<Language>,
    /// Fallback languages for texts that are missing in a language, in order of preference, in place
    /// of its variants and fallback languages on Wikidata; a list that includes mul uses its labels
    /// in any script; repeat the option for further languages
    #[arg(long, value_name = "zh=zh-hans,…", value_parser = parse_fallback)]
    fallback: Vec<(Language, Vec<Language>)>,
    /// Codes in which names are looked up: wikidata (see below) or exact (only the language and
    /// --fallback; labels.tsv then has no column source)
    #[arg(long, default_value = "wikidata", value_name = "wikidata|exact",
        value_parser = parse_choice::<TermLookup>)]
    lookup: TermLookup,
    /// Labels and aliases of mul that are used: same-script (most letters are in a script of the
    /// language) or any-script
    #[arg(long, default_value = "same-script", value_name = "same-script|any-script",
        value_parser = parse_choice::<MulRule>)]
    mul: MulRule,
    /// Tables to write [default: triples, labels and redirects]
    #[arg(long, value_delimiter = ',', value_parser = parse_choice::<DumpTable>,
        value_name = "triples,labels,descriptions,aliases,sitelinks,redirects")]
    tables: Vec<DumpTable>,
    /// Number of threads that parse the dump, or 0 for one per core; an additional thread
    /// decompresses the dump
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Memory for sorting in MiB; data that exceeds it is sorted in files in --out
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    memory: usize,
    /// Discard an unfinished extract in --out and start again instead of resuming it; also replace a
    /// finished extract that has other languages, tables or names
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
    let parse = |code| Language::plausible(code).map_err(|error| error.to_string());
    Ok((parse(language)?, codes.split(',').map(parse).collect::<Result<_, _>>()?))
}

pub fn run(args: Args) -> CommandResult {
    let config = ExtractConfig {
        languages: args.languages,
        fallback: args.fallback,
        lookup: args.lookup,
        mul: args.mul,
        tables: match args.tables.is_empty() {
            true => DumpTable::GRAPH.to_vec(),
            false => args.tables,
        },
        memory: args.memory.saturating_mul(1 << 20),
        restart: args.restart,
        ..ExtractConfig::default()
    };
    check_finished(&args.out, &config)?;
    for language in config.languages_without_scripts() {
        eprintln!(
            "note: the scripts of {language} are unknown; names of mul are not used for it (use \
             --mul any-script or --fallback {language}=mul)"
        );
    }
    let report = extract_with_progress(&args.dump, &config, &args.out, args.threads)?;
    print_counts(&report);
    for (language, counts) in &report.label_sources {
        if counts.sources.total() == 0 {
            eprintln!("note: no item or property has a label in {language}");
        }
    }
    for bad in &report.first_bad_lines {
        eprintln!("note: line {}, byte {}: {}; skipped", bad.line, bad.offset, bad.reason);
    }
    Ok(())
}

/// Returns an error if the folder has a finished extract with other options, which the new one would
/// replace, unless `--restart` is given. An unfinished extract, which is resumed, was started with
/// `--restart`.
fn check_finished(out: &Path, config: &ExtractConfig) -> CommandResult {
    let path = out.join("extract.json");
    if config.restart || !path.exists() || has_unfinished_extract(out) {
        return Ok(());
    }
    // The file is an output, so it must not become a protected input.
    let bytes = atomic_file::fs::read(&path)?;
    // A report that another version wrote may have other keys; it is replaced.
    let Ok(report) = serde_json::from_slice::<ExtractReport>(&bytes) else {
        return Ok(());
    };
    let Some(difference) = config.difference(&report) else { return Ok(()) };
    let reason = format!(
        "holds a finished extract with {difference}; choose another --out, or replace it with --restart"
    );
    Err(Error::Dump { path: out.to_owned(), reason })
}

/// Runs the extract and shows a progress bar of the compressed bytes that were read.
fn extract_with_progress(
    dump: &Path,
    config: &ExtractConfig,
    out: &Path,
    threads: usize,
) -> Result<ExtractReport, Error> {
    let progress = ExtractProgress::default();
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
        ("labels of a variant", counts.variant_labels),
        ("labels of a fallback language", counts.fallback_labels),
        ("labels of mul", counts.mul_labels),
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
        (DumpTable::Aliases, "aliases", counts.aliases),
        (DumpTable::Sitelinks, "sitelinks", counts.sitelinks),
    ] {
        if report.tables.contains(&dump_table) {
            table.add_row([name.to_owned(), count.to_string()]);
        }
    }
    table.print(TextOutput::Stdout);
    if !report.label_sources.is_empty() {
        blank_line(TextOutput::Stdout);
        print_label_sources(report);
    }
}

/// Prints the number of labels by language and source, and the number of items and properties that
/// have a label in `mul` only, which is not used.
fn print_label_sources(report: &ExtractReport) {
    let mut table = Table::default();
    table.add_row(["labels", "language", "variant", "fallback", "mul", "unused mul"]);
    for (language, counts) in &report.label_sources {
        let sources = counts.sources;
        table.add_row([
            language.to_string(),
            sources.language.to_string(),
            sources.variant.to_string(),
            sources.fallback.to_string(),
            sources.mul.to_string(),
            counts.unused_mul.to_string(),
        ]);
    }
    table.print(TextOutput::Stdout);
}
