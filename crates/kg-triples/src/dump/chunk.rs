//! Chunks of complete lines of a dump, and their parsed contents.
use std::fmt::{self, Write as _};
use std::io::{self, Read};

use super::counts::EntityCounts;
use super::entity::{self, Entity, Line};
use super::requested::{Requested, Term};
use super::sort::Entry;
use super::table::DumpTable;
use crate::dump::config::TermLookup;
use crate::{LabelKind, LabelSource};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Consecutive complete lines of a dump.
pub(super) struct Chunk {
    /// Byte offset in the decompressed dump.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether the last line is truncated because it is longer than the maximum line length.
    pub(super) truncated: bool,
}

impl Chunk {
    /// Whether the dump begins with a statement in N-Triples.
    pub(super) fn begins_with_ntriples(&self) -> bool {
        let start = self.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.bytes);
        self.offset == 0 && (start.starts_with(b"<http") || start.starts_with(b"_:"))
    }
}

/// Reads chunks from a decompressed dump.
pub(super) struct ChunkReader<R> {
    input: R,
    /// The bytes after the last complete line: the beginning of a line whose end has not been read.
    partial_line: Vec<u8>,
    offset: u64,
    max_line_bytes: usize,
    /// Bytes per read.
    read_bytes: u64,
    /// Whether the next bytes are the remainder of a truncated line.
    skipping: bool,
    at_end: bool,
}

impl<R: Read> ChunkReader<R> {
    /// Creates a reader. Lines longer than `max_line_bytes` are truncated. The input must begin at
    /// the start of a line, at byte `offset` of the dump. `read_bytes` (bytes per read) does not
    /// affect the output.
    pub(super) fn new(input: R, max_line_bytes: usize, offset: u64, read_bytes: u64) -> Self {
        let (partial_line, skipping, at_end) = (Vec::new(), false, false);
        Self { input, partial_line, offset, max_line_bytes, read_bytes, skipping, at_end }
    }

    /// Returns the byte offset of the end of the last returned chunk.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends up to `read_bytes` bytes of the input to `bytes`; returns `false` at the end of the
    /// input.
    fn read_block(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        Ok(self.input.by_ref().take(self.read_bytes).read_to_end(bytes)? > 0)
    }

    /// Returns the next chunk; `None` at the end of the dump.
    ///
    /// # Errors
    /// If the input cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        let mut bytes = std::mem::take(&mut self.partial_line);
        let mut searched_bytes = bytes.len();
        while !self.at_end {
            self.at_end = !self.read_block(&mut bytes)?;
            if self.skipping {
                let end = memchr::memchr(b'\n', &bytes).map(|at| at + 1);
                let skipped = end.unwrap_or(bytes.len());
                self.skipping = end.is_none();
                self.offset += skipped as u64;
                bytes.drain(..skipped);
                searched_bytes = 0;
            }
            if let Some(at) = memchr::memrchr(b'\n', &bytes[searched_bytes..]) {
                self.partial_line = bytes.split_off(searched_bytes + at + 1);
                return Ok(Some(self.make_chunk(bytes, false)));
            }
            searched_bytes = bytes.len();
            if searched_bytes > self.max_line_bytes {
                self.skipping = true;
                return Ok(Some(self.make_chunk(bytes, true)));
            }
        }
        Ok((!bytes.is_empty()).then(|| self.make_chunk(bytes, false)))
    }

    fn make_chunk(&mut self, bytes: Vec<u8>, truncated: bool) -> Chunk {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Chunk { offset, bytes, truncated }
    }
}

/// Parsed content of a line. A line can contain several events, such as `[` and an entity.
pub(super) enum Event {
    /// The `[` of an array, on a separate line or before the first entity.
    Open,
    /// The `]` of an array.
    Close,
    Entity(Box<Record>),
    Redirect {
        from: String,
        to: String,
    },
    Other(String),
    /// An invalid line, with the reason why it is invalid.
    Bad(String),
}

/// An event with the index of its line in the chunk and the byte offset of this line in the dump.
pub(super) struct LineEvent {
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) event: Event,
}

/// The table rows of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) is_property: bool,
    /// For each table of [`Requested::entity_tables`], in this order, the table lines of the
    /// entity.
    pub(super) rows: Vec<String>,
    /// For each requested language, in this order, the source of the entity's label. Empty if
    /// labels are not requested.
    pub(super) names: Vec<NameTally>,
    pub(super) counts: EntityCounts,
}

/// The source of an entity's label in a requested language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameTally {
    Label(LabelSource),
    /// The entity has no label, although it has one in `mul`.
    UnusedMul,
    Missing,
}

impl NameTally {
    /// Returns the character that represents the value in entries for sorting.
    fn to_char(self) -> char {
        match self {
            Self::Label(LabelSource::Language) => 'l',
            Self::Label(LabelSource::Variant) => 'v',
            Self::Label(LabelSource::Fallback) => 'f',
            Self::Label(LabelSource::Mul) => 'm',
            Self::UnusedMul => 'u',
            Self::Missing => '-',
        }
    }

