//! Tokenizer files of a model folder, compatible with transformers.
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizer_file::{Layout, LayoutError, MODEL_INPUT_NAMES, retain_in_transformers};
use tokenizers::Tokenizer;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;

use crate::config::json_file::{parse_json, to_pretty_json};
use crate::folder::load::{check_not_adapter, model_folder};
use crate::folder::save::remove_file;
use crate::folder::tokenizer::token_name;
use crate::{Config, Error, Result, SpecialTokens};

const TOKENIZER_FILE: &str = "tokenizer.json";
const CONFIG_FILE: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";

/// Additional files of a tokenizer, next to `tokenizer.json`.
const EXTRA_FILES: [&str; 6] = [
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    "added_tokens.json",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spm.model",
];

/// Maximum size of an additional file in bytes.
const MAX_BYTES: u64 = 32 << 20;

/// BERT's token before a text.
const BERT_FIRST_TOKEN: &str = "[CLS]";

/// Tokenizer class of transformers that uses `tokenizer.json` unchanged. The tokenizer class of an
/// architecture would replace parts of `tokenizer.json`.
const PLAIN_CLASS: &str = "PreTrainedTokenizerFast";

/// Key whose value names classes in third-party code, which transformers would load.
const AUTO_MAP: &str = "auto_map";

/// A tokenizer's files in memory.
///
/// These are `tokenizer.json` and, if present in a model folder, `tokenizer_config.json`,
/// `special_tokens_map.json`, `added_tokens.json`, `vocab.txt`, `sentencepiece.bpe.model` and
/// `spm.model`. A missing `tokenizer.json` is converted from `sentencepiece.bpe.model` or
/// `spm.model`.
#[derive(Clone, Debug)]
pub struct TokenizerFiles {
    pub(crate) json: String,
    extra_files: BTreeMap<&'static str, Vec<u8>>,
    /// Whether the tokenizer returns token types in transformers; `None` if the tokenizer was read
    /// from a single file.
    returns_token_types: Option<bool>,
}

impl TokenizerFiles {
    /// Reads a single file: a `tokenizer.json`, which may have any name, or a SentencePiece model
    /// (`*.model`, see [`tokenizer_file::read_text`]). Returns its tokenizer, without truncation
    /// and padding, and the file's contents.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] naming the file.
    pub fn of_file(path: impl AsRef<Path>) -> Result<(Tokenizer, Self)> {
        let path = path.as_ref();
        let json = tokenizer_file::read_text(path).map_err(tokenizer_error)?;
        let tokenizer = parse(&json, path)?;
        Ok((tokenizer, Self { json, extra_files: BTreeMap::new(), returns_token_types: None }))
    }

    /// Reads the files of a model folder.
    ///
    /// Symbolic links are followed, because the files in a snapshot of the Hugging Face hub are
    /// links. `auto_map` is removed from `tokenizer_config.json`, because it refers to third-party
    /// code.
    ///
    /// # Errors
    /// As [`of_file`](Self::of_file); [`Error::Tokenizer`] as for
    /// [`tokenizer_file::returns_token_types`]; [`Error::Io`], [`Error::Json`] or [`Error::Damaged`]
    /// for an additional file that cannot be read, is not a regular file, or is longer than 32 MiB.
    pub fn of_folder(folder: impl AsRef<Path>) -> Result<(Tokenizer, Self)> {
        let folder = folder.as_ref();
        let (tokenizer, mut files) = Self::of_file(tokenizer_path(folder)?)?;
        let returns_token_types = tokenizer_file::returns_token_types(folder);
        files.returns_token_types = Some(returns_token_types.map_err(tokenizer_error)?);
        let folder = model_folder(folder)?;
        for name in EXTRA_FILES {
            let path = folder.join(name);
            if let Some(mut bytes) = read_optional(&path)? {
                if name == CONFIG_FILE {
                    bytes = without_code(bytes, &path)?;
                }
                files.extra_files.insert(name, bytes);
            }
        }
        Ok((tokenizer, files))
    }

