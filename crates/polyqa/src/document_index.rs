//! An index of documents that are searched without a collection.
use std::collections::{BTreeMap, HashMap, HashSet};

use collection::{Query, Snapshot, Writer, fuse};
use mlqa_eval::TextLanguage;

use crate::embedding::{embed_passages, embed_snapshot};
use crate::index_builder::{IndexBuilder, StoredDocuments};
use crate::language_check::Comparison;
use crate::search::{BM25_WEIGHT, Candidate, Candidates, PassageSearch, embed_queries};
use crate::{Documents, Error, Result, Retriever};

/// The method of ranking documents.
#[derive(Clone, Copy, Debug)]
pub enum Ranking<'a> {
    /// BM25 over words, for questions in the documents' language.
    Bm25,
    /// Cosine similarity of the retriever's embeddings, across languages.
    Dense(&'a Retriever),
    /// Reciprocal rank fusion of the BM25 ranking and the dense ranking. A passage that seems to be
    /// in another language than the question has its dense rank in place of its BM25 rank.
    Hybrid(&'a Retriever),
}

/// An index of [`Documents`]: their passages with words for BM25 (Robertson and Zaragoza 2009) over
/// the [terms](language::for_each_term), and optionally the embeddings of a [`Retriever`].
///
/// Each document is read and cut into passages once. Up to 64 MB of texts are stored in memory, and
/// more in a temporary folder, which is removed with the index. Documents that are searched more
/// than once are better indexed as a [collection](collection::Collection).
///
/// BM25 finds passages that share words with a question, so it works within one language, and
/// across languages only for names and numbers.
///
/// ```
/// use polyqa::{Document, DocumentIndex, Documents, Ranking};
///
/// let texts = ["Quito is the capital of Ecuador.", "Lima is the capital of Peru."];
/// let document = |text: &str| Document { id: text.into(), text: text.into() };
/// let index = DocumentIndex::over(&texts.map(document).to_vec().into())?;
/// assert_eq!(index.rank(&["What is the capital of Peru?"], Ranking::Bm25)?, [[1, 0]]);
/// # Ok::<(), polyqa::Error>(())
/// ```
pub struct DocumentIndex {
    stored: StoredDocuments,
    /// Number of passages in each language.
    language_counts: BTreeMap<TextLanguage, usize>,
    /// Weight of the retriever's similarities in the scores of answers.
    penalty_weight: f32,
    is_ranked: bool,
}

/// Passages in other languages than a question, returned by [`DocumentIndex::other_languages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherLanguages {
    /// Number of passages that seem to be in another language than the question.
    pub passages: usize,
    /// Script or language of the question, and of most of these passages.
    pub names: [&'static str; 2],
}

impl DocumentIndex {
    /// Reads all documents once.
    ///
    /// # Errors
    /// The errors of [`Documents::iter`]; [`Error::Collection`] if documents of more than 64 MB cannot
    /// be written to the temporary folder.
    pub fn over(documents: &Documents) -> Result<Self> {
        Self::over_with_callback(documents, &mut |_| Ok::<(), Error>(()))
    }

    /// Like [`over`](Self::over), but calls `step` with the number of documents after each document;
    /// an error of `step` ends the indexing.
    ///
    /// # Errors
    /// The errors of `step` and of [`over`](Self::over).
    pub fn over_with_callback<E: From<Error>>(
        documents: &Documents,
        step: &mut dyn FnMut(usize) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let temporary_folder = documents.temporary_folder.as_deref();
        let mut builder = IndexBuilder::new(documents.unsplit, temporary_folder)?;
        for (index, document) in documents.iter().enumerate() {
            builder = builder.add(&document?)?;
            step(index + 1)?;
        }
        let stored = builder.finish()?;
        let mut language_counts = BTreeMap::new();
        for &language in &stored.languages {
            *language_counts.entry(language).or_insert(0) += 1;
        }
        Ok(Self { stored, language_counts, penalty_weight: 0.0, is_ranked: true })
    }

    /// Adds the retriever's embeddings of the passages. Calls `progress` with the number of passages
    /// embedded so far.
    ///
    /// # Errors
    /// [`Error::Tasks`] if the encoder fails; [`Error::Collection`] if the embeddings cannot be written
    /// to the temporary folder.
    pub fn with_retriever(
        mut self,
        retriever: &Retriever,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        self.penalty_weight = retriever.penalty_weight;
        let embed = |texts: &[&str]| retriever.embed_cached("passage", texts);
        let encoder = retriever.encoder()?;
        match &self.stored.folder {
            None => {
                let rows = embed_snapshot(&self.stored.snapshot, &embed, progress)?;
                self.stored.snapshot = self.stored.snapshot.with_vectors(encoder, &rows)?;
            }
            Some(folder) => {
                let mut writer = Writer::open(folder.path())?;
                writer.set_encoder(encoder)?;
                embed_passages(&mut writer, &embed, progress)?;
                self.stored.snapshot = writer.into_snapshot();
            }
        }
        Ok(self)
    }

    /// Returns the same documents, whose passages are all read for every question, without penalties
    /// on the scores of answers.
    #[must_use]
    pub fn without_ranking(self) -> Self {
        Self { is_ranked: false, ..self }
    }

    /// Returns the number of documents.
    pub fn document_count(&self) -> usize {
        self.stored.ids.len()
    }

    /// Returns the number of passages.
    pub fn passage_count(&self) -> usize {
        self.stored.documents.len()
    }

    /// Returns the indices of documents for each question, in the order of their best passages.
    ///
    /// BM25 omits documents without a word of the question.
    ///
    /// # Errors
    /// [`Error::Collection`] if the index has no embeddings, but the ranking has a retriever;
    /// [`Error::Tasks`] if the encoder fails.
    pub fn rank(&self, questions: &[&str], ranking: Ranking<'_>) -> Result<Vec<Vec<usize>>> {
        let queries: Vec<Query> = questions.iter().map(|&question| question.into()).collect();
        let retriever = match ranking {
            Ranking::Bm25 => None,
            Ranking::Dense(retriever) | Ranking::Hybrid(retriever) => Some(retriever),
        };
        let vectors = embed_queries(retriever, &queries)?;
        let rank = |(query, vector): (&Query, &Option<_>)| -> Result<Vec<usize>> {
            let cosines = self.cosines(vector.as_deref())?;
            let passages = match (ranking, &cosines) {
                (Ranking::Dense(_), cosines) => {
                    cosines.as_deref().map_or_else(Vec::new, sorted_numbers)
                }
                (Ranking::Hybrid(_), Some(cosines)) => self.hybrid_ranking(query, cosines)?,
                (Ranking::Bm25 | Ranking::Hybrid(_), _) => {
                    sorted_numbers(&self.word_scores(query)?)
                }
            };
            let mut seen_documents = HashSet::new();
            let documents = passages.iter().map(|&number| self.stored.documents[to_index(number)]);
            Ok(documents.filter(|&document| seen_documents.insert(document)).collect())
        };
        queries.iter().zip(&vectors).map(rank).collect()
    }

    /// Returns the scripts or languages of the question and of most passages if nearly all passages
    /// seem to be in other languages than the question. In this case, BM25 cannot rank the passages,
    /// and without a retriever all passages are read.
    pub fn language_mismatch(&self, question: &str) -> Option<[&'static str; 2]> {
        let comparison = self.compare_languages(question);
        comparison.names.filter(|_| comparison.is_mostly_foreign())
    }

    /// Returns the passages that seem to be in other languages than the question, if there are any.
    /// BM25 selects such a passage only if it shares words with the question.
    pub fn other_languages(&self, question: &str) -> Option<OtherLanguages> {
        let Comparison { foreign_count, names, .. } = self.compare_languages(question);
        Some(OtherLanguages { passages: foreign_count, names: names? })
    }

    fn compare_languages(&self, question: &str) -> Comparison {
        Comparison::of(question, &self.language_counts)
    }

    fn snapshot(&self) -> &Snapshot {
        &self.stored.snapshot
    }

    /// Returns the BM25 scores of passages with a word of the question.
    fn word_scores(&self, query: &Query) -> Result<Vec<(u64, f32)>> {
        match self.passage_count() {
            0 => Ok(Vec::new()),
            _ => Ok(self.snapshot().word_scores(query)?),
        }
    }

    /// Returns the cosine similarities of passages with embeddings; `None` without a vector.
    fn cosines(&self, vector: Option<&[f32]>) -> Result<Option<Vec<(u64, f32)>>> {
        let Some(vector) = vector else { return Ok(None) };
        Ok(Some(self.snapshot().vector_scores(vector)?))
    }

    /// Returns the hybrid ranking of passages. Word matches between texts of different languages are
    /// mostly coincidental; ranking passages by such matches would lower the rank of relevant
    /// passages.
    fn hybrid_ranking(&self, query: &Query, cosines: &[(u64, f32)]) -> Result<Vec<u64>> {
        let comparison = self.compare_languages(&query.text);
        let is_foreign =
            |number: u64| comparison.foreign.contains(&self.stored.languages[to_index(number)]);
        let mut scores = self.word_scores(query)?;
        scores.retain(|&(number, _)| !is_foreign(number));
        Ok(fuse(&sorted_numbers(&scores), &sorted_numbers(cosines), &is_foreign))
    }

    /// Selects passages by the hybrid ranking, or all. The penalty of a passage is the retriever's
    /// weight times the difference between the highest similarity and that of the passage.
    fn select_hybrid(
        &self,
        query: &Query,
        cosines: &[(u64, f32)],
        max_passages: usize,
    ) -> Result<Vec<(u64, f32)>> {
        let mut selected = match max_passages < self.passage_count() {
            true => self.hybrid_ranking(query, cosines)?,
            false => Vec::new(),
        };
        selected.truncate(max_passages);
        if selected.is_empty() {
            selected = (0..self.passage_count()).map(to_number).collect();
        }
        let best = cosines.iter().map(|&(_, cosine)| cosine).fold(f32::NEG_INFINITY, f32::max);
        let cosines: HashMap<u64, f32> = cosines.iter().copied().collect();
        // A passage without an embedding is blank, so it has no answers.
        let penalty = |number| {
            cosines.get(number).map_or(0.0, |cosine| self.penalty_weight * (best - cosine))
        };
        Ok(selected.iter().map(|number| (*number, penalty(number))).collect())
    }

    /// Selects passages by BM25.
    ///
    /// Passages in other languages than the question are selected as well, if there are at most
    /// `max_passages` of them. All passages are selected in three cases: there are at most
    /// `max_passages`, none has a word of the question, or less than a tenth of them can be in the
    /// question's language.
    ///
    /// The penalty of a passage is [`BM25_WEIGHT`] times the difference between the best BM25 score
    /// and the passage's BM25 score. Penalties also apply across languages, where names and numbers
    /// match. If all passages in other languages are read, the best score is that of the passages in
    /// the same language: passages in the question's language share more words with the question.
    fn select_by_words(&self, query: &Query, max_passages: usize) -> Result<Vec<(u64, f32)>> {
        let comparison = self.compare_languages(&query.text);
        let scores = self.word_scores(query)?;
        let reads_all = max_passages >= self.passage_count()
            || scores.is_empty()
            || comparison.is_mostly_foreign();
        let reads_foreign = reads_all || comparison.foreign_count <= max_passages;
        // The language of a passage whose scores are compared with those in the same language.
        let group = |number: u64| {
            let language = self.stored.languages[to_index(number)];
            (reads_foreign && comparison.foreign.contains(&language)).then_some(language)
        };
        let mut best_scores: HashMap<Option<TextLanguage>, f32> = HashMap::new();
        for &(number, score) in &scores {
            let best = best_scores.entry(group(number)).or_insert(score);
            *best = best.max(score);
        }
        let all = || (0..self.passage_count()).map(to_number);
        let selected: Vec<u64> = if reads_all {
            all().collect()
        } else {
            let mut selected = sorted_numbers(&scores);
            selected.truncate(max_passages);
            if reads_foreign && comparison.foreign_count > 0 {
                selected.extend(all().filter(|&number| group(number).is_some()));
            }
            selected
        };
        let scores: HashMap<u64, f32> = scores.into_iter().collect();
        // A passage without a word of the question has the score 0, as its language if no passage of
        // it has one.
        let score = |number| scores.get(&number).copied().unwrap_or(0.0);
        let best = |number| best_scores.get(&group(number)).copied().unwrap_or(0.0);
        let penalty = |number| BM25_WEIGHT * (best(number) - score(number));
        Ok(selected.into_iter().map(|number| (number, penalty(number))).collect())
    }

    fn candidate(&self, number: u64, penalty: f32) -> Result<Candidate> {
        let passage = self.snapshot().passage(number)?.expect("the index has all its passages");
        let document = self.stored.ids[self.stored.documents[to_index(number)]].clone();
        Ok(Candidate { passage: collection::Passage { document, ..passage }, penalty })
    }
}

impl PassageSearch for DocumentIndex {
    /// Selects passages in the order of the documents. Without a `vector`, passages in other
    /// languages than the question can be selected in addition, or all passages.
    fn search(
        &self,
        query: &Query,
        vector: Option<&[f32]>,
        max_passages: usize,
    ) -> Result<Candidates<'_>> {
        let mut selected = match self.cosines(vector)? {
            _ if !self.is_ranked => {
                (0..self.passage_count()).map(|index| (to_number(index), 0.0)).collect()
            }
            Some(cosines) => self.select_hybrid(query, &cosines, max_passages)?,
            None => self.select_by_words(query, max_passages)?,
        };
        selected.sort_unstable_by_key(|&(number, _)| number);
        selected.dedup_by_key(|&mut (number, _)| number);
        Ok(Box::new(selected.into_iter().map(|(number, penalty)| self.candidate(number, penalty))))
    }
}

/// Sorts passages by descending score, then by ascending number.
fn sorted_numbers(scores: &[(u64, f32)]) -> Vec<u64> {
    let mut scores = scores.to_vec();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.into_iter().map(|(number, _)| number).collect()
}

fn to_index(number: u64) -> usize {
    usize::try_from(number).expect("the index of a passage")
}

fn to_number(index: usize) -> u64 {
    u64::try_from(index).expect("a number fits into 64 bits")
}
