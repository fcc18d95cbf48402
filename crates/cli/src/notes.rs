//! Notes about input files: the warnings that `atomic-file` logs.
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Maximum number of collected notes. This limits the memory use of programs that run for a long
/// time and print no notes.
const MAX_NOTES: usize = 100;

static NOTES: Notes = Notes(Mutex::new(Vec::new()));

/// A logger that collects warnings of `atomic-file` and ignores all other records.
struct Notes(Mutex<Vec<String>>);

impl Log for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target() == atomic_file::LOG_TARGET
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let note = record.args().to_string();
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < MAX_NOTES && !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn flush(&self) {}
}

/// Starts to collect notes. Does nothing if the process has another logger.
pub(crate) fn collect_notes() {
    if log::set_logger(&NOTES).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Removes and returns the collected notes.
pub(crate) fn take_notes() -> Vec<String> {
    std::mem::take(&mut NOTES.0.lock().unwrap_or_else(PoisonError::into_inner))
}
