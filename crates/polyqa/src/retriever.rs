//! A sentence encoder that embeds questions and passages for retrieval across languages.
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

type Key = [u8; 32];

/// Embeddings of a document's passages: rows of the hidden size, each of norm 1.
pub(crate) type Embeddings = Arc<[f32]>;

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
    cache: Mutex<Cache>,
}

/// Embeddings by the digest of their text.
#[derive(Debug, Default)]
struct Cache {
    embeddings: HashMap<Key, Embeddings>,
    oldest_first: VecDeque<Key>,
    bytes: usize,
}

impl Cache {
    fn insert(&mut self, key: Key, embeddings: Embeddings, max_bytes: usize) {
        self.bytes += size_of_val(&*embeddings);
        if let Some(replaced) = self.embeddings.insert(key, embeddings) {
            self.bytes -= size_of_val(&*replaced);
        } else {
            self.oldest_first.push_back(key);
        }
        while self.bytes > max_bytes {
            let Some(oldest) = self.oldest_first.pop_front() else { break };
            let removed = self.embeddings.remove(&oldest);
            self.bytes -= removed.map_or(0, |removed| size_of_val(&*removed));
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

    /// The prefixes of questions and passages.
    pub fn prefixes(&self) -> (&str, &str) {
        (&self.query_prefix, &self.passage_prefix)
    }

    /// Embeddings of all documents, in order. Calls `progress` with the number of documents.
    pub(crate) fn index(
        &self,
        documents: &Documents,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Embeddings>> {
        let mut order: Vec<Key> = Vec::new();
        let mut found: HashMap<Key, Embeddings> = HashMap::new();
        let mut pending = Vec::new();
        for document in documents.iter() {
            let document = document?;
            let text = document.unmarked_text();
            let key = key("passage", text);
            order.push(key);
            if !self.find(key, &mut found) {
                let rows = self.passages(text, &document.id)?;
                pending.extend(rows.into_iter().map(|row| (key, row)));
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
    fn find(&self, key: Key, found: &mut HashMap<Key, Embeddings>) -> bool {
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
        pending: &mut Vec<(Key, Vec<u32>)>,
        found: &mut HashMap<Key, Embeddings>,
    ) -> Result<()> {
        let mut documents: Vec<(Key, Vec<f32>)> = Vec::new();
        for part in pending.chunks(ENCODED_TOGETHER) {
            let rows: Vec<&[u32]> = part.iter().map(|(_, row)| row.as_slice()).collect();
            for ((key, _), vector) in part.iter().zip(self.encode(&rows)?) {
                match documents.last_mut() {
                    Some((last, vectors)) if last == key => vectors.extend(vector),
                    _ => documents.push((*key, vector)),
                }
            }
        }
        pending.clear();
        for (key, vectors) in documents {
            let embeddings: Embeddings = vectors.into();
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

    /// Token ids of a document's passages with prefix and special tokens; none for an empty text.
    fn passages(&self, text: &str, id: &str) -> Result<Vec<Vec<u32>>> {
        let tokenizer = &self.pretrained.tokenizer;
        let fail = |error| tokenizer_error(id, error);
        let around = tokenizer.encode(self.passage_prefix.as_str(), true).map_err(fail)?;
        let room = self.lengths[1].saturating_sub(around.len()).max(1);
        let whole = tokenizer.encode(text, false).map_err(fail)?;
        let prefixed = whole.get_offsets().chunks(room).filter_map(|tokens| {
            let passage = text.get(tokens.first()?.0..tokens.last()?.1)?.trim();
            (!passage.is_empty()).then(|| format!("{}{passage}", self.passage_prefix))
        });
        let encoded = tokenizer.encode_batch(prefixed.collect(), true).map_err(fail)?;
        Ok(encoded.iter().map(|row| shortened(row.get_ids(), self.lengths[1])).collect())
    }

    /// Scores of documents for questions, `[questions][documents]`: the highest cosine similarity
    /// of a passage; negative infinity without passages.
    ///
    /// Dot products are summed in float64 and rounded to float32, so they depend neither on the
    /// number of threads nor on the other documents of a block.
    pub(crate) fn scores(&self, index: &[Embeddings], questions: &[&str]) -> Result<Vec<Vec<f32>>> {
        let questions = self.embed_questions(questions)?;
        Ok(best_passages(index, &questions, SCORED_TOGETHER)?)
    }

    /// Embeddings of questions, which are cached like those of documents.
    fn embed_questions(&self, questions: &[&str]) -> Result<Vec<Embeddings>> {
        let keys: Vec<Key> = questions.iter().map(|text| key("question", text)).collect();
        let mut found: HashMap<Key, Embeddings> = HashMap::new();
        let mut pending = Vec::new();
        for (&key, question) in keys.iter().zip(questions) {
            if self.find(key, &mut found) {
                continue;
            }
            let prefixed = format!("{}{question}", self.query_prefix);
            let encoded = self.pretrained.tokenizer.encode(prefixed, true);
            let encoded = encoded.map_err(|error| tokenizer_error(question, error))?;
            pending.push((key, shortened(encoded.get_ids(), self.lengths[0])));
        }
        self.encode_pending(&mut pending, &mut found)?;
        Ok(keys.iter().filter_map(|key| found.get(key).cloned()).collect())
    }
}

/// For each question the highest cosine similarity of each document's passages, which are
/// multiplied in blocks of `block` passages.
fn best_passages(
    index: &[Embeddings],
    questions: &[Embeddings],
    block: usize,
) -> tasks::Result<Vec<Vec<f32>>> {
    let mut scores = vec![vec![f32::NEG_INFINITY; index.len()]; questions.len()];
    let Some(width) = questions.first().map(|one| one.len()).filter(|&width| width > 0) else {
        return Ok(scores);
    };
    let queries = matrix(questions.iter().map(|one| &**one), width)?.f_transpose(0, 1)?;
    let passages: Vec<(usize, &[f32])> = index
        .iter()
        .enumerate()
        .flat_map(|(document, rows)| rows.chunks(width).map(move |row| (document, row)))
        .collect();
    for part in passages.chunks(block) {
        let rows = matrix(part.iter().map(|(_, row)| *row), width)?;
        let cosines = no_grad(|| rows.f_matmul(&queries))?.f_to_kind(Kind::Float)?;
        let cosines = Vec::<f32>::try_from(cosines.f_contiguous()?.f_view([-1])?)?;
        for (&(document, _), cosines) in part.iter().zip(cosines.chunks(questions.len())) {
            for (scores, &cosine) in scores.iter_mut().zip(cosines) {
                if let Some(best) = scores.get_mut(document) {
                    *best = best.max(cosine);
                }
            }
        }
    }
    Ok(scores)
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
    use proptest::prelude::*;

    use super::*;

    fn unit(values: &[f32]) -> Embeddings {
        let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-3);
        values.iter().map(|x| x / norm).collect()
    }

    proptest! {
        #[test]
        fn scores_depend_on_neither_blocks_nor_other_documents(
            rows in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 8), 3..40),
            sizes in prop::collection::vec(0usize..4, 40),
            block in 1usize..9,
            first in 0usize..20,
        ) {
            let rows: Vec<Embeddings> = rows.iter().map(|row| unit(row)).collect();
            let (questions, rows) = rows.split_at(2);
            let mut left = rows;
            let mut index: Vec<Embeddings> = Vec::new();
            for size in sizes {
                let (part, rest) = left.split_at(size.min(left.len()));
                index.push(part.iter().flat_map(|row| row.iter().copied()).collect());
                left = rest;
            }
            let whole = best_passages(&index, questions, SCORED_TOGETHER).unwrap();
            prop_assert_eq!(&best_passages(&index, questions, block).unwrap(), &whole);
            let part = best_passages(&index[first..], questions, block).unwrap();
            for (part, whole) in part.iter().zip(&whole) {
                prop_assert_eq!(&part[..], &whole[first..]);
            }
            for (question, scores) in questions.iter().zip(&whole) {
                for (document, &score) in index.iter().zip(scores) {
                    let dot = |row: &[f32]| row.iter().zip(&**question).map(|(a, b)| a * b).sum();
                    let best = document.chunks(8).map(dot).fold(f32::NEG_INFINITY, f32::max);
                    prop_assert!(score == best || (score - best).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn the_cache_removes_the_oldest_embeddings() {
        let mut cache = Cache::default();
        for k in 0..10u8 {
            cache.insert([k; 32], unit(&[1.0; 8]), 100);
            cache.insert([k; 32], unit(&[1.0; 8]), 100);
        }
        assert_eq!((cache.bytes, cache.embeddings.len()), (96, 3));
        assert!(cache.embeddings.contains_key(&[9; 32]) && cache.oldest_first.len() == 3);
    }

    #[test]
    fn long_rows_keep_their_last_token() {
        assert_eq!(shortened(&[0, 5, 6, 7, 2], 3), [0, 5, 2]);
        assert_eq!(shortened(&[0, 5, 2], 3), [0, 5, 2]);
    }
}
