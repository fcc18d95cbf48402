//! Reading of a dump in chunks: decompression, parsing and storage of progress.
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;

use super::chunk::{self, Chunk, ChunkReader, LineEvent, ParsedChunk};
use super::config::{BadLine, ExtractConfig};
use super::format::Event;
use super::requested::Requested;
use super::sort::{Entry, Sorter};
use super::source::{ReadPosition, ReadPrefix, Source};
use super::state::{DumpShape, ExtractIdentity, State, StateFolder, Tally};
use crate::Error;

/// Minimum and maximum number of bytes per read. Within these bounds, it is one sixteenth of the
/// memory for sorting.
const MIN_READ_BYTES: usize = 1 << 12;
const MAX_READ_BYTES: usize = 4 << 20;
/// Number of compressed bytes after which the state is stored, even if the memory for sorting is
/// not full.
const STORE_INTERVAL_BYTES: u64 = 64 << 20;
/// Maximum number of chunks queued for the parsers, which bounds memory.
const MAX_QUEUED_CHUNKS: usize = 4;
/// Maximum number of invalid lines in `first_bad_lines` of the report.
const MAX_REPORTED_LINES: usize = 5;

/// State of an extract while the dump is read.
pub(super) struct DumpPass<'a> {
    pub(super) dump: &'a Path,
    pub(super) config: &'a ExtractConfig,
    pub(super) folder: &'a Path,
    pub(super) state: StateFolder,
    identity: ExtractIdentity,
    pub(super) requested: Requested,
    pub(super) entities: Sorter,
    pub(super) redirects: Sorter,
    pub(super) tally: Tally,
    /// Number of compressed bytes that had been read when the state was last stored, or `None` if
    /// the state was never stored. The state is stored at the end of the dump only if it was stored
    /// before.
    stored_at: Option<u64>,
}

impl<'a> DumpPass<'a> {
    pub(super) fn new(
        dump: &'a Path,
        config: &'a ExtractConfig,
        folder: &'a Path,
        (state, identity): (StateFolder, ExtractIdentity),
    ) -> Self {
        Self {
            dump,
            config,
            folder,
            requested: Requested::new(config),
            entities: Sorter::new(state.path(), "entities", config.memory),
            redirects: Sorter::new(state.path(), "redirects", config.memory / 8),
            tally: Tally { report: config.report(), ..Tally::default() },
            stored_at: None,
            state,
            identity,
        }
    }

    /// Restores the state of an unfinished extract.
    pub(super) fn resume(&mut self, stored: State) {
        let path = self.state.path();
        let memory = self.config.memory;
        self.entities = Sorter::new(path, "entities", memory).with_runs(stored.entities);
        self.redirects = Sorter::new(path, "redirects", memory / 8).with_runs(stored.redirects);
        self.tally = stored.tally;
        self.stored_at = Some(stored.passed.bytes);
    }

