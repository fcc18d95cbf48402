//! Incremental reading of documents, so that windows of different requests can share batches.
use std::sync::{Mutex, MutexGuard, PoisonError};

use collection::{Collection, Query};
use mlqa_eval::{Purpose, Question, Window, WindowConfig, windows};
use tokenizers::Tokenizer;

use crate::answer::Collector;
use crate::search::{
    DEFAULT_CANDIDATES, Pair, PairBatch, PassageSearch, embed_queries, for_each_batch,
};
use crate::{
    Answers, CollectionSearch, DocumentIndex, Documents, Error, Reader, Result, Retriever,
};

/// Cuts documents into a reader's windows; can be used on any thread.
pub struct Cutter {
    tokenizer: Tokenizer,
    config: WindowConfig,
    /// Selects passages together with BM25, and determines the passages' penalties. Without a
    /// retriever, BM25 alone selects passages and determines penalties.
    retriever: Option<Mutex<Retriever>>,
    /// The collection for requests without documents.
    collection: Option<Collection>,
}

impl Cutter {
    /// Creates a cutter from the tokenizer and the windows of a reader.
    pub fn new(tokenizer: Tokenizer, config: WindowConfig, retriever: Option<Retriever>) -> Self {
        Self { tokenizer, config, retriever: retriever.map(Mutex::new), collection: None }
    }

    /// Sets the collection for requests without documents.
    pub fn with_collection(self, collection: Option<Collection>) -> Self {
        Self { collection, ..self }
    }

    /// Returns the collection for requests without documents.
    pub fn collection(&self) -> Option<&Collection> {
        self.collection.as_ref()
    }

    fn retriever(&self) -> Option<MutexGuard<'_, Retriever>> {
        let retriever = self.retriever.as_ref()?;
        Some(retriever.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Cuts the passages of the latest state of the collection that are selected for each question
    /// into windows. Returns `None` if there are more than `max_windows` windows.
    ///
    /// # Errors
    /// The errors of [`windows`], [`Collection::snapshot`] and [`PassageSearch::search`].
    pub fn cut_collection(
        &self,
        queries: Vec<Query>,
        collection: &Collection,
        max_windows: usize,
    ) -> Result<Option<Reading>> {
        let snapshot = collection.snapshot()?;
        let search = CollectionSearch::new(&snapshot, self.retriever().as_deref());
        self.cut_selected(queries, &search, max_windows)
    }

    /// Cuts the passages of documents that are selected for each question into windows. Returns
    /// `None` if there are more than `max_windows` windows.
    ///
    /// # Errors
    /// The errors of [`windows`], [`DocumentIndex::over`] and [`PassageSearch::search`].
    pub fn cut(
        &self,
        queries: Vec<Query>,
        documents: &Documents,
        max_windows: usize,
    ) -> Result<Option<Reading>> {
        let mut index = DocumentIndex::over(documents)?;
        if let Some(retriever) = self.retriever() {
            index = index.with_retriever(&retriever, &mut |_| {})?;
        }
        self.cut_selected(queries, &index, max_windows)
    }

    fn cut_selected(
        &self,
        queries: Vec<Query>,
        search: &dyn PassageSearch,
        max_windows: usize,
    ) -> Result<Option<Reading>> {
        let vectors = embed_queries(self.retriever().as_deref(), &queries)?;
        let (mut groups, mut all_windows) = (Vec::new(), Vec::new());
        for_each_batch(search, &queries, &vectors, DEFAULT_CANDIDATES, &mut |batch| {
            let PairBatch { questions, pairs, .. } = batch;
            let windows = windows(&questions, &self.tokenizer, &self.config, Purpose::Eval)?;
            groups.push(PairGroup { questions, pairs, n_windows: windows.len() });
            all_windows.extend(windows);
            Ok::<bool, Error>(all_windows.len() <= max_windows)
        })?;
        let is_within_limit = all_windows.len() <= max_windows;
        let reading = Reading { queries, groups, windows: all_windows, logits: Vec::new() };
        Ok(is_within_limit.then_some(reading))
    }
}

/// The questions and windows of a request, with the logits of the windows evaluated so far.
#[derive(Default)]
pub struct Reading {
    queries: Vec<Query>,
    groups: Vec<PairGroup>,
    windows: Vec<Window>,
    logits: Vec<(Vec<f32>, Vec<f32>)>,
}

/// Pairs of questions and passages that were cut together, and their number of windows.
#[derive(Debug)]
struct PairGroup {
    questions: Vec<Question>,
    pairs: Vec<Pair>,
    n_windows: usize,
}

impl Reading {
    /// Returns the total number of windows.
    pub fn n_windows(&self) -> usize {
        self.windows.len()
    }

    /// Returns the windows that were not evaluated yet, in order.
    pub fn pending_windows(&self) -> &[Window] {
        &self.windows[self.logits.len()..]
    }

    /// Adds the logits of the next pending windows.
    pub fn add_logits(&mut self, logits: impl IntoIterator<Item = (Vec<f32>, Vec<f32>)>) {
        self.logits.extend(logits);
    }

    /// Returns the `max_answers` best answers to each question. All windows must have logits.
    ///
    /// # Errors
    /// The errors of [`decode`](mlqa_eval::decode).
    pub fn finish(self, reader: &Reader, max_answers: usize) -> Result<Vec<Answers>> {
        let Self { queries, groups, windows, logits } = self;
        assert_eq!(logits.len(), windows.len(), "all windows have logits");
        let mut collectors: Vec<Collector> =
            queries.iter().map(|query| reader.collector(&query.text)).collect();
        let (mut windows, mut logits) = (windows.into_iter(), logits.into_iter());
        for PairGroup { questions, pairs, n_windows } in groups {
            let windows: Vec<Window> = windows.by_ref().take(n_windows).collect();
            let logits = logits.by_ref().take(n_windows).collect();
            let n_bests = reader.document_predictor().best_answers(&questions, &windows, logits)?;
            reader.add_to(&mut collectors, &pairs, n_bests, max_answers);
        }
        let answers = queries.into_iter().zip(collectors);
        answers.map(|(query, collector)| reader.finish(collector, query)).collect()
    }
}
