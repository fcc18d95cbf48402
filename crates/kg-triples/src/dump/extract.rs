//! A dump to tables.
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chunk::{Event, Found};
use super::counts::EntityCounts;
use super::merge;
use super::sort::{Entry, Sorter};
use super::source::{Beginning, Compression, DumpFormat, Place, Progress, Source, is_stream};
use super::state::{StateFolder, Task};
use super::table::{DumpTable, TableFormat, TailKind};
use super::tables::Tables;
use super::wanted::Wanted;
use crate::{KgError, Language, each_once};

/// Bad lines that are told one by one.
const TOLD: usize = 5;

/// What is read of a Wikidata dump, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtractConfig {
    /// Languages of texts, one or more, each once; case does not matter, but `zh` is not `zh-hans`.
    pub languages: Vec<Language>,
    /// Languages whose label or description takes the place of a missing one, the first that is
    /// there.
    pub fallback: Vec<(Language, Vec<Language>)>,
    /// The tables to write, one or more; nothing is read for others.
    pub tables: Vec<DumpTable>,
    /// How they are written.
    pub format: TableFormat,
    /// What entities may be tails, one kind or more.
    pub tails: Vec<TailKind>,
    /// Rows of each Parquet file but the last of a table, at least 1.
    pub part_rows: usize,
    /// Lines that may be unusable; one more is an error.
    pub bad_lines: u64,
    /// The longest line in bytes.
    pub longest_line: usize,
    /// Memory for sorting, in bytes; what does not fit lies in files below the output folder.
    pub memory: usize,
    /// Begin anew where an unfinished extract lies, instead of going on with it.
    pub restart: bool,
}

impl Default for ExtractConfig {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            fallback: Vec::new(),
            tables: TableFormat::Tsv.default_tables(),
            format: TableFormat::Tsv,
            tails: vec![TailKind::Item],
            part_rows: 1 << 20,
            bad_lines: 1000,
            longest_line: 256 << 20,
            memory: 512 << 20,
            restart: false,
        }
    }
}

/// A line that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct BadLine {
    /// Line, from 1.
    pub line: u64,
    /// Where it begins in the unpacked dump, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What a dump held, and what became of it; `extract.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ExtractReport {
    /// What its lines are.
    pub format: DumpFormat,
    /// How the dump is packed.
    pub compression: Compression,
    /// Packed bytes.
    pub packed_bytes: u64,
    /// SHA-256 of these.
    pub sha256: String,
    /// Unpacked bytes.
    pub bytes: u64,
    /// Lines, blank ones and brackets included.
    pub lines: u64,
    /// Languages of the texts.
    pub languages: Vec<Language>,
    /// How the tables are written.
    #[serde(default)]
    pub table_format: TableFormat,
    /// The tables that were written.
    #[serde(default)]
    pub tables: Vec<DumpTable>,
    /// Those of them that are empty since nothing is read for them in dumps of this format.
    #[serde(default)]
    pub without_facts: Vec<DumpTable>,
    /// What entities are tails.
    #[serde(default)]
    pub tails: Vec<TailKind>,
    /// Items.
    pub items: u64,
    /// Properties.
    pub properties: u64,
    /// Entities of other types, left out, by type.
    pub others: BTreeMap<String, u64>,
    /// Redirects, in `redirects.tsv`.
    pub redirects: u64,
    /// Entities that were there already; the first counts.
    pub repeated_entities: u64,
    /// Labels and statements of the items and properties.
    #[serde(flatten)]
    pub counts: EntityCounts,
    /// Lines that could not be used.
    pub bad_lines: u64,
    /// The first of them.
    pub first_bad_lines: Vec<BadLine>,
}

