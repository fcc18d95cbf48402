//! Vocabulary trimming: removal of token embeddings that given texts do not use.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tch::Tensor;
use tokenizer_file::{Layout, Trimmed};
use tokenizers::Tokenizer;
use torch_ext::{TensorFile, to_i64};

use crate::config::json_file::{read_json, write_json};
use crate::folder::changed_copy;
use crate::folder::checkpoint::{INT8_FILE, SINGLE_FILE, weight_files};
use crate::folder::load::model_folder;
use crate::folder::stored::{is_token_embeddings, matrix_name, stored_error};
use crate::folder::tokenizer_files::{parse, tokenizer_path};
use crate::{Architecture, Error, Result, TokenizerFiles};

/// Collects the tokens used by texts, to trim the vocabulary of a model folder.
///
/// Trimming removes rows of the token embeddings and of the masked-LM head (Abdaoui et al. 2020,
/// "Load What You Need"; Ushio et al. 2023, "An Efficient Multilingual Language Model Compression
/// through Vocabulary Trimming"). All other tensors do not change. For the given texts, hidden
/// states and span logits are bit-identical, and masked-LM logits are equal up to rounding.
#[derive(Clone, Debug)]
pub struct VocabularyTrim {
    folder: PathBuf,
    file: PathBuf,
    json: String,
    tokenizer: Tokenizer,
    used_ids: BTreeSet<u32>,
}

/// A trimmed tokenizer whose model folder is not written yet.
#[derive(Clone, Debug)]
pub struct TrimmedVocabulary {
    folder: PathBuf,
    original_tokenizer: Tokenizer,
    tokenizer: Tokenizer,
    trimmed: Trimmed,
}

/// Changes made by [`TrimmedVocabulary::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimReport {
    /// Number of token embeddings before trimming.
    pub rows_before: i64,
    /// Number of token embeddings after trimming.
    pub rows: i64,
    /// Size of the original weight files in bytes.
    pub bytes_before: u64,
    /// Size of the new weight files in bytes.
    pub bytes: u64,
}

impl VocabularyTrim {
    /// Reads the tokenizer of a model folder.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] naming the file.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = model_folder(folder.as_ref())?;
        let file = tokenizer_path(&folder)?;
        let (tokenizer, TokenizerFiles { json, .. }) = TokenizerFiles::of_file(&file)?;
        Ok(Self { folder, file, json, tokenizer, used_ids: BTreeSet::new() })
    }

    /// Adds the tokens of texts, which are tokenised in parallel.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if a text cannot be tokenised.
    pub fn add_texts(&mut self, texts: Vec<String>) -> Result<()> {
        for encoding in encode(&self.tokenizer, texts)? {
            self.used_ids.extend(encoding);
        }
        Ok(())
    }

    /// Adds an entry of the vocabulary by its name; returns false if there is no such entry.
    pub fn add_token(&mut self, token: &str) -> bool {
        let id = self.tokenizer.token_to_id(token);
        self.used_ids.extend(id);
        id.is_some()
    }

    /// Reduces the vocabulary to the added tokens; see [`tokenizer_file::trim`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`] naming the file if its vocabulary cannot be trimmed.
    pub fn finish(self) -> Result<TrimmedVocabulary> {
        let Self { folder, file, json, tokenizer: original_tokenizer, used_ids } = self;
        let refuse = |reason: String| Error::Tokenizer(format!("{}: {reason}", file.display()));
        let trimmed = tokenizer_file::trim(&json, &used_ids).map_err(refuse)?;
        let tokenizer = parse(&trimmed.json, &file)?;
        Ok(TrimmedVocabulary { folder, original_tokenizer, tokenizer, trimmed })
    }
}

impl TrimmedVocabulary {
    /// Checks that trimming does not change the tokens of texts.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] naming the first text with different tokens.
    pub fn check_texts(&self, texts: Vec<String>) -> Result<()> {
        let before = encode(&self.original_tokenizer, texts.clone())?;
        let after = encode(&self.tokenizer, texts.clone())?;
        assert_eq!((before.len(), after.len()), (texts.len(), texts.len()), "one list per text");
        for ((text, before), after) in texts.iter().zip(before).zip(after) {
            let former_ids = after.iter().map(|&id| self.former_id(id));
            if !former_ids.eq(before.into_iter().map(Some)) {
                let text: String = text.chars().take(60).collect();
                return Err(Error::Tokenizer(format!(
                    "the trimmed tokenizer returns different tokens for {text:?}"
                )));
            }
        }
        Ok(())
    }