    /// Returns the segments of pairs, see [`Model::pair_segments`](crate::Model::pair_segments).
    pub(crate) fn pair_segments(
        &self,
        tokenizer: &Tokenizer,
        config: &Config,
    ) -> Result<Option<usize>> {
        if config.type_vocab_size == 1 || self.returns_token_types == Some(false) {
            return Ok(None);
        }
        let layout = Layout::of(tokenizer).map_err(layout_error)?;
        layout.pair_segments().map_err(layout_error)
    }

    /// Writes the files to a model's folder, each atomically, and removes tokenizer files of an
    /// earlier model.
    ///
    /// If `tokenizer_config.json` or `special_tokens_map.json` is missing, it is created. A new
    /// `tokenizer_config.json` has a tokenizer class that uses `tokenizer.json` unchanged, the
    /// special tokens, the model's maximum length and the input names. An existing
    /// `tokenizer_config.json` is changed as by [`retain_in_transformers`]. The tokenizer classes of
    /// DeBERTa and RemBERT are always replaced, because they modify `tokenizer.json`. If
    /// `tokenizer.json` has no post-processor, a post-processor that adds the special tokens is
    /// written, because other programs would otherwise omit these tokens.
    ///
    /// For a model with several segments, `tokenizer_config.json` always has `model_input_names`, so
    /// that programs give pairs the segments with which the model was trained.
    ///
    /// # Errors
    /// As [`check_tokenizer`](crate::check_tokenizer); [`Error::Io`].
    pub fn write(
        &self,
        folder: impl AsRef<Path>,
        tokenizer: &Tokenizer,
        config: &Config,
    ) -> Result<()> {
        let segments = self.pair_segments(tokenizer, config)?;
        self.write_with_segments(folder.as_ref(), tokenizer, config, segments)
    }

    /// Writes the files like [`write`](Self::write), for a model whose pairs have the segments
    /// `segments`, see [`Model::pair_segments`](crate::Model::pair_segments). If the tokenizer
    /// returns other token types, its post-processor is replaced.
    pub(crate) fn write_with_segments(
        &self,
        folder: &Path,
        tokenizer: &Tokenizer,
        config: &Config,
        segments: Option<usize>,
    ) -> Result<()> {
        let specials = crate::check_tokenizer(tokenizer, config)?;
        let layout = Layout::of(tokenizer).map_err(layout_error)?;
        // Token types that the tokenizer does not return, or that are 0, need no post-processor.
        let changes_segments = segments.is_some() && layout.pair_segments() != Ok(segments);
        let json = if changes_segments {
            with_segments(tokenizer, &layout, segments)?
        } else if tokenizer.get_post_processor().is_some() {
            self.json.clone()
        } else {
            with_post_processor(tokenizer, specials)?
        };
        let mut token_names = special_token_names(tokenizer, specials)?;
        let mut files = self.extra_files.clone();
        let path = folder.join(CONFIG_FILE);
        let mut tokenizer_config = match files.get(CONFIG_FILE) {
            // Values in the original `tokenizer_config.json` take precedence.
            Some(bytes) => {
                let stored: Map<String, Value> = parse_json(&path, bytes)?;
                token_names.retain(|key, token| match stored.get(*key) {
                    None => true,
                    Some(value) => {
                        let name = value.as_str().or_else(|| value["content"].as_str());
                        name.inspect(|name| *token = (*name).to_owned()).is_some()
                    }
                });
                stored
            }
            None => new_config(tokenizer, config, &token_names),
        };
        let original = tokenizer_config.clone();
        if config.architecture.names().replaces_tokenizer_class || changes_segments {
            // In transformers 5, XLM-R's tokenizer class replaces the post-processor.
            tokenizer_config.insert("tokenizer_class".into(), json!(PLAIN_CLASS));
        }
        let is_replaced = retain_in_transformers(tokenizer, &mut tokenizer_config);
        if config.type_vocab_size > 1 || is_replaced {
            let names = input_names(segments.is_some());
            tokenizer_config.insert(MODEL_INPUT_NAMES.into(), json!(names));
        }
        if tokenizer_config != original || !files.contains_key(CONFIG_FILE) {
            files.insert(CONFIG_FILE, to_pretty_json(&Value::Object(tokenizer_config)));
        }
        files.entry(SPECIAL_TOKENS_FILE).or_insert_with(|| to_pretty_json(&json!(token_names)));
        write_atomically(&folder.join(TOKENIZER_FILE), json.as_bytes())?;
        for name in EXTRA_FILES {
            let path = folder.join(name);
            match files.get(name) {
                Some(bytes) => write_atomically(&path, bytes)?,
                None => remove_file(&path)?,
            }
        }
        Ok(())
    }
}

