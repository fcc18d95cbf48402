//! A dump as unpacked bytes, from a file or standard input.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bzip2::ParallelBzip2;
use crate::KgError;

/// How a dump is packed; found out by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, also of several members.
    Gzip,
    /// bzip2, also of several streams.
    Bzip2,
    /// Zstandard, also of several frames.
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
}

/// What the lines of a dump are; found out by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DumpFormat {
    /// A JSON array with an entity in each line, or JSON lines.
    Json,
    /// N-Triples, a fact in each line.
    NTriples,
}

impl DumpFormat {
    /// The format of a dump that begins like this.
    pub(super) fn of(start: &[u8]) -> Self {
        let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
        match start.trim_ascii_start().first() {
            Some(b'<' | b'_' | b'#') => Self::NTriples,
            _ => Self::Json,
        }
    }
}

/// What was read of the packed bytes so far: their number, for a progress bar.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Packed bytes read.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts and hashes the packed bytes on their way.
struct Counted<R> {
    input: R,
    progress: Progress,
    hash: Arc<std::sync::Mutex<Sha256>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.progress.0.fetch_add(count as u64, Ordering::Relaxed);
        if let Ok(mut hash) = self.hash.lock() {
            hash.update(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}

/// An open dump.
pub(super) struct Source {
    pub(super) compression: Compression,
    pub(super) unpacked: Box<dyn Read + Send>,
    hash: Arc<std::sync::Mutex<Sha256>>,
}

impl Source {
    /// Opens a file, or standard input for `-`; blocks of bzip2 are unpacked by so many threads.
    ///
    /// # Errors
    /// [`KgError::Io`].
    pub(super) fn open(path: &Path, progress: &Progress, threads: usize) -> Result<Self, KgError> {
        let refuse = || KgError::io(path, "read the dump");
        let input: Box<dyn Read + Send> = match path.to_str() {
            Some("-") => Box::new(io::stdin()),
            _ => Box::new(File::open(path).map_err(refuse())?),
        };
        let hash = Arc::new(std::sync::Mutex::new(Sha256::new()));
        let counted = Counted { input, progress: progress.clone(), hash: Arc::clone(&hash) };
        let mut packed = BufReader::with_capacity(1 << 20, counted);
        let compression = Compression::of(packed.fill_buf().map_err(refuse())?);
        let unpacked: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(packed),
            Compression::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Compression::Bzip2 => Box::new(ParallelBzip2::new(packed, threads).map_err(refuse())?),
            Compression::Zstd => {
                Box::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(refuse())?)
            }
        };
        Ok(Self { compression, unpacked, hash })
    }

    /// The SHA-256 of the packed bytes, in hexadecimal digits; known once all were read.
    pub(super) fn digest(hash: &std::sync::Mutex<Sha256>) -> String {
        let digest = hash.lock().map(|hash| hash.clone().finalize()).unwrap_or_default();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What [`Source::digest`] takes.
    pub(super) fn hash(&self) -> Arc<std::sync::Mutex<Sha256>> {
        Arc::clone(&self.hash)
    }
}