    fn from_char(c: char) -> io::Result<Self> {
        Ok(match c {
            'l' => Self::Label(LabelSource::Language),
            'v' => Self::Label(LabelSource::Variant),
            'f' => Self::Label(LabelSource::Fallback),
            'm' => Self::Label(LabelSource::Mul),
            'u' => Self::UnusedMul,
            '-' => Self::Missing,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

impl Record {
    /// Converts the record to an entry for sorting.
    pub(super) fn into_entry(self, number: u64) -> io::Result<Entry> {
        let kind = if self.is_property { "property" } else { "item" };
        let names = self.names.into_iter().map(NameTally::to_char).collect();
        let mut values = vec![kind.to_owned(), serde_json::to_string(&self.counts)?, names];
        values.extend(self.rows);
        Ok(Entry { key: self.id, number, values })
    }

    /// Restores the record from [`Record::into_entry`].
    pub(super) fn from_entry(entry: Entry) -> io::Result<Self> {
        let mut values = entry.values.into_iter();
        let (Some(kind), Some(counts), Some(names)) = (values.next(), values.next(), values.next())
        else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (is_property, counts) = (kind == "property", serde_json::from_str(&counts)?);
        let names = names.chars().map(NameTally::from_char).collect::<io::Result<_>>()?;
        Ok(Self { id: entry.key, is_property, rows: values.collect(), names, counts })
    }
}

/// A parsed chunk.
pub(super) struct ParsedChunk {
    pub(super) line_count: u64,
    pub(super) events: Vec<LineEvent>,
}

/// Parses every line of a chunk.
pub(super) fn parse_chunk(chunk: &Chunk, requested: &Requested) -> ParsedChunk {
    let mut parsed = ParsedChunk { line_count: 0, events: Vec::new() };
    let mut offset = chunk.offset;
    let mut lines = chunk.bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line_index = parsed.line_count;
        let mut push = |event| parsed.events.push(LineEvent { line: line_index, offset, event });
        if chunk.truncated && lines.peek().is_none() {
            push(Event::Bad(format!("a line longer than {} bytes", line.len())));
        } else {
            parse_events(line, requested, &mut push);
        }
        parsed.line_count += 1;
        offset += line.len() as u64;
    }
    parsed
}

/// Parses one line and passes its events to `push`.
fn parse_events(line: &[u8], requested: &Requested, push: &mut impl FnMut(Event)) {
    // Byte-order marks also occur inside a dump that was concatenated from several files.
    let mut line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
    if let Some(rest) = line.strip_prefix(b"[") {
        push(Event::Open);
        line = rest.trim_ascii_start();
    }
    let before_bracket = line.strip_suffix(b"]").map(<[u8]>::trim_ascii_end);
    let body = before_bracket.unwrap_or(line);
    let body = body.strip_suffix(b",").unwrap_or(body).trim_ascii_end();
    let mut is_valid = true;
    if !body.is_empty() {
        push(match entity::parse_line(body, requested) {
            Ok(Line::Entity(entity)) => Event::Entity(Box::new(to_record(*entity, requested))),
            Ok(Line::Redirect { from, to }) => Event::Redirect { from, to },
            Ok(Line::Other(kind)) => Event::Other(kind),
            Err(reason) => {
                // A truncated line may end in the bracket of an inner array.
                is_valid = false;
                Event::Bad(reason)
            }
        });
    }
    if before_bracket.is_some() && is_valid {
        push(Event::Close);
    }
}

/// Converts an entity to its rows of the requested tables and its counts.
fn to_record(entity: Entity, requested: &Requested) -> Record {
    let lookup = requested.lookup();
    let rows = requested.entity_tables().map(|table| format_rows(&entity, table, lookup)).collect();
    let Entity { id, kind, counts, names, .. } = entity;
    Record { id, is_property: kind == LabelKind::Relation, rows, names, counts }
}

/// Formats the lines of an entity for one table.
fn format_rows(entity: &Entity, table: DumpTable, lookup: TermLookup) -> String {
    let id = &entity.id;
    let mut rows = String::new();
    let mut push = |row: fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = rows.write_fmt(row);
    };
    match table {
        DumpTable::Triples => {
            for (relation, tail) in &entity.triples {
                push(format_args!("{id}\t{relation}\t{tail}\n"));
            }
        }
        DumpTable::Labels => {
            let kind = entity.kind.name();
            for Term { language, text, source } in &entity.labels {
                match lookup {
                    TermLookup::Exact => push(format_args!("{id}\t{language}\t{text}\t{kind}\n")),
                    TermLookup::Wikidata => {
                        let source = source.name();
                        push(format_args!("{id}\t{language}\t{text}\t{kind}\t{source}\n"));
                    }
                }
            }
        }
        DumpTable::Descriptions => {
            for Term { language, text, .. } in &entity.descriptions {
                push(format_args!("{id}\t{language}\t{text}\n"));
            }
        }
        DumpTable::Aliases => {
            let kind = entity.kind.name();
            for Term { language, text, source } in &entity.aliases {
                let source = source.name();
                push(format_args!("{id}\t{language}\t{text}\t{kind}\t{source}\n"));
            }
        }
        DumpTable::Sitelinks => {
            for (language, title) in &entity.sitelinks {
                push(format_args!("{id}\t{language}\t{title}\n"));
            }
        }
        DumpTable::Redirects => (),
    }
    rows
}