/// Parses a `tokenizer.json` and disables its truncation and padding.
pub(crate) fn parse(json: &str, path: &Path) -> Result<Tokenizer> {
    let mut tokenizer = tokenizer_file::parse(json, path).map_err(tokenizer_error)?;
    tokenizer.with_padding(None);
    match tokenizer.with_truncation(None) {
        Ok(_) => Ok(tokenizer),
        Err(error) => Err(Error::Tokenizer(format!("{}: {error}", path.display()))),
    }
}

/// Returns the path of a model folder's tokenizer file.
pub(crate) fn tokenizer_path(folder: &Path) -> Result<PathBuf> {
    // If the folder is missing, reading the file at this path fails with an error that names the
    // file.
    if folder.is_dir() {
        check_not_adapter(&model_folder(folder)?)?;
        tokenizer_file::find(folder).map_err(tokenizer_error)
    } else {
        Ok(folder.join(TOKENIZER_FILE))
    }
}

pub(crate) fn layout_error(error: LayoutError) -> Error {
    Error::Tokenizer(error.to_string())
}

fn tokenizer_error(error: tokenizer_file::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

/// Returns `tokenizer.json` with the post-processor of XLM-R or BERT, depending on the tokens'
/// names.
fn with_post_processor(tokenizer: &Tokenizer, specials: SpecialTokens) -> Result<String> {
    let first_token = (token_name(tokenizer, specials.bos)?, specials.bos);
    let last_token = (token_name(tokenizer, specials.eos)?, specials.eos);
    let processor: PostProcessorWrapper = match first_token.0.as_str() {
        BERT_FIRST_TOKEN => BertProcessing::new(last_token, first_token).into(),
        _ => RobertaProcessing::new(last_token, first_token).trim_offsets(false).into(),
    };
    let mut tokenizer = tokenizer.clone();
    tokenizer.with_post_processor(Some(processor));
    tokenizer.to_string(false).map_err(|error| Error::Tokenizer(error.to_string()))
}

/// Returns `tokenizer.json` with a post-processor that adds the tokens of `layout` and gives pairs
/// the segments `segments`, see [`Model::pair_segments`](crate::Model::pair_segments).
fn with_segments(
    tokenizer: &Tokenizer,
    layout: &Layout,
    segments: Option<usize>,
) -> Result<String> {
    let between = layout.between().map_err(layout_error)?;
    let in_segment_1 = |index: usize| segments.is_some_and(|count| index + count >= between.len());
    let second = u32::from(segments.is_some());
    let mut names = BTreeMap::new();
    let mut token = |id: u32, type_id: u32| -> Result<Value> {
        let name = token_name(tokenizer, id)?;
        names.insert(name.clone(), json!({"id": name, "ids": [id], "tokens": [name]}));
        Ok(json!({"SpecialToken": {"id": name, "type_id": type_id}}))
    };
    let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    let single = [token(layout.before(), 0)?, text("A", 0), token(layout.after(), 0)?];
    let mut pair = vec![token(layout.before(), 0)?, text("A", 0)];
    for (index, &id) in between.iter().enumerate() {
        pair.push(token(id, u32::from(in_segment_1(index)))?);
    }
    pair.extend([text("B", second), token(layout.after(), second)?]);
    let template = json!({
        "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": names,
    });
    let processor = match tokenizer.get_post_processor() {
        // This post-processor also trims offsets.
        Some(PostProcessorWrapper::Roberta(roberta)) if roberta.trim_offsets => {
            let bytes = json!({
                "type": "ByteLevel", "add_prefix_space": roberta.add_prefix_space,
                "trim_offsets": true, "use_regex": true,
            });
            json!({"type": "Sequence", "processors": [bytes, template]})
        }
        _ => template,
    };
    let processor: PostProcessorWrapper = serde_json::from_value(processor)
        .map_err(|error| Error::Tokenizer(format!("cannot create a post-processor: {error}")))?;
    let mut tokenizer = tokenizer.clone();
    tokenizer.with_post_processor(Some(processor));
    tokenizer.to_string(false).map_err(|error| Error::Tokenizer(error.to_string()))
}

/// Returns the special tokens by their keys in transformers.
fn special_token_names(
    tokenizer: &Tokenizer,
    specials: SpecialTokens,
) -> Result<BTreeMap<&'static str, String>> {
    let name = |id: u32| token_name(tokenizer, id);
    let mut tokens = BTreeMap::from([
        ("cls_token", name(specials.bos)?),
        ("sep_token", name(specials.eos)?),
        ("pad_token", name(specials.pad)?),
        ("mask_token", name(specials.mask)?),
    ]);
    if specials.unk != specials.eos {
        tokens.insert("unk_token", name(specials.unk)?);
    }
    if name(specials.bos)? != BERT_FIRST_TOKEN {
        // In BERT, the tokens before and after a text have only the keys `cls_token` and
        // `sep_token`.
        tokens.extend([("bos_token", name(specials.bos)?), ("eos_token", name(specials.eos)?)]);
    }
    Ok(tokens)
}

