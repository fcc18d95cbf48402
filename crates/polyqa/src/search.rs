//! Searches for the passages that are read for questions.
use collection::{Passage, Query};
use mlqa_eval::Question;

use crate::retriever::Vector;
use crate::{Result, Retriever};

/// Default number of passages that are read per question.
pub const DEFAULT_CANDIDATES: usize = 50;

/// Penalty on an answer's score per unit of difference between the BM25 scores of the best passage
/// and the answer's passage. Not used with a retriever.
pub(crate) const BM25_WEIGHT: f32 = 1.0;

/// Number of questions whose answers are collected at the same time.
const QUESTIONS_PER_GROUP: usize = 64;

/// Pairs of questions and passages are collected until the passages have this size in bytes. The
/// collected pairs are then evaluated together.
const BATCH_BYTES: usize = 1 << 18;

/// A passage that is read for a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The passage.
    pub passage: Passage,
    /// Number that is subtracted from the scores of answers in the passage.
    pub penalty: f32,
}

/// The passages that are read for a question. An item is an error if the passage cannot be read.
pub type Candidates<'a> = Box<dyn Iterator<Item = Result<Candidate>> + 'a>;

/// Documents that are searched for answers: [`DocumentIndex`](crate::DocumentIndex),
/// [`CollectionSearch`](crate::CollectionSearch), or another search engine.
pub trait PassageSearch {
    /// Selects about `max_passages` passages for a question. With the question's `vector`, the
    /// retriever's embeddings of passages determine the selection and the penalties.
    ///
    /// # Errors
    /// The passages cannot be searched, or have no embeddings although there is a `vector`.
    fn search(
        &self,
        query: &Query,
        vector: Option<&[f32]>,
        max_passages: usize,
    ) -> Result<Candidates<'_>>;
}

/// How passages are selected for questions.
#[derive(Clone, Copy)]
pub struct Retrieval<'a> {
    /// The documents.
    pub search: &'a dyn PassageSearch,
    /// The encoder of the questions; `None` if passages are selected by their words. The documents
    /// must have its embeddings.
    pub retriever: Option<&'a Retriever>,
    /// Maximum number of passages per question. [`PassageSearch::search`] can select more.
    pub max_passages: usize,
}

impl<'a> Retrieval<'a> {
    /// Returns a selection of at most [`DEFAULT_CANDIDATES`] passages by their words.
    pub fn by_words(search: &'a dyn PassageSearch) -> Self {
        Self { search, retriever: None, max_passages: DEFAULT_CANDIDATES }
    }

    /// Returns groups of questions that are answered one after another.
    pub(crate) fn groups(queries: &[Query]) -> impl Iterator<Item = &[Query]> {
        queries.chunks(QUESTIONS_PER_GROUP)
    }

    /// Embeds questions.
    pub(crate) fn embed(&self, queries: &[Query]) -> Result<Vec<Option<Vector>>> {
        embed_queries(self.retriever, queries)
    }
}

/// Embeds questions; without a retriever, they have no embeddings.
pub(crate) fn embed_queries(
    retriever: Option<&Retriever>,
    queries: &[Query],
) -> Result<Vec<Option<Vector>>> {
    let Some(retriever) = retriever else { return Ok(vec![None; queries.len()]) };
    let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
    retriever.embed_cached("question", &texts)
}

/// Pairs of questions and passages that are evaluated together.
#[derive(Debug, Default)]
pub(crate) struct PairBatch {
    pub questions: Vec<Question>,
    pub pairs: Vec<Pair>,
    /// Total size of the passages.
    bytes: usize,
}

/// A question and a passage.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Index of the question.
    pub question: usize,
    pub candidate: Candidate,
}

impl PairBatch {
    fn push(&mut self, index: usize, query: &Query, candidate: Candidate) {
        let Passage { document, text, .. } = &candidate.passage;
        self.questions.push(Question {
            id: format!("{} about {document}", index + 1),
            question: query.text.clone(),
            context: text.clone(),
            answers: Vec::new(),
            title: document.clone(),
        });
        // Each passage counts as at least 256 bytes, because empty passages also use memory.
        self.bytes = self.bytes.saturating_add(text.len().max(256));
        self.pairs.push(Pair { question: index, candidate });
    }
}

/// Selects the passages of each question, and calls `evaluate` with batches of pairs until it
/// returns false. `vectors` has the embedding of each question.
pub(crate) fn for_each_batch<E: From<crate::Error>>(
    search: &dyn PassageSearch,
    queries: &[Query],
    vectors: &[Option<Vector>],
    max_passages: usize,
    evaluate: &mut dyn FnMut(PairBatch) -> std::result::Result<bool, E>,
) -> std::result::Result<(), E> {
    let mut batch = PairBatch::default();
    for (index, (query, vector)) in queries.iter().zip(vectors).enumerate() {
        for candidate in search.search(query, vector.as_deref(), max_passages)? {
            batch.push(index, query, candidate?);
            if batch.bytes >= BATCH_BYTES && !evaluate(std::mem::take(&mut batch))? {
                return Ok(());
            }
        }
    }
    if !batch.pairs.is_empty() {
        evaluate(batch)?;
    }
    Ok(())
}
