//! The first stage: selects the documents that are read for a question.
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bm25::{Embedder, EmbedderBuilder, Scorer, Tokenizer};
use mlqa_eval::{NBest, TextSample};
use unicode_segmentation::UnicodeSegmentation;

use crate::retriever::{Embeddings, Similarities};
use crate::{Documents, Result, Retriever};

/// Number of candidates that programs select.
pub(crate) const CANDIDATES: usize = 50;

/// How much the score of an answer falls per unit of BM25 that its document is below the best one,
/// without a retriever.
const BM25_WEIGHT: f32 = 1.0;

/// The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
const FUSION_RANK: usize = 60;

/// Characters of a document from which its script and language are guessed.
const SAMPLED: usize = 2000;

/// How documents are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// BM25 over words: for questions in the documents' language.
    Bm25,
    /// Cosine similarity of the retriever's embeddings, across languages.
    Dense,
    /// Reciprocal rank fusion of both; dense alone for a question that seems to be in another
    /// language than the documents.
    Hybrid,
}

/// The first stage of retrieval: BM25 (Robertson and Zaragoza 2009) over the words of documents,
/// and optionally a [`Retriever`].
///
/// BM25 finds documents that share words with a question, so it works within one language, and for
/// names and numbers in others.
pub struct FirstPass<'a> {
    embedder: Embedder<u32, Words>,
    scorer: Scorer<usize>,
    documents: usize,
    sample: TextSample,
    dense: Option<(&'a Retriever, Vec<Arc<Embeddings>>)>,
}

/// Words by UAX #29, in lower case; a Han or Kana character is a word.
#[derive(Default)]
struct Words;

impl Tokenizer for Words {
    fn tokenize(&self, text: &str) -> Vec<String> {
        text.unicode_words().map(str::to_lowercase).collect()
    }
}

