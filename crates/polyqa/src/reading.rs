//! Incremental reading of documents, so that windows of different requests can share batches.
use std::sync::{Mutex, PoisonError};

use mlqa_eval::{Purpose, Question, Window, WindowConfig, windows};
use tokenizers::Tokenizer;

use crate::answer::Gathered;
use crate::first_pass::{CANDIDATES, Selection};
use crate::reader::{Pair, Pairs};
use crate::{Answers, Documents, FirstPass, Reader, Result, Retriever};

/// Bytes of contexts that are cut at once, so that inputs with too many windows are rejected early.
const BYTES_AT_ONCE: usize = 1 << 18;

/// A question's id, if it has one, and its text.
pub type Query = (Option<String>, String);

/// Cuts documents into a reader's windows, on any thread.
#[derive(Debug)]
pub struct Cutter {
    tokenizer: Tokenizer,
    config: WindowConfig,
    /// Selects passages and weights their answers; `None` if BM25 selects passages.
    retriever: Option<Mutex<Retriever>>,
}

impl Cutter {
    pub fn of(reader: &Reader, retriever: Option<Retriever>) -> Self {
        let tokenizer = reader.pretrained.tokenizer.clone();
        Self { tokenizer, config: reader.windows().clone(), retriever: retriever.map(Mutex::new) }
    }

    /// Selects the passages for each question, and computes the penalties of their answers.
    fn select(&self, queries: &[Query], documents: &Documents) -> Result<Selection> {
        let texts: Vec<&str> = queries.iter().map(|(_, question)| question.as_str()).collect();
        let pass = FirstPass::over(documents)?;
        let Some(retriever) = &self.retriever else {
            return pass.select(&texts, CANDIDATES);
        };
        let retriever = retriever.lock().unwrap_or_else(PoisonError::into_inner);
        let pass = pass.with_retriever(documents, &retriever, &mut |_| {})?;
        pass.select(&texts, CANDIDATES)
    }

    /// Cuts the passages selected for every question into windows; returns `None` if there are more
    /// than `max_windows`.
    ///
    /// # Errors
    /// As [`windows`] and [`FirstPass::rank`].
    pub fn cut(
        &self,
        queries: Vec<Query>,
        documents: &Documents,
        max_windows: usize,
    ) -> Result<Option<Reading>> {
        let selection = self.select(&queries, documents)?;
        let mut reading = Reading { queries, selection, ..Reading::default() };
        let mut pairs = Pairs::default();
        for (index, passage) in documents.passages().enumerate() {
            let (_, passage) = passage?;
            for (at, (_, question)) in reading.queries.iter().enumerate() {
                if !reading.selection.contains(at, index) {
                    continue;
                }
                pairs.push(at, question, index, &passage);
                if pairs.bytes >= BYTES_AT_ONCE {
                    let part = std::mem::take(&mut pairs);
                    reading.parts.push(self.part(part, &mut reading.windows)?);
                }
                if reading.windows.len() > max_windows {
                    return Ok(None);
                }
            }
        }
        reading.parts.push(self.part(pairs, &mut reading.windows)?);
        Ok(Some(reading).filter(|reading| reading.windows.len() <= max_windows))
    }

    fn part(&self, pairs: Pairs, all: &mut Vec<Window>) -> Result<Part> {
        let cut = windows(&pairs.questions, &self.tokenizer, &self.config, Purpose::Eval)?;
        let windows = cut.len();
        all.extend(cut);
        Ok(Part { questions: pairs.questions, items: pairs.items, windows })
    }
}

/// The questions and windows of a request, with the logits of the windows evaluated so far.
#[derive(Debug, Default)]
pub struct Reading {
    queries: Vec<Query>,
    selection: Selection,
    parts: Vec<Part>,
    windows: Vec<Window>,
    logits: Vec<(Vec<f32>, Vec<f32>)>,
}

/// Pairs that were cut together, and their number of windows.
#[derive(Debug)]
struct Part {
    questions: Vec<Question>,
    items: Vec<Pair>,
    windows: usize,
}

impl Reading {
    /// Returns the total number of windows.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// Returns the windows that were not evaluated yet, in order.
    pub fn unread(&self) -> &[Window] {
        self.windows.get(self.logits.len()..).unwrap_or_default()
    }

    /// Adds the logits of the next unread windows.
    pub fn add_logits(&mut self, logits: impl IntoIterator<Item = (Vec<f32>, Vec<f32>)>) {
        self.logits.extend(logits);
    }

    /// Returns the `max_answers` best answers to each question, after all windows are evaluated.
    ///
    /// # Errors
    /// As [`decode`](mlqa_eval::decode).
    pub fn finish(self, reader: &Reader, max_answers: usize) -> Result<Vec<Answers>> {
        let Self { queries, selection, parts, windows, logits } = self;
        let mut gathered: Vec<Gathered> = queries.iter().map(|_| Gathered::new()).collect();
        let (mut windows, mut logits) = (windows.into_iter(), logits.into_iter());
        for Part { questions, items, windows: count } in parts {
            let windows: Vec<Window> = windows.by_ref().take(count).collect();
            let logits = logits.by_ref().take(count).collect();
            let found = reader.predictor().best_answers(&questions, &windows, logits)?;
            items.iter().zip(found).for_each(|(pair, one)| {
                pair.gather(one, Some(&selection), &mut gathered, &reader.calibration, max_answers);
            });
        }
        let threshold = reader.calibration.null_threshold;
        let finished = queries.into_iter().zip(gathered);
        Ok(finished.map(|((id, question), one)| one.finish(id, question, threshold)).collect())
    }
}
