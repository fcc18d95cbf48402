//! Validation of names from users and servers before they are used in paths.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use crate::error::{Error, Result};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// The weights of a folder that `xlmr-model quantize` wrote, which has neither of the other files.
pub(crate) const QUANTIZED_WEIGHTS: &str = "model.int8.safetensors";
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// Configuration and tokenizer files of a model. Only the files named in this module and the weight
/// shards listed in an index are downloaded.
pub(crate) const CONFIG_AND_TOKENIZER_FILES: [&str; 8] = [
    CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "spm.model",
    "vocab.txt",
];

/// Files of sentence-transformers: pooling, prompts and the maximum length of a text.
#[cfg(feature = "fetch")]
pub(crate) const SENTENCE_ENCODER_FILES: [&str; 4] = [
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
];

/// Files of a LoRA of PEFT next to the weights of its base model.
#[cfg(feature = "fetch")]
pub(crate) const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// Files of polyqa next to the weights: additional heads, and the temperature and thresholds of a
/// reader.
#[cfg(feature = "fetch")]
pub(crate) const POLYQA_FILES: [&str; 2] = ["heads.safetensors", "calibration.json"];

/// Maximum size of a JSON response or an index in bytes.
pub(crate) const MAX_JSON_BYTES: u64 = 16 << 20;

/// The name of a repository and the requested revision.
pub(crate) struct Repository {
    /// `owner/name`, or `name`.
    pub(crate) name: String,
    /// A branch, a tag or a commit.
    pub(crate) revision: String,
}

impl Repository {
    pub(crate) fn parse(model: &str) -> Result<Self> {
        let name_error = |problem| Err(Error::Name { model: model.to_owned(), problem });
        let (name, revision) = model.split_once('@').unwrap_or((model, "main"));
        let segments: Vec<&str> = name.split('/').collect();
        // The rules of huggingface_hub. `--` is invalid, because it replaces `/` in the names of
        // cache folders.
        let is_valid = segments.len() <= 2
            && name.len() <= 96
            && segments.iter().all(|segment| is_segment(segment) && !segment.ends_with(['.', '-']))
            && !["..", "--"].iter().any(|sequence| name.contains(sequence))
            && !name.ends_with(".git");
        if !is_valid {
            return name_error(
                "is neither an existing folder nor the name of a repository (`owner/name` of \
                 letters, digits, `.`, `_` and `-`)",
            );
        }
        if revision.len() > 128 || !revision.split('/').all(is_segment) || revision.contains("..") {
            return name_error("the revision after `@` must be a branch, a tag or a commit");
        }
        Ok(Self { name: name.to_owned(), revision: revision.to_owned() })
    }

    /// Returns the name of the repository's folder in the cache.
    pub(crate) fn folder_name(&self) -> String {
        format!("models--{}", self.name.replace('/', "--"))
    }

    /// Returns an error about a file or a response.
    pub(crate) fn response_error(&self, file: &str, reason: String) -> Error {
        Error::Response { repository: self.to_string(), file: file.to_owned(), reason }
    }

    /// Returns the command of Hugging Face's program `hf` that downloads the repository.
    pub(crate) fn download_command(&self) -> String {
        format!("hf download {}", self.to_string().replace('@', " --revision "))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.name),
            revision => write!(f, "{}@{revision}", self.name),
        }
    }
}

/// Returns whether a text consists of letters, digits, `.`, `_` and `-`, and begins with neither
/// `.` nor `-`.
fn is_segment(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && !text.starts_with(['.', '-']) && text.bytes().all(allowed)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether a revision is a complete commit hash.
pub(crate) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// Returns whether an ETag is the SHA-256 of the content.
#[cfg(feature = "fetch")]
pub(crate) fn is_sha256(etag: &str) -> bool {
    is_hex(etag, 64)
}

/// Returns whether an ETag is a valid blob name, to which `.lock` and `.incomplete` are appended.
#[cfg(feature = "fetch")]
pub(crate) fn is_blob_name(etag: &str) -> bool {
    is_segment(etag) && !etag.contains('.') && etag.len() <= 128
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Returns the names of the shards in an index of weights, or a description of the problem.
pub(crate) fn parse_shards(index: &[u8]) -> std::result::Result<BTreeSet<String>, String> {
    let index: Index = serde_json::from_slice(index)
        .map_err(|error| format!("expected an index of weights with `weight_map`: {error}"))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if shards.is_empty() {
        return Err("weight_map is empty".to_owned());
    }
    let is_shard = |name: &String| is_segment(name) && name.ends_with(".safetensors");
    match shards.iter().find(|name| !is_shard(name)) {
        None => Ok(shards),
        Some(name) => {
            let name = quote(name);
            Err(format!("expected names such as model-00001-of-00002.safetensors, got {name}"))
        }
    }
}

/// Quotes the first 80 characters of a text for an error message.
pub(crate) fn quote(text: &str) -> String {
    let text: String = text.chars().take(80).collect();
    format!("{text:?}")
}
