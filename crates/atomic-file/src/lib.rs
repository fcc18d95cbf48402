#![doc = include_str!("../README.md")]

#[cfg(feature = "cli")]
pub mod cli;
mod content;
mod file_set;
mod inputs;
mod lock;
mod notes;
mod read;
mod target;
mod temporary;

use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempPath;

use crate::target::Target;

pub use content::check_text_start;
pub use file_set::{FileSet, PublishError, publish_all};
pub use inputs::{check_output, inputs, protect_inputs, remember_input};
pub use lock::FileLock;
pub use notes::{note_missing_newline, one_line, printable_lines, take_notes};
pub use read::{
    Lines, MAX_FILE_BYTES, TextReader, open, read, read_limited, read_to_string,
    read_to_string_limited, read_to_string_with_bom,
};
pub use temporary::{is_temporary, sync_folder_of};

/// Whether an [`AtomicFile`] was created for standard output.
static STDOUT_RESERVED: AtomicBool = AtomicBool::new(false);

/// Returns whether an [`AtomicFile`] was created for standard output. Programs then print all other
/// text to standard error.
#[cfg(feature = "cli")]
pub(crate) fn stdout_is_reserved() -> bool {
    STDOUT_RESERVED.load(Ordering::Relaxed)
}

/// A buffered file with a temporary name in the folder of its target. The file is removed if the
/// value is dropped before [`finish`](Self::finish) or [`sync`](Self::sync).
#[derive(Debug)]
pub struct AtomicFile {
    sink: Sink,
    path: PathBuf,
}

/// Destination of written bytes.
#[derive(Debug)]
enum Sink {
    File { buffer: BufWriter<File>, temporary: TempPath, target: PathBuf },
    Stream(BufWriter<File>),
    Stdout(BufWriter<Stdout>),
}

const BUFFER_BYTES: usize = 1 << 16;

impl AtomicFile {
    /// Creates a temporary file that [`AtomicFile::finish`] renames to `path`.
    ///
    /// Pipes and devices are opened and written directly; `-` is standard output.
    ///
    /// # Errors
    /// If `path` is a folder, has no file name or is an input protected by [`protect_inputs`], or
    /// if no file can be created in its folder.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let sink = match Target::resolve(path)? {
            Target::File(target) => {
                check_output(&target)?;
                let (file, temporary) = temporary::create_next_to(&target)?;
                let buffer = BufWriter::with_capacity(BUFFER_BYTES, file);
                Sink::File { buffer, temporary, target }
            }
            Target::Stream => {
                let file = File::options().append(true).open(path)?;
                Sink::Stream(BufWriter::with_capacity(BUFFER_BYTES, file))
            }
            Target::Stdout => {
                STDOUT_RESERVED.store(true, Ordering::Relaxed);
                Sink::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))
            }
        };
        Ok(Self { sink, path: path.to_owned() })
    }

    /// Returns the path of the target.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes and syncs the file to disk without renaming it.
    ///
    /// # Errors
    /// If the file cannot be written, for example because the disk is full.
    pub fn sync(self) -> io::Result<SyncedFile> {
        let Self { sink, path } = self;
        let pending_rename = match sink {
            Sink::File { buffer, temporary, target } => {
                buffer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                Some((temporary, target))
            }
            Sink::Stream(mut stream) => stream.flush().map(|()| None)?,
            Sink::Stdout(mut stdout) => stdout.flush().map(|()| None)?,
        };
        Ok(SyncedFile { pending_rename, path })
    }

    /// Syncs the file to disk and renames it to its target, replacing an existing file.
    ///
    /// # Errors
    /// If the file cannot be written or renamed; in this case, the target is unchanged.
    pub fn finish(self) -> io::Result<()> {
        self.sync()?.publish()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::File { buffer, .. } | Sink::Stream(buffer) => buffer.write(bytes),
            Sink::Stdout(buffer) => buffer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File { buffer, .. } | Sink::Stream(buffer) => buffer.flush(),
            Sink::Stdout(buffer) => buffer.flush(),
        }
    }
}

/// A complete, synced file that still has its temporary name, so that several files can be
/// published together. If the value is dropped before [`publish`](Self::publish), the file is
/// removed.
#[derive(Debug)]
pub struct SyncedFile {
    /// The temporary file and its target, with links resolved; `None` for a pipe, a device or
    /// standard output.
    pending_rename: Option<(TempPath, PathBuf)>,
    path: PathBuf,
}

impl SyncedFile {
    /// Returns the path of the target.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks in advance whether the file can be renamed to its target.
    fn check(&self) -> io::Result<()> {
        match &self.pending_rename {
            Some((_, target)) if target.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Some((_, target)) => check_output(target),
            None => Ok(()),
        }
    }

    /// Renames the file to its target, replacing an existing file, and syncs the folder.
    ///
    /// # Errors
    /// If the file cannot be renamed; in this case, the target is unchanged. If syncing the folder
    /// fails, the file has already been renamed.
    pub fn publish(self) -> io::Result<()> {
        self.check()?;
        let Some((temporary, target)) = self.pending_rename else { return Ok(()) };
        temporary.persist(&target).map_err(|error| error.error)?;
        temporary::sync_folder_of(&target)
    }
}

/// Writes `bytes` atomically to the file `path`.
///
/// # Errors
/// The errors of [`AtomicFile::create`] and [`AtomicFile::finish`].
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes.as_ref())?;
    file.finish()
}
