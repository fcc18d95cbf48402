//! The first stage of retrieval: selects the passages that are read for a question, and computes
//! penalties for less relevant passages.
use std::collections::{BTreeMap, HashSet};

use bm25::{Embedder, EmbedderBuilder, Scorer, Tokenizer};
use mlqa_eval::{LanguageCounts, NBest};
use unicode_segmentation::UnicodeSegmentation;

use crate::retriever::Vector;
use crate::{Documents, Result, Retriever};

/// Default number of passages that are read per question.
pub const DEFAULT_CANDIDATES: usize = 50;

/// Penalty on an answer's score per unit of difference between the BM25 scores of the best passage
/// and the answer's passage. Not used with a retriever.
const BM25_WEIGHT: f32 = 1.0;

/// Minimum number of passages from which inverse document frequencies are computed. Smaller
/// collections are padded with empty passages. Without padding, an additional short document would
/// change the weight of rare words relative to frequent words, and thus the answers in other
/// documents.
const MIN_COLLECTION: usize = 50;

/// The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
const FUSION_CONSTANT: usize = 60;

/// Bytes at the beginning of a document from which its script and language are detected.
const SAMPLE_BYTES: usize = 2000;

/// The method of ranking documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// BM25 over words, for questions in the documents' language.
    Bm25,
    /// Cosine similarity of the retriever's embeddings, across languages.
    Dense,
    /// Reciprocal rank fusion of the BM25 ranking and the dense ranking; equal to `Dense` if the
    /// question and the documents seem to be in different languages.
    Hybrid,
}

/// The first stage of retrieval: BM25 (Robertson and Zaragoza 2009) over the words of passages,
/// and optionally a [`Retriever`].
///
/// BM25 finds passages that share words with a question, so it works within one language, and
/// across languages only for names and numbers.
pub struct FirstPass<'a> {
    embedder: Embedder<u32, WordTokenizer>,
    scorer: Scorer<usize>,
    /// The index of the document of each passage.
    document_indices: Vec<usize>,
    sample: LanguageCounts,
    dense: Option<(&'a Retriever, Vec<Vector>)>,
}

/// Splits a text into lower-case words by UAX #29; each Han or Hiragana character is a word.
#[derive(Default)]
struct WordTokenizer;

impl Tokenizer for WordTokenizer {
    fn tokenize(&self, text: &str) -> Vec<String> {
        text.unicode_words().map(str::to_lowercase).collect()
    }
}