/// Reads a Wikidata dump once and writes the folder that [`KnowledgeGraph::read_dir`] reads.
///
/// The dump is a JSON array with an entity in each line, as Wikidata ships it, or JSON lines; plain
/// or packed by gzip, bzip2 or zstd, as its first bytes say; `-` is standard input. It may also be
/// N-Triples, such as `latest-truthy.nt.bz2`, whose labels and direct statements are read. Blank
/// lines, CRLF, byte-order marks before lines and spaces between tokens are accepted, and of a
/// repeated key the last one wins.
/// Into `folder` go [`ExtractConfig::tables`], each complete or not at all and sorted by id as
/// text, and last `extract.json`, an [`ExtractReport`] with counts of all that was left out:
///
/// - triples: the truthy statements of items (preferred ones, else normal ones) whose value is an
///   item, or another entity of [`ExtractConfig::tails`]; each triple once;
/// - labels: those in the languages asked for of items (`entity`) and properties (`relation`),
///   white space made one space, control characters left out; descriptions likewise;
/// - aliases: likewise, in the languages asked for alone;
/// - sitelinks: titles in the Wikipedias of these languages (`zh-yue` is the site `zh_yuewiki`);
/// - properties: their datatypes;
/// - redirects.
///
/// A table is `NAME.tsv` or, as [`TableFormat::Parquet`], files of [`ExtractConfig::part_rows`]
/// rows in the folder `NAME`. Where the folder has a table in the other form, that goes.
///
/// Memory does not grow with the dump, and the files depend neither on the number of threads nor on
/// how the dump is packed.
///
/// # Going on
/// After every 64 MiB of the packed dump, and whenever `config.memory` is full, all that was read
/// so far is stored in `folder/.extract`, which goes when the files are there.
/// [`Progress::beginning`] says whether an extract goes on. A process that was killed, or stopped
/// by an error, goes on from there when it is called again with the same dump and configuration,
/// and writes the same bytes.
/// A plain dump is read on at that place, and bzip2 is unpacked from the block there; of gzip, zstd
/// and standard input, what comes before is unpacked again but not parsed. The packed bytes before
/// the place are read again to hash them; bytes that differ from those of the unfinished run are an
/// error. `bad_lines`, `memory` and the number of threads may change in between.
///
/// [`KnowledgeGraph::read_dir`]: crate::KnowledgeGraph::read_dir
///
/// # Errors
/// [`KgError::Config`] without a language, table or kind of tail, for a language that is named
/// twice, and for Parquet without the feature `parquet`; [`KgError::Io`] naming the file, and the
/// place in the dump where a packed one is damaged, is not packed as its name says, or in a way
/// that is not understood;
/// [`KgError::Dump`] if an array has no end, no line is an entity, too many lines are unusable or
/// more than are entities, another process works on the folder, or an extract of another dump or
/// with other options is unfinished there. Then the folder's tables are as they were.
///
/// ```
/// use kg_triples::dump::{ExtractConfig, Progress, extract};
/// use kg_triples::{KnowledgeGraph, Language};
///
/// let folder = tempfile::tempdir().unwrap();
/// let dump = folder.path().join("dump.json");
/// let labels = r#""labels":{"en":{"language":"en","value":"Switzerland"}}"#;
/// let value = r#"{"entity-type":"item","id":"Q70"}"#;
/// let snak = format!("{{\"snaktype\":\"value\",\"datavalue\":{{\"value\":{value}}}}}");
/// let claims = format!("\"claims\":{{\"P36\":[{{\"rank\":\"normal\",\"mainsnak\":{snak}}}]}}");
/// let line = format!("{{\"id\":\"Q39\",\"type\":\"item\",{labels},{claims}}}");
/// std::fs::write(&dump, format!("[\n{line}\n]\n")).unwrap();
/// let config = ExtractConfig { languages: vec![Language::EN], ..ExtractConfig::default() };
/// let report = extract(&dump, &config, folder.path(), &Progress::default())?;
/// assert_eq!((report.items, report.counts.triples, report.bad_lines), (1, 1, 0));
/// let graph = KnowledgeGraph::read_dir(folder.path())?;
/// assert_eq!(graph.label("Q39", "en"), Some("Switzerland"));
/// # Ok::<(), kg_triples::KgError>(())
/// ```
pub fn extract(
    dump: &Path,
    config: &ExtractConfig,
    folder: &Path,
    progress: &Progress,
) -> Result<ExtractReport, KgError> {
    check(config)?;
    let task = Task::new(dump, config)?;
    let (state, found) = StateFolder::open(folder, &task, config.restart)?;
    progress.begin(match &found {
        Some(found) => Beginning::GoesOn(found.place.offset),
        None if state.is_left() => Beginning::Anew,
        None => Beginning::First,
    });
    let mut reading = Reading::new(dump, config, folder, (state, task));
    let threads = rayon::current_num_threads();
    match found {
        None => {
            let source = Source::open(dump, progress, threads)?;
            reading.report.compression = source.compression;
            reading.read(source, Place::default())?;
        }
        Some(found) if found.read => {
            if is_stream(dump) {
                Source::check(dump, &found.passed, progress)?;
            }
            reading.go_on(found);
        }
        Some(found) => {
            let (place, from) = (found.place, (found.place, found.passed.clone()));
            reading.go_on(found);
            let compression = reading.report.compression;
            let source = Source::open_at(dump, compression, from, progress, threads)?;
            reading.read(source, place)?;
        }
    }
    reading.finish()
}

