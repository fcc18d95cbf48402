//! Replacement for the crate `zip` without support for archives.
//!
//! tch and torch-sys use `zip` to read and write NumPy archives and to download libtorch. This
//! workspace needs neither. The original crate has 22 more dependencies, including two C libraries.
//! This crate has only the functions that tch calls, and these return an error.
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::path::PathBuf;

use crate::read::ZipFile;
use crate::result::{ZipError, ZipResult};

/// Error and result types.
pub mod result {
    use std::fmt::{self, Display, Formatter};

    /// The error that all functions return.
    #[derive(Clone, Copy, Debug)]
    pub struct ZipError;

    /// Result of functions that read or write archives.
    pub type ZipResult<T> = Result<T, ZipError>;

    impl Display for ZipError {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str("ZIP archives are not supported in this build")
        }
    }

    impl std::error::Error for ZipError {}
}

/// Entries of archives.
pub mod read {
    use std::convert::Infallible;

    /// An entry of an archive. No value of this type can exist.
    pub struct ZipFile(pub(crate) Infallible);
}

/// Options of new entries.
pub mod write {
    /// Options of an entry; all are ignored.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct FileOptions;

    impl FileOptions {
        /// Returns the options unchanged.
        #[must_use]
        pub fn compression_method(self, _: crate::CompressionMethod) -> Self {
            self
        }
    }
}

/// Compression of an entry.
#[derive(Clone, Copy, Debug)]
pub enum CompressionMethod {
    /// No compression.
    Stored,
}

/// An archive for reading. No value of this type can exist.
pub struct ZipArchive<R>(Infallible, PhantomData<R>);

impl<R> ZipArchive<R> {
    /// Returns an error instead of opening an archive.
    ///
    /// # Errors
    /// Always [`ZipError`].
    pub fn new(_: R) -> ZipResult<Self> {
        Err(ZipError)
    }

    /// Returns the number of entries.
    #[allow(clippy::len_without_is_empty)] // not called by tch
    pub fn len(&self) -> usize {
        match self.0 {}
    }

    /// Returns an entry.
    ///
    /// # Errors
    /// None, because no archive can exist.
    pub fn by_index(&mut self, _: usize) -> ZipResult<ZipFile> {
        match self.0 {}
    }
}

impl ZipFile {
    /// Returns the name of the entry.
    pub fn name(&self) -> &str {
        match self.0 {}
    }

    /// Returns the name of the entry as a relative path.
    pub fn mangled_name(&self) -> PathBuf {
        match self.0 {}
    }

    /// Returns the size of the entry in bytes.
    pub fn size(&self) -> u64 {
        match self.0 {}
    }
}

impl Read for ZipFile {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

/// A new archive, to which no entries can be added.
pub struct ZipWriter<W>(PhantomData<W>);

impl<W> ZipWriter<W> {
    /// Creates an archive.
    pub fn new(_: W) -> Self {
        Self(PhantomData)
    }

    /// Returns an error instead of adding an entry.
    ///
    /// # Errors
    /// Always [`ZipError`].
    pub fn start_file(&mut self, _: impl Into<String>, _: write::FileOptions) -> ZipResult<()> {
        Err(ZipError)
    }
}

impl<W> Write for ZipWriter<W> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other(ZipError))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
