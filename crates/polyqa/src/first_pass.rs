//! The first stage of retrieval: selects the passages that are read for a question, and computes
//! penalties for less relevant passages.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use bm25::{Embedder, EmbedderBuilder, Scorer, TokenEmbedder, Tokenizer};
use mlqa_eval::{LanguageCounts, NBest, TextLanguage};

use crate::retriever::Vector;
use crate::{Documents, Error, Result, Retriever};

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

/// Characters at the beginning of a passage from which its script and language are detected.
const SAMPLE_CHARS: usize = 1000;

/// Minimum percentage of passages that must not be in other languages than a question, so that
/// BM25 selects passages for the question.
const MIN_NATIVE_PERCENT: usize = 10;

/// The method of ranking documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// BM25 over words, for questions in the documents' language.
    Bm25,
    /// Cosine similarity of the retriever's embeddings, across languages.
    Dense,
    /// Reciprocal rank fusion of the BM25 ranking and the dense ranking. A passage that seems to be
    /// in another language than the question has its dense rank in place of its BM25 rank.
    Hybrid,
}

/// The first stage of retrieval: BM25 (Robertson and Zaragoza 2009) over the
/// [terms](language::for_each_term) of passages, and optionally a [`Retriever`].
///
/// BM25 finds passages that share words with a question, so it works within one language, and
/// across languages only for names and numbers.
pub struct FirstPass<'a> {
    embedder: Embedder<Term, TermTokenizer>,
    scorer: Scorer<usize, Term>,
    /// The index of the document of each passage.
    document_indices: Vec<usize>,
    /// The language of each passage.
    languages: Vec<TextLanguage>,
    dense: Option<(&'a Retriever, Vec<Vector>)>,
}

/// A term of a passage, as a 64-bit hash. Of a million different terms, two have the same hash with
/// a probability of 3e-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Term(u64);

impl TokenEmbedder for Term {
    type EmbeddingSpace = Self;