impl FirstPass<'_> {
    /// Reads all documents and stores the word counts of their passages.
    ///
    /// # Errors
    /// The errors of [`Documents::iter`].
    pub fn over(documents: &Documents) -> Result<Self> {
        Self::over_with_callback(documents, &mut || Ok::<(), crate::Error>(()))
    }

    /// Like [`over`](Self::over), but calls `step` after each passage; an error of `step` stops the
    /// pass.
    ///
    /// # Errors
    /// The errors of `step` and of [`Documents::iter`].
    pub fn over_with_callback<E: From<crate::Error>>(
        documents: &Documents,
        step: &mut dyn FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let (mut n_words, mut count) = (0.0f32, 0usize);
        for passage in documents.passages() {
            n_words += to_f32(passage?.1.text.unicode_words().count());
            count += 1;
            step()?;
        }
        let mean_words = n_words / to_f32(count.max(1));
        let embedder = EmbedderBuilder::<u32, WordTokenizer>::with_avgdl(mean_words).build();
        let (mut scorer, mut sample) = (Scorer::new(), LanguageCounts::default());
        let (mut document_indices, mut sampled_bytes) = (Vec::with_capacity(count), 0);
        for passage in documents.passages() {
            let (document, passage) = passage?;
            scorer.upsert(&document_indices.len(), embedder.embed(&passage.text));
            if document_indices.last() != Some(&document) {
                sampled_bytes = 0;
            }
            if sampled_bytes < SAMPLE_BYTES {
                sampled_bytes += passage.text.len();
                sample.add(&passage.text);
            }
            document_indices.push(document);
            step()?;
        }
        for padding_index in document_indices.len()..MIN_COLLECTION {
            scorer.upsert(&padding_index, embedder.embed(""));
        }
        Ok(Self { embedder, scorer, document_indices, sample, dense: None })
    }

    /// Adds the retriever's embeddings of the passages. `documents` must be the documents passed to
    /// [`over`](Self::over); they are read again. Calls `progress` with the number of documents
    /// embedded so far.
    ///
    /// # Errors
    /// The errors of [`Documents::iter`]; [`Error::Tasks`](crate::Error::Tasks) if the encoder
    /// fails.
    pub fn with_retriever<'a>(
        self,
        documents: &Documents,
        retriever: &'a Retriever,
        progress: &mut dyn FnMut(usize),
    ) -> Result<FirstPass<'a>> {
        let dense = Some((retriever, retriever.embed_all(documents, progress)?));
        let Self { embedder, scorer, document_indices, sample, .. } = self;
        Ok(FirstPass { embedder, scorer, document_indices, sample, dense })
    }

    /// Returns the number of passages.
    pub fn passage_count(&self) -> usize {
        self.document_indices.len()
    }

    /// Returns the indices of documents for each question, in the order of their best passages.
    ///
    /// BM25 omits documents without a word of the question. Without a retriever, dense rankings are
    /// empty and hybrid rankings equal BM25 rankings.
    ///
    /// # Errors
    /// [`Error::Tasks`](crate::Error::Tasks) if the encoder fails.
    pub fn rank(&self, questions: &[&str], ranking: Ranking) -> Result<Vec<Vec<usize>>> {
        let cosines = match ranking {
            Ranking::Bm25 => None,
            Ranking::Dense | Ranking::Hybrid => self.cosines(questions)?,
        };
        let rankings = self.rank_passages(questions, ranking, cosines.as_deref()).into_iter();
        let documents = rankings.map(|passages| {
            let mut seen_documents = HashSet::new();
            let documents = passages.iter().filter_map(|&index| self.document_indices.get(index));
            documents.copied().filter(|&document| seen_documents.insert(document)).collect()
        });
        Ok(documents.collect())
    }

    /// Computes the cosine similarities `[questions][passages]`, if there is a retriever.
    fn cosines(&self, questions: &[&str]) -> Result<Option<Vec<Vec<f32>>>> {
        let dense = self.dense.as_ref();
        dense.map(|(retriever, passages)| retriever.cosines(passages, questions)).transpose()
    }

    /// Returns the indices of passages for each question, best first.
    fn rank_passages(
        &self,
        questions: &[&str],
        ranking: Ranking,
        cosines: Option<&[Vec<f32>]>,
    ) -> Vec<Vec<usize>> {
        let dense: Vec<Vec<usize>> = match cosines {
            Some(cosines) => {
                let rank = |row: &Vec<f32>| sorted_indices(row.iter().copied().enumerate());
                cosines.iter().map(rank).collect()
            }
            None => vec![Vec::new(); questions.len()],
        };
        if ranking == Ranking::Dense {
            return dense;
        }
        let pairs = questions.iter().zip(dense);
        let fuse = |(question, dense): (&&str, Vec<usize>)| {
            // Word matches between texts of different languages are mostly coincidental. Ranking
            // passages by such matches would lower the rank of relevant passages.
            match !dense.is_empty() && self.language_mismatch(question).is_some() {
                true => dense,
                false => fuse_rankings([sorted_indices(self.bm25_scores(question)), dense]),
            }
        };
        pairs.map(fuse).collect()
    }

    /// Returns the index and the BM25 score of each passage that contains a word of the question.
    fn bm25_scores(&self, question: &str) -> impl Iterator<Item = (usize, f32)> {
        let matches = self.scorer.matches(&self.embedder.embed(question));
        matches.into_iter().map(|passage| (passage.id, passage.score))
    }

    /// Computes the penalty on the scores of answers in each passage: [`BM25_WEIGHT`] times the
    /// difference between the best BM25 score and the passage's BM25 score. Penalties also apply
    /// across languages, where names and numbers match.
    fn bm25_penalties(&self, question: &str) -> Vec<f32> {
        let mut scores = vec![0.0; self.passage_count()];
        for (passage, score) in self.bm25_scores(question) {
            if let Some(passage_score) = scores.get_mut(passage) {
                *passage_score = score;
            }
        }
        penalties(&scores, BM25_WEIGHT)
    }

    /// Selects at most `max_passages` passages for each question: by hybrid ranking if there is a
    /// retriever, else by BM25.
    ///
    /// All passages are selected in two cases: the ranking is empty, or there is no retriever and
    /// the question seems to be in another language than the documents.
    ///
    /// # Errors
    /// The errors of [`rank`](Self::rank).
    pub(crate) fn select(&self, questions: &[&str], max_passages: usize) -> Result<Selection> {
        let cosines = self.cosines(questions)?;
        let mut candidates = vec![None; questions.len()];
        if max_passages < self.passage_count() {
            let rankings = self.rank_passages(questions, Ranking::Hybrid, cosines.as_deref());
            for ((candidates, order), question) in
                candidates.iter_mut().zip(rankings).zip(questions)
            {
                let reads_all = order.is_empty()
                    || self.dense.is_none() && self.language_mismatch(question).is_some();
                *candidates = (!reads_all).then(|| order.into_iter().take(max_passages).collect());
            }
        }
        let weight = self.dense.as_ref().map_or(0.0, |(retriever, _)| retriever.penalty_weight);
        let penalties = match &cosines {
            Some(cosines) => cosines.iter().map(|cosines| penalties(cosines, weight)).collect(),
            None => questions.iter().map(|question| self.bm25_penalties(question)).collect(),
        };
        Ok(Selection { candidates, penalties })
    }

    /// Returns the scripts or languages of the question and of the documents if the two seem to
    /// differ. In this case, BM25 cannot rank the documents.
    pub fn language_mismatch(&self, question: &str) -> Option<[&'static str; 2]> {
        let mut question_sample = LanguageCounts::default();
        question_sample.add(question);
        question_sample.differs_from(&self.sample)
    }
}

