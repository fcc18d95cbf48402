//! The word index and its fields.
use std::path::Path;

use tantivy::directory::{MmapDirectory, RamDirectory};
use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, STORED, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{Index, IndexSettings, TantivyError};

use crate::{Error, Result};

/// Name of the tokenizer in the word index. There is no tokenizer with this name, because texts are
/// split by [`Postings`](crate::postings::Postings).
pub(crate) const TOKENIZER: &str = "terms";

/// Size of the blocks of passages that are compressed together. A whole block is decompressed for each
/// passage that is read, and the passages of a question are rarely in the same block.
const BLOCK_BYTES: usize = 4096;

/// Path of a collection in memory, in messages.
pub(crate) const IN_MEMORY: &str = "documents in memory";

/// Names of the fields that are read as columns.
pub(crate) const ID: &str = "id";
pub(crate) const NUMBER: &str = "number";

/// Fields of a passage in the word index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// Id of the document.
    pub id: Field,
    /// Number of the passage.
    pub number: Field,
    /// The text from the end of the previous passage to the end of this passage; in the last
    /// passage, to the end of the document.
    pub text: Field,
    /// Byte range of the passage in `text`.
    pub from: Field,
    pub to: Field,
    /// Offset of the passage in the document, in code points and bytes.
    pub start: Field,
    pub start_byte: Field,
    /// Number of the page at the start of the passage; absent if the document has no pages.
    pub page: Field,
}

impl Fields {
    fn new() -> (Self, Schema) {
        let mut schema = Schema::builder();
        let raw = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let id = TextOptions::default().set_indexing_options(raw).set_fast("raw").set_stored();
        let terms = TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_index_option(IndexRecordOption::WithFreqs);
        let text = TextOptions::default().set_indexing_options(terms).set_stored();
        let fields = Self {
            id: schema.add_text_field(ID, id),
            number: schema.add_u64_field(NUMBER, NumericOptions::default().set_fast()),
            text: schema.add_text_field("text", text),
            from: schema.add_u64_field("from", STORED),
            to: schema.add_u64_field("to", STORED),
            start: schema.add_u64_field("start", STORED),
            start_byte: schema.add_u64_field("start_byte", STORED),
            page: schema.add_u64_field("page", STORED),
        };
        (fields, schema.build())
    }
}

/// Opens the word index in a folder. With `create`, a missing index is created.
pub(crate) fn open_index(folder: &Path, create: bool) -> Result<(Index, Fields)> {
    let (fields, schema) = Fields::new();
    let error = |error: TantivyError| index_error(folder, &error);
    let directory = MmapDirectory::open(folder).map_err(|other| error(other.into()))?;
    let exists = Index::exists(&directory).map_err(|other| error(other.into()))?;
    let index = match exists {
        true => Index::open(directory).map_err(error)?,
        false if create => Index::create(directory, schema.clone(), settings()).map_err(error)?,
        false => {
            let problem =
                "meta.json is missing; the collection is incomplete, so index the documents again";
            return Err(Error::folder(folder, problem));
        }
    };
    if index.schema() != schema {
        let problem = "the fields of the word index are not those of a collection";
        return Err(Error::folder(folder, problem));
    }
    Ok((index, fields))
}

fn settings() -> IndexSettings {
    IndexSettings {
        docstore_blocksize: BLOCK_BYTES,
        docstore_compress_dedicated_thread: false,
        ..Default::default()
    }
}

/// Creates a word index in memory.
pub(crate) fn memory_index() -> Result<(Index, Fields)> {
    let (fields, schema) = Fields::new();
    let index = Index::create(RamDirectory::create(), schema, settings())
        .map_err(|error| index_error(Path::new(IN_MEMORY), &error))?;
    Ok((index, fields))
}

/// Converts an error of the word index.
pub(crate) fn index_error(folder: &Path, error: &TantivyError) -> Error {
    use tantivy::directory::error::{LockError, OpenReadError};
    match error {
        TantivyError::LockFailure(LockError::LockBusy, _) => {
            Error::Busy { path: folder.to_owned() }
        }
        TantivyError::LockFailure(LockError::IoError(source), _) => {
            Error::folder(folder, format!("cannot lock the word index: {source}"))
        }
        TantivyError::IoError(source) => Error::folder(folder, source),
        TantivyError::OpenReadError(OpenReadError::FileDoesNotExist(path)) => {
            Error::folder(folder.join(path), "the file is missing; index the documents again")
        }
        TantivyError::DataCorruption(problem) => Error::folder(
            folder,
            format!("the word index is damaged: {problem:?}; index the documents again"),
        ),
        other => Error::folder(folder, other),
    }
}
