//! Gzip compression of fixtures.
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Compresses bytes as one gzip member.
pub fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).expect("writing to memory cannot fail");
    encoder.finish().expect("writing to memory cannot fail")
}