/// The passages that are read for each question, and the penalties on the scores of answers in
/// these passages.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// The indices of the passages for each question; `None` if all passages are read.
    candidates: Vec<Option<HashSet<usize>>>,
    /// The penalty of each passage for each question, `[questions][passages]`.
    penalties: Vec<Vec<f32>>,
}

impl Selection {
    /// Returns whether a passage is read for a question.
    pub fn contains(&self, question: usize, passage: usize) -> bool {
        let candidates = self.candidates.get(question).and_then(Option::as_ref);
        candidates.is_none_or(|candidates| candidates.contains(&passage))
    }

    /// Subtracts a passage's penalty from the scores of its answers.
    pub fn rescore(&self, question: usize, passage: usize, n_best: &mut NBest) {
        let penalties = self.penalties.get(question);
        if let Some(penalty) = penalties.and_then(|penalties| penalties.get(passage)) {
            for candidate in &mut n_best.candidates {
                candidate.score -= penalty;
            }
        }
    }
}

/// Computes `weight` times the difference between the highest score and each score.
fn penalties(scores: &[f32], weight: f32) -> Vec<f32> {
    let best_score = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter().map(|score| weight * (best_score - score)).collect()
}

/// Sorts indices by descending score, then ascending index; omits scores of negative infinity.
fn sorted_indices(scores: impl Iterator<Item = (usize, f32)>) -> Vec<usize> {
    let mut scores: Vec<(usize, f32)> =
        scores.filter(|&(_, score)| score > f32::NEG_INFINITY).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.into_iter().map(|(index, _)| index).collect()
}

/// Computes the reciprocal rank fusion of two rankings.
fn fuse_rankings(rankings: [Vec<usize>; 2]) -> Vec<usize> {
    let mut scores: BTreeMap<usize, f32> = BTreeMap::new();
    for ranking in &rankings {
        for (rank, &passage) in (FUSION_CONSTANT + 1..).zip(ranking) {
            *scores.entry(passage).or_default() += 1.0 / to_f32(rank);
        }
    }
    sorted_indices(scores.into_iter())
}

