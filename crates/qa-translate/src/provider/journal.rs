//! An append-only JSONL file that can be reopened after a run is killed.
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::Path;

use atomic_file::fs::File;
use atomic_file::{FileLock, json};
use serde::Serialize;

use crate::Error;

/// A JSONL file that is synced after each addition and locked while it is open.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    _lock: Option<FileLock>,
}

impl Journal {
    /// Opens or creates the file at `path`, and calls `read` with each line and its number. An
    /// incomplete last line is removed if its start matches `line_prefix`; the other lines are
    /// never changed.
    pub(super) fn open(
        path: &Path,
        line_prefix: &[u8],
        mut read: impl FnMut(&[u8], usize) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        atomic_file::create_folder_of(path)?;
        atomic_file::check_output(path)?;
        let options = OpenOptions::new().read(true).append(true).create(true).to_owned();
        let mut file = File::open_with(path, &options)?;
        let _lock = lock(&file)?;
        let bytes = file.read_to_end()?;
        let mut valid_bytes = 0;
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if valid_bytes + line.len() == bytes.len() && is_incomplete(line, line_prefix) {
                break;
            }
            if !line.trim_ascii().is_empty() {
                read(line.trim_ascii_end(), index + 1)?;
            }
            valid_bytes += line.len();
        }
        if valid_bytes < bytes.len() {
            // The cast is lossless, because a slice has at most `isize::MAX` bytes.
            file.set_len(valid_bytes as u64)?;
            file.sync_all()?;
        }
        Ok(Self { file, _lock })
    }

    /// Appends lines. If the disk is full, the last written line may be incomplete.
    pub(super) fn add(&mut self, lines: &[impl Serialize]) -> Result<(), Error> {
        let mut text = String::new();
        for line in lines {
            text += &json::to_string(self.file.path(), line)?;
            text.push('\n');
        }
        self.file.write_all(text.as_bytes())?;
        Ok(self.file.sync_data()?)
    }
}

/// Locks the file against other writers. On file systems without locks, the file is not locked.
fn lock(file: &File) -> Result<Option<FileLock>, Error> {
    match file.try_lock() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            let reason = "in use by another run; wait for that run, or use another file";
            let source = io::Error::new(ErrorKind::WouldBlock, reason);
            Err(atomic_file::Error { source, ..error }.into())
        }
        lock => Ok(lock?),
    }
}

/// Returns whether `line`, the last line of a journal, is incomplete.
///
/// If the process was killed while it wrote the line, the line break is missing. After a power
/// failure, the line may contain zeros. A line whose start does not match `line_prefix` does not
/// count as incomplete.
fn is_incomplete(line: &[u8], line_prefix: &[u8]) -> bool {
    let text_part = &line[..line.iter().position(|&byte| byte == 0).unwrap_or(line.len())];
    let has_prefix = text_part.starts_with(line_prefix) || line_prefix.starts_with(text_part);
    has_prefix && (!line.ends_with(b"\n") || text_part.len() < line.len())
}
