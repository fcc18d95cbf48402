//! A sentence encoder that embeds questions and passages for retrieval across languages.
use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use model_hub::{Hub, ResolvedModel};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tasks::pooling::{Pooling, embed};
use tch::Device;
use tokenizers::Tokenizer;
use torch_ext::{Precision, to_i64, to_usize};
use xlmr_model::{Head, LoadOptions, Pretrained};

use crate::retriever_files::{Settings, load_settings};
use crate::{Error, Result};

/// Number of passages that are encoded together.
const ENCODE_BATCH: usize = 256;

/// Maximum size of the cached embeddings in bytes.
const MAX_CACHE_BYTES: usize = 256 << 20;

/// Default of [`Retriever::with_penalty_weight`].
const PENALTY_WEIGHT: f32 = 80.0;

/// The SHA-256 of a text with its kind (`passage` or `question`).
pub(crate) type Key = [u8; 32];

/// The embedding of a passage or a question: as many elements as the hidden size or the model's
/// `truncate_dim`, with norm 1; empty for a blank text.
pub(crate) type Vector = Arc<[f32]>;

/// A sentence encoder: a pretrained encoder with pooling and L2 normalisation.
///
/// It embeds passages and questions, truncated to the maximum length in tokens. Embeddings are
/// cached by the SHA-256 of the text, up to 256 MB; the oldest embeddings are removed first. The
/// cache can be [stored in a file](Self::save_embeddings). Pooling, prefixes and the maximum length
/// are read from the files of sentence-transformers, see [`load`](Self::load).
///
/// # Example
/// ```no_run
/// use polyqa::{Document, DocumentIndex, Ranking, Retriever};
///
/// let device = tch::Device::Cpu;
/// let precision = polyqa::select_precision(Some("auto"), device)?;
/// let retriever = Retriever::open("intfloat/multilingual-e5-small", device, precision)?;
/// let text = Document { id: "peru".into(), text: "The capital of Peru is Lima.".into() };
/// let index = DocumentIndex::over(&vec![text].into())?.with_retriever(&retriever, &mut |_| {})?;
/// let ranked = index.rank(&["Was ist die Hauptstadt von Peru?"], Ranking::Hybrid(&retriever))?;
/// assert_eq!(ranked, [[0]]);
/// # Ok::<(), polyqa::Error>(())
/// ```
#[derive(Debug)]
pub struct Retriever {
    pretrained: Pretrained,
    pub(crate) pooling: Pooling,
    query_prefix: String,
    passage_prefix: String,
    /// Maximum length of a text in tokens, special tokens included.
    pub(crate) max_length: usize,
    /// Whether longer texts lose their start.
    pub(crate) truncate_start: bool,
    /// Whether texts with their prefixes are lower-cased before tokenisation.
    pub(crate) lower_case: bool,
    /// Number of elements of an embedding, at most the hidden size.
    pub(crate) width: usize,
    batch_size: usize,
    pub(crate) penalty_weight: f32,
    cache: Mutex<Cache>,
    /// The embedding of a fixed text, which identifies the encoder.
    pub(crate) probe: OnceLock<Vector>,
}

/// Embeddings by the digest of their text.
#[derive(Debug, Default)]
struct Cache {
    embeddings: HashMap<Key, Vector>,
    insertion_order: VecDeque<Key>,
    bytes: usize,
}

impl Cache {
    fn insert(&mut self, key: Key, vector: Vector, max_bytes: usize) {
        self.bytes += size_of_val(&*vector);
        if let Some(replaced) = self.embeddings.insert(key, vector) {
            self.bytes -= size_of_val(&*replaced);
        } else {
            self.insertion_order.push_back(key);
        }
        while self.bytes > max_bytes {
            let oldest = self.insertion_order.pop_front().expect("the bytes of an embedding");
            let removed = self.embeddings.remove(&oldest).expect("the embedding of a key");
            self.bytes -= size_of_val(&*removed);
        }
    }
}

