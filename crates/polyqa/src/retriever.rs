//! A sentence encoder that embeds questions and passages for retrieval across languages.
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlqa_eval::NBest;
use model_hub::Hub;
use sha2::{Digest, Sha256};
use tasks::pooling::{Pooling, embed};
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::Precision;
use xlmr_model::{Head, LoadOptions, Pretrained};

use crate::retriever_files::{Settings, settings};
use crate::{Documents, Error, Result};

/// Maximum length of a passage in tokens.
const PASSAGE_LENGTH: usize = 256;

/// Number of passages that are encoded together.
const ENCODED_TOGETHER: usize = 256;

/// Number of passages in one matrix multiplication of scores.
const SCORED_TOGETHER: usize = 4096;

/// Maximum size of the cached embeddings in bytes.
const CACHE_SIZE: usize = 256 << 20;

/// Default weight of a passage's similarity in the scores of its answers.
const ANSWER_WEIGHT: f32 = 80.0;

type Key = [u8; 32];

/// The passages of a document, or a question.
#[derive(Debug, Default)]
pub(crate) struct Embeddings {
    /// Rows of the hidden size, each of norm 1.
    vectors: Vec<f32>,
    /// The offset of each passage in the text, in code points; the first is 0.
    starts: Vec<usize>,
}

impl Embeddings {
    fn bytes(&self) -> usize {
        size_of_val(&*self.vectors) + size_of_val(&*self.starts)
    }
}

/// A sentence encoder: a pretrained encoder with pooling and L2 normalisation.
///
/// Documents are cut into passages of up to 256 tokens. Their embeddings are cached by the
/// SHA-256 of the text, up to 256 MB; the oldest are removed first. Pooling, prefixes and the
/// maximum length come from the files that sentence-transformers writes, see
/// [`load`](Self::load).
///
/// # Example
/// ```no_run
/// use polyqa::{Document, Documents, FirstPass, Ranking, Retriever};
///
/// let retriever = Retriever::open("intfloat/multilingual-e5-small", tch::Device::Cpu)?;
/// let text = Document { id: "peru".into(), text: "The capital of Peru is Lima.".into() };
/// let documents: Documents = vec![text].into();
/// let pass = FirstPass::over(&documents)?.with_retriever(&documents, &retriever, &mut |_| {})?;
/// let ranked = pass.rank(&["Was ist die Hauptstadt von Peru?"], Ranking::Hybrid)?;
/// assert_eq!(ranked, [[0]]);
/// # Ok::<(), polyqa::Error>(())
/// ```
#[derive(Debug)]
pub struct Retriever {
    pretrained: Pretrained,
    pooling: Pooling,
    query_prefix: String,
    passage_prefix: String,
    /// Maximum length in tokens of a question and of a passage, special tokens included.
    lengths: [usize; 2],
    batch_size: usize,
    pub(crate) answer_weight: f32,
    cache: Mutex<Cache>,
}

/// Embeddings by the digest of their text.
#[derive(Debug, Default)]
struct Cache {
    embeddings: HashMap<Key, Arc<Embeddings>>,
    oldest_first: VecDeque<Key>,
    bytes: usize,
}

impl Cache {
    fn insert(&mut self, key: Key, embeddings: Arc<Embeddings>, max_bytes: usize) {
        self.bytes += embeddings.bytes();
        if let Some(replaced) = self.embeddings.insert(key, embeddings) {
            self.bytes -= replaced.bytes();
        } else {
            self.oldest_first.push_back(key);
        }
        while self.bytes > max_bytes {
            let Some(oldest) = self.oldest_first.pop_front() else { break };
            let removed = self.embeddings.remove(&oldest);
            self.bytes -= removed.map_or(0, |removed| removed.bytes());
        }
    }
}

impl Retriever {
    /// Loads a folder of a sentence encoder.
    ///
    /// Pooling is read from `modules.json` and `1_Pooling/config.json` (mean or CLS; default:
    /// mean), prefixes from the prompts `query` and `passage` or `document` of
    /// `config_sentence_transformers.json`. Without prompts a model named E5 by its folder or
    /// model card gets `query: ` and `passage: `, another model none.
    ///
    /// # Errors
    /// [`Error::Content`] naming a file with unsupported settings; as [`Pretrained::load`].
    pub fn load(folder: impl AsRef<Path>, device: Device) -> Result<Self> {
        let folder = folder.as_ref();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::load_named(folder, &name, device)
    }

