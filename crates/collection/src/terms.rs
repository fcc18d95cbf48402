//! The word index's fields, and the splitting of texts into terms.
use std::path::Path;

use tantivy::directory::{MmapDirectory, RamDirectory};
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, STORED, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{Index, IndexSettings, TantivyError};

use crate::{Error, Result};

/// Name of the tokenizer in the word index.
const TOKENIZER: &str = "terms";

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
        false if create => {
            let settings = IndexSettings { docstore_blocksize: BLOCK_BYTES, ..Default::default() };
            Index::create(directory, schema.clone(), settings).map_err(error)?
        }
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
    index.tokenizers().register(TOKENIZER, Terms::default());
    Ok((index, fields))
}

/// Returns a writer of a word index in memory that uses no other thread.
pub(crate) fn memory_writer(memory_bytes: usize) -> Result<(SingleSegmentIndexWriter, Fields)> {
    let (fields, schema) = Fields::new();
    let settings = IndexSettings {
        docstore_blocksize: BLOCK_BYTES,
        docstore_compress_dedicated_thread: false,
        ..Default::default()
    };
    let tokenizers = TokenizerManager::default();
    tokenizers.register(TOKENIZER, Terms::default());
    let builder = Index::builder().schema(schema).settings(settings).tokenizers(tokenizers);
    let writer = builder
        .single_segment_index_writer(RamDirectory::create(), memory_bytes)
        .map_err(|error| index_error(Path::new(IN_MEMORY), &error))?;
    Ok((writer, fields))
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

/// Splits texts into the terms of [`language::for_each_term`].
#[derive(Clone, Default)]
struct Terms {
    /// The terms of a text one after another, and the end of each term.
    buffer: String,
    ends: Vec<usize>,
    token: Token,
}

impl Tokenizer for Terms {
    type TokenStream<'a> = TermStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TermStream<'a> {
        self.buffer.clear();
        self.ends.clear();
        self.token.reset();
        let Self { buffer, ends, .. } = self;
        language::for_each_term(text, |term| {
            buffer.push_str(term);
            ends.push(buffer.len());
        });
        TermStream { terms: self, next: 0 }
    }
}

struct TermStream<'a> {
    terms: &'a mut Terms,
    /// Index of the next term.
    next: usize,
}

impl TokenStream for TermStream<'_> {
    fn advance(&mut self) -> bool {
        let Terms { buffer, ends, token } = &mut *self.terms;
        let Some(&end) = ends.get(self.next) else { return false };
        let start = if self.next == 0 { 0 } else { ends[self.next - 1] };
        token.text.clear();
        token.text.push_str(&buffer[start..end]);
        token.position = self.next;
        self.next += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.terms.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.terms.token
    }
}