/// Creates `tokenizer_config.json` for a folder without one.
fn new_config(
    tokenizer: &Tokenizer,
    config: &Config,
    token_names: &BTreeMap<&'static str, String>,
) -> Map<String, Value> {
    let mut json: Map<String, Value> =
        token_names.iter().map(|(key, token)| ((*key).to_owned(), json!(token))).collect();
    json.insert(MODEL_INPUT_NAMES.into(), json!(input_names(false)));
    json.insert("model_max_length".into(), json!(config.max_length()));
    json.insert("tokenizer_class".into(), json!(PLAIN_CLASS));
    if let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() {
        // Options that BERT's tokenizer class reads. They have no effect unless a user selects this
        // class.
        json.insert("do_lower_case".into(), json!(normalizer.lowercase));
        json.insert("strip_accents".into(), json!(normalizer.strip_accents));
        json.insert("tokenize_chinese_chars".into(), json!(normalizer.handle_chinese_chars));
    }
    json
}

/// Returns the inputs of a model, as transformers calls them.
fn input_names(has_token_types: bool) -> Vec<&'static str> {
    match has_token_types {
        true => vec!["input_ids", "token_type_ids", "attention_mask"],
        false => vec!["input_ids", "attention_mask"],
    }
}

/// Reads a file; returns `None` if it does not exist.
fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match atomic_file::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    if !atomic_file::fs::metadata(path)?.is_file() {
        let reason = "expected a file; this path is a folder or a special file";
        return Err(Error::damaged(path, reason));
    }
    let bytes = atomic_file::fs::open(path)?.read_up_to(MAX_BYTES + 1)?;
    if bytes.len() as u64 > MAX_BYTES {
        let reason =
            format!("longer than {} MiB, the limit for files of a tokenizer", MAX_BYTES >> 20);
        return Err(Error::damaged(path, reason));
    }
    Ok(Some(bytes))
}

/// Removes `auto_map`, which refers to code, from a `tokenizer_config.json`. A file without this
/// key is returned unchanged.
fn without_code(bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>> {
    let mut config: Map<String, Value> = parse_json(path, &bytes)?;
    Ok(match config.remove(AUTO_MAP) {
        Some(_) => to_pretty_json(&Value::Object(config)),
        None => bytes,
    })
}

fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(atomic_file::write(path, bytes)?)
}
