//! The manifest of a collection: all its state outside the word index.
//!
//! The manifest is the payload of a commit of the word index, so words, documents and vectors
//! become visible together.
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Version of the folder's format.
pub(crate) const FORMAT: u32 = 2;

/// File that marks a folder as a collection and holds the format's version.
const MARKER: &str = "collection.json";

/// Maximum size of the marker in bytes.
const MARKER_BYTES: u64 = 1 << 16;

/// Maximum difference per element between embeddings of the same text; rounding depends on the
/// processor.
const TOLERANCE: f32 = 1e-3;

/// The identity of the encoder whose vectors a collection contains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoder {
    /// All options that determine vectors, such as prefixes and pooling, in any format.
    pub options: String,
    /// The vector of a fixed text. Its length is the number of elements of every vector.
    pub probe: Vec<f32>,
}

impl Encoder {
    /// Checks that another encoder computes the same vectors.
    ///
    /// # Errors
    /// [`Error::Vectors`] with the difference.
    pub fn check(&self, other: &Self) -> Result<()> {
        if self.options != other.options {
            return Err(Error::vectors(format!(
                "the collection has vectors of an encoder with the options {}, expected {}; use the encoder of \
                 the collection, or index the documents again",
                self.options, other.options
            )));
        }
        let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE;
        if self.probe.len() == other.probe.len()
            && self.probe.iter().zip(&other.probe).all(is_close)
        {
            return Ok(());
        }
        Err(Error::vectors(
            "the collection has vectors of another encoder; use the encoder of the collection, or \
             index the documents again",
        ))
    }
}

/// A file of vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// Number in the file's name.
    pub file: u64,
    /// Number of vectors.
    pub rows: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// [`language::TERMS_VERSION`] of the word index.
    pub terms_version: u32,
    /// Number of documents.
    pub documents: u64,
    /// Number of the next passage. Numbers are not used again.
    pub next_passage: u64,
    /// Number of the next file of vectors.
    pub next_file: u64,
    /// Encoder of the vectors.
    pub encoder: Option<Encoder>,
    /// Files of vectors.
    pub parts: Vec<Part>,
}

impl Manifest {
    pub fn empty() -> Self {
        Self {
            terms_version: language::TERMS_VERSION,
            documents: 0,
            next_passage: 0,
            next_file: 0,
            encoder: None,
            parts: Vec::new(),
        }
    }

    /// Reads the payload of a commit; a word index without a commit has none.
    pub fn parse(path: &Path, payload: Option<&str>) -> Result<Self> {
        let Some(payload) = payload else { return Ok(Self::empty()) };
        let manifest: Self = serde_json::from_str(payload).map_err(|error| {
            Error::folder(path, format!("the manifest in words/meta.json is invalid: {error}"))
        })?;
        if manifest.terms_version != language::TERMS_VERSION {
            return Err(Error::folder(
                path,
                format!(
                    "the words were split by version {} of the word splitting, expected version {}; index \
                     the documents again",
                    manifest.terms_version,
                    language::TERMS_VERSION
                ),
            ));
        }
        Ok(manifest)
    }

    pub fn to_payload(&self) -> String {
        serde_json::to_string(self).expect("a manifest is valid JSON")
    }
}

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
}

/// Marks a folder as a collection.
pub(crate) fn write_marker(folder: &Path) -> Result<()> {
    let path = folder.join(MARKER);
    let marker = format!("{{\"format\": {FORMAT}}}\n");
    Ok(atomic_file::write(&path, marker)?)
}

/// Returns whether a folder is marked as a collection.
pub(crate) fn has_marker(folder: &Path) -> bool {
    folder.join(MARKER).exists()
}

/// Checks that a folder is a collection whose format is supported.
pub(crate) fn check_marker(folder: &Path) -> Result<()> {
    let path = folder.join(MARKER);
    let bytes = match atomic_file::read_limited(&path, MARKER_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let problem = if folder.is_dir() {
                format!("not a collection: it has no file {MARKER}")
            } else {
                "no such folder; expected a collection".to_owned()
            };
            return Err(Error::folder(folder, problem));
        }
        Err(error) => return Err(error.into()),
    };
    let Marker { format } = serde_json::from_slice(&bytes).map_err(|error| {
        Error::folder(&path, format!("not the marker of a collection: {error}"))
    })?;
    if format == FORMAT {
        return Ok(());
    }
    let problem = format!(
        "format {format} is not supported, expected {FORMAT}; use the version that wrote the collection, \
         or index the documents again"
    );
    Err(Error::folder(path, problem))
}

/// Returns the folder of the word index.
pub(crate) fn words_folder(folder: &Path) -> PathBuf {
    folder.join("words")
}

/// Returns the folder of the vectors.
pub(crate) fn vectors_folder(folder: &Path) -> PathBuf {
    folder.join("vectors")
}