/// Converts a count to a float; counts above 2^24 are rounded.
#[allow(clippy::cast_precision_loss)]
fn to_f32(count: usize) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use mlqa_eval::Candidate;

    use super::*;
    use crate::Document;

    #[test]
    fn fusion_adds_reciprocal_ranks() {
        // The scores are 1/61 + 1/62 for documents 4 and 7 (the lower index comes first), and 1/63
        // for documents 2 and 9.
        assert_eq!(fuse_rankings([vec![7, 4, 9], vec![4, 7, 2]]), [4, 7, 2, 9]);
        assert_eq!(fuse_rankings([vec![], vec![3, 1]]), [3, 1]);
        // Documents appended to both rankings do not change the order of the other documents.
        assert_eq!(fuse_rankings([vec![5, 0, 3, 1], vec![1, 3, 4, 0]]), [1, 3, 0, 5, 4]);
        let extended_rankings = [vec![5, 0, 3, 1, 10, 11], vec![1, 3, 4, 0, 11, 12, 10]];
        assert_eq!(fuse_rankings(extended_rankings), [1, 3, 0, 11, 10, 5, 4, 12]);
    }

    #[test]
    fn an_unrelated_document_does_not_change_the_penalties_of_others() {
        let text = |words: [&str; 4]| {
            let paragraph = |word: &str| format!("{word} {}", "of many words in a row. ".repeat(9));
            words.map(paragraph).join("\n\n")
        };
        let document = |id: &str, words| Document { id: id.into(), text: text(words).into() };
        let cities = document("cities", ["Lima Peru", "Quito Peru", "Lima Bolivia", "La Paz"]);
        let recipe = document("recipe", ["bread flour", "salt sea", "yeast time", "oven heat"]);
        let penalties = |documents: Vec<Document>| {
            let pass = FirstPass::over(&documents.into()).unwrap();
            pass.bm25_penalties("Which river is in Lima in Peru?")
        };
        let cities_only = penalties(vec![cities.clone()]);
        let with_recipe = penalties(vec![cities, recipe]);
        assert_eq!((cities_only.len(), with_recipe.len()), (4, 8));
        assert!(
            cities_only[3] > cities_only[1]
                && cities_only[1] > cities_only[0]
                && cities_only[0] == 0.0,
            "{cities_only:?}"
        );
        // The word "in" occurs in every passage of both documents, so it does not affect the
        // penalties.
        for (before, after) in cities_only.iter().zip(&with_recipe) {
            assert!((before - after).abs() < 0.01, "{cities_only:?} {with_recipe:?}");
        }
    }

    #[test]
    fn answers_in_passages_without_question_words_are_penalised() {
        let text = "Lima is the capital of Peru and lies at the coast of the Pacific. \n\n\
            Quito is the capital of Ecuador, and it is high in the mountains. \n\n\
            A recipe for bread takes flour, water and some salt from the sea. \n\n"
            .split("\n\n")
            .map(|paragraph| format!("{paragraph}{}\n\n", "Here is a word. ".repeat(10)))
            .collect::<String>();
        let document = Document { id: "cities".into(), text: text.into() };
        let pass = FirstPass::over(&vec![document].into()).unwrap();
        let questions = ["Which city is the capital of Peru?", "秘鲁的首都是哪座城市？"];
        let selection = pass.select(&questions, usize::MAX).unwrap();
        let score = |question, passage| {
            let candidates = vec![Candidate::default()];
            let mut n_best = NBest { id: "q".into(), candidates, null_score: None, null: false };
            selection.rescore(question, passage, &mut n_best);
            n_best.candidates[0].score
        };
        let [peru, ecuador, bread] = [0, 1, 2].map(|passage| score(0, passage));
        assert!(peru == 0.0 && ecuador < 0.0 && bread < ecuador, "{peru} {ecuador} {bread}");
        // No passage has a word of the second question.
        assert_eq!([0, 1, 2].map(|passage| score(1, passage)), [0.0; 3]);
        let top_1 = pass.select(&questions, 1).unwrap();
        assert_eq!([0, 1, 2].map(|passage| top_1.contains(0, passage)), [true, false, false]);
        assert_eq!([0, 1, 2].map(|passage| top_1.contains(1, passage)), [true; 3]);
    }
}
