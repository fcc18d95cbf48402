#![doc = include_str!("../README.md")]

#[cfg(feature = "cli")]
pub mod cli;
mod inputs;
mod notes;
mod read;
mod target;
mod temporary;
mod together;

use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempPath;

use crate::target::Target;

pub use inputs::{check_output, inputs, protect_inputs, remember_input};
pub use notes::{lines, note_missing_newline, one_line, take_notes};
pub use read::{
    Lines, MAX_FILE_BYTES, TextReader, open, read, read_limited, read_to_string,
    read_to_string_limited, read_to_string_with_mark,
};
pub use temporary::{is_temporary, sync_folder_of};
pub use together::{FileSet, PublishError, publish_all};

/// Whether a file was written to standard output.
static STDOUT_TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether a file was, or is being, written to standard output, so that a program prints everything
/// else to standard error.
#[cfg(feature = "cli")]
pub(crate) fn stdout_is_taken() -> bool {
    STDOUT_TAKEN.load(Ordering::Relaxed)
}

/// A file under a temporary name beside its target, buffered. Dropped before it is published, it
/// vanishes.
#[derive(Debug)]
pub struct WholeFile {
    sink: Sink,
    path: PathBuf,
}

/// Where the bytes go.
#[derive(Debug)]
enum Sink {
    File { buffer: BufWriter<File>, temporary: TempPath, target: PathBuf },
    Stream(BufWriter<File>),
    Stdout(BufWriter<Stdout>),
}

const BUFFER: usize = 1 << 16;

impl WholeFile {
    /// Starts the file that [`WholeFile::finish`] will name `path`. What is no regular file, as a
    /// pipe or a device, is opened and written through; `-` is standard output.
    ///
    /// # Errors
    /// If `path` is a folder, names no file or is an input that [`protect_inputs`] keeps, or if no
    /// file can be made in its folder.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let sink = match Target::of(path)? {
            Target::File(target) => {
                check_output(&target)?;
                let (file, temporary) = temporary::beside(&target)?;
                Sink::File { buffer: BufWriter::with_capacity(BUFFER, file), temporary, target }
            }
            Target::Stream => {
                let file = File::options().append(true).open(path)?;
                Sink::Stream(BufWriter::with_capacity(BUFFER, file))
            }
            Target::Stdout => {
                STDOUT_TAKEN.store(true, Ordering::Relaxed);
                Sink::Stdout(BufWriter::with_capacity(BUFFER, io::stdout()))
            }
        };
        Ok(Self { sink, path: path.to_owned() })
    }

    /// The file's name to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything through to the disk; the file still has its temporary name.
    ///
    /// # Errors
    /// If that fails, for example for lack of space.
    pub fn sync(self) -> io::Result<Synced> {
        let Self { sink, path } = self;
        let renaming = match sink {
            Sink::File { buffer, temporary, target } => {
                buffer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                Some((temporary, target))
            }
            Sink::Stream(mut stream) => stream.flush().map(|()| None)?,
            Sink::Stdout(mut stdout) => stdout.flush().map(|()| None)?,
        };
        Ok(Synced { renaming, path })
    }

    /// Writes everything through to the disk and gives the file its name, replacing what was there.
    ///
    /// # Errors
    /// If that fails; then `path` is as it was.
    pub fn finish(self) -> io::Result<()> {
        self.sync()?.publish()
    }
}

impl Write for WholeFile {
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

/// A complete file that only lacks its name, so that several can be published together. Dropped
/// before, it vanishes.
#[derive(Debug)]
pub struct Synced {
    /// The temporary file and its name to be, links followed; nothing where the bytes have gone
    /// to a pipe or a device.
    renaming: Option<(TempPath, PathBuf)>,
    path: PathBuf,
}

impl Synced {
    /// The file's name to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file can take its name, as far as can be seen before.
    fn check(&self) -> io::Result<()> {
        match &self.renaming {
            Some((_, target)) if target.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Some((_, target)) => check_output(target),
            None => Ok(()),
        }
    }

    /// Gives the file its name, replacing what was there, and syncs the folder.
    ///
    /// # Errors
    /// If the file cannot be renamed; then `path` is as it was. An error of the disk while the
    /// folder is synced comes after the rename.
    pub fn publish(self) -> io::Result<()> {
        self.check()?;
        let Some((temporary, target)) = self.renaming else { return Ok(()) };
        temporary.persist(&target).map_err(|error| error.error)?;
        temporary::sync_folder_of(&target)
    }
}

/// Writes `bytes` as the file `path`.
///
/// # Errors
/// As for [`WholeFile::create`] and [`WholeFile::finish`].
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes.as_ref())?;
    file.finish()
}