    fn former_id(&self, id: u32) -> Option<u32> {
        self.trimmed.former_ids.get(usize::try_from(id).ok()?).copied()
    }

    /// Writes the trimmed model folder.
    ///
    /// The folder has `model.safetensors` in the stored dtypes, `heads.safetensors` if there is
    /// one, `config.json` and the tokenizer's files with the new ids, and copies of all other
    /// files, except files that describe the former vocabulary (`vocab.txt`,
    /// `sentencepiece.bpe.model`) and weights in other formats. `pad_token_id` of `config.json` is
    /// set to the tokenizer's id.
    ///
    /// The new folder is moved to `out` when it is complete. If `replace`, `out` may be another
    /// model folder, which is replaced.
    ///
    /// # Errors
    /// [`Error::Io`], also if `out` exists and may not be replaced; [`Error::Json`];
    /// [`Error::Config`] for a token id that the tokenizer does not have; [`Error::Stored`] for a
    /// tensor of unknown purpose with `vocab_size` rows; [`Error::Damaged`] and [`Error::TorchExt`]
    /// for the weights.
    pub fn write(&self, out: impl AsRef<Path>, replace: bool) -> Result<TrimReport> {
        changed_copy::write(&self.folder, out.as_ref(), replace, &is_not_copied, |new_folder| {
            self.write_tokenizer(new_folder)?;
            let vocab_size = self.write_config(new_folder)?;
            self.write_weights(new_folder, vocab_size)
        })
    }

    fn write_tokenizer(&self, new_folder: &Path) -> Result<()> {
        let path = new_folder.join("tokenizer.json");
        atomic_file::write(&path, &self.trimmed.json)?;
        let config_path = self.folder.join("tokenizer_config.json");
        if config_path.is_file() {
            let mut config = read_json(&config_path, "")?;
            let tokens = config.get_mut("added_tokens_decoder").and_then(Value::as_object_mut);
            if let Some(tokens) = tokens {
                for (id, token) in std::mem::take(tokens) {
                    let former_id = id.parse().map_err(|_| {
                        let (file, key) = (config_path.display(), "added_tokens_decoder");
                        Error::config(&file.to_string(), key, "ids as keys", format!("{id:?}"))
                    })?;
                    // The trimmed vocabulary does not contain every added token.
                    if let Some(new_id) = self.new_id(former_id) {
                        tokens.insert(new_id.to_string(), token);
                    }
                }
            }
            write_json(&new_folder.join("tokenizer_config.json"), &config)?;
        }
        let tokens_path = self.folder.join("added_tokens.json");
        if tokens_path.is_file() {
            let refuse = |key: &str, expected: &str, got: &Value| {
                Error::config(&tokens_path.display().to_string(), key, expected, got)
            };
            let tokens = read_json(&tokens_path, "")?;
            let Some(tokens) = tokens.as_object() else {
                return Err(refuse("(whole file)", "an object of ids by token", &tokens));
            };
            let mut new_ids = Map::new();
            for (token, id) in tokens {
                let former_id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                let former_id = former_id.ok_or_else(|| refuse(token, "an id", id))?;
                if let Some(new_id) = self.new_id(former_id) {
                    new_ids.insert(token.clone(), json!(new_id));
                }
            }
            write_json(&new_folder.join("added_tokens.json"), &Value::Object(new_ids))?;
        }
        Ok(())
    }

    /// Returns a token's id in the trimmed vocabulary; `None` if it does not contain the token.
    #[expect(clippy::expect_used, reason = "ids are u32")]
    fn new_id(&self, former_id: u32) -> Option<u32> {
        let index = self.trimmed.former_ids.binary_search(&former_id).ok()?;
        Some(u32::try_from(index).expect("a new id is not larger than the former id"))
    }

