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
mod trim;
mod trim_dropped;

pub use folder::{find, model_folder};
pub use layout::{Layout, LayoutError};
pub use spacing::Spacing;
pub use trim::{Trimmed, trim};
pub use trim_dropped::trim_dropped;

/// A tokenizer file that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The content is not supported: not a tokenizer of `tokenizers` or, for a path ending in
    /// `.model`, not a SentencePiece model with the layout of XLM-R or DeBERTa.
    #[error("{}: not {}: {problem}", path.display(), expected(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// The fault.
        problem: String,
    },
}

impl Error {
    /// Returns the fault without the file's name.
    pub fn problem(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("cannot be read: {source}"),
            Self::Content { path, problem } => format!("not {}: {problem}", expected(path)),
        }
    }
}

/// Returns the expected content of a file with this name.
fn expected(path: &Path) -> &'static str {
    if path.ends_with(folder::MODULES) {
        "the list of modules of sentence-transformers"
    } else if is_model(path) {
        "a SentencePiece model with the layout of XLM-R or DeBERTa"
    } else {
        "a Hugging Face tokenizer.json"
    }
}

/// Returns whether the path has the extension of a SentencePiece model.
fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "model")
}

/// Maximum size of a `tokenizer.json` in bytes: seven times the largest in use (Gemma and mmBERT,
/// 35 MB).
const MAX_BYTES: u64 = 256 << 20;

/// Reads a `tokenizer.json`, a SentencePiece model (`*.model`, see [`read_text`]) or the tokenizer
/// of a model folder (see [`find`]), plain or gzip-compressed. Truncation and padding are as
/// configured in the file.
///
/// # Errors
/// [`Error`] naming the file; also for a normaliser that can produce more than 1,000 characters per
/// character or prepend more than that to a text.
pub fn read(path: impl AsRef<Path>) -> Result<Tokenizer, Error> {
    let path = find(path)?;
    parse(&read_text(&path)?, &path)
}

/// Returns the text of a `tokenizer.json`, plain or gzip-compressed, of at most 256 MiB. A
/// SentencePiece model (`*.model`, at most 32 MiB) is converted to the `tokenizer.json` that
/// transformers creates for `XLMRobertaTokenizer` or `DebertaV2TokenizerFast`.
///
/// Unigram models without `byte_fallback` are supported if their first pieces are `<unk>`, `<s>`
/// and `</s>` (XLM-R) or `[PAD]`, `[CLS]`, `[SEP]` and `[UNK]` (DeBERTa). Models of the first kind
/// have fairseq's ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, the remaining pieces, and `<mask>`
/// last. For DeBERTa, the id of a piece is its index in the model, and `[MASK]` is last.
///
/// # Errors
/// [`Error::Read`] naming the file; [`Error::Content`] for an unsupported or damaged SentencePiece
/// model.
pub fn read_text(path: &Path) -> Result<String, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    if !is_model(path) {
        return atomic_file::read_to_string_limited(path, MAX_BYTES).map_err(read);
    }
    let bytes = atomic_file::read_limited(path, sentencepiece::MAX_BYTES).map_err(read)?;
    sentencepiece::to_json(&bytes)
        .map_err(|problem| Error::Content { path: path.to_owned(), problem })
}

/// Parses the text of a `tokenizer.json`; `path` is used in errors.
///
/// The post-processor does not trim offsets if `tokenizers` would cut off the first character of
/// words: after a pre-tokenizer that adds a space to each word (`ByteLevel` with `add_prefix_space`
/// after another step), the trimmed space is not in the text.
///
/// # Errors
/// [`Error::Content`] as for [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Tokenizer, Error> {
    let content = |problem| Error::Content { path: path.to_owned(), problem };
    // A truncated file is invalid JSON; the error has its position.
    let file: CheckedParts =
        serde_json::from_str(text).map_err(|error| content(error.to_string()))?;
    growth::check(&file.normalizer).map_err(content)?;
    let mut tokenizer = match catch_panic(|| parse_fast(text).map_or_else(|| text.parse(), Ok)) {
        Some(parsed) => parsed.map_err(|error| content(error.to_string()))?,
        None => return Err(content("it is damaged".into())),
    };
    offsets::disable_wrong_trimming(&mut tokenizer);
    Ok(tokenizer)
}

/// Parses a tokenizer with a Unigram model; returns `None` for other files.
///
/// `Tokenizer`'s own parser is slower, because it first parses every model to a JSON value.
fn parse_fast(text: &str) -> Option<Tokenizer> {
    type UnigramTokenizer = TokenizerImpl<
        Unigram,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >;
    let parsed: UnigramTokenizer =
        text.contains("\"Unigram\"").then(|| serde_json::from_str(text).ok())??;
    Some(parsed.into())
}

/// The parts that are validated before `tokenizers` parses the file.
#[derive(Deserialize)]
struct CheckedParts {
    #[serde(default)]
    normalizer: Value,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Returns the result of `work`, or `None` if it panics; the panic is not printed.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                default_hook(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result.ok()
}