    /// Loads a model by its folder or its name on the hub.
    ///
    /// # Errors
    /// As [`Hub::resolve`] and [`load`](Self::load).
    pub fn open(model: &str, device: Device) -> Result<Self> {
        let resolved = Hub::from_env().resolve(model, &mut |_| {})?;
        match resolved.origin {
            Some(origin) => Self::load_named(&resolved.folder, &origin.repository, device),
            None => Self::load(&resolved.folder, device),
        }
    }

    pub(crate) fn load_named(folder: &Path, name: &str, device: Device) -> Result<Self> {
        let Settings { pooling, query_prefix, passage_prefix, max_length } =
            settings(folder, name)?;
        let (pretrained, _) =
            Pretrained::load(folder, &[Head::None], device, LoadOptions::default())?;
        let positions = usize::try_from(pretrained.model.config().max_length()).unwrap_or(0);
        let max_length = max_length.unwrap_or(512).min(positions);
        Ok(Self {
            pretrained,
            pooling,
            query_prefix,
            passage_prefix,
            lengths: [max_length, max_length.min(PASSAGE_LENGTH)],
            batch_size: 32,
            answer_weight: ANSWER_WEIGHT,
            cache: Mutex::default(),
        })
    }

    /// Sets the compute precision; f32 by default.
    ///
    /// # Errors
    /// As [`Model::set_precision`](xlmr_model::Model::set_precision).
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        Ok(self.pretrained.model.set_precision(precision)?)
    }

    /// Replaces the prefixes of questions and passages that are given.
    #[must_use]
    pub fn with_prefixes(self, query: Option<String>, passage: Option<String>) -> Self {
        Self {
            query_prefix: query.unwrap_or(self.query_prefix),
            passage_prefix: passage.unwrap_or(self.passage_prefix),
            cache: Mutex::default(),
            ..self
        }
    }

    /// Sets the maximum length of a passage in tokens: 256 by default, and at most the model's
    /// maximum length.
    #[must_use]
    pub fn with_passage_length(self, length: usize) -> Self {
        let [longest, _] = self.lengths;
        Self { lengths: [longest, length.min(longest)], cache: Mutex::default(), ..self }
    }

    /// Sets by how much the score of an answer falls per unit of cosine similarity that its passage
    /// is below the best passage of all documents: 80 by default; 0 ignores the passages.
    #[must_use]
    pub fn with_answer_weight(self, answer_weight: f32) -> Self {
        Self { answer_weight, ..self }
    }

    /// The prefixes of questions and passages.
    pub fn prefixes(&self) -> (&str, &str) {
        (&self.query_prefix, &self.passage_prefix)
    }

    /// Embeddings of all documents, in order. Calls `progress` with the number of documents.
    pub(crate) fn index(
        &self,
        documents: &Documents,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Arc<Embeddings>>> {
        let mut order: Vec<Key> = Vec::new();
        let mut found: HashMap<Key, Arc<Embeddings>> = HashMap::new();
        let mut pending = Vec::new();
        for document in documents.iter() {
            let document = document?;
            let text = document.unmarked_text();
            let key = key("passage", text);
            order.push(key);
            if !self.find(key, &mut found) {
                let passages = self.passages(text, &document.id)?;
                pending.extend(passages.into_iter().map(|passage| (key, passage)));
            }
            if pending.len() >= ENCODED_TOGETHER {
                self.encode_pending(&mut pending, &mut found)?;
                progress(order.len());
            }
        }
        self.encode_pending(&mut pending, &mut found)?;
        progress(order.len());
        Ok(order.iter().map(|key| found.get(key).cloned().unwrap_or_default()).collect())
    }

    /// Whether embeddings are found or cached; else an empty entry is added to `found`.
    fn find(&self, key: Key, found: &mut HashMap<Key, Arc<Embeddings>>) -> bool {
        if found.contains_key(&key) {
            return true;
        }
        let cached = self.cached().embeddings.get(&key).cloned();
        let is_cached = cached.is_some();
        found.insert(key, cached.unwrap_or_default());
        is_cached
    }

    fn cached(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes passages and assigns their embeddings to the documents.
    fn encode_pending(
        &self,
        pending: &mut Vec<(Key, Passage)>,
        found: &mut HashMap<Key, Arc<Embeddings>>,
    ) -> Result<()> {
        let mut documents: Vec<(Key, Embeddings)> = Vec::new();
        for part in pending.chunks(ENCODED_TOGETHER) {
            let rows: Vec<&[u32]> = part.iter().map(|(_, one)| one.ids.as_slice()).collect();
            for ((key, passage), vector) in part.iter().zip(self.encode(&rows)?) {
                match documents.last_mut() {
                    Some((last, embeddings)) if last == key => {
                        embeddings.vectors.extend(vector);
                        embeddings.starts.push(passage.start);
                    }
                    _ => {
                        let starts = vec![passage.start];
                        documents.push((*key, Embeddings { vectors: vector, starts }));
                    }
                }
            }
        }
        pending.clear();
        for (key, embeddings) in documents {
            let embeddings = Arc::new(embeddings);
            self.cached().insert(key, embeddings.clone(), CACHE_SIZE);
            found.insert(key, embeddings);
        }
        Ok(())
    }

    /// Embeddings of rows of token ids, each of norm 1.
    fn encode(&self, rows: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let vectors = embed(&self.pretrained.model, rows, self.pooling, self.batch_size)?;
        let normalised = vectors.outer_iter().map(|row| {
            let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
            if !norm.is_normal() {
                let (what, expected) = ("embedding of the retriever", "a finite norm above 0");
                let (what, expected, got) = (what.into(), expected.into(), norm.to_string());
                return Err(tasks::Error::Data { what, expected, got }.into());
            }
            // Rounding to f32 is intended.
            #[allow(clippy::cast_possible_truncation)]
            Ok(row.iter().map(|&x| (f64::from(x) / norm) as f32).collect())
        });
        normalised.collect()
    }

    /// A document's passages; none for an empty text.
    fn passages(&self, text: &str, id: &str) -> Result<Vec<Passage>> {
        let tokenizer = &self.pretrained.tokenizer;
        let fail = |error| tokenizer_error(id, error);
        let around = tokenizer.encode(self.passage_prefix.as_str(), true).map_err(fail)?;
        let room = self.lengths[1].saturating_sub(around.len()).max(1);
        let whole = tokenizer.encode(text, false).map_err(fail)?;
        let (mut starts, mut prefixed) = (Vec::new(), Vec::new());
        // Offsets in bytes and in code points.
        let mut counted = (0, 0);
        for tokens in whole.get_offsets().chunks(room) {
            let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
            let Some(passage) = text.get(first.0..last.1) else { continue };
            counted.1 += text.get(counted.0..first.0).map_or(0, |before| before.chars().count());
            counted.0 = first.0.max(counted.0);
            if !passage.trim().is_empty() {
                starts.push(if starts.is_empty() { 0 } else { counted.1 });
                prefixed.push(format!("{}{}", self.passage_prefix, passage.trim()));
            }
        }
        let encoded = tokenizer.encode_batch(prefixed, true).map_err(fail)?;
        let passage = |(row, start): (&tokenizers::Encoding, usize)| Passage {
            ids: shortened(row.get_ids(), self.lengths[1]),
            start,
        };
        Ok(encoded.iter().zip(starts).map(passage).collect())
    }

    /// The cosine similarity of each question and passage.
    ///
    /// Dot products are summed in float64 and rounded to float32, so they depend neither on the
    /// number of threads nor on the other documents of a block.
    pub(crate) fn similarities(
        &self,
        index: &[Arc<Embeddings>],
        questions: &[&str],
    ) -> Result<Similarities> {
        let questions = self.embed_questions(questions)?;
        Ok(Similarities::new(index, &questions, SCORED_TOGETHER)?)
    }

    /// Embeddings of questions, which are cached like those of documents.
    fn embed_questions(&self, questions: &[&str]) -> Result<Vec<Arc<Embeddings>>> {
        let keys: Vec<Key> = questions.iter().map(|text| key("question", text)).collect();
        let mut found: HashMap<Key, Arc<Embeddings>> = HashMap::new();
        let mut pending = Vec::new();
        for (&key, question) in keys.iter().zip(questions) {
            if self.find(key, &mut found) {
                continue;
            }
            let prefixed = format!("{}{question}", self.query_prefix);
            let encoded = self.pretrained.tokenizer.encode(prefixed, true);
            let encoded = encoded.map_err(|error| tokenizer_error(question, error))?;
            let ids = shortened(encoded.get_ids(), self.lengths[0]);
            pending.push((key, Passage { ids, start: 0 }));
        }
        self.encode_pending(&mut pending, &mut found)?;
        Ok(keys.iter().filter_map(|key| found.get(key).cloned()).collect())
    }
}

/// A passage with prefix and special tokens.
struct Passage {
    ids: Vec<u32>,
    /// Its offset in the text, in code points.
    start: usize,
}

/// The cosine similarity of each question and passage of the documents.
#[derive(Debug)]
pub(crate) struct Similarities {
    /// `[questions][passages]`, the passages of one document after another.
    cosines: Vec<Vec<f32>>,
    /// The first passage of each document, and the number of all.
    firsts: Vec<usize>,
    index: Vec<Arc<Embeddings>>,
}

impl Similarities {
    /// Multiplies the embeddings in blocks of `block` passages.
    fn new(
        index: &[Arc<Embeddings>],
        questions: &[Arc<Embeddings>],
        block: usize,
    ) -> tasks::Result<Self> {
        let mut firsts = vec![0];
        firsts.extend(index.iter().scan(0, |passages, one| {
            *passages += one.starts.len();
            Some(*passages)
        }));
        let mut cosines = vec![Vec::new(); questions.len()];
        let width = questions.first().map_or(0, |one| one.vectors.len()).max(1);
        let queries = matrix(questions.iter().map(|one| &*one.vectors), width)?;
        let queries = queries.f_transpose(0, 1)?;
        let passages: Vec<&[f32]> =
            index.iter().flat_map(|one| one.vectors.chunks(width)).collect();
        for part in passages.chunks(block).filter(|_| !questions.is_empty()) {
            let rows = matrix(part.iter().copied(), width)?;
            let found = no_grad(|| rows.f_matmul(&queries))?.f_to_kind(Kind::Float)?;
            let found = Vec::<f32>::try_from(found.f_contiguous()?.f_view([-1])?)?;
            for found in found.chunks(questions.len()) {
                cosines.iter_mut().zip(found).for_each(|(all, &cosine)| all.push(cosine));
            }
        }
        Ok(Self { cosines, firsts, index: index.to_vec() })
    }

    /// The cosines of a question and a document's passages.
    fn of(&self, question: usize, document: usize) -> &[f32] {
        let end = self.firsts.get(document + 1).copied().unwrap_or_default();
        let passages = self.firsts.get(document).copied().unwrap_or_default()..end;
        self.cosines.get(question).and_then(|all| all.get(passages)).unwrap_or_default()
    }

    /// The highest cosine of each document for each question; negative infinity without passages.
    pub fn documents(&self) -> Vec<Vec<f32>> {
        let of_question = |question| {
            let documents = 0..self.index.len();
            documents.map(|document| highest(self.of(question, document))).collect()
        };
        (0..self.cosines.len()).map(of_question).collect()
    }

    /// Lowers the score of each candidate by `weight` times the difference of its passage's cosine
    /// to that of the best passage of all documents, and orders the candidates again.
    pub fn rescore(&self, question: usize, document: usize, found: &mut NBest, weight: f32) {
        let (cosines, Some(one)) = (self.of(question, document), self.index.get(document)) else {
            return;
        };
        let best = self.cosines.get(question).map_or(0.0, |all| highest(all));
        for candidate in &mut found.candidates {
            let passage = one.starts.partition_point(|&start| start <= candidate.answer_start);
            if let Some(cosine) = cosines.get(passage.saturating_sub(1)) {
                candidate.score -= weight * (best - cosine);
            }
        }
        found.candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
}

fn highest(cosines: &[f32]) -> f32 {
    cosines.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Rows as a float64 matrix on the CPU.
fn matrix<'a>(rows: impl Iterator<Item = &'a [f32]>, width: usize) -> tasks::Result<Tensor> {
    let flat: Vec<f64> = rows.flatten().map(|&x| f64::from(x)).collect();
    let width = i64::try_from(width).unwrap_or(i64::MAX);
    Ok(Tensor::f_from_slice(&flat)?.f_view([-1, width])?)
}

/// The digest of a text and its kind.
fn key(kind: &str, text: &str) -> Key {
    Sha256::new_with_prefix(kind).chain_update([0]).chain_update(text).finalize().into()
}

/// Token ids without those before the last that exceed a length.
fn shortened(ids: &[u32], max_length: usize) -> Vec<u32> {
    let mut ids = ids.to_vec();
    if ids.len() > max_length {
        let last = ids.last().copied();
        ids.truncate(max_length.saturating_sub(1));
        ids.extend(last);
    }
    ids
}

fn tokenizer_error(id: &str, error: tokenizers::Error) -> Error {
    let (name, message) = (format!("of the retriever on {id}"), error.to_string());
    mlqa_eval::Error::Tokenizer { name, message }.into()
}

#[cfg(test)]
mod tests {
    use mlqa_eval::Candidate;
    use proptest::prelude::*;

    use super::*;

    fn unit(values: &[f32]) -> Arc<Embeddings> {
        let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-3);
        let vectors = values.iter().map(|x| x / norm).collect();
        Arc::new(Embeddings { vectors, starts: vec![0] })
    }

    fn document(passages: &[Arc<Embeddings>]) -> Arc<Embeddings> {
        let vectors = passages.iter().flat_map(|one| one.vectors.iter().copied()).collect();
        Arc::new(Embeddings { vectors, starts: (0..passages.len()).map(|k| 10 * k).collect() })
    }

    proptest! {
        #[test]
        fn scores_depend_on_neither_blocks_nor_other_documents(
            rows in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 8), 3..40),
            sizes in prop::collection::vec(0usize..4, 40),
            block in 1usize..9,
            first in 0usize..20,
        ) {
            let rows: Vec<Arc<Embeddings>> = rows.iter().map(|row| unit(row)).collect();
            let (questions, rows) = rows.split_at(2);
            let mut left = rows;
            let mut index: Vec<Arc<Embeddings>> = Vec::new();
            for size in sizes {
                let (part, rest) = left.split_at(size.min(left.len()));
                index.push(document(part));
                left = rest;
            }
            let best = |index: &[Arc<Embeddings>], block| {
                Similarities::new(index, questions, block).unwrap().documents()
            };
            let whole = best(&index, SCORED_TOGETHER);
            prop_assert_eq!(&best(&index, block), &whole);
            let part = best(&index[first..], SCORED_TOGETHER);
            for (part, whole) in part.iter().zip(&whole) {
                prop_assert_eq!(&part[..], &whole[first..]);
            }
            for (question, scores) in questions.iter().zip(&whole) {
                for (document, &score) in index.iter().zip(scores) {
                    let dot =
                        |row: &[f32]| row.iter().zip(&question.vectors).map(|(a, b)| a * b).sum();
                    let rows = document.vectors.chunks(8);
                    let best = rows.map(dot).fold(f32::NEG_INFINITY, f32::max);
                    prop_assert!(score == best || (score - best).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn answers_fall_by_the_difference_to_the_best_passage() {
        // Passages at 0 and 10 of the first document, and one of the second, which is the best.
        let index =
            [document(&[unit(&[0.0, 1.0]), unit(&[0.6, 0.8])]), document(&[unit(&[1.0, 0.0])])];
        let similarities = Similarities::new(&index, &[unit(&[1.0, 0.0])], 2).unwrap();
        let at = |answer_start, score| Candidate { answer_start, score, ..Candidate::default() };
        let found =
            |candidates| NBest { id: "q".into(), candidates, null_score: None, null: false };
        let mut first = found(vec![at(9, 5.0), at(10, 4.0), at(25, 3.0)]);
        similarities.rescore(0, 0, &mut first, 10.0);
        let (order, scores): (Vec<_>, Vec<_>) =
            first.candidates.iter().map(|one| (one.answer_start, one.score)).unzip();
        assert_eq!(order, [10, 25, 9]);
        for (score, expected) in scores.iter().zip([0.0f32, -1.0, -5.0]) {
            assert!((score - expected).abs() < 1e-5, "{scores:?}");
        }
        let mut second = found(vec![at(3, 2.0)]);
        similarities.rescore(0, 1, &mut second, 10.0);
        assert_eq!(second.candidates[0].score, 2.0);
    }

    #[test]
    fn the_cache_removes_the_oldest_embeddings() {
        let mut cache = Cache::default();
        for k in 0..10u8 {
            cache.insert([k; 32], unit(&[1.0; 8]), 100);
            cache.insert([k; 32], unit(&[1.0; 8]), 100);
        }
        assert_eq!((cache.bytes, cache.embeddings.len()), (80, 2));
        assert!(cache.embeddings.contains_key(&[9; 32]) && cache.oldest_first.len() == 2);
    }

    #[test]
    fn long_rows_keep_their_last_token() {
        assert_eq!(shortened(&[0, 5, 6, 7, 2], 3), [0, 5, 2]);
        assert_eq!(shortened(&[0, 5, 2], 3), [0, 5, 2]);
    }
}
