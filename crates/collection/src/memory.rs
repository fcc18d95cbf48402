//! Collections in memory.
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::{
    Directory, Index, IndexReader, ReloadPolicy, SegmentMeta, TantivyDocument, TantivyError,
};

use crate::manifest::Manifest;
use crate::postings::Postings;
use crate::segment::SegmentWriter;
use crate::stored::to_stored;
use crate::terms::{Fields, IN_MEMORY, index_error, memory_index};
use crate::{Document, Error, Result, Snapshot};

/// Memory of the words of a segment, in bytes. Fewer words are in one segment.
const SEGMENT_BYTES: usize = 1 << 30;

/// Name of the file with the metadata of a word index.
const META: &str = "meta.json";

/// Writes a collection in memory, for documents that are searched once.
///
/// The passages are numbered from 0 in the order in which they are added. Nothing is written to disk,
/// and no other thread is started.
///
/// ```
/// use collection::{Document, MemoryWriter};
///
/// let mut writer = MemoryWriter::new()?;
/// let text = "Lima ist die Hauptstadt von Peru.".into();
/// writer.add(&Document { id: "peru".into(), text, passages: Vec::new() })?;
/// let snapshot = writer.finish()?;
/// assert_eq!(snapshot.select(&"Wo liegt Lima?".into(), 10)?.len(), 1);
/// # Ok::<(), collection::Error>(())
/// ```
pub struct MemoryWriter {
    index: Index,
    fields: Fields,
    /// The segment that is being written.
    segment: Option<SegmentWriter>,
    /// The segments that are complete.
    finished: Vec<SegmentMeta>,
    manifest: Manifest,
    ids: HashSet<Arc<str>>,
}

impl MemoryWriter {
    /// Creates a writer without documents.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be created.
    pub fn new() -> Result<Self> {
        let (index, fields) = memory_index()?;
        Ok(Self {
            index,
            fields,
            segment: None,
            finished: Vec::new(),
            manifest: Manifest::empty(),
            ids: HashSet::new(),
        })
    }

    /// Adds a document.
    ///
    /// # Errors
    /// [`Error::Document`] if the document is invalid, or a document with this id was added.
    pub fn add(&mut self, document: &Document) -> Result<()> {
        document.check()?;
        if !self.ids.insert(document.id.clone()) {
            let problem = "the id occurs twice; expected each id once";
            return Err(Error::document(&document.id, problem));
        }
        self.manifest.documents += 1;
        let passages = to_stored(document, self.fields, &mut self.manifest.next_passage);
        self.write(&document.id, &passages).map_err(|error| to_error(&error))
    }

    /// Returns the documents as a snapshot.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be written.
    pub fn finish(self) -> Result<Snapshot> {
        let Self { index, fields, manifest, segment, mut finished, .. } = self;
        let open = || -> tantivy::Result<IndexReader> {
            if let Some(segment) = segment {
                finished.push(segment.finish()?.0);
            }
            let mut meta = index.load_metas()?;
            meta.segments = finished;
            index.directory().atomic_write(Path::new(META), &serde_json::to_vec(&meta)?)?;
            index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()
        };
        let reader = open().map_err(|error| to_error(&error))?;
        let folder = PathBuf::from(IN_MEMORY);
        Ok(Snapshot::new(folder, reader.searcher(), fields, manifest, Vec::new()))
    }

    fn write(&mut self, id: &Arc<str>, passages: &[TantivyDocument]) -> tantivy::Result<()> {
        for passage in passages {
            let mut segment = match self.segment.take() {
                Some(segment) => segment,
                None => {
                    SegmentWriter::new(self.index.new_segment(), self.fields, Postings::default())?
                }
            };
            segment.add(id, passage)?;
            if segment.is_full(SEGMENT_BYTES) {
                self.finished.push(segment.finish()?.0);
            } else {
                self.segment = Some(segment);
            }
        }
        Ok(())
    }
}

fn to_error(error: &TantivyError) -> Error {
    index_error(Path::new(IN_MEMORY), error)
}
