#![doc = include_str!("../README.md")]

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer;

mod charsmap;
mod growth;
mod kept_text;
mod layout;
mod spacing;

pub use kept_text::kept_text;
pub use layout::{Layout, LayoutError};
pub use spacing::Spacing;

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
    /// It is not what `tokenizers` writes.
    #[error("{}: not a Hugging Face tokenizer.json: {problem}", path.display())]
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
            Self::Content { problem, .. } => {
                format!("not a Hugging Face tokenizer.json: {problem}")
            }
        }
    }
}

/// Bytes of the longest `tokenizer.json` that is read: seven times the longest in use (Gemma and
/// mmBERT, 35 MB).
const LONGEST: u64 = 256 << 20;

/// Reads a `tokenizer.json`, or that of a model folder, plain or gzip-compressed, with the
/// truncation and padding that it sets.
///
/// # Errors
/// [`Error`] naming the file; also for a normaliser that can make more than 1,000
/// characters of one, or puts more than that before a text.
pub fn read(path: impl AsRef<Path>) -> Result<Tokenizer, Error> {
    let path = path.as_ref();
    let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    parse(&read_text(&path)?, &path)
}

/// The text of a `tokenizer.json`, plain or gzip-compressed, of at most 256 MiB.
///
/// # Errors
/// [`Error::Read`] naming the file.
pub fn read_text(path: &Path) -> Result<String, Error> {
    whole_file::read_to_string_limited(path, LONGEST)
        .map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The tokenizer of a `tokenizer.json` that was read; `path` is its name in errors.
///
/// # Errors
/// [`Error::Content`] as for [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Tokenizer, Error> {
    let content = |problem| Error::Content { path: path.to_owned(), problem };
    // A file that was cut is no JSON; the error has the place where it ends.
    let parts: Parts = serde_json::from_str(text).map_err(|error| content(error.to_string()))?;
    growth::check(&parts.normalizer).map_err(content)?;
    match quietly(|| text.parse::<Tokenizer>()) {
        Some(parsed) => parsed.map_err(|error| content(error.to_string())),
        None => Err(content("it is damaged".into())),
    }
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