    /// Reads the dump from the decompressed byte `offset` to its end. One thread decompresses the
    /// dump, and all other threads parse it.
    pub(super) fn read(&mut self, mut source: Source, offset: u64) -> Result<(), Error> {
        let max_line_bytes = self.config.max_line_bytes;
        let read_bytes = (self.config.memory / 16).clamp(MIN_READ_BYTES, MAX_READ_BYTES) as u64;
        let position = source.position.clone();
        let bytes = std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(MAX_QUEUED_CHUNKS);
            let decompress_thread = scope.spawn(move || {
                source.skip(offset).map_err(|error| (0, error))?;
                let mut chunks =
                    ChunkReader::new(source.decompressed, max_line_bytes, offset, read_bytes);
                loop {
                    match chunks.next() {
                        Ok(Some(chunk)) => {
                            // The state is not stored after a truncated line, because a resumed run
                            // would parse the remainder of this line as a new line.
                            let end = (!chunk.truncated).then(|| chunks.offset());
                            // Sending fails only if the receiver was dropped after a parsing error.
                            if sender.send((chunk, end)).is_err() {
                                break;
                            }
                        }
                        Ok(None) => break,
                        Err(error) => return Err((chunks.offset(), error)),
                    }
                }
                Ok(chunks.offset())
            });
            let parse_result = self.parse_chunks(receiver, &position);
            let decompress_result =
                decompress_thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            parse_result?;
            decompress_result.map_err(|(offset, error)| {
                let reason = format!("after {offset} decompressed bytes: {error}");
                Error::io(self.dump, "decompress the dump")(io::Error::new(error.kind(), reason))
            })
        })?;
        let prefix = position.prefix();
        let report = &mut self.tally.report;
        report.bytes = bytes;
        report.packed_bytes = prefix.bytes;
        report.sha256.clone_from(&prefix.sha256);
        if self.stored_at.is_some() {
            self.store_state(bytes, prefix, true)?;
        }
        Ok(())
    }

    fn parse_chunks(
        &mut self,
        chunks: Receiver<(Chunk, Option<u64>)>,
        position: &ReadPosition,
    ) -> Result<(), Error> {
        let mut queued_chunks = Vec::new();
        while let Ok((chunk, end)) = chunks.recv() {
            let format = chunk
                .detect_format()
                .map_err(|reason| Error::Dump { path: self.dump.to_owned(), reason })?;
            if let Some(format) = format {
                self.tally.format = format;
            }
            queued_chunks.push((chunk, end));
            let max_chunks = rayon::current_num_threads().clamp(1, 2 * MAX_QUEUED_CHUNKS);
            while queued_chunks.len() < max_chunks
                && let Ok(chunk) = chunks.try_recv()
            {
                queued_chunks.push(chunk);
            }
            let (format, requested) = (self.tally.format.implementation(), &self.requested);
            let parsed: Vec<(ParsedChunk, Option<u64>)> = queued_chunks
                .par_iter()
                .map(|(chunk, end)| (chunk::parse_chunk(chunk, format, requested), *end))
                .collect();
            queued_chunks.clear();
            for (ParsedChunk { line_count, events }, end) in parsed {
                for event in events {
                    self.record_event(event)?;
                }
                self.tally.report.lines += line_count;
                let stored_at = self.stored_at.unwrap_or(0); // no state is stored yet
                if let Some(end) = end
                    && (self.entities.is_full()
                        || self.redirects.is_full()
                        || position.bytes() >= stored_at.saturating_add(STORE_INTERVAL_BYTES))
                {
                    self.store_state(end, position.prefix(), false)?;
                }
            }
        }
        Ok(())
    }

    /// Stores the state at `offset`.
    fn store_state(&mut self, offset: u64, prefix: ReadPrefix, at_end: bool) -> Result<(), Error> {
        self.entities.spill()?;
        self.redirects.spill()?;
        let prefix_bytes = prefix.bytes;
        self.state.store(&State {
            identity: self.identity.clone(),
            offset,
            passed: prefix,
            read: at_end,
            tally: self.tally.clone(),
            entities: self.entities.runs(),
            redirects: self.redirects.runs(),
        })?;
        self.stored_at = Some(prefix_bytes);
        self.entities.remove_merged()?;
        self.redirects.remove_merged()
    }

    fn record_event(&mut self, LineEvent { line, offset, event }: LineEvent) -> Result<(), Error> {
        let line = self.tally.report.lines + line + 1;
        match (event, self.tally.shape) {
            (Event::Open, DumpShape::Unknown) => self.tally.shape = DumpShape::Array,
            (Event::Close, DumpShape::Array) => self.tally.shape = DumpShape::Closed,
            (Event::Open, _) => {
                self.record_bad_line(line, offset, "an array within the dump".into())?
            }
            (Event::Close, _) => self.record_bad_line(line, offset, "a ] without a [".into())?,
            (Event::Bad(reason), _) => {
                self.assume_lines();
                self.record_bad_line(line, offset, reason)?;
            }
            (_, DumpShape::Closed) => {
                self.record_bad_line(line, offset, "an entity after the end of the array".into())?;
            }
            (Event::Other(kind), _) => {
                self.assume_lines();
                *self.tally.report.others.entry(kind).or_default() += 1;
            }
            (Event::Redirect { from, to }, _) => {
                self.assume_lines();
                self.tally.number += 1;
                let entry = Entry { key: from, number: self.tally.number, values: vec![to] };
                self.redirects.push(entry);
            }
            (Event::Entity(record), _) => {
                self.assume_lines();
                self.tally.number += 1;
                self.entities.push(record.into_entry(self.tally.number));
            }
        }
        Ok(())
    }

    /// Sets the shape to lines if it is still unknown. An array would have begun with `[`.
    fn assume_lines(&mut self) {
        if self.tally.shape == DumpShape::Unknown {
            self.tally.shape = DumpShape::Lines;
        }
    }

    /// Counts an invalid line. Returns an error if there are more than
    /// [`ExtractConfig::bad_lines`].
    fn record_bad_line(&mut self, line: u64, offset: u64, reason: String) -> Result<(), Error> {
        if self.tally.last_bad.replace(line) == Some(line) {
            return Ok(());
        }
        self.tally.report.bad_lines += 1;
        if self.tally.report.first_bad_lines.len() < MAX_REPORTED_LINES {
            self.tally.report.first_bad_lines.push(BadLine { line, offset, reason });
        }
        if self.tally.report.bad_lines <= self.config.bad_lines {
            return Ok(());
        }
        let reason = format!(
            "{} invalid lines, but at most {} are allowed{}",
            self.tally.report.bad_lines,
            self.config.bad_lines,
            bad_line_suffix(&self.tally.report.first_bad_lines)
        );
        Err(Error::Dump { path: self.dump.to_owned(), reason })
    }

    /// Returns the reason why the file is not a dump, if it has no entities or more invalid lines
    /// than entities.
    pub(super) fn invalid_reason(&self) -> Option<String> {
        let report = &self.tally.report;
        let entities = self.tally.number + report.others.values().sum::<u64>();
        (entities == 0 || entities < report.bad_lines).then(|| {
            format!(
                "not a Wikidata dump: of {} lines, {entities} are entities and {} are invalid{}; \
                 use JSON from https://dumps.wikimedia.org/wikidatawiki/entities",
                report.lines,
                report.bad_lines,
                bad_line_suffix(&report.first_bad_lines)
            )
        })
    }
}

/// Formats the first invalid lines as a suffix of a message.
fn bad_line_suffix(bad_lines: &[BadLine]) -> String {
    let lines = bad_lines.iter();
    lines.map(|bad| format!("; line {}, byte {}: {}", bad.line, bad.offset, bad.reason)).collect()
}