fn check(config: &ExtractConfig) -> Result<(), KgError> {
    each_once("languages", &config.languages)?;
    each_once("fallback", config.fallback.iter().map(|(code, _)| code))?;
    config.fallback.iter().try_for_each(|(_, others)| each_once("fallback", others))?;
    for (key, empty, rule) in [
        ("languages", config.languages.is_empty(), "one language or more"),
        ("tables", config.tables.is_empty(), "one table or more"),
        ("tails", config.tails.is_empty(), "one kind of entity or more"),
    ] {
        if empty {
            return Err(KgError::Config { key, value: "[]".into(), rule });
        }
    }
    if config.format == TableFormat::Parquet && !cfg!(feature = "parquet") {
        let rule = "tsv: this program was built without Parquet; build it with `cargo build \
                    --release -p kg-triples --features parquet`";
        return Err(KgError::Config { key: "format", value: "parquet".into(), rule });
    }
    Ok(())
}

fn empty_report(config: &ExtractConfig) -> ExtractReport {
    ExtractReport {
        format: DumpFormat::Json,
        compression: Compression::None,
        packed_bytes: 0,
        sha256: String::new(),
        bytes: 0,
        lines: 0,
        languages: config.languages.clone(),
        table_format: config.format,
        tables: tables(config),
        without_facts: Vec::new(),
        tails: config.tails.clone(),
        items: 0,
        properties: 0,
        others: BTreeMap::new(),
        redirects: 0,
        repeated_entities: 0,
        counts: EntityCounts::default(),
        bad_lines: 0,
        first_bad_lines: Vec::new(),
    }
}

/// The tables to write, in the order of [`DumpTable::ALL`], each once.
fn tables(config: &ExtractConfig) -> Vec<DumpTable> {
    DumpTable::ALL.into_iter().filter(|table| config.tables.contains(table)).collect()
}

/// The first bad lines, to be put behind how many there are.
fn told(bad_lines: &[BadLine]) -> String {
    let told = bad_lines.iter();
    told.map(|bad| format!("; line {}, byte {}: {}", bad.line, bad.offset, bad.reason)).collect()
}

/// What kind of file the lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Shape {
    Unknown,
    Lines,
    Array,
    Closed,
}

pub(super) struct Reading<'a> {
    pub(super) dump: &'a Path,
    pub(super) config: &'a ExtractConfig,
    pub(super) folder: &'a Path,
    pub(super) state: StateFolder,
    pub(super) task: Task,
    pub(super) wanted: Wanted,
    pub(super) entities: Sorter,
    pub(super) redirects: Sorter,
    pub(super) shape: Shape,
    /// Entities and redirects so far.
    pub(super) number: u64,
    pub(super) lines: u64,
    /// Of N-Triples: lines that say something of an entity.
    pub(super) statements: u64,
    pub(super) last_bad: Option<u64>,
    pub(super) report: ExtractReport,
    /// Something was stored, so all must be before it counts as read.
    pub(super) stored: bool,
    /// Packed bytes that were read when something was stored last.
    pub(super) stored_at: u64,
}

impl<'a> Reading<'a> {
    fn new(
        dump: &'a Path,
        config: &'a ExtractConfig,
        folder: &'a Path,
        (state, task): (StateFolder, Task),
    ) -> Self {
        let fallback = |language: &Language| {
            let own = config.fallback.iter().find(|(own, _)| own == language);
            own.map(|(_, others)| others.clone()).unwrap_or_default()
        };
        let languages = config.languages.iter();
        let languages = languages.map(|code| (*code, fallback(code))).collect();
        Self {
            dump,
            config,
            folder,
            wanted: Wanted { languages, tables: tables(config), tails: config.tails.clone() },
            entities: Sorter::new(state.path(), "entities", config.memory),
            redirects: Sorter::new(state.path(), "redirects", config.memory / 8),
            shape: Shape::Unknown,
            number: 0,
            lines: 0,
            statements: 0,
            last_bad: None,
            report: empty_report(config),
            stored: false,
            stored_at: 0,
            state,
            task,
        }
    }

