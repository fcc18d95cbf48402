//! Storage of documents that are searched without a collection.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collection::{MemoryWriter, Snapshot, Writer};
use mlqa_eval::TextLanguage;
use tempfile::TempDir;

use crate::language_check::passage_language;
use crate::passage::whole;
use crate::{Document, Error, Result, passage_ranges};

/// Size of texts in bytes from which documents are stored in a temporary folder.
const MAX_MEMORY_BYTES: usize = 64 << 20;

/// Documents with their words, in memory or in a temporary folder.
pub(crate) struct StoredDocuments {
    /// The documents' ids are their indices, because the ids of documents can occur twice. The
    /// passages' numbers are their indices.
    pub snapshot: Snapshot,
    /// The collection of the snapshot, if it is not in memory. The folder is removed with this
    /// value.
    pub folder: Option<TempDir>,
    /// Id of each document.
    pub ids: Vec<Arc<str>>,
    /// Index of the document of each passage.
    pub documents: Vec<usize>,
    /// Language of each passage.
    pub languages: Vec<TextLanguage>,
}

/// Cuts documents into passages, and stores them.
pub(crate) struct IndexBuilder {
    unsplit: bool,
    /// The parent of the temporary folder.
    temporary_folder: PathBuf,
    max_memory_bytes: usize,
    store: Store,
    ids: Vec<Arc<str>>,
    documents: Vec<usize>,
    languages: Vec<TextLanguage>,
}

enum Store {
    Memory {
        writer: Box<MemoryWriter>,
        /// Total size of the texts.
        bytes: usize,
    },
    Folder {
        writer: Box<Writer>,
        folder: TempDir,
    },
}

impl IndexBuilder {
    /// Creates a builder. With `unsplit`, each document is a single passage.
    pub fn new(unsplit: bool, temporary_folder: Option<&Path>) -> Result<Self> {
        Ok(Self {
            unsplit,
            temporary_folder: temporary_folder.map_or_else(std::env::temp_dir, Path::to_owned),
            max_memory_bytes: MAX_MEMORY_BYTES,
            store: Store::Memory { writer: Box::new(MemoryWriter::new()?), bytes: 0 },
            ids: Vec::new(),
            documents: Vec::new(),
            languages: Vec::new(),
        })
    }

    pub fn add(mut self, document: &Document) -> Result<Self> {
        let index = self.ids.len();
        let text = &document.text;
        let passages = match self.unsplit {
            true => vec![whole(text)],
            false => passage_ranges(text),
        };
        for range in &passages {
            self.documents.push(index);
            self.languages.push(passage_language(&text[range.clone()]));
        }
        self.ids.push(document.id.clone());
        let stored =
            collection::Document { id: index.to_string().into(), text: text.clone(), passages };
        self.store = match self.store.add(&stored, self.max_memory_bytes, &self.temporary_folder) {
            Ok(store) => store,
            // The stored id is not that of the document.
            Err(Error::Collection(collection::Error::Document { problem, .. })) => {
                let id = document.id.to_string();
                return Err(collection::Error::Document { id, problem }.into());
            }
            Err(error) => return Err(error),
        };
        Ok(self)
    }

    pub fn finish(self) -> Result<StoredDocuments> {
        let Self { store, ids, documents, languages, .. } = self;
        let (snapshot, folder) = match store {
            Store::Memory { writer, .. } => (writer.finish()?, None),
            Store::Folder { mut writer, folder } => {
                writer.commit()?;
                (writer.into_snapshot(), Some(folder))
            }
        };
        Ok(StoredDocuments { snapshot, folder, ids, documents, languages })
    }
}

impl Store {
    /// Adds a document. If the texts become larger than `max_memory_bytes`, all documents are copied
    /// to a folder in `temporary_folder`.
    fn add(
        self,
        document: &collection::Document,
        max_memory_bytes: usize,
        temporary_folder: &Path,
    ) -> Result<Self> {
        match self {
            Self::Memory { mut writer, bytes } => {
                writer.add(document)?;
                let bytes = bytes + document.text.len();
                match bytes <= max_memory_bytes {
                    true => Ok(Self::Memory { writer, bytes }),
                    false => Self::in_folder(&writer.finish()?, temporary_folder),
                }
            }
            Self::Folder { mut writer, folder } => {
                writer.add(document)?;
                Ok(Self::Folder { writer, folder })
            }
        }
    }

    /// Copies documents in memory to a new folder in `parent`.
    fn in_folder(documents: &Snapshot, parent: &Path) -> Result<Self> {
        let folder = atomic_file::fs::temporary_dir(parent, "polyqa-")?;
        let mut writer = Writer::create(folder.path())?;
        for document in documents.documents()? {
            writer.add(&document?)?;
        }
        Ok(Self::Folder { writer: Box::new(writer), folder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_in_memory_and_in_a_folder_are_equal() {
        let text = |index: usize| {
            let paragraph =
                format!("\u{feff}Paragraph {index} is about Lima. {}", "Words. ".repeat(60));
            format!("{paragraph}\n\n{paragraph}\u{c}\n").into()
        };
        let documents: Vec<Document> =
            (0..8).map(|index| Document { id: "same".into(), text: text(index) }).collect();
        let build = |max_memory_bytes| {
            let mut builder =
                IndexBuilder { max_memory_bytes, ..IndexBuilder::new(false, None).unwrap() };
            for document in &documents {
                builder = builder.add(document).unwrap();
            }
            builder.finish().unwrap()
        };
        let (memory, folder) = (build(usize::MAX), build(3000));
        assert!(memory.folder.is_none());
        let path = folder.folder.as_ref().unwrap().path().to_owned();
        assert!(path.join("collection.json").exists());
        assert_eq!(memory.documents, folder.documents);
        assert_eq!((memory.ids.len(), memory.documents.len()), (8, 16));
        let query = "What is paragraph 5 about?".into();
        let scores = memory.snapshot.word_scores(&query).unwrap();
        assert_eq!((scores.len(), &scores), (16, &folder.snapshot.word_scores(&query).unwrap()));
        for number in 0..16 {
            let passage = memory.snapshot.passage(number).unwrap().unwrap();
            assert_eq!(Some(&passage), folder.snapshot.passage(number).unwrap().as_ref());
            let document = memory.documents[usize::try_from(number).unwrap()];
            assert!(documents[document].text[passage.start_byte..].starts_with(&*passage.text));
        }
        drop(folder);
        assert!(!path.exists());
    }
}
