//! A dump read chunk by chunk: unpacked, parsed, and stored on the way.
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;

use super::chunk::{Chunk, Chunks, Parsed};
use super::extract::Reading;
use super::sort::Sorter;
use super::source::{DumpFormat, Passed, Place, Source, Watch};
use super::state::State;
use super::wanted::Wanted;
use super::{chunk, ntriples};
use crate::KgError;

/// Bytes of the dump read at a time, a sixteenth of the memory within these bounds.
const SMALLEST_CHUNK: usize = 1 << 12;
const LARGEST_CHUNK: usize = 4 << 20;
/// Packed bytes of the dump behind which what was read is stored, whatever the memory.
const STORED_EVERY: u64 = 64 << 20;
/// Chunks that wait for a worker, so that memory stays bounded.
const WAITING: usize = 4;

type Parse = fn(&Chunk, &Wanted) -> Parsed;

impl Reading<'_> {
    /// Takes up what an unfinished extract left.
    pub(super) fn go_on(&mut self, found: State) {
        let State { shape, number, lines, statements, last_bad, report, .. } = found;
        let State { passed, entities, redirects, .. } = found;
        let (path, memory) = (self.state.path(), self.config.memory);
        self.entities = Sorter::new(path, "entities", memory).with_runs(entities);
        self.redirects = Sorter::new(path, "redirects", memory / 8).with_runs(redirects);
        (self.shape, self.number, self.last_bad) = (shape, number, last_bad);
        (self.lines, self.statements) = (lines, statements);
        (self.report, self.stored, self.stored_at) = (report, true, passed.bytes);
    }

    /// Reads everything from `place` on. One thread unpacks while others parse.
    pub(super) fn read(&mut self, mut source: Source, place: Place) -> Result<(), KgError> {
        let longest = self.config.longest_line;
        let size = (self.config.memory / 16).clamp(SMALLEST_CHUNK, LARGEST_CHUNK) as u64;
        let watch = source.watch.clone();
        let bytes = std::thread::scope(|scope| {
            let (give, take) = sync_channel(WAITING);
            let unpacking = scope.spawn(move || {
                source.skip(place).map_err(|error| (source.start.offset, error))?;
                let mut chunks = Chunks::new(source.unpacked, longest, place.offset, size);
                loop {
                    match chunks.next() {
                        Ok(Some(chunk)) => {
                            // Behind a cut line, the rest of it must be left out, too.
                            let end = (!chunk.cut).then(|| source.watch.place(chunks.offset()));
                            // A receiver that is gone has an error to tell.
                            if give.send((chunk, end)).is_err() {
                                break;
                            }
                        }
                        Ok(None) => break,
                        Err(error) => return Err((chunks.offset(), error)),
                    }
                }
                Ok(chunks.offset())
            });
            let parsed = self.parse_all(take, &watch);
            let unpacked = unpacking.join().unwrap_or_else(|_| {
                Err((0, io::Error::other("the thread that unpacks the dump failed")))
            });
            parsed?;
            unpacked.map_err(|(offset, error)| {
                let reason = format!("after {offset} unpacked bytes: {error}");
                KgError::io(self.dump, "unpack the dump")(io::Error::new(error.kind(), reason))
            })
        })?;
        let passed = watch.passed();
        self.report.bytes = bytes;
        (self.report.packed_bytes, self.report.sha256) = (passed.bytes, passed.sha256.clone());
        if self.stored {
            self.store(watch.place(bytes), passed, true)?;
        }
        Ok(())
    }

    fn parse_all(
        &mut self,
        chunks: Receiver<(Chunk, Option<Place>)>,
        watch: &Watch,
    ) -> Result<(), KgError> {
        let mut waiting = Vec::new();
        while let Ok((chunk, end)) = chunks.recv() {
            if chunk.offset == 0 {
                self.report.format = DumpFormat::of(&chunk.bytes);
            }
            waiting.push((chunk, end));
            let most = rayon::current_num_threads().clamp(1, 2 * WAITING);
            while waiting.len() < most
                && let Ok(chunk) = chunks.try_recv()
            {
                waiting.push(chunk);
            }
            let (wanted, parse) = match self.report.format {
                DumpFormat::Json => (&self.wanted, chunk::parse as Parse),
                DumpFormat::NTriples => (&self.wanted, ntriples::parse as Parse),
            };
            let parsed: Vec<(Parsed, Option<Place>)> =
                waiting.par_iter().map(|(chunk, end)| (parse(chunk, wanted), *end)).collect();
            waiting.clear();
            for (Parsed { lines, statements, found }, end) in parsed {
                for found in found {
                    self.take(found)?;
                }
                self.lines += lines;
                self.statements += statements;
                if let Some(end) = end
                    && (self.entities.is_full()
                        || self.redirects.is_full()
                        || watch.bytes() >= self.stored_at.saturating_add(STORED_EVERY))
                {
                    self.store(end, watch.passed(), false)?;
                }
            }
        }
        Ok(())
    }

    /// Stores what was found up to `place`.
    fn store(&mut self, place: Place, passed: Passed, read: bool) -> Result<(), KgError> {
        let refuse = || KgError::io(self.folder, "write to the folder");
        self.entities.spill().map_err(refuse())?;
        self.redirects.spill().map_err(refuse())?;
        let passed_bytes = passed.bytes;
        self.state.store(&State {
            task: self.task.clone(),
            place,
            passed,
            read,
            shape: self.shape,
            number: self.number,
            lines: self.lines,
            statements: self.statements,
            last_bad: self.last_bad,
            report: self.report.clone(),
            entities: self.entities.runs(),
            redirects: self.redirects.runs(),
        })?;
        (self.stored, self.stored_at) = (true, passed_bytes);
        self.entities.remove_merged().map_err(refuse())?;
        self.redirects.remove_merged().map_err(refuse())
    }
}
