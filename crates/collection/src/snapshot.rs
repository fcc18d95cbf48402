//! One state of a collection.
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, OnceLock};

use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, DocSet, Searcher, TERMINATED, TantivyDocument, TantivyError, Term};

use crate::fusion::fuse;
use crate::manifest::{Manifest, words_folder};
use crate::stored::{StoredPassage, missing, to_document};
use crate::terms::{Fields, NUMBER, index_error};
use crate::vectors::{PartView, Scan, VectorFile, similarities, similarity};
use crate::words::{self, WordHit};
use crate::{Document, Encoder, Error, Hit, Passage, Query, Result};

/// Number of passages of each ranking that are fused, per selected passage.
const FUSED_PER_HIT: usize = 4;

/// Minimum number of passages of each ranking that are fused.
const MIN_FUSED: usize = 200;

/// Minimum number of vectors that are scanned by several threads.
const MIN_PARALLEL_ROWS: usize = 20_000;

/// Number of threads that scan vectors. More threads than this read hardly more of the memory per
/// second.
static SCAN_THREADS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, |count| count.get().min(4)));

/// Maximum difference of a vector's norm from 1.
const NORM_TOLERANCE: f32 = 1e-2;

/// A state of a collection: its documents, words and vectors after one commit.
///
/// A snapshot does not change, even if the collection is written meanwhile.
pub struct Snapshot {
    folder: PathBuf,
    searcher: Searcher,
    fields: Fields,
    pub(crate) manifest: Manifest,
    files: Vec<Arc<VectorFile>>,
    passages: OnceLock<Passages>,
}

/// Passages by number, and the files of vectors compared with them.
struct Passages {
    /// Numbers of all passages, ascending, and their addresses in the word index.
    numbers: Vec<u64>,
    addresses: Vec<DocAddress>,
    parts: Vec<PartView>,
}

impl Snapshot {
    pub(crate) fn new(
        folder: PathBuf,
        searcher: Searcher,
        fields: Fields,
        manifest: Manifest,
        files: Vec<Arc<VectorFile>>,
    ) -> Self {
        Self { folder, searcher, fields, manifest, files, passages: OnceLock::new() }
    }

    /// Returns the number of documents.
    pub fn document_count(&self) -> u64 {
        self.manifest.documents
    }

    /// Returns the number of passages.
    pub fn passage_count(&self) -> u64 {
        self.searcher.num_docs()
    }

    /// Returns the number of passages with vectors.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be read.
    pub fn vector_count(&self) -> Result<u64> {
        if self.files.is_empty() {
            return Ok(0);
        }
        let rows: usize = self.parts()?.iter().map(PartView::alive_rows).sum();
        Ok(u64::try_from(rows).expect("a count fits into 64 bits"))
    }

    /// Returns the encoder of the vectors, if there are vectors.
    pub fn encoder(&self) -> Option<&Encoder> {
        self.manifest.encoder.as_ref()
    }

    /// Returns whether there is a document with this id.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be read.
    pub fn contains(&self, id: &str) -> Result<bool> {
        Ok(!self.addresses_of(id, true)?.is_empty())
    }

    /// Returns a document by its id.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be read.
    pub fn document(&self, id: &str) -> Result<Option<Document>> {
        let addresses = self.addresses_of(id, false)?;
        let mut parts = Vec::with_capacity(addresses.len());
        for address in addresses {
            let number = self.number_at(address).map_err(|error| self.error(&error))?;
            parts.push(self.read(number, address)?);
        }
        parts.sort_by_key(|part| part.number);
        Ok((!parts.is_empty()).then(|| to_document(&parts)))
    }