impl FirstPass<'_> {
    /// Reads all documents and stores their word counts.
    ///
    /// # Errors
    /// As [`Documents::iter`].
    pub fn over(documents: &Documents) -> Result<Self> {
        let (mut words, mut count) = (0.0f32, 0usize);
        for document in documents.iter() {
            words += f32_of(document?.unmarked_text().unicode_words().count());
            count += 1;
        }
        let average = words / f32_of(count.max(1));
        let embedder = EmbedderBuilder::<u32, Words>::with_avgdl(average).build();
        let (mut scorer, mut sample) = (Scorer::new(), TextSample::default());
        for (index, document) in documents.iter().enumerate() {
            let document = document?;
            let text = document.unmarked_text();
            scorer.upsert(&index, embedder.embed(text));
            let end = text.char_indices().nth(SAMPLED).map_or(text.len(), |(end, _)| end);
            sample.add(text.get(..end).unwrap_or_default());
        }
        Ok(Self { embedder, scorer, documents: count, sample, dense: None })
    }

    /// Adds the embeddings of the same documents. Calls `progress` with the number of documents
    /// that are embedded.
    ///
    /// # Errors
    /// As [`Documents::iter`]; [`Error::Tasks`](crate::Error::Tasks) if the encoder fails.
    pub fn with_retriever<'a>(
        self,
        documents: &Documents,
        retriever: &'a Retriever,
        progress: &mut dyn FnMut(usize),
    ) -> Result<FirstPass<'a>> {
        let dense = Some((retriever, retriever.index(documents, progress)?));
        let Self { embedder, scorer, documents, sample, .. } = self;
        Ok(FirstPass { embedder, scorer, documents, sample, dense })
    }

    /// The indices of documents for each question, best first. BM25 omits documents without a word
    /// of the question. Without a retriever dense rankings are empty and hybrid ones equal BM25.
    ///
    /// # Errors
    /// [`Error::Tasks`](crate::Error::Tasks) if the encoder fails.
    pub fn rank(&self, questions: &[&str], ranking: Ranking) -> Result<Vec<Vec<usize>>> {
        let similarities = match ranking {
            Ranking::Bm25 => None,
            Ranking::Dense | Ranking::Hybrid => self.similarities(questions)?,
        };
        Ok(self.ranked(questions, ranking, similarities.as_ref()))
    }

    fn similarities(&self, questions: &[&str]) -> Result<Option<Similarities>> {
        let dense = self.dense.as_ref();
        dense.map(|(retriever, index)| retriever.similarities(index, questions)).transpose()
    }

    fn ranked(
        &self,
        questions: &[&str],
        ranking: Ranking,
        similarities: Option<&Similarities>,
    ) -> Vec<Vec<usize>> {
        let dense: Vec<Vec<usize>> = match similarities {
            Some(found) => {
                let scores = found.documents().into_iter();
                scores.map(|scores| sorted(scores.into_iter().enumerate())).collect()
            }
            None => vec![Vec::new(); questions.len()],
        };
        if ranking == Ranking::Dense {
            return dense;
        }
        let both = questions.iter().zip(dense);
        let fuse = |(question, dense): (&&str, Vec<usize>)| {
            // Words in common across languages are mostly chance, and move good documents down.
            match !dense.is_empty() && self.language_mismatch(question).is_some() {
                true => dense,
                false => fused([sorted(self.bm25(question)), dense]),
            }
        };
        both.map(fuse).collect()
    }

    /// The documents with a word of the question, and their scores.
    fn bm25(&self, question: &str) -> impl Iterator<Item = (usize, f32)> {
        let found = self.scorer.matches(&self.embedder.embed(question));
        found.into_iter().map(|one| (one.id, one.score))
    }

    /// By how much each document's BM25 score is below the best one's; empty if the question seems
    /// to be in another language, in which common words are mostly chance.
    fn bm25_deficits(&self, question: &str) -> Vec<f32> {
        if self.language_mismatch(question).is_some() {
            return Vec::new();
        }
        let mut scores = vec![0.0; self.documents];
        for (document, score) in self.bm25(question) {
            if let Some(own) = scores.get_mut(document) {
                *own = score;
            }
        }
        let best = scores.iter().copied().fold(0.0, f32::max);
        scores.into_iter().map(|score| best - score).collect()
    }

    /// Selects the at most `max_documents` best documents for each question: by both rankings if
    /// there is a retriever, else by BM25. All documents if no ranking has one.
    ///
    /// # Errors
    /// As [`rank`](Self::rank).
    pub(crate) fn select(&self, questions: &[&str], max_documents: usize) -> Result<Selection> {
        let similarities = self.similarities(questions)?;
        let candidates = match max_documents < self.documents {
            true => {
                let ranked = self.ranked(questions, Ranking::Hybrid, similarities.as_ref());
                let best = |ranked: Vec<usize>| match ranked.is_empty() {
                    true => (0..self.documents).collect(),
                    false => ranked.into_iter().take(max_documents).collect(),
                };
                Some(ranked.into_iter().map(best).collect())
            }
            false => None,
        };
        let weight = self.dense.as_ref().map_or(0.0, |(retriever, _)| retriever.answer_weight);
        let bm25_deficits = match self.dense {
            Some(_) => Vec::new(),
            None => questions.iter().map(|question| self.bm25_deficits(question)).collect(),
        };
        Ok(Selection { candidates, similarities, weight, bm25_deficits })
    }

    /// The script or language of a question and of the documents if they seem to differ, so that
    /// BM25 cannot rank the documents.
    pub fn language_mismatch(&self, question: &str) -> Option<[&'static str; 2]> {
        let mut asked = TextSample::default();
        asked.add(question);
        asked.differs_from(&self.sample)
    }
}

/// The documents that are read for each question, and how similar their passages are to it.
#[derive(Debug)]
pub(crate) struct Selection {
    /// The indices of the documents for each question; `None`: all.
    candidates: Option<Vec<HashSet<usize>>>,
    similarities: Option<Similarities>,
    weight: f32,
    /// Without a retriever, see [`FirstPass::bm25_deficits`].
    bm25_deficits: Vec<Vec<f32>>,
}

