//! Incremental reading of documents, so that windows of different requests can share batches.
use std::sync::{Arc, Mutex, PoisonError};

use collection::{Collection, Snapshot};
use mlqa_eval::{Purpose, Question, Window, WindowConfig, windows};
use tokenizers::Tokenizer;

use crate::answer::{Collector, Query};
use crate::collection_search::{SelectedPassages, select_passages, set_pages};
use crate::first_pass::{DEFAULT_CANDIDATES, Selection};
use crate::reader::{Pair, PairBatch};
use crate::{Answers, Documents, FirstPass, Reader, Result, Retriever};

/// Size in bytes of the passages that are cut into windows in one step. After each step, a request
/// with too many windows is rejected.
const BATCH_BYTES: usize = 1 << 18;

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

    /// Cuts the passages of the latest state of the collection that are selected for each question
    /// into windows. Returns `None` if there are more than `max_windows` windows.
    ///
    /// # Errors
    /// The errors of [`windows`], [`Collection::snapshot`] and
    /// [`select_hybrid`](collection::Snapshot::select_hybrid).
    pub fn cut_collection(
        &self,
        queries: Vec<Query>,
        collection: &Collection,
        max_windows: usize,
    ) -> Result<Option<Reading>> {
        let snapshot = collection.snapshot()?;
        let SelectedPassages { passages, selection } = {
            let retriever = self.retriever.as_ref();
            let retriever = retriever.map(|one| one.lock().unwrap_or_else(PoisonError::into_inner));
            select_passages(&snapshot, retriever.as_deref(), &queries, DEFAULT_CANDIDATES)?
        };
        let mut reading =
            Reading { queries, selection, snapshot: Some(snapshot), ..Reading::default() };
        for (question_index, passages) in passages.iter().enumerate() {
            let mut pairs = PairBatch::default();
            for (index, passage) in passages.iter().enumerate() {
                let (_, question) = &reading.queries[question_index];
                pairs.push(question_index, question, index, passage);
            }
            reading.groups.push(self.cut_pairs(pairs, &mut reading.windows)?);
            if reading.windows.len() > max_windows {
                return Ok(None);
            }
        }
        Ok(Some(reading))
    }

    /// Selects the passages for each question, and computes the penalties of their answers.
    fn select(&self, queries: &[Query], documents: &Documents) -> Result<Selection> {
        let texts: Vec<&str> = queries.iter().map(|(_, question)| question.as_str()).collect();
        let pass = FirstPass::over(documents)?;
        let Some(retriever) = &self.retriever else {
            return pass.select(&texts, DEFAULT_CANDIDATES);
        };
        let retriever = retriever.lock().unwrap_or_else(PoisonError::into_inner);
        let pass = pass.with_retriever(documents, &retriever, &mut |_| {})?;
        pass.select(&texts, DEFAULT_CANDIDATES)
    }

    /// Cuts the passages selected for every question into windows. Returns `None` if there are more
    /// than `max_windows` windows.
    ///
    /// # Errors
    /// The errors of [`windows`] and [`FirstPass::rank`].
    pub fn cut(
        &self,
        queries: Vec<Query>,
        documents: &Documents,
        max_windows: usize,
    ) -> Result<Option<Reading>> {
        let selection = self.select(&queries, documents)?;
        let mut reading = Reading { queries, selection, ..Reading::default() };
        let mut pairs = PairBatch::default();
        for (index, passage) in documents.passages().enumerate() {
            let (_, passage) = passage?;
            reading.selection.check_passage(index)?;
            for (question_index, (_, question)) in reading.queries.iter().enumerate() {
                if !reading.selection.contains(question_index, index) {
                    continue;
                }
                pairs.push(question_index, question, index, &passage);
                if pairs.bytes >= BATCH_BYTES {
                    let group = std::mem::take(&mut pairs);
                    reading.groups.push(self.cut_pairs(group, &mut reading.windows)?);
                }
                if reading.windows.len() > max_windows {
                    return Ok(None);
                }
            }
        }
        reading.groups.push(self.cut_pairs(pairs, &mut reading.windows)?);
        Ok(Some(reading).filter(|reading| reading.windows.len() <= max_windows))
    }

    fn cut_pairs(&self, pairs: PairBatch, all_windows: &mut Vec<Window>) -> Result<PairGroup> {
        let windows = windows(&pairs.questions, &self.tokenizer, &self.config, Purpose::Eval)?;
        let n_windows = windows.len();
        all_windows.extend(windows);
        Ok(PairGroup { questions: pairs.questions, items: pairs.items, n_windows })
    }
}

/// The questions and windows of a request, with the logits of the windows evaluated so far.
#[derive(Default)]
pub struct Reading {
    queries: Vec<Query>,
    selection: Selection,
    groups: Vec<PairGroup>,
    windows: Vec<Window>,
    logits: Vec<(Vec<f32>, Vec<f32>)>,
    /// The state of the collection that is searched; `None` for documents in the request.
    snapshot: Option<Arc<Snapshot>>,
}

/// Pairs of questions and passages that were cut together, and their number of windows.
#[derive(Debug)]
struct PairGroup {
    questions: Vec<Question>,
    items: Vec<Pair>,
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
        let Self { queries, selection, groups, windows, logits, snapshot } = self;
        assert_eq!(logits.len(), windows.len(), "all windows have logits");
        let mut answers: Vec<Collector> =
            queries.iter().map(|(_, question)| reader.collector(question)).collect();
        let (mut windows, mut logits) = (windows.into_iter(), logits.into_iter());
        let calibration = &reader.calibration;
        for PairGroup { questions, items, n_windows } in groups {
            let windows: Vec<Window> = windows.by_ref().take(n_windows).collect();
            let logits = logits.by_ref().take(n_windows).collect();
            let n_bests = reader.document_predictor().best_answers(&questions, &windows, logits)?;
            items.iter().zip(n_bests).for_each(|(pair, n_best)| {
                pair.add_to(n_best, Some(&selection), &mut answers, calibration, max_answers);
            });
        }
        let answers = queries.into_iter().zip(answers);
        let answers = answers.map(|(query, collector)| reader.finish(collector, query));
        let mut answers = answers.collect::<Result<Vec<_>>>()?;
        if let Some(snapshot) = snapshot {
            set_pages(&mut answers, &snapshot)?;
        }
        Ok(answers)
    }
}
