#![doc = include_str!("../README.md")]

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer;

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

/// A file that is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is not what `tokenizers` writes or, where its name ends with `.model`, no SentencePiece
    /// model laid out as XLM-R's or DeBERTa's.
    #[error("{}: not {}: {problem}", path.display(), expected(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// What is wrong, without the file's name.
    pub fn problem(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("cannot be read: {source}"),
            Self::Content { path, problem } => format!("not {}: {problem}", expected(path)),
        }
    }
}

/// What a file of this name should be.
fn expected(path: &Path) -> &'static str {
    if path.ends_with(folder::MODULES) {
        "the list of modules of sentence-transformers"
    } else if is_model(path) {
        "a SentencePiece model laid out as XLM-R's or DeBERTa's"
    } else {
        "a Hugging Face tokenizer.json"
    }
}

/// Whether a file is a SentencePiece model by its name.
fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "model")
}

/// Bytes of the longest `tokenizer.json` that is read: seven times the longest in use (Gemma and
/// mmBERT, 35 MB).
const LONGEST: u64 = 256 << 20;

/// Reads a `tokenizer.json` or a SentencePiece model (`*.model`, see [`read_text`]), or that of a
/// model folder, see [`find`]; plain or gzip-compressed, with the truncation and padding that it
/// sets.
///
/// # Errors
/// [`Error`] naming the file; also for a normaliser that can make more than 1,000
/// characters of one, or puts more than that before a text.
pub fn read(path: impl AsRef<Path>) -> Result<Tokenizer, Error> {
    let path = find(path)?;
    parse(&read_text(&path)?, &path)
}

/// The text of a `tokenizer.json`, plain or gzip-compressed, of at most 256 MiB. Of a SentencePiece
/// model (`*.model`, of at most 32 MiB) it is the `tokenizer.json` that transformers makes of it
/// for `XLMRobertaTokenizer` or `DebertaV2TokenizerFast`.
///
/// Accepted are Unigram models without `byte_fallback` whose first pieces are `<unk>`, `<s>` and
/// `</s>` or, of DeBERTa, `[PAD]`, `[CLS]`, `[SEP]` and `[UNK]`. The ids of the first are
/// fairseq's: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, the other pieces, and `<mask>` last; those
/// of DeBERTa are the pieces' numbers, and `[MASK]` last.
///
/// # Errors
/// [`Error::Read`] naming the file; [`Error::Content`] for another SentencePiece model or a damaged
/// one.
pub fn read_text(path: &Path) -> Result<String, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    if !is_model(path) {
        return whole_file::read_to_string_limited(path, LONGEST).map_err(read);
    }
    let bytes = whole_file::read_limited(path, sentencepiece::LONGEST).map_err(read)?;
    sentencepiece::to_json(&bytes)
        .map_err(|problem| Error::Content { path: path.to_owned(), problem })
}

/// The tokenizer of a `tokenizer.json` that was read; `path` is its name in errors.
///
/// Its post-processor does not trim offsets where `tokenizers` would cut off the first character
/// of words: behind a pre-tokenizer that adds a space to each word (`ByteLevel` with
/// `add_prefix_space` after another step), the space that is trimmed is not in the text.
///
/// # Errors
/// [`Error::Content`] as for [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Tokenizer, Error> {
    let content = |problem| Error::Content { path: path.to_owned(), problem };
    // A file that was cut is no JSON; the error has the place where it ends.
    let parts: Parts = serde_json::from_str(text).map_err(|error| content(error.to_string()))?;
    growth::check(&parts.normalizer).map_err(content)?;
    let mut tokenizer = match quietly(|| text.parse::<Tokenizer>()) {
        Some(parsed) => parsed.map_err(|error| content(error.to_string()))?,
        None => return Err(content("it is damaged".into())),
    };
    offsets::keep_first_characters(&mut tokenizer);
    Ok(tokenizer)
}

/// What is checked before `tokenizers` reads the file.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or nothing if it panics; the panic is not printed.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    done.ok()
}
