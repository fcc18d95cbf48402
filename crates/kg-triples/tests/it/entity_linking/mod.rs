//! Linked texts: our own form, WikiExtractor's, pages of entities, and labels found in text.

mod labels;
mod pages;
mod text;
mod wiki;

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kg_triples::Language;
use kg_triples::entity_linking::Mention;

fn language(code: &str) -> Language {
    Language::new(code).unwrap()
}

/// The code points of a mention.
fn slice(text: &str, mention: &Mention) -> String {
    text.chars().skip(mention.start).take(mention.end - mention.start).collect()
}

fn gzip(path: &Path, text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    std::fs::write(path, &bytes).unwrap();
    bytes
}
