#![doc = include_str!("../README.md")]

mod temporary;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

/// A file under a temporary name beside its target, buffered. Dropped before it is published, it
/// vanishes.
#[derive(Debug)]
pub struct WholeFile {
    buffer: BufWriter<File>,
    temporary: TempPath,
    path: PathBuf,
}

impl WholeFile {
    /// Starts the file that [`WholeFile::finish`] will name `path`.
    ///
    /// # Errors
    /// If `path` is a folder or names no file, or if no file can be made in its folder.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let (file, temporary) = temporary::beside(path)?;
        let buffer = BufWriter::with_capacity(1 << 16, file);
        Ok(Self { buffer, temporary, path: path.to_owned() })
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
        let Self { buffer, temporary, path } = self;
        buffer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(Synced { temporary, path })
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
        self.buffer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
    }
}

/// A complete file that only lacks its name, so that several can be published together. Dropped
/// before, it vanishes.
#[derive(Debug)]
pub struct Synced {
    temporary: TempPath,
    path: PathBuf,
}

impl Synced {
    /// The file's name to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, replacing what was there, and syncs the folder.
    ///
    /// # Errors
    /// If the file cannot be renamed; then `path` is as it was. An error of the disk while the
    /// folder is synced comes after the rename.
    pub fn publish(self) -> io::Result<()> {
        self.temporary.persist(&self.path).map_err(|error| error.error)?;
        temporary::sync_folder_of(&self.path)
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

/// Lets `write` make the file under the temporary path it is given, then publishes it as `path`.
///
/// There is an empty file at the temporary path already; `write` may fill it, or put another in its
/// place.
///
/// # Errors
/// What `write` returns, and as for [`WholeFile::create`] and [`WholeFile::finish`].
pub fn write_with<E: From<io::Error>>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let path = path.as_ref();
    let (file, temporary) = temporary::beside(path)?;
    let permissions = file.metadata()?.permissions();
    drop(file);
    write(&temporary)?;
    // A file put in the place of ours may be readable by its owner only.
    fs::set_permissions(&temporary, permissions)?;
    File::open(&temporary)?.sync_all()?;
    Ok(Synced { temporary, path: path.to_owned() }.publish()?)
}
