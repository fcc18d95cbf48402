//! Decompressed bytes of a dump, from a file or standard input.
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
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The compression that the file extension indicates, if any.
    fn named(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "gz" => Some(Self::Gzip),
            "bz2" => Some(Self::Bzip2),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Magic bytes of unsupported files, with their descriptions.
const OTHER_FILES: [(&[u8], &str); 6] = [
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
fn compression(path: &Path, start: &[u8]) -> io::Result<Compression> {
    let refuse = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let found = Compression::of(start);
    if let Some((_, what)) = OTHER_FILES.iter().find(|(magic, _)| start.starts_with(magic)) {
        return refuse(format!("it is {what}; decompress it, or use gzip, bzip2 or zstd"));
    }
    match Compression::named(path) {
        Some(named) if named != found => {
            let named = format!("{named:?}").to_ascii_lowercase();
            refuse(format!(
                "its extension indicates compression with {named}, but its first bytes do not; \
                 download or copy it again, or rename it"
            ))
        }
        _ => Ok(found),
    }
}

/// Start position of an extract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtractStart {
    /// The beginning of the dump; the folder has no unfinished extract.
    New,
    /// The beginning of the dump; an unfinished extract is discarded, because it had stored nothing
    /// or a restart was requested.
    Restarted,
    /// The given number of decompressed bytes, which an unfinished extract had processed.
    Resumed(u64),
}

/// Progress of an extract: its start position and the compressed bytes read.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<(AtomicU64, OnceLock<ExtractStart>)>);

impl Progress {
    /// Returns the number of compressed bytes read.
    pub fn bytes(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Returns the start position; `None` before the start.
    pub fn start(&self) -> Option<ExtractStart> {
        self.0.1.get().copied()
    }

    fn add(&self, count: u64) {
        self.0.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, start: ExtractStart) {
        let _ = self.0.1.set(start);
    }
}

/// A prefix of the compressed bytes: its length and SHA-256 in hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct ReadPrefix {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// The compressed bytes read so far.
#[derive(Default)]
struct Packed {
    hash: Sha256,
    bytes: u64,
    /// The prefix that an earlier run read, until this run has read as many bytes.
    expected: Option<ReadPrefix>,
}

impl Packed {
    fn passed(&self) -> ReadPrefix {
        let digest = self.hash.clone().finalize();
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        ReadPrefix { bytes: self.bytes, sha256 }
    }

    /// Counts and hashes `bytes`.
    ///
    /// # Errors
    /// If they differ from the bytes that the earlier run read.
    fn update(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(expected) = &self.expected {
            let remaining = expected.bytes.saturating_sub(self.bytes);
            let remaining = usize::try_from(remaining).unwrap_or(usize::MAX);
            if let Some((before, after)) = bytes.split_at_checked(remaining) {
                self.hash.update(before);
                self.bytes += before.len() as u64;
                if self.passed() != *expected {
                    return Err(other_bytes(expected.bytes));
                }
                (bytes, self.expected) = (after, None);
            }
        }
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn other_bytes(count: u64) -> io::Error {
    let reason = format!(
        "its first {count} compressed bytes differ from those that the unfinished extract read; \
         use the same dump, or --restart to start again"
    );
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// A reader that counts and hashes the compressed bytes.
struct Counted<R> {
    input: R,
    progress: Progress,
    packed: Arc<Mutex<Packed>>,
}

impl<R> Counted<R> {
    /// Starts before the first byte.
    fn new(input: R, progress: &Progress) -> Self {
        Self { input, progress: progress.clone(), packed: Arc::default() }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.progress.add(count as u64);
        locked(&self.packed).update(buffer.get(..count).unwrap_or_default())?;
        Ok(count)
    }
}

/// An open dump.
pub(super) struct Source {
    pub(super) compression: Compression,
    pub(super) unpacked: Box<dyn Read + Send>,
    pub(super) watch: Watch,
}

/// Access to the read position of a dump that another thread reads.
#[derive(Clone)]
pub(super) struct Watch {
    packed: Arc<Mutex<Packed>>,
}

impl Watch {
    /// The prefix of the compressed bytes read so far.
    pub(super) fn passed(&self) -> ReadPrefix {
        locked(&self.packed).passed()
    }

    /// Number of compressed bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        locked(&self.packed).bytes
    }
}

impl Source {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn open(path: &Path, progress: &Progress) -> Result<Self, Error> {
        Self::try_open(path, progress).map_err(Error::io(path, "read the dump"))
    }

    fn try_open(path: &Path, progress: &Progress) -> io::Result<Self> {
        let mut counted = Counted::new(input(path)?, progress);
        let packed = Arc::clone(&counted.packed);
        let mut start = Vec::new();
        counted.by_ref().take(6).read_to_end(&mut start)?;
        let compression = compression(path, &start)?;
        let input = BufReader::with_capacity(1 << 20, Cursor::new(start).chain(counted));
        let unpacked: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
            Compression::Bzip2 => Box::new(MultiBzDecoder::new(input)),
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        };
        Ok(Self { compression, unpacked, watch: Watch { packed } })
    }

    /// Opens a dump of which an earlier run had read the compressed prefix `passed`. Its position
    /// in the decompressed bytes must be reached with [`Source::skip`].
    ///
    /// # Errors
    /// [`Error::Io`]; bytes that differ from `passed` cause an error when they are read.
    pub(super) fn reopen(
        path: &Path,
        passed: ReadPrefix,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let source = Self::open(path, progress)?;
        locked(&source.watch.packed).expected = Some(passed);
        Ok(source)
    }

    /// Skips `count` decompressed bytes.
    ///
    /// # Errors
    /// Errors of the reader; an error if the dump has fewer bytes.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.unpacked.by_ref().take(count), &mut io::sink())?;
        match skipped == count {
            true => Ok(()),
            false => Err(other_bytes(self.watch.passed().bytes)),
        }
    }

    /// Reads all compressed bytes of a dump and compares them with the prefix that an earlier run
    /// read.
    ///
    /// # Errors
    /// [`Error::Io`], also if the bytes differ.
    pub(super) fn check(
        path: &Path,
        passed: &ReadPrefix,
        progress: &Progress,
    ) -> Result<(), Error> {
        let check = || -> io::Result<()> {
            let mut counted = Counted::new(input(path)?, progress);
            io::copy(&mut counted, &mut io::sink())?;
            let found = locked(&counted.packed).passed();
            if found == *passed { Ok(()) } else { Err(other_bytes(passed.bytes)) }
        };
        check().map_err(Error::io(path, "read the dump"))
    }
}

/// Whether a dump can be read only once, from its beginning: standard input, `-`, or a pipe.
pub(super) fn is_stream(path: &Path) -> bool {
    path.to_str() == Some("-") || std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

fn input(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    atomic_file::remember_input(path);
    Ok(match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path)?),
    })
}

/// Locks a mutex, also if it is poisoned, because every update leaves the value consistent.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
