//! Which of many documents are read for a question.
use std::collections::HashSet;

use bm25::{Embedder, EmbedderBuilder, Scorer, Tokenizer};
use unicode_segmentation::UnicodeSegmentation;

use crate::{Documents, Result};

/// A lexical first pass: BM25 (Robertson and Zaragoza 2009) over the words of the documents.
///
/// It finds documents that share words with a question, so it serves questions in the documents'
/// language, and names and numbers in others.
pub struct FirstPass {
    embedder: Embedder<u32, Words>,
    scorer: Scorer<usize>,
    documents: usize,
}

/// Words by UAX #29, in lower case; a Han or Kana character is a word.
#[derive(Default)]
struct Words;

impl Tokenizer for Words {
    fn tokenize(&self, text: &str) -> Vec<String> {
        text.unicode_words().map(str::to_lowercase).collect()
    }
}

impl FirstPass {
    /// Reads all documents once; of them the counts of words stay in memory.
    ///
    /// # Errors
    /// As [`Documents::iter`].
    pub fn over(documents: &Documents) -> Result<Self> {
        let (mut words, mut count) = (0.0f32, 0usize);
        for document in documents.iter() {
            words += f32_of(document?.text.unicode_words().count());
            count += 1;
        }
        let average = words / f32_of(count.max(1));
        let embedder = EmbedderBuilder::<u32, Words>::with_avgdl(average).build();
        let mut scorer = Scorer::new();
        for (index, document) in documents.iter().enumerate() {
            scorer.upsert(&index, embedder.embed(&document?.text));
        }
        Ok(Self { embedder, scorer, documents: count })
    }

    /// The numbers of the at most `most` documents that fit a question best; all documents where
    /// none shares a word with it.
    pub fn candidates(&self, question: &str, most: usize) -> HashSet<usize> {
        let mut found = self.scorer.matches(&self.embedder.embed(question));
        if found.is_empty() {
            return (0..self.documents).collect();
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        found.into_iter().take(most).map(|one| one.id).collect()
    }
}

/// Counts of words; beyond 2^24 they are rounded.
#[allow(clippy::cast_precision_loss)]
fn f32_of(count: usize) -> f32 {
    count as f32
}