    /// Writes `config.json`; returns the original size of the vocabulary.
    fn write_config(&self, new_folder: &Path) -> Result<i64> {
        let path = self.folder.join("config.json");
        let mut config = read_json(&path, "; a model folder needs a config.json")?;
        let file = path.display().to_string();
        let vocab_size = config["vocab_size"].as_i64().ok_or_else(|| {
            Error::config(&file, "vocab_size", "an integer", &config["vocab_size"])
        })?;
        let old_pad_id = config["pad_token_id"].clone();
        let keys = config.as_object_mut().into_iter().flatten();
        for (key, id) in keys.filter(|(key, id)| key.ends_with("_token_id") && !id.is_null()) {
            let former_id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let Some(new_id) = former_id.and_then(|id| self.new_id(id)) else {
                return Err(Error::config(&file, key, "the id of a special token", &id));
            };
            *id = json!(new_id);
        }
        let layout = Layout::of(&self.tokenizer);
        if let Ok(pad) = layout.and_then(|layout| layout.pad()) {
            config["pad_token_id"] = json!(pad);
        }
        let model_type = &config["model_type"];
        let is_match = |known: &Architecture| model_type == known.model_type();
        let architecture = Architecture::all().into_iter().find(is_match);
        let is_roberta = architecture.is_some_and(|architecture| architecture.is_roberta());
        // XLM-R's default `pad_token_id` is 1.
        let old_pad_id = if old_pad_id.is_null() { json!(1) } else { old_pad_id };
        if is_roberta && old_pad_id != config["pad_token_id"] {
            let expected = format!(
                "{}, the id of the padding token after trimming, since this architecture counts \
                 position ids from it",
                config["pad_token_id"]
            );
            return Err(Error::config(&file, "pad_token_id", expected, &old_pad_id));
        }
        config["vocab_size"] = json!(self.trimmed.former_ids.len());
        write_json(&new_folder.join("config.json"), &config)?;
        Ok(vocab_size)
    }

    fn write_weights(&self, new_folder: &Path, vocab_size: i64) -> Result<TrimReport> {
        let row_ids: Vec<i64> = self.trimmed.former_ids.iter().map(|&id| i64::from(id)).collect();
        if let Some(id) = row_ids.last().filter(|&&id| id >= vocab_size) {
            return Err(Error::Tokenizer(format!(
                "the tokenizer has the id {id}, but config.json has vocab_size = {vocab_size}; use \
                 the tokenizer.json that belongs to the model"
            )));
        }
        let n_rows = to_i64(row_ids.len());
        let row_index = Tensor::from_slice(&row_ids);
        let is_int8 = weight_files(&self.folder)?.keys().all(|file| file.ends_with(INT8_FILE));
        let weights_file = if is_int8 { INT8_FILE } else { SINGLE_FILE };
        let (bytes_before, bytes) = changed_copy::write_weights(
            &self.folder,
            new_folder,
            weights_file,
            |file, name, tensors| {
                let tensor = read_trimmed_tensor(file, name, vocab_size, &row_index)?;
                tensors.push((name.to_owned(), tensor));
                Ok(())
            },
        )?;
        Ok(TrimReport { rows_before: vocab_size, rows: n_rows, bytes_before, bytes })
    }
}

/// Reads a tensor. If it has one row per token, returns only the rows of the trimmed vocabulary.
fn read_trimmed_tensor(
    file: &TensorFile,
    name: &str,
    vocab_size: i64,
    row_index: &Tensor,
) -> Result<Tensor> {
    let tensor = file.read(name)?;
    if tensor.size().first() != Some(&vocab_size) {
        return Ok(tensor);
    }
    let matrix_name = matrix_name(name);
    let is_known = is_token_embeddings(matrix_name)
        || Architecture::all_names().iter().any(|names| {
            [names.decoder, names.lm_bias, names.decoder_bias].contains(&matrix_name)
                || names.vocabulary_prefixes.iter().any(|prefix| matrix_name.starts_with(prefix))
        });
    if is_known {
        return Ok(tensor.f_index_select(0, row_index)?);
    }
    // A weight of an encoder layer may have `vocab_size` rows by chance, if the vocabulary is
    // small.
    if name.contains("layer.") || name.contains("layers.") {
        return Ok(tensor);
    }
    let got = format!("another tensor with vocab_size = {vocab_size} rows");
    Err(stored_error(file, name, "token embeddings or a masked-LM head".into(), got))
}

/// Returns the token ids of texts, without special tokens.
fn encode(tokenizer: &Tokenizer, texts: Vec<String>) -> Result<Vec<Vec<u32>>> {
    let encodings = tokenizer.encode_batch_fast(texts, false);
    let encodings = encodings.map_err(|error| Error::Tokenizer(error.to_string()))?;
    Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
}

/// Names of files that are not copied, because they contain the former vocabulary or are written
/// with new contents.
const NOT_COPIED: [&str; 7] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

fn is_not_copied(path: &Path, name: &str) -> bool {
    path.extension().is_some_and(|extension| extension == "model") || NOT_COPIED.contains(&name)
}
