#![doc = include_str!("../README.md")]

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::unigram::Unigram;
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
    TokenizerImpl,
};

mod charsmap;
mod folder;
mod growth;
mod layout;
mod offsets;
mod sentencepiece;
mod spacing;
mod token_types;
mod trim;
mod trim_removed_start;

pub use folder::{find, model_folder};
pub use layout::{Layout, LayoutError};
pub use spacing::Spacing;
pub use token_types::{MODEL_INPUT_NAMES, returns_token_types};
pub use trim::{Trimmed, trim};
pub use trim_removed_start::trim_removed_start;

/// A tokenizer file that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] atomic_file::Error),
    /// The content is not supported. A path ending in `.model` must be a SentencePiece model with
    /// the layout of XLM-R or DeBERTa, `modules.json` a list of modules, `tokenizer_config.json` and
    /// `config.json` a configuration, and any other file a tokenizer of `tokenizers`.
    #[error("{}: not {}: {problem}", path.display(), expected_content(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// A description of the problem.
        problem: String,
    },
}

impl Error {
    /// Returns a description of the problem without the file's path.
    pub fn problem(&self) -> String {
        match self {
            Self::Read(error) => format!("cannot be read: {}", error.source),
            Self::Content { path, problem } => format!("not {}: {problem}", expected_content(path)),
        }
    }
}

/// Returns the expected content of a file with this name.
fn expected_content(path: &Path) -> &'static str {
    if path.ends_with(folder::MODULES_FILE) {
        "the list of modules of sentence-transformers"
    } else if path.ends_with(token_types::TOKENIZER_CONFIG_FILE) {
        "the configuration of a tokenizer"
    } else if path.ends_with(token_types::CONFIG_FILE) {
        "the configuration of a model"
    } else if is_sentencepiece(path) {
        "a SentencePiece model with the layout of XLM-R or DeBERTa"
    } else {
        "a Hugging Face tokenizer.json"
    }
}

/// Returns whether the path has the extension of a SentencePiece model.
fn is_sentencepiece(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "model")
}

/// Maximum size of a `tokenizer.json` in bytes: seven times the largest in use (Gemma and mmBERT,
/// 35 MB).
const MAX_BYTES: u64 = 256 << 20;

/// Reads a `tokenizer.json`, a SentencePiece model (`*.model`, see [`read_text`]) or the tokenizer
/// of a model folder (see [`find`]), plain or gzip-compressed. Truncation and padding are set as in
/// the file.
///
/// # Errors
/// [`Error`] if the file cannot be read, is not a supported tokenizer, or has a normaliser that can
/// produce more than 1,000 characters for one character or prepend more than 1,000 to a text.
pub fn read(path: impl AsRef<Path>) -> Result<Tokenizer, Error> {
    let path = find(path)?;
    parse(&read_text(&path)?, &path)
}

/// Returns the text of a `tokenizer.json`, plain or gzip-compressed, of at most 256 MiB. A
/// SentencePiece model (`*.model`, at most 32 MiB) is converted to the `tokenizer.json` that
/// transformers creates for `XLMRobertaTokenizer` or `DebertaV2TokenizerFast`.
///
/// Unigram models without `byte_fallback` are supported if their first pieces are `<unk>`, `<s>`
/// and `</s>` (XLM-R) or `[PAD]`, `[CLS]`, `[SEP]` and `[UNK]` (DeBERTa). The tokens of XLM-R have
/// fairseq's ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, the remaining pieces, and `<mask>` last.
/// For DeBERTa, the id of a piece is its index in the model, and `[MASK]` is last.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read; [`Error::Content`] for an unsupported or damaged
/// SentencePiece model.
pub fn read_text(path: &Path) -> Result<String, Error> {
    if !is_sentencepiece(path) {
        return Ok(atomic_file::read_to_string_limited(path, MAX_BYTES)?);
    }
    let bytes = atomic_file::read_limited(path, sentencepiece::MAX_BYTES)?;
    sentencepiece::to_json(&bytes)
        .map_err(|problem| Error::Content { path: path.to_owned(), problem })
}

/// Parses the text of a `tokenizer.json`; `path` is used in errors.
///
/// Trimming of offsets is disabled if a pre-tokenizer adds a space to each word (`ByteLevel` with
/// `add_prefix_space` after another step): this space is not in the text, so `tokenizers` would cut
/// off the first character of the word.
///
/// # Errors
/// [`Error::Content`] as for [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Tokenizer, Error> {
    let content_error = |problem| Error::Content { path: path.to_owned(), problem };
    // For a truncated file, this error contains the position at which the text ends.
    let fields: CheckedFields =
        serde_json::from_str(text).map_err(|error| content_error(error.to_string()))?;
    growth::check(&fields.normalizer).map_err(content_error)?;
    let mut tokenizer = match catch_panic(|| parse_unigram(text).map_or_else(|| text.parse(), Ok)) {
        Some(parsed) => parsed.map_err(|error| content_error(error.to_string()))?,
        None => return Err(content_error("it is damaged".into())),
    };
    offsets::disable_wrong_trimming(&mut tokenizer);
    Ok(tokenizer)
}

/// Parses a tokenizer with a Unigram model; returns `None` for other files.
///
/// The parser of `Tokenizer` is slower, because it first parses every model to a JSON value.
fn parse_unigram(text: &str) -> Option<Tokenizer> {
    type UnigramTokenizer = TokenizerImpl<
        Unigram,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >;
    let parse = || serde_json::from_str::<UnigramTokenizer>(text).ok();
    Some(text.contains("\"Unigram\"").then(parse)??.into())
}

/// The fields that are validated before `tokenizers` parses the file.
#[derive(Deserialize)]
struct CheckedFields {
    #[serde(default)]
    normalizer: Value,
}

thread_local! {
    static SUPPRESS_MESSAGE: Cell<bool> = const { Cell::new(false) };
}

/// Returns the result of `work`, or `None` if `work` panics; the panic message is not printed.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !SUPPRESS_MESSAGE.get() {
                default_hook(info);
            }
        }));
    });
    SUPPRESS_MESSAGE.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    SUPPRESS_MESSAGE.set(false);
    result.ok()
}