    fn embed(term: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        term.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Splits a text into terms.
#[derive(Default)]
struct TermTokenizer;

impl Tokenizer for TermTokenizer {
    fn tokenize(&self, text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        language::for_each_term(text, |term| terms.push(term.to_owned()));
        terms
    }
}

/// The languages of passages, compared with the language of a question.
#[derive(Clone, Debug, Default)]
struct Comparison {
    /// The languages of passages that seem to differ from the question's language.
    foreign: HashSet<TextLanguage>,
    /// Number of passages in these languages.
    foreign_count: usize,
    /// The question's language and the most frequent one of the foreign passages.
    names: Option<[&'static str; 2]>,
}

/// Passages in other languages than a question, returned by [`FirstPass::other_languages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherLanguages {
    /// Number of passages that seem to be in another language than the question.
    pub passages: usize,
    /// Script or language of the question, and of most of these passages.
    pub names: [&'static str; 2],
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
        let (mut n_terms, mut count) = (0usize, 0usize);
        for passage in documents.passages() {
            language::for_each_term(&passage?.1.text, |_| n_terms += 1);
            count += 1;
            step()?;
        }
        let mean_terms = to_f32(n_terms) / to_f32(count.max(1));
        let embedder = EmbedderBuilder::<Term, TermTokenizer>::with_avgdl(mean_terms).build();
        let mut scorer = Scorer::new();
        let (mut document_indices, mut languages) =
            (Vec::with_capacity(count), Vec::with_capacity(count));
        for passage in documents.passages() {
            let (document, passage) = passage?;
            scorer.upsert(&document_indices.len(), embedder.embed(&passage.text));
            let sample_end = passage.text.char_indices().nth(SAMPLE_CHARS);
            let sample = sample_end.map_or(&*passage.text, |(end, _)| &passage.text[..end]);
            languages.push(LanguageCounts::of(sample).language());
            document_indices.push(document);
            step()?;
        }
        check_count(count, document_indices.len())?;
        for padding_index in document_indices.len()..MIN_COLLECTION {
            scorer.upsert(&padding_index, embedder.embed(""));
        }
        Ok(Self { embedder, scorer, document_indices, languages, dense: None })
    }

    /// Adds the retriever's embeddings of the passages. `documents` must be the documents passed to
    /// [`over`](Self::over); they are read again. Calls `progress` with the number of documents
    /// embedded so far.
    ///
    /// # Errors
    /// The errors of [`Documents::iter`]; [`Error::Changed`] if the number of passages differs;
    /// [`Error::Tasks`] if the encoder fails.
    pub fn with_retriever<'a>(
        self,
        documents: &Documents,
        retriever: &'a Retriever,
        progress: &mut dyn FnMut(usize),
    ) -> Result<FirstPass<'a>> {
        let embeddings = retriever.embed_all(documents, progress)?;
        check_count(self.passage_count(), embeddings.len())?;
        let dense = Some((retriever, embeddings));
        let Self { embedder, scorer, document_indices, languages, .. } = self;
        Ok(FirstPass { embedder, scorer, document_indices, languages, dense })
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
            let documents = passages.iter().map(|&index| self.document_indices[index]);
            documents.filter(|&document| seen_documents.insert(document)).collect()
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
            if dense.is_empty() {
                return sorted_indices(self.bm25_scores(question));
            }
            // Word matches between texts of different languages are mostly coincidental. Ranking
            // passages by such matches would lower the rank of relevant passages.
            let comparison = self.compare_languages(question);
            let is_foreign = |passage: usize| comparison.foreign.contains(&self.languages[passage]);
            let scores = self.bm25_scores(question).filter(|&(passage, _)| !is_foreign(passage));
            fuse_rankings(&sorted_indices(scores), &dense, is_foreign)
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
    ///
    /// If all passages in other languages are read, the best BM25 score is that of the passages in
    /// the same language: passages in the question's language share more words with the question.
    fn bm25_penalties(&self, question: &str, foreign: Option<&HashSet<TextLanguage>>) -> Vec<f32> {
        let mut scores = vec![0.0; self.passage_count()];
        for (passage, score) in self.bm25_scores(question) {
            // Indices beyond the passages are those of the padding, which has no terms.
            scores[passage] = score;
        }
        let group = |passage: usize| {
            let language = self.languages[passage];
            foreign.is_some_and(|foreign| foreign.contains(&language)).then_some(language)
        };
        let mut best_scores: HashMap<Option<TextLanguage>, f32> = HashMap::new();
        for (passage, &score) in scores.iter().enumerate() {
            let best = best_scores.entry(group(passage)).or_insert(score);
            *best = best.max(score);
        }
        let penalty = |(passage, score)| BM25_WEIGHT * (best_scores[&group(passage)] - score);
        scores.into_iter().enumerate().map(penalty).collect()
    }

    /// Selects at most `max_passages` passages for each question: by hybrid ranking if there is a
    /// retriever, else by BM25.
    ///
    /// Without a retriever, passages in other languages than the question are selected as well, if
    /// there are at most `max_passages` of them. All passages are selected in two cases: the
    /// ranking is empty, or there is no retriever and less than a tenth of the passages can be in
    /// the question's language.
    ///
    /// # Errors
    /// The errors of [`rank`](Self::rank).
    pub(crate) fn select(&self, questions: &[&str], max_passages: usize) -> Result<Selection> {
        let cosines = self.cosines(questions)?;
        let limit = max_passages < self.passage_count();
        let mut rankings = match limit {
            true => self.rank_passages(questions, Ranking::Hybrid, cosines.as_deref()),
            false => Vec::new(),
        }
        .into_iter();
        let mut selection =
            Selection { passage_count: self.passage_count(), ..Selection::default() };
        for (index, question) in questions.iter().enumerate() {
            let comparison = self.compare_languages(question);
            let ranking = rankings.next().filter(|ranking| !ranking.is_empty());
            let reads_all = self.dense.is_none() && self.is_mostly_foreign(&comparison);
            let ranking = ranking.filter(|_| !reads_all);
            let reads_foreign = ranking.is_none() || comparison.foreign_count <= max_passages;
            let mut candidates: Option<HashSet<usize>> =
                ranking.map(|ranking| ranking.into_iter().take(max_passages).collect());
            if let Some(candidates) =
                candidates.as_mut().filter(|_| self.dense.is_none() && reads_foreign)
            {
                let is_foreign =
                    |&index: &usize| comparison.foreign.contains(&self.languages[index]);
                candidates.extend((0..self.passage_count()).filter(is_foreign));
            }
            selection.candidates.push(candidates);
            selection.penalties.push(match (&cosines, &self.dense) {
                (Some(cosines), Some((retriever, _))) => {
                    penalties(&cosines[index], retriever.penalty_weight)
                }
                _ => self.bm25_penalties(question, reads_foreign.then_some(&comparison.foreign)),
            });
        }
        Ok(selection)
    }

    /// Compares the languages of all passages with the language of a question.
    fn compare_languages(&self, question: &str) -> Comparison {
        let question = LanguageCounts::of(question);
        let mut counts: BTreeMap<TextLanguage, usize> = BTreeMap::new();
        for &language in &self.languages {
            *counts.entry(language).or_default() += 1;
        }
        let mut comparison = Comparison::default();
        let mut max_count = 0;
        for (language, count) in counts {
            let Some(names) = question.differs_from(language) else { continue };
            comparison.foreign.insert(language);
            comparison.foreign_count += count;
            if count > max_count {
                (max_count, comparison.names) = (count, Some(names));
            }
        }
        comparison
    }

    /// Returns whether nearly all passages are in other languages than the question.
    fn is_mostly_foreign(&self, comparison: &Comparison) -> bool {
        let native_count = self.passage_count() - comparison.foreign_count;
        comparison.foreign_count > 0
            && 100 * native_count < MIN_NATIVE_PERCENT * self.passage_count()
    }

    /// Returns the scripts or languages of the question and of most passages if nearly all passages
    /// seem to be in other languages than the question. In this case, BM25 cannot rank the passages,
    /// and without a retriever all passages are read.
    pub fn language_mismatch(&self, question: &str) -> Option<[&'static str; 2]> {
        let comparison = self.compare_languages(question);
        comparison.names.filter(|_| self.is_mostly_foreign(&comparison))
    }

    /// Returns the passages that seem to be in other languages than the question, if there are any.
    /// BM25 selects such a passage only if it shares words with the question.
    pub fn other_languages(&self, question: &str) -> Option<OtherLanguages> {
        let Comparison { foreign_count, names, .. } = self.compare_languages(question);
        Some(OtherLanguages { passages: foreign_count, names: names? })
    }
}

/// The passages that are read for each question, and the penalties on the scores of answers in
/// these passages.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    passage_count: usize,
    /// The indices of the passages for each question; `None` if all passages are read.
    candidates: Vec<Option<HashSet<usize>>>,
    /// The penalty of each passage for each question, `[questions][passages]`.
    penalties: Vec<Vec<f32>>,
}