impl Retriever {
    /// Loads a sentence encoder from a folder.
    ///
    /// Reads pooling (mean or CLS; default: mean) from `modules.json` and `1_Pooling/config.json`,
    /// lower-casing and the maximum length from `sentence_bert_config.json`, and the maximum length
    /// from `tokenizer_config.json` if the former file has none. In
    /// `config_sentence_transformers.json`, the prefixes are the prompts `query` (or `question`) and
    /// `document` (or, if this key is absent, `passage` or `corpus`), and `truncate_dim` is the
    /// number of elements to which embeddings are truncated. Settings that change embeddings or
    /// their order and are not supported are errors.
    ///
    /// Without prompts, the prefixes are `query: ` and `passage: ` for an E5 model, and empty for
    /// other models. A model is an E5 model if the folder's name, or the heading or the base model
    /// in the model card, contains the word E5 but not the word `instruct`.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Content`] naming a file whose settings cannot be read or are not
    /// supported, also for a reader, a classifier or a cross-encoder; the errors of
    /// [`Pretrained::load`].
    pub fn load(folder: impl AsRef<Path>, device: Device, precision: Precision) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        Self::load_resolved(&ResolvedModel { folder, origin: None }, device, precision)
    }

    /// Loads a model by its folder or its name on the hub.
    ///
    /// # Errors
    /// The errors of [`Hub::resolve`] and [`load`](Self::load).
    pub fn open(model: &str, device: Device, precision: Precision) -> Result<Self> {
        Self::load_resolved(&Hub::from_env().resolve(model, &mut |_| {})?, device, precision)
    }

    pub(crate) fn load_resolved(
        ResolvedModel { folder, origin }: &ResolvedModel,
        device: Device,
        precision: Precision,
    ) -> Result<Self> {
        // A path such as `.` has no name; then the model card can name the model.
        let folder_name = || folder.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
        let name = origin.as_ref().map_or_else(folder_name, |one| (&*one.repository).into());
        let Settings {
            pooling,
            query_prefix,
            passage_prefix,
            max_length,
            truncate_start,
            lower_case,
            truncate_dim,
        } = load_settings(folder, &name)?;
        let options = LoadOptions { inference: true, precision, ..LoadOptions::default() };
        let (pretrained, _) = Pretrained::load(folder, &[Head::None], device, options)?;
        let config = pretrained.model.config();
        let positions = to_usize(config.max_length());
        let hidden_size = to_usize(config.hidden_size);
        Ok(Self {
            pretrained,
            pooling,
            query_prefix,
            passage_prefix,
            max_length: max_length.unwrap_or(positions).min(positions),
            truncate_start,
            lower_case,
            width: truncate_dim.unwrap_or(hidden_size).min(hidden_size),
            batch_size: 32,
            penalty_weight: PENALTY_WEIGHT,
            cache: Mutex::default(),
            probe: OnceLock::new(),
        })
    }

    /// Sets the prefixes of questions and passages; `None` leaves a prefix unchanged.
    #[must_use]
    pub fn with_prefixes(self, query: Option<String>, passage: Option<String>) -> Self {
        Self {
            query_prefix: query.unwrap_or(self.query_prefix),
            passage_prefix: passage.unwrap_or(self.passage_prefix),
            cache: Mutex::default(),
            ..self
        }
    }

    /// Sets the weight of similarities in the scores of answers.
    ///
    /// The score of an answer is reduced by the weight times a difference of cosine similarities to
    /// the question: the similarity of the most similar passage in all documents minus the
    /// similarity of the answer's passage. The default weight is 80. With 0, the retriever only
    /// selects passages.
    #[must_use]
    pub fn with_penalty_weight(self, penalty_weight: f32) -> Self {
        Self { penalty_weight, ..self }
    }

    /// Returns the prefixes of questions and passages.
    pub fn prefixes(&self) -> (&str, &str) {
        (&self.query_prefix, &self.passage_prefix)
    }

    /// Computes the embeddings of passages or questions (`kind`), with the cache; `None` for a blank
    /// text.
    pub(crate) fn embed_cached(&self, kind: &str, texts: &[&str]) -> Result<Vec<Option<Vector>>> {
        let (mut embeddings, mut pending) = (HashMap::new(), Vec::new());
        let keys = texts.iter().map(|text| self.look_up(kind, text, &mut embeddings, &mut pending));
        let keys = keys.collect::<Result<Vec<Key>>>()?;
        self.encode_pending(&mut pending, &mut embeddings)?;
        let embedding = |key| Some(embeddings[key].clone()).filter(|vector| !vector.is_empty());
        Ok(keys.iter().map(embedding).collect())
    }

    /// Computes the embeddings of passages, without the cache; `None` for a blank text.
    pub(crate) fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Option<Vector>>> {
        let input = |text: &&str| self.encoder_input(&self.passage_prefix, text);
        let inputs: Vec<Option<String>> = texts.iter().map(input).collect();
        // The model cannot be shared between threads.
        let tokenizer = &self.pretrained.tokenizer;
        let max_length = self.max_length;
        let truncate_start = self.truncate_start;
        let rows = inputs
            .par_iter()
            .flatten()
            .map(|text| tokenize(tokenizer, text, max_length, truncate_start))
            .collect::<Result<Vec<_>>>()?;
        let ids: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let vectors = if ids.is_empty() { Vec::new() } else { self.encode(&ids)? };
        assert_eq!(vectors.len(), rows.len(), "an embedding of each text");
        let mut vectors = vectors.into_iter();
        Ok(inputs.iter().map(|input| input.as_ref().and_then(|_| vectors.next())).collect())
    }

    /// Returns a text with its prefix, as it is tokenised; `None` for a blank text.
    fn encoder_input(&self, prefix: &str, text: &str) -> Option<String> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let text = format!("{prefix}{text}");
        // As the normaliser `Lowercase`, this converts each character separately.
        Some(match self.lower_case {
            true => text.chars().flat_map(char::to_lowercase).collect(),
            false => text,
        })
    }

    /// Returns the key of a text, and adds the cached embedding to `embeddings`. A text without a
    /// cached embedding is added to `pending`, unless the text is blank.
    fn look_up(
        &self,
        kind: &str,
        text: &str,
        embeddings: &mut HashMap<Key, Vector>,
        pending: &mut Vec<(Key, Vec<u32>)>,
    ) -> Result<Key> {
        let key = cache_key(kind, text);
        if embeddings.contains_key(&key) {
            return Ok(key);
        }
        let cached = self.cache().embeddings.get(&key).cloned();
        let prefix = if kind == "question" { &self.query_prefix } else { &self.passage_prefix };
        if cached.is_none()
            && let Some(text) = self.encoder_input(prefix, text)
        {
            pending.push((key, self.tokenize(&text)?));
        }
        // The embedding of a blank text is empty. `encode_pending` replaces the empty embedding of a
        // pending text.
        embeddings.insert(key, cached.unwrap_or_else(|| Arc::new([])));
        Ok(key)
    }

    /// Returns the token ids of a text with special tokens, truncated to the maximum length.
    pub(crate) fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        tokenize(&self.pretrained.tokenizer, text, self.max_length, self.truncate_start)
    }

    /// Returns whether embeddings have fewer elements than the hidden size.
    pub(crate) fn is_truncated(&self) -> bool {
        to_i64(self.width) != self.pretrained.model.config().hidden_size
    }

    /// Returns the compute precision.
    pub(crate) fn precision(&self) -> Precision {
        self.pretrained.model.precision()
    }

    /// Returns the cached embeddings, oldest first.
    pub(crate) fn cached_embeddings(&self) -> Vec<(Key, Vector)> {
        let cache = self.cache();
        let keys = cache.insertion_order.iter();
        keys.map(|key| (*key, cache.embeddings[key].clone())).collect()
    }

    pub(crate) fn add_to_cache(&self, key: Key, vector: Vector) {
        self.cache().insert(key, vector, MAX_CACHE_BYTES);
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes the texts in `pending`, and adds their embeddings to `embeddings` and to the cache.
    fn encode_pending(
        &self,
        pending: &mut Vec<(Key, Vec<u32>)>,
        embeddings: &mut HashMap<Key, Vector>,
    ) -> Result<()> {
        for batch in pending.chunks(ENCODE_BATCH) {
            let rows: Vec<&[u32]> = batch.iter().map(|(_, ids)| ids.as_slice()).collect();
            let vectors = self.encode(&rows)?;
            assert_eq!(vectors.len(), batch.len(), "an embedding of each text");
            for ((key, _), vector) in batch.iter().zip(vectors) {
                self.add_to_cache(*key, vector.clone());
                embeddings.insert(*key, vector);
            }
        }
        pending.clear();
        Ok(())
    }

    /// Computes the embedding of each row of token ids; embeddings have norm 1.
    pub(crate) fn encode(&self, rows: &[&[u32]]) -> Result<Vec<Vector>> {
        let vectors = embed(&self.pretrained.model, rows, self.pooling, self.batch_size)?;
        let unit_vectors = vectors.outer_iter().map(|row| {
            let row: Vec<f32> = row.iter().take(self.width).copied().collect();
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
        unit_vectors.collect()
    }
}

/// Computes the digest of a text and its kind.
fn cache_key(kind: &str, text: &str) -> Key {
    Sha256::new_with_prefix(kind).chain_update([0]).chain_update(text).finalize().into()
}

/// Truncates token ids to a maximum length, but retains the first and the last id: special tokens.
fn truncate(ids: &[u32], max_length: usize, at_start: bool) -> Vec<u32> {
    if ids.len() <= max_length {
        return ids.to_vec();
    }
    let (head, tail) = match at_start {
        true => (1.min(max_length), max_length.saturating_sub(1)),
        false => (max_length.saturating_sub(1), 1.min(max_length)),
    };
    [&ids[..head], &ids[ids.len() - tail..]].concat()
}

fn tokenize(
    tokenizer: &Tokenizer,
    text: &str,
    max_length: usize,
    truncate_start: bool,
) -> Result<Vec<u32>> {
    let encoded = tokenizer.encode(text, true).map_err(|error| tokenizer_error(text, error))?;
    Ok(truncate(encoded.get_ids(), max_length, truncate_start))
}

fn tokenizer_error(text: &str, error: tokenizers::Error) -> Error {
    let (name, message) = (format!("of the retriever on {text:?}"), error.to_string());
    mlqa_eval::Error::Tokenizer { name, message }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit_vector(values: &[f32]) -> Vector {
        let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-3);
        values.iter().map(|x| x / norm).collect()
    }

    #[test]
    fn the_cache_removes_the_oldest_embeddings() {
        let mut cache = Cache::default();
        for k in 0..10u8 {
            cache.insert([k; 32], unit_vector(&[1.0; 8]), 100);
            cache.insert([k; 32], unit_vector(&[1.0; 8]), 100);
        }
        assert_eq!((cache.bytes, cache.embeddings.len()), (96, 3));
        assert!(cache.embeddings.contains_key(&[9; 32]) && cache.insertion_order.len() == 3);
    }

    #[test]
    fn truncated_texts_retain_their_last_token() {
        for (at_start, expected) in [(false, [0, 5, 2]), (true, [0, 7, 2])] {
            assert_eq!(truncate(&[0, 5, 6, 7, 2], 3, at_start), expected);
            assert_eq!(truncate(&[0, 5, 2], 3, at_start), [0, 5, 2]);
            assert_eq!(truncate(&[0, 5, 2], 1, at_start).len(), 1);
        }
    }
}
