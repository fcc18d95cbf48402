//! An open file whose errors have its path.
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::read::READ;
use crate::{Error, FileLock, WRITE};

/// An open file; see [`std::fs::File`].
///
/// The methods of the type return an [`Error`] with the path. The traits [`Read`], [`Write`] and
/// [`Seek`], which other readers and writers need, return the error without the path.
///
/// ```
/// use atomic_file::fs::File;
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("numbers");
/// File::create(&path)?.write_all(b"123")?;
/// let mut file = File::open(&path)?;
/// let mut bytes = [0; 4];
/// let error = file.read_exact(&mut bytes).unwrap_err();
/// assert_eq!(error.path, path);
/// # Ok::<(), atomic_file::Error>(())
/// ```
///
/// # Errors
/// Each method returns the error of the method in [`std::fs::File`] as [`Error`].
#[derive(Debug)]
pub struct File {
    file: fs::File,
    path: PathBuf,
}

impl File {
    /// Opens a file for reading.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(Self::new(fs::File::open(path).map_err(Error::new(path, READ))?, path))
    }

    /// Creates an empty file, or empties an existing file, and opens it for writing.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(Self::new(fs::File::create(path).map_err(Error::new(path, WRITE))?, path))
    }

    /// Opens a file with options.
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(Self::new(options.open(path).map_err(Error::new(path, "open"))?, path))
    }

    /// Creates the value for an open file with a path.
    pub fn new(file: fs::File, path: impl Into<PathBuf>) -> Self {
        Self { file, path: path.into() }
    }

    /// Returns the path with which the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the metadata of the file.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        self.file.metadata().map_err(Error::new(&self.path, READ))
    }

    /// Reads some bytes; 0 at the end of the file.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.file.read(buffer).map_err(Error::new(&self.path, READ))
    }

    /// Fills the buffer.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact(buffer).map_err(Error::new(&self.path, READ))
    }

    /// Fills the buffer from the position `offset`.
    #[cfg(unix)]
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        use std::os::unix::fs::FileExt;
        self.file.read_exact_at(buffer, offset).map_err(Error::new(&self.path, READ))
    }

    /// Returns the remaining bytes of the file.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, Error> {
        self.read_up_to(u64::MAX)
    }

    /// Returns the remaining bytes of the file, but at most `limit` bytes.
    pub fn read_up_to(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(limit).read_to_end(&mut bytes);
        read.map_err(Error::new(&self.path, READ))?;
        Ok(bytes)
    }

    /// Passes the remaining bytes of the file to a writer that cannot fail, such as a hasher.
    /// Returns the number of bytes.
    pub fn read_into(&mut self, writer: &mut impl Write) -> Result<u64, Error> {
        io::copy(&mut self.file, writer).map_err(Error::new(&self.path, READ))
    }

    /// Moves to a position.
    pub fn seek(&mut self, position: SeekFrom) -> Result<u64, Error> {
        self.file.seek(position).map_err(Error::new(&self.path, READ))
    }

    /// Writes all bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::new(&self.path, WRITE))
    }

    /// Truncates or extends the file.
    pub fn set_len(&self, size: u64) -> Result<(), Error> {
        self.file.set_len(size).map_err(Error::new(&self.path, WRITE))
    }

    /// Writes contents and metadata to the disk.
    pub fn sync_all(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::new(&self.path, WRITE))
    }

    /// Writes the contents to the disk.
    pub fn sync_data(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::new(&self.path, WRITE))
    }

    /// Locks the file; see [`FileLock::acquire`].
    pub fn lock(&self) -> Result<Option<FileLock>, Error> {
        FileLock::acquire(&self.file).map_err(Error::new(&self.path, LOCK))
    }

    /// Locks the file if no other process holds the lock; see [`FileLock::try_acquire`].
    pub fn try_lock(&self) -> Result<Option<FileLock>, Error> {
        FileLock::try_acquire(&self.file).map_err(Error::new(&self.path, LOCK))
    }
}

/// The action in errors about locks.
const LOCK: &str = "lock";

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for File {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsRawHandle for File {
    fn as_raw_handle(&self) -> std::os::windows::io::RawHandle {
        self.file.as_raw_handle()
    }
}
