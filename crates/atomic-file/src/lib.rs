#![doc = include_str!("../README.md")]

mod content;
mod error;
mod escape;
mod file_set;
pub mod fs;
pub mod json;
mod lock;
mod observer;
mod read;
mod target;
mod temporary;

use std::fmt::Arguments;
use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::target::Target;

pub use content::check_text_start;
pub use error::Error;
pub use escape::{one_line, printable_lines};
pub use file_set::{FileSet, publish_all};
pub use lock::FileLock;
pub use observer::{Observer, ObserverIsSet, check_output, report_opened, set_observer};
pub use read::{
    Lines, MAX_FILE_BYTES, TextReader, note, note_missing_newline, open, read, read_limited,
    read_to_string, read_to_string_limited, read_to_string_with_bom, read_with_bom, to_utf8,
};
pub use target::is_stdout;
pub use temporary::is_temporary;

/// The target of this crate's log records: warnings about input files.
pub const LOG_TARGET: &str = "atomic_file";

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

/// The action in errors of writers.
pub(crate) const WRITE: &str = "write";

impl AtomicFile {
    /// Creates a temporary file that [`AtomicFile::finish`] renames to `path`.
    ///
    /// Pipes and devices are opened and written directly; `-` is standard output.
    ///
    /// # Errors
    /// If `path` is a folder, has no file name or is rejected by the [`Observer`], or if no file can
    /// be created in its folder.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let sink = Sink::create(path).map_err(Error::new(path, WRITE))?;
        Ok(Self { sink, path: path.to_owned() })
    }

    /// Writes bytes. Unlike the method of [`Write`], this method returns errors with the path.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Write::write_all(self, bytes).map_err(Error::new(&self.path, WRITE))
    }

    /// Writes formatted text, for `write!`. Unlike the method of [`Write`], this method returns
    /// errors with the path.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_fmt(&mut self, text: Arguments<'_>) -> Result<(), Error> {
        Write::write_fmt(self, text).map_err(Error::new(&self.path, WRITE))
    }

    /// Returns the path of the target.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes and syncs the file to disk without renaming it.
    ///
    /// # Errors
    /// If the file cannot be written, for example because the disk is full.
    pub fn sync(self) -> Result<SyncedFile, Error> {
        let Self { sink, path } = self;
        let pending_rename = sink.sync().map_err(Error::new(&path, WRITE))?;
        Ok(SyncedFile { pending_rename, path })
    }

    /// Syncs the file to disk and renames it to its target, replacing an existing file.
    ///
    /// # Errors
    /// If the file cannot be written or renamed; in this case, the target is unchanged.
    pub fn finish(self) -> Result<(), Error> {
        self.sync()?.publish()
    }
}

impl Sink {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(match Target::resolve(path)? {
            Target::File(target) => {
                check_output(&target)?;
                let (file, temporary) = temporary::create_next_to(&target)?;
                let buffer = BufWriter::with_capacity(BUFFER_BYTES, file);
                Self::File { buffer, temporary, target }
            }
            Target::Stream => {
                let file = File::options().append(true).open(path)?;
                Self::Stream(BufWriter::with_capacity(BUFFER_BYTES, file))
            }
            Target::Stdout => Self::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout())),
        })
    }

    fn sync(self) -> io::Result<Option<(TempPath, PathBuf)>> {
        match self {
            Self::File { buffer, temporary, target } => {
                buffer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                Ok(Some((temporary, target)))
            }
            Self::Stream(mut stream) => stream.flush().map(|()| None),
            Self::Stdout(mut stdout) => stdout.flush().map(|()| None),
        }
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
    fn check(&self) -> Result<(), Error> {
        let result = match &self.pending_rename {
            Some((_, target)) if target.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Some((_, target)) => check_output(target).map_err(io::Error::from),
            None => Ok(()),
        };
        result.map_err(Error::new(&self.path, WRITE))
    }

    /// Renames the file to its target, replacing an existing file, and syncs the folder.
    ///
    /// # Errors
    /// If the file cannot be renamed; in this case, the target is unchanged. If syncing the folder
    /// fails, the file has already been renamed.
    pub fn publish(self) -> Result<(), Error> {
        self.check()?;
        let Some((temporary, target)) = self.pending_rename else { return Ok(()) };
        let renamed = temporary.persist(&target).map_err(|error| error.error);
        let result = renamed.and_then(|_| temporary::sync_folder_of(&target));
        result.map_err(Error::new(&self.path, WRITE))
    }
}

/// Creates the folder of the file `path` and the folders above it, if they do not exist.
///
/// # Errors
/// If a folder cannot be created. The error has the path of the file, which cannot be written.
pub fn create_folder_of(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    let created = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    created.map_err(Error::new(path, WRITE))
}

/// Syncs the folder of `path` to disk, so that renames are durable.
///
/// On systems and file systems that do not support this, the function does nothing.
///
/// # Errors
/// If syncing fails. The error has the path of the file.
pub fn sync_folder_of(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    temporary::sync_folder_of(path).map_err(Error::new(path, WRITE))
}

/// Writes `bytes` atomically to the file `path`.
///
/// # Errors
/// The errors of [`AtomicFile::create`] and [`AtomicFile::finish`].
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes.as_ref())?;
    file.finish()
}