    pub(super) fn take(&mut self, Found { line, offset, event }: Found) -> Result<(), KgError> {
        let line = self.lines + line + 1;
        let refuse = || KgError::io(self.folder, "write to the folder");
        match (event, self.shape) {
            (Event::Open, Shape::Unknown) => self.shape = Shape::Array,
            (Event::Close, Shape::Array) => self.shape = Shape::Closed,
            (Event::Open, _) => self.bad(line, offset, "an array within the dump".into())?,
            (Event::Close, _) => self.bad(line, offset, "a ] without its [".into())?,
            (Event::Bad(reason), _) => {
                self.begin();
                self.bad(line, offset, reason)?;
            }
            (_, Shape::Closed) => {
                self.bad(line, offset, "an entity behind the end of the array".into())?;
            }
            (Event::Other(kind), _) => {
                self.begin();
                *self.report.others.entry(kind).or_default() += 1;
            }
            (Event::Redirect { from, to }, _) => {
                self.begin();
                self.number += 1;
                let entry = Entry { key: from, number: self.number, values: vec![to] };
                self.redirects.push(entry);
            }
            (Event::Facts(facts), _) => {
                self.number += 1;
                let entry = merge::entry(facts, self.number).map_err(refuse())?;
                self.entities.push(entry);
            }
            (Event::Entity(record), _) => {
                self.begin();
                self.number += 1;
                let entry = record.entry(self.number).map_err(refuse())?;
                self.entities.push(entry);
            }
        }
        Ok(())
    }

    /// The first line that is no bracket settles what the file is.
    fn begin(&mut self) {
        if self.shape == Shape::Unknown {
            self.shape = Shape::Lines;
        }
    }

    fn bad(&mut self, line: u64, offset: u64, reason: String) -> Result<(), KgError> {
        if self.last_bad.replace(line) == Some(line) {
            return Ok(());
        }
        self.report.bad_lines += 1;
        if self.report.first_bad_lines.len() < TOLD {
            self.report.first_bad_lines.push(BadLine { line, offset, reason });
        }
        if self.report.bad_lines <= self.config.bad_lines {
            return Ok(());
        }
        let reason = format!(
            "{} lines cannot be used, {} may{}",
            self.report.bad_lines,
            self.config.bad_lines,
            told(&self.report.first_bad_lines)
        );
        Err(KgError::Dump { path: self.dump.to_owned(), reason })
    }

    /// What is wrong with a file that is no dump: no line of it is an entity, or fewer than those
    /// that cannot be used.
    fn fault(&self) -> Option<String> {
        let report = &self.report;
        let entities = match report.format {
            DumpFormat::Json => self.number + report.others.values().sum::<u64>(),
            DumpFormat::NTriples => self.statements,
        };
        (entities == 0 || entities < report.bad_lines).then(|| {
            format!(
                "no dump of Wikidata: of {} lines {entities} hold an entity, {} cannot be used{}; \
                 give JSON or N-Triples of https://dumps.wikimedia.org/wikidatawiki/entities",
                self.lines,
                report.bad_lines,
                told(&report.first_bad_lines)
            )
        })
    }

    /// Writes the tables.
    fn finish(self) -> Result<ExtractReport, KgError> {
        let fault = self.fault();
        let mut report = self.report;
        report.lines = self.lines;
        if self.shape == Shape::Array {
            let reason = format!(
                "the array has no end after {} bytes: the dump is cut; make or copy it again",
                report.bytes
            );
            return Err(KgError::Dump { path: self.dump.to_owned(), reason });
        }
        if let Some(reason) = fault {
            // Nothing of it is worth going on with.
            self.state.remove()?;
            return Err(KgError::Dump { path: self.dump.to_owned(), reason });
        }
        let refuse = || KgError::io(self.folder, "write to the folder");
        let entities = self.entities.sorted().map_err(refuse())?;
        if report.format == DumpFormat::NTriples {
            let without = report.tables.iter().filter(|table| !table.of_ntriples());
            report.without_facts = without.copied().collect();
        }
        let mut tables = Tables::create(self.folder, self.config, &report.tables)?;
        match report.format {
            DumpFormat::Json => tables.write_entities(entities, &mut report)?,
            DumpFormat::NTriples => tables.write_merged(entities, &self.wanted, &mut report)?,
        }
        let redirects = self.redirects.sorted().map_err(refuse())?;
        tables.write_redirects(redirects, &mut report)?;
        tables.publish(&report)?;
        self.state.remove()?;
        Ok(report)
    }
}