    /// Returns all documents in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be read.
    pub fn documents(&self) -> Result<impl Iterator<Item = Result<Document>> + '_> {
        let passages = self.passages()?;
        let mut addresses = passages.numbers.iter().zip(&passages.addresses);
        let mut next: Option<StoredPassage> = None;
        Ok(std::iter::from_fn(move || {
            let mut parts: Vec<StoredPassage> = next.take().into_iter().collect();
            for (&number, &address) in addresses.by_ref() {
                match self.read(number, address) {
                    Ok(part) if parts.first().is_none_or(|first| first.id == part.id) => {
                        parts.push(part);
                    }
                    Ok(part) => {
                        next = Some(part);
                        break;
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
            (!parts.is_empty()).then(|| Ok(to_document(&parts)))
        }))
    }

    /// Returns a passage by its number.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be read.
    pub fn passage(&self, number: u64) -> Result<Option<Passage>> {
        let passages = self.passages()?;
        match passages.numbers.binary_search(&number) {
            Ok(index) => Ok(Some(self.read(number, passages.addresses[index])?.into_passage())),
            Err(_) => Ok(None),
        }
    }

    /// Returns the numbers of the passages without a vector, ascending.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be read.
    pub fn passages_without_vectors(&self) -> Result<Vec<u64>> {
        let passages = self.passages()?;
        let mut missing = passages.numbers.clone();
        if !passages.parts.is_empty() {
            let is_missing =
                |number: &u64| passages.parts.iter().all(|part| part.file.find(*number).is_none());
            missing.retain(is_missing);
        }
        Ok(missing)
    }

    /// Returns the `limit` best passages for a question by BM25, best first. Passages without a
    /// word of the question are not returned. Passages with equal scores are in the order of their
    /// documents' ids.
    ///
    /// # Errors
    /// [`Error::Empty`] if there are no documents; [`Error::Folder`] if the word index cannot be
    /// read.
    pub fn select(&self, query: &Query, limit: usize) -> Result<Vec<Hit>> {
        let hits = self.search_words(query, limit)?;
        let to_hit = |hit: WordHit| {
            let passage = self.read(hit.number, hit.address)?.into_passage();
            Ok(Hit { passage, words: Some(hit.score), cosine: None })
        };
        hits.into_iter().map(to_hit).collect()
    }

    /// Returns the `limit` best passages for a question by reciprocal rank fusion of the rankings by
    /// BM25 and by the similarity of vectors, best first. `vector` is the question's vector, with
    /// norm 1.
    ///
    /// `is_foreign` returns whether a passage is in another language than the question. Its rank by
    /// words is mostly coincidental, so it has its rank by vectors in place of it.
    ///
    /// # Errors
    /// [`Error::Vectors`] if the collection has no vectors or the vector is invalid; the errors of
    /// [`select`](Self::select).
    pub fn select_hybrid(
        &self,
        query: &Query,
        vector: &[f32],
        limit: usize,
        is_foreign: &dyn Fn(&Passage) -> bool,
    ) -> Result<Vec<Hit>> {
        self.check_vector(vector)?;
        let depth = limit.saturating_mul(FUSED_PER_HIT).max(MIN_FUSED);
        let passages = self.passages()?;
        let scan = Scan::new(&passages.parts, vector, depth);
        let helpers = match scan.rows() >= MIN_PARALLEL_ROWS {
            true => SCAN_THREADS.saturating_sub(1),
            false => 0,
        };
        // The vectors are scanned while this thread searches the words.
        let search = || -> Result<_> {
            let hits = self.search_words(query, depth)?;
            let read = hits.iter().map(|hit| self.read(hit.number, hit.address));
            let texts = read.collect::<Result<Vec<StoredPassage>>>()?;
            scan.run();
            Ok((hits, texts))
        };
        let (word_hits, word_texts) = std::thread::scope(|scope| {
            (0..helpers).for_each(|_| drop(scope.spawn(|| scan.run())));
            search()
        })?;
        let vector_hits = scan.finish();
        let mut read_passages: HashMap<u64, Passage> =
            word_texts.into_iter().map(|text| (text.number, text.into_passage())).collect();
        for &(number, _) in &vector_hits {
            if let Entry::Vacant(entry) = read_passages.entry(number) {
                entry.insert(self.passage(number)?.expect("a row belongs to a passage"));
            }
        }
        let foreign: HashSet<u64> = read_passages
            .values()
            .filter(|passage| is_foreign(passage))
            .map(|passage| passage.number)
            .collect();
        let word_ranking: Vec<u64> = word_hits.iter().map(|hit| hit.number).collect();
        let vector_ranking: Vec<u64> = vector_hits.iter().map(|&(number, _)| number).collect();
        let scores: HashMap<u64, f32> =
            word_hits.iter().map(|hit| (hit.number, hit.score)).collect();
        let to_hit = |number: u64| Hit {
            passage: read_passages[&number].clone(),
            words: scores.get(&number).copied(),
            cosine: similarity(&passages.parts, vector, number),
        };
        let fused = fuse(&word_ranking, &vector_ranking, &|number| foreign.contains(&number));
        Ok(fused.into_iter().take(limit).map(to_hit).collect())
    }

    /// Returns the BM25 score of each passage with a word of the question: pairs of the passage's
    /// number and its score, in ascending order of numbers. Every such passage is scored, so
    /// [`select`](Self::select) is faster for a few passages of a large collection.
    ///
    /// # Errors
    /// [`Error::Folder`] if the word index cannot be read.
    pub fn word_scores(&self, query: &Query) -> Result<Vec<(u64, f32)>> {
        words::scores(&self.searcher, self.fields.text, &query.text)
            .map_err(|error| self.error(&error))
    }

    /// Returns the cosine similarity of each passage that has a vector with a question's vector of
    /// norm 1: pairs of the passage's number and the similarity, in ascending order of numbers. All
    /// vectors are compared in float32.
    ///
    /// # Errors
    /// [`Error::Vectors`] if there is no encoder or the vector is invalid; [`Error::Folder`] if the
    /// word index cannot be read.
    pub fn vector_scores(&self, vector: &[f32]) -> Result<Vec<(u64, f32)>> {
        self.check_vector(vector)?;
        Ok(similarities(self.parts()?, vector))
    }

    /// Adds vectors to a snapshot that was [built in memory](crate::MemoryWriter): pairs of the
    /// passage's number and its vector of norm 1.
    ///
    /// # Errors
    /// [`Error::Vectors`] if a vector is invalid, or the numbers are not those of passages in
    /// ascending order; [`Error::Folder`] if the word index cannot be read.
    pub fn with_vectors(mut self, encoder: Encoder, rows: &[(u64, Vec<f32>)]) -> Result<Self> {
        for (index, (number, vector)) in rows.iter().enumerate() {
            check_vector(&encoder, vector)?;
            let is_ascending = index == 0 || rows[index - 1].0 < *number;
            if !is_ascending || !self.has_passage(*number)? {
                return Err(Error::vectors(format!(
                    "passage {number}: expected numbers of passages in ascending order"
                )));
            }
        }
        self.files = vec![Arc::new(VectorFile::in_memory(rows, encoder.probe.len()))];
        self.manifest.encoder = Some(encoder);
        self.passages = OnceLock::new();
        Ok(self)
    }

    fn check_vector(&self, vector: &[f32]) -> Result<()> {
        let Some(encoder) = self.encoder() else {
            return Err(Error::vectors("the collection has no vectors; add vectors first"));
        };
        check_vector(encoder, vector)
    }

    fn search_words(&self, query: &Query, limit: usize) -> Result<Vec<WordHit>> {
        if self.document_count() == 0 {
            return Err(Error::Empty { path: self.folder.clone() });
        }
        let passages = usize::try_from(self.passage_count()).expect("passages fit into memory");
        let limit = limit.min(passages);
        words::search(&self.searcher, self.fields.text, &query.text, limit)
            .map_err(|error| self.error(&error))
    }

    /// Returns the addresses of the passages of a document. With `first`, at most one.
    fn addresses_of(&self, id: &str, first: bool) -> Result<Vec<DocAddress>> {
        let find = || -> tantivy::Result<Vec<DocAddress>> {
            let term = Term::from_field_text(self.fields.id, id);
            let mut addresses = Vec::new();
            for (segment, reader) in (0..).zip(self.searcher.segment_readers()) {
                let index = reader.inverted_index(self.fields.id)?;
                let postings = index.read_postings(&term, IndexRecordOption::Basic)?;
                let Some(mut postings) = postings else { continue };
                while postings.doc() != TERMINATED {
                    if !reader.is_deleted(postings.doc()) {
                        addresses.push(DocAddress::new(segment, postings.doc()));
                        if first {
                            return Ok(addresses);
                        }
                    }
                    postings.advance();
                }
            }
            Ok(addresses)
        };
        find().map_err(|error| self.error(&error))
    }

    pub(crate) fn parts(&self) -> Result<&[PartView]> {
        Ok(&self.passages()?.parts)
    }

    /// Returns whether a number is that of a passage.
    pub(crate) fn has_passage(&self, number: u64) -> Result<bool> {
        Ok(self.passages()?.numbers.binary_search(&number).is_ok())
    }

    fn passages(&self) -> Result<&Passages> {
        if let Some(passages) = self.passages.get() {
            return Ok(passages);
        }
        let passages = self.read_passages().map_err(|error| self.error(&error))?;
        Ok(self.passages.get_or_init(|| passages))
    }

    fn read_passages(&self) -> tantivy::Result<Passages> {
        let mut pairs = Vec::new();
        for (segment, reader) in (0..).zip(self.searcher.segment_readers()) {
            let numbers = reader.fast_fields().u64(NUMBER)?;
            for doc in reader.doc_ids_alive() {
                let number = numbers.first(doc).ok_or_else(|| missing("number"))?;
                pairs.push((number, DocAddress::new(segment, doc)));
            }
        }
        pairs.sort();
        let (numbers, addresses): (Vec<u64>, Vec<DocAddress>) = pairs.into_iter().unzip();
        let to_part = |file: &Arc<VectorFile>| PartView::new(file.clone(), &numbers);
        let parts = self.files.iter().map(to_part).collect();
        Ok(Passages { numbers, addresses, parts })
    }

    /// Reads a passage and the text before it.
    fn read(&self, number: u64, address: DocAddress) -> Result<StoredPassage> {
        self.read_stored(number, address).map_err(|error| self.error(&error))
    }

    /// Returns the number of the passage at an address.
    fn number_at(&self, address: DocAddress) -> tantivy::Result<u64> {
        let reader = self.searcher.segment_reader(address.segment_ord);
        let number = reader.fast_fields().u64(NUMBER)?.first(address.doc_id);
        number.ok_or_else(|| missing("number"))
    }

    fn read_stored(&self, number: u64, address: DocAddress) -> tantivy::Result<StoredPassage> {
        let stored: TantivyDocument = self.searcher.doc(address)?;
        StoredPassage::new(number, &stored, self.fields)
    }

    fn error(&self, error: &TantivyError) -> Error {
        index_error(&words_folder(&self.folder), error)
    }
}

/// Checks that a vector is one of the encoder.
pub(crate) fn check_vector(encoder: &Encoder, vector: &[f32]) -> Result<()> {
    let width = encoder.probe.len();
    if vector.len() != width {
        let found = vector.len();
        return Err(Error::vectors(format!("a vector has {found} elements, expected {width}")));
    }
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm.is_nan() || (norm - 1.0).abs() > NORM_TOLERANCE {
        return Err(Error::vectors(format!("a vector has the norm {norm}, expected 1")));
    }
    Ok(())
}
