//! Reading and decompression of a dump from a file or standard input.
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// Compression of a dump, detected by its first bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// gzip, with one or several members.
    Gzip,
    /// bzip2, with one or several streams.
    Bzip2,
    /// Zstandard, with one or several frames.
    Zstd,
}

impl Compression {
    /// Detects the compression from the first bytes.
    fn detect(start: &[u8]) -> Self {
        match start {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns the compression that the file extension indicates, if any.
    fn from_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "gz" => Some(Self::Gzip),
            "bz2" => Some(Self::Bzip2),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// First bytes of files in unsupported formats, with the name of the format for error messages.
const UNSUPPORTED_FORMATS: [(&[u8], &str); 6] = [
    (b"\xFD7zXZ\0", "compressed with xz"),
    (b"\x04\x22\x4D\x18", "compressed with lz4"),
    (b"LZIP", "compressed with lzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (b"PAR1", "a Parquet file"),
];

/// Detects the compression of a file from its first bytes.
///
/// # Errors
/// If the extension indicates another compression, or the compression is not supported.
fn detect_compression(path: &Path, start: &[u8]) -> io::Result<Compression> {
    let invalid = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let detected = Compression::detect(start);
    if let Some((_, format)) =
        UNSUPPORTED_FORMATS.iter().find(|(magic, _)| start.starts_with(magic))
    {
        return invalid(format!("it is {format}; decompress it, or use gzip, bzip2 or zstd"));
    }
    match Compression::from_extension(path) {
        Some(expected) if expected != detected => {
            let expected = format!("{expected:?}").to_ascii_lowercase();
            invalid(format!(
                "its extension indicates compression with {expected}, but its first bytes do not; \
                 download or copy it again, or rename it"
            ))
        }
        _ => Ok(detected),
    }
}

/// Start position of an extract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtractStart {
    /// At the beginning of the dump, because the folder has no unfinished extract.
    New,
    /// At the beginning of the dump. An unfinished extract was discarded, because it had no stored
    /// state or because a restart was requested.
    Restarted,
    /// After this number of decompressed bytes, which an unfinished extract has processed.
    Resumed(u64),
}

/// Progress of an extract: its start position and the number of compressed bytes read.
#[derive(Clone, Debug, Default)]
pub struct ExtractProgress(Arc<(AtomicU64, OnceLock<ExtractStart>)>);

impl ExtractProgress {
    /// Returns the number of compressed bytes read.
    pub fn bytes(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Returns the start position; `None` before the extract has started.
    pub fn start(&self) -> Option<ExtractStart> {
        self.0.1.get().copied()
    }

    fn add(&self, count: u64) {
        self.0.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set_start(&self, start: ExtractStart) {
        let _ = self.0.1.set(start);
    }
}

/// Length and hexadecimal SHA-256 of a prefix of the compressed bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct ReadPrefix {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Length and hash of the compressed bytes read so far.
#[derive(Default)]
struct PrefixHash {
    hash: Sha256,
    bytes: u64,
    /// The prefix that an earlier run read. `None` if there is no earlier run, or after this run
    /// has verified the prefix.
    expected: Option<ReadPrefix>,
}

impl PrefixHash {
    fn prefix(&self) -> ReadPrefix {
        let digest = self.hash.clone().finalize();
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        ReadPrefix { bytes: self.bytes, sha256 }
    }

    /// Counts and hashes `bytes`.
    ///
    /// # Errors
    /// If the bytes differ from the bytes that an earlier run read.
    fn update(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(expected) = &self.expected {
            let remaining = expected.bytes.saturating_sub(self.bytes);
            if remaining <= bytes.len() as u64 {
                let (before, after) = bytes.split_at(remaining as usize);
                self.hash.update(before);
                self.bytes += before.len() as u64;
                if self.prefix() != *expected {
                    return Err(prefix_mismatch(expected.bytes));
                }
                (bytes, self.expected) = (after, None);
            }
        }
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn prefix_mismatch(count: u64) -> io::Error {
    let reason = format!(
        "its first {count} compressed bytes differ from those that the unfinished extract read; \
         use the same dump, or --restart to start again"
    );
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// A reader that counts and hashes the compressed bytes.
struct HashingReader<R> {
    input: R,
    progress: ExtractProgress,
    prefix: Arc<Mutex<PrefixHash>>,
}

impl<R> HashingReader<R> {
    /// Creates a reader at the first byte of `input`.
    fn new(input: R, progress: &ExtractProgress) -> Self {
        Self { input, progress: progress.clone(), prefix: Arc::default() }
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.progress.add(count as u64);
        lock(&self.prefix).update(&buffer[..count])?;
        Ok(count)
    }
}

/// An open dump.
pub(super) struct Source {
    pub(super) compression: Compression,
    pub(super) decompressed: Box<dyn Read + Send>,
    pub(super) position: ReadPosition,
}

/// Read position of a dump, shared with the thread that reads the dump.
#[derive(Clone)]
pub(super) struct ReadPosition {
    prefix: Arc<Mutex<PrefixHash>>,
}

impl ReadPosition {
    /// Returns the prefix of the compressed bytes read so far.
    pub(super) fn prefix(&self) -> ReadPrefix {
        lock(&self.prefix).prefix()
    }

    /// Returns the number of compressed bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.prefix).bytes
    }
}

impl Source {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn open(path: &Path, progress: &ExtractProgress) -> Result<Self, Error> {
        Self::try_open(path, progress).map_err(Error::io(path, "read the dump"))
    }

    fn try_open(path: &Path, progress: &ExtractProgress) -> io::Result<Self> {
        let mut reader = HashingReader::new(open_input(path)?, progress);
        let prefix = Arc::clone(&reader.prefix);
        let mut start = Vec::new();
        reader.by_ref().take(6).read_to_end(&mut start)?;
        let compression = detect_compression(path, &start)?;
        let input = BufReader::with_capacity(1 << 20, Cursor::new(start).chain(reader));
        let decompressed: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
            Compression::Bzip2 => Box::new(MultiBzDecoder::new(input)),
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        };
        Ok(Self { compression, decompressed, position: ReadPosition { prefix } })
    }

    /// Opens a dump of which an earlier run has read the compressed prefix `expected`. The caller
    /// must then call [`Source::skip`] to reach the earlier run's position in the decompressed
    /// bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the dump cannot be opened. If its first bytes differ from `expected`, later
    /// reads return an error.
    pub(super) fn reopen(
        path: &Path,
        expected: ReadPrefix,
        progress: &ExtractProgress,
    ) -> Result<Self, Error> {
        let source = Self::open(path, progress)?;
        lock(&source.position.prefix).expected = Some(expected);
        Ok(source)
    }

    /// Skips `count` decompressed bytes.
    ///
    /// # Errors
    /// If the dump cannot be read or has fewer than `count` bytes.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.decompressed.by_ref().take(count), &mut io::sink())?;
        match skipped == count {
            true => Ok(()),
            false => Err(prefix_mismatch(self.position.prefix().bytes)),
        }
    }

    /// Reads all compressed bytes of a dump and compares them with the prefix that an earlier run
    /// read.
    ///
    /// # Errors
    /// [`Error::Io`] if the dump cannot be read or its first bytes differ from this prefix.
    pub(super) fn check_prefix(
        path: &Path,
        expected: &ReadPrefix,
        progress: &ExtractProgress,
    ) -> Result<(), Error> {
        let check = || -> io::Result<()> {
            let mut reader = HashingReader::new(open_input(path)?, progress);
            io::copy(&mut reader, &mut io::sink())?;
            let prefix = lock(&reader.prefix).prefix();
            if prefix == *expected { Ok(()) } else { Err(prefix_mismatch(expected.bytes)) }
        };
        check().map_err(Error::io(path, "read the dump"))
    }
}

/// Whether a dump can be read only once, because it is standard input (`-`) or a pipe.
pub(super) fn is_stream(path: &Path) -> bool {
    path.to_str() == Some("-") || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

fn open_input(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    atomic_file::report_opened(path);
    Ok(match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path)?),
    })
}

/// Locks a mutex even if it is poisoned, because every update leaves the value consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