impl Selection {
    /// Returns whether a passage is read for a question.
    pub fn contains(&self, question: usize, passage: usize) -> bool {
        self.candidates[question].as_ref().is_none_or(|candidates| candidates.contains(&passage))
    }

    /// Checks the number of passages after they were read again.
    ///
    /// # Errors
    /// [`Error::Changed`] if it is not the number in the first pass.
    pub fn check_passage_count(&self, count: usize) -> Result<()> {
        check_count(self.passage_count, count)
    }

    /// Checks that the first pass has read a passage.
    ///
    /// # Errors
    /// [`Error::Changed`] if there were fewer passages.
    pub fn check_passage(&self, passage: usize) -> Result<()> {
        if passage < self.passage_count { Ok(()) } else { self.check_passage_count(passage + 1) }
    }

    /// Subtracts a passage's penalty from the scores of its answers.
    pub fn rescore(&self, question: usize, passage: usize, n_best: &mut NBest) {
        let penalty = self.penalties[question][passage];
        for candidate in &mut n_best.candidates {
            candidate.score -= penalty;
        }
    }
}

fn check_count(expected: usize, got: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Changed { expected, got }) }
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

/// Computes the reciprocal rank fusion of two rankings. In place of the first ranking, passages for
/// which `is_second` is true have their rank in the second one.
fn fuse_rankings(
    first: &[usize],
    second: &[usize],
    is_second: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let mut scores: BTreeMap<usize, f32> = BTreeMap::new();
    for (ranking, is_only) in [(first, false), (second, true)] {
        for (rank, &passage) in (FUSION_CONSTANT + 1..).zip(ranking) {
            let weight = if is_only && is_second(passage) { 2.0 } else { 1.0 };
            *scores.entry(passage).or_default() += weight / to_f32(rank);
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
        let fuse = |first: &[usize], second: &[usize]| fuse_rankings(first, second, |_| false);
        assert_eq!(fuse(&[7, 4, 9], &[4, 7, 2]), [4, 7, 2, 9]);
        assert_eq!(fuse(&[], &[3, 1]), [3, 1]);
        // Documents appended to both rankings do not change the order of the other documents.
        assert_eq!(fuse(&[5, 0, 3, 1], &[1, 3, 4, 0]), [1, 3, 0, 5, 4]);
        let extended = fuse(&[5, 0, 3, 1, 10, 11], &[1, 3, 4, 0, 11, 12, 10]);
        assert_eq!(extended, [1, 3, 0, 11, 10, 5, 4, 12]);
        // Document 8 is in another language, so it has 2/61 in place of 1/61.
        assert_eq!(fuse_rankings(&[7, 4], &[8, 4, 7], |passage| passage == 8), [8, 7, 4]);
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
            pass.bm25_penalties("Which river is in Lima in Peru?", None)
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

    fn documents(texts: impl IntoIterator<Item = String>) -> Documents {
        let document = |(index, text): (usize, String)| Document {
            id: index.to_string().into(),
            text: text.into(),
        };
        texts.into_iter().enumerate().map(document).collect::<Vec<_>>().into()
    }

    /// Returns the passages that are read for a question.
    fn selected(pass: &FirstPass<'_>, question: &str, max_passages: usize) -> Vec<usize> {
        let selection = pass.select(&[question], max_passages).unwrap();
        (0..pass.passage_count()).filter(|&passage| selection.contains(0, passage)).collect()
    }

    #[test]
    fn a_few_passages_in_other_languages_are_read() {
        let german = |index: usize| {
            format!(
                "Der Leuchtturm Nummer {index} steht auf dem Hügel an der Küste und ist für alle offen, \
                 die sich den Weg nach oben zutrauen. Wer ihn gegründet hat, ist nicht bekannt."
            )
        };
        let english = "The lighthouse on the summit was founded in 1843 by Anselm Kirchwall, who paid \
                       for the lamp and the house of the keeper, and it is open to visitors.";
        let mut texts: Vec<String> = (0..85).map(german).collect();
        texts.push(english.to_owned());
        let question = "Wer hat den Leuchtturm auf dem Gipfel gegründet?";
        let pass = FirstPass::over(&documents(texts.clone())).unwrap();
        let all = selected(&pass, question, 50);
        assert!(all.len() == 51 && all.contains(&85), "{all:?}");
        assert_eq!(pass.language_mismatch(question), None);
        let others = pass.other_languages(question).unwrap();
        assert_eq!(others, OtherLanguages { passages: 1, names: ["de", "en"] });
        // Its score is compared with those of other English passages.
        let selection = pass.select(&[question], 50).unwrap();
        assert_eq!(selection.penalties[0][85], 0.0);

        // If nearly all passages are in another language, all are read.
        texts.rotate_right(1);
        texts[1..].fill(english.to_owned());
        texts.push(german(0));
        let pass = FirstPass::over(&documents(texts)).unwrap();
        assert_eq!(selected(&pass, question, 50).len(), 87);
        assert_eq!(pass.language_mismatch(question), Some(["de", "en"]));
    }

    #[test]
    fn questions_over_a_collection_of_seven_languages_select_few_passages() {
        let codes = ["en", "de", "es", "ar", "hi", "vi", "zh"];
        let of_language = codes.map(|code| {
            let file = format!("{}/../../data/xquad/xquad.{code}.json", env!("CARGO_MANIFEST_DIR"));
            let mut questions = mlqa_eval::Dataset::read(file).unwrap().questions;
            questions.dedup_by(|question, previous| question.context == previous.context);
            questions.truncate(20);
            questions
        });
        let texts = of_language.iter().flatten().map(|question| question.context.to_string());
        let pass = FirstPass::over(&documents(texts)).unwrap();
        let mut found = 0;
        for (index, question) in of_language.iter().flatten().enumerate() {
            let text = question.question.as_str();
            assert_eq!(pass.language_mismatch(text), None, "{text}");
            let selected = selected(&pass, text, 5);
            assert_eq!(selected.len(), 5, "{text}");
            found += usize::from(
                selected.iter().any(|&passage| pass.document_indices[passage] == index),
            );
        }
        assert!(found >= 136, "{found} of 140");
        // A name in Latin script does not change the language of a Chinese question.
        let others = pass.other_languages("Sky Digital是什么时候推出的？").unwrap();
        let chinese = pass.document_indices.iter().filter(|&&document| document >= 120).count();
        assert_eq!(others.passages, pass.passage_count() - chinese);
    }
}
