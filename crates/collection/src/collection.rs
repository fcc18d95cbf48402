//! Reading of a collection.
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tantivy::{Index, IndexMeta, IndexReader, ReloadPolicy};

use crate::manifest::{Manifest, Part, check_marker, vectors_folder, words_folder};
use crate::terms::{Fields, index_error, open_index};
use crate::vectors::{VectorFile, file_name};
use crate::{Error, Result, Snapshot};

/// Number of attempts to read a state that is not replaced meanwhile.
const ATTEMPTS: usize = 100;

/// Size of the smallest file of a segment in bytes; a shorter file was cut.
const MIN_SEGMENT_BYTES: u64 = 8;

/// A collection that is open for reading.
///
/// Several processes can read a collection while another one writes to it. Each
/// [`snapshot`](Self::snapshot) is one state, which does not change.
pub struct Collection {
    source: Source,
    current: Mutex<Current>,
}

struct Current {
    snapshot: Arc<Snapshot>,
    stamp: Stamp,
}

impl Collection {
    /// Opens a collection.
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder is no collection, has a newer format, was written with
    /// another version of the word splitting, or is damaged.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let source = Source::open(folder.as_ref(), false)?;
        let (snapshot, stamp) = source.load()?;
        let current = Current { snapshot: Arc::new(snapshot), stamp };
        Ok(Self { source, current: Mutex::new(current) })
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.source.folder
    }

    /// Returns the latest state of the collection. If it has not changed since the last call, the
    /// same snapshot is returned.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open), for a new state.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Stamp::of(&self.source.meta()?) != current.stamp {
            let (snapshot, stamp) = self.source.load()?;
            *current = Current { snapshot: Arc::new(snapshot), stamp };
        }
        Ok(current.snapshot.clone())
    }
}

/// Identifies a state: the whole metadata of the word index, as JSON. A merge in the background
/// changes the metadata, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(String);

impl Stamp {
    fn of(meta: &IndexMeta) -> Self {
        Self(serde_json::to_string(meta).expect("metadata is valid JSON"))
    }
}

/// The folder and the word index of a collection.
pub(crate) struct Source {
    pub folder: PathBuf,
    words: PathBuf,
    pub index: Index,
    pub fields: Fields,
}

impl Source {
    /// Opens the word index. With `create`, a missing index is created.
    pub fn open(folder: &Path, create: bool) -> Result<Self> {
        check_marker(folder)?;
        let words = words_folder(folder);
        let (index, fields) = open_index(&words, create)?;
        Ok(Self { folder: folder.to_owned(), words, index, fields })
    }

    fn meta(&self) -> Result<IndexMeta> {
        self.index.load_metas().map_err(|error| index_error(&self.words, &error))
    }

    /// Reads the latest state. Words, manifest and vectors are those of the same commit.
    pub fn load(&self) -> Result<(Snapshot, Stamp)> {
        for _ in 0..ATTEMPTS {
            let meta = self.meta()?;
            let stamp = Stamp::of(&meta);
            let snapshot = self.read(&meta);
            // A commit during the steps can remove files, so errors count only without a commit.
            if Stamp::of(&self.meta()?) == stamp {
                return Ok((snapshot?, stamp));
            }
        }
        let problem = "the collection changed too often to be read; try again";
        Err(Error::folder(&self.folder, problem))
    }

    fn read(&self, meta: &IndexMeta) -> Result<Snapshot> {
        // A newer format or another word splitting is reported before errors of files.
        let manifest = Manifest::parse(&self.folder, meta.payload.as_deref())?;
        self.check_segments(meta)?;
        let reader = self.index.reader_builder().reload_policy(ReloadPolicy::Manual);
        let reader = reader.try_into().map_err(|error| index_error(&self.words, &error));
        let reader: IndexReader = reader?;
        let width = manifest.encoder.as_ref().map_or(0, |encoder| encoder.probe.len());
        let folder = vectors_folder(&self.folder);
        let open = |part: &Part| {
            VectorFile::open(&folder.join(file_name(part.file)), part.rows, width).map(Arc::new)
        };
        let files = manifest.parts.iter().map(open).collect::<Result<_>>()?;
        let folder = self.folder.clone();
        Ok(Snapshot::new(folder, reader.searcher(), self.fields, manifest, files))
    }

    /// Checks that no file of a segment is missing or shorter than its checksum, for which tantivy
    /// 0.27 panics.
    fn check_segments(&self, meta: &IndexMeta) -> Result<()> {
        for file in meta.list_segment_files() {
            let path = self.words.join(file);
            match atomic_file::fs::metadata(&path) {
                Ok(metadata) if metadata.len() >= MIN_SEGMENT_BYTES => {}
                Ok(metadata) => {
                    let problem = format!(
                        "the file of {} bytes is damaged; index the documents again",
                        metadata.len()
                    );
                    return Err(Error::folder(path, problem));
                }
                // Not every segment has each kind of file.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