impl Selection {
    /// Whether a document is read for a question.
    pub fn contains(&self, question: usize, document: usize) -> bool {
        let candidates = self.candidates.as_ref().and_then(|all| all.get(question));
        candidates.is_none_or(|candidates| candidates.contains(&document))
    }

    /// Applies the retriever's weight to the scores of answers, see
    /// [`Retriever::with_answer_weight`]; without a retriever [`BM25_WEIGHT`].
    pub fn rescore(&self, question: usize, document: usize, found: &mut NBest) {
        if let Some(similarities) = self.similarities.as_ref().filter(|_| self.weight != 0.0) {
            similarities.rescore(question, document, found, self.weight);
        }
        let deficits = self.bm25_deficits.get(question);
        if let Some(deficit) = deficits.and_then(|deficits| deficits.get(document)) {
            for candidate in &mut found.candidates {
                candidate.score -= BM25_WEIGHT * deficit;
            }
        }
    }
}

/// The indices by descending score, then ascending; without scores of negative infinity.
fn sorted(scores: impl Iterator<Item = (usize, f32)>) -> Vec<usize> {
    let mut scores: Vec<(usize, f32)> =
        scores.filter(|&(_, score)| score > f32::NEG_INFINITY).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.into_iter().map(|(index, _)| index).collect()
}

/// Reciprocal rank fusion.
fn fused(rankings: [Vec<usize>; 2]) -> Vec<usize> {
    let mut scores: BTreeMap<usize, f32> = BTreeMap::new();
    for ranking in &rankings {
        for (rank, &document) in (FUSION_RANK + 1..).zip(ranking) {
            *scores.entry(document).or_default() += 1.0 / f32_of(rank);
        }
    }
    sorted(scores.into_iter())
}

/// Counts of words; beyond 2^24 they are rounded.
#[allow(clippy::cast_precision_loss)]
fn f32_of(count: usize) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use mlqa_eval::Candidate;

    use super::*;
    use crate::Document;

    #[test]
    fn fusion_adds_reciprocal_ranks() {
        // 1/61 + 1/62 for documents 4 and 7, of which the lower index is first; 1/63 for 2 and 9.
        assert_eq!(fused([vec![7, 4, 9], vec![4, 7, 2]]), [4, 7, 2, 9]);
        assert_eq!(fused([vec![], vec![3, 1]]), [3, 1]);
    }

    #[test]
    fn documents_at_the_end_of_both_rankings_leave_the_order_of_the_others() {
        let rankings = [vec![5, 0, 3, 1], vec![1, 3, 4, 0]];
        let alone = fused(rankings.clone());
        let [mut bm25, mut dense] = rankings;
        bm25.extend([10, 11]);
        dense.extend([11, 12, 10]);
        let mut more = fused([bm25, dense]);
        more.retain(|&document| document < 10);
        assert_eq!(more, alone);
    }

    #[test]
    fn answers_in_documents_without_the_questions_words_fall() {
        let texts = [
            "Lima is the capital of Peru and lies at the coast of the Pacific.",
            "Quito is the capital of Ecuador, and it is high in the mountains.",
            "A recipe for bread takes flour, water and some salt from the sea.",
        ];
        let document = |(id, text): (usize, &&str)| Document {
            id: id.to_string().into(),
            text: (*text).into(),
        };
        let documents: Vec<Document> = texts.iter().enumerate().map(document).collect();
        let pass = FirstPass::over(&documents.into()).unwrap();
        let questions = ["Which city is the capital of Peru?", "秘鲁的首都是哪座城市？"];
        let selection = pass.select(&questions, usize::MAX).unwrap();
        let score = |question, document| {
            let candidates = vec![Candidate::default()];
            let mut found = NBest { id: "q".into(), candidates, null_score: None, null: false };
            selection.rescore(question, document, &mut found);
            found.candidates[0].score
        };
        let [peru, ecuador, bread] = [0, 1, 2].map(|document| score(0, document));
        assert!(peru == 0.0 && ecuador < 0.0 && bread < ecuador, "{peru} {ecuador} {bread}");
        // In another language common words are chance.
        assert_eq!([0, 1, 2].map(|document| score(1, document)), [0.0; 3]);
    }
}
