//! Collections in memory.
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::{IndexReader, ReloadPolicy, TantivyError};

use crate::manifest::Manifest;
use crate::stored::to_stored;
use crate::terms::{Fields, IN_MEMORY, index_error, memory_writer};
use crate::{Document, Error, Result, Snapshot};

/// Memory from which the initial size of the table of words is computed, in bytes. The table grows.
const TABLE_BYTES: usize = 1 << 20;

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
    writer: SingleSegmentIndexWriter,
    fields: Fields,
    manifest: Manifest,
    ids: HashSet<Arc<str>>,
}

impl MemoryWriter {
    /// Creates a writer without documents.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be created.
    pub fn new() -> Result<Self> {
        let (writer, fields) = memory_writer(TABLE_BYTES)?;
        Ok(Self { writer, fields, manifest: Manifest::empty(), ids: HashSet::new() })
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
        for passage in to_stored(document, self.fields, &mut self.manifest.next_passage) {
            self.writer.add_document(passage).map_err(|error| to_error(&error))?;
        }
        Ok(())
    }

    /// Returns the documents as a snapshot.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be written.
    pub fn finish(self) -> Result<Snapshot> {
        let Self { writer, fields, manifest, .. } = self;
        let open = || -> tantivy::Result<IndexReader> {
            let reader = writer.finalize()?.reader_builder();
            reader.reload_policy(ReloadPolicy::Manual).try_into()
        };
        let reader = open().map_err(|error| to_error(&error))?;
        let folder = PathBuf::from(IN_MEMORY);
        Ok(Snapshot::new(folder, reader.searcher(), fields, manifest, Vec::new()))
    }
}

fn to_error(error: &TantivyError) -> Error {
    index_error(Path::new(IN_MEMORY), error)
}
