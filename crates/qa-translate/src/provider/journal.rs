//! An append-only JSONL file that can be reopened after a run is killed.
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use atomic_file::FileLock;
use serde::Serialize;

use crate::Error;
use crate::error::create_folder_of;

/// A JSONL file that is synced after each addition and locked while it is open.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
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
        create_folder_of(path)?;
        let checked = atomic_file::check_output(path).map_err(io::Error::from);
        checked.map_err(Error::io(path, "use it as a cache"))?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = file.map_err(Error::io(path, "open the cache"))?;
        let _lock = lock(&file).map_err(Error::io(path, "lock the cache"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io(path, "read the cache"))?;
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
            let result = file.set_len(valid_bytes as u64).and_then(|()| file.sync_all());
            result.map_err(Error::io(path, "remove the incomplete line of the cache"))?;
        }
        Ok(Self { path: path.to_owned(), file, _lock })
    }

    /// Appends lines. If the disk is full, the last written line may be incomplete.
    pub(super) fn add(&mut self, lines: &[impl Serialize]) -> Result<(), Error> {
        let io_error = || Error::io(&self.path, "write the cache");
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line).map_err(|error| io_error()(error.into()))?;
            bytes.push(b'\n');
        }
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data()).map_err(io_error())
    }
}

/// Locks the file against other writers. On file systems without locks, the file is not locked.
fn lock(file: &File) -> io::Result<Option<FileLock>> {
    FileLock::try_acquire(file).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let reason = "in use by another run; wait for that run, or use another file";
            io::Error::new(io::ErrorKind::WouldBlock, reason)
        }
        _ => error,
    })
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
