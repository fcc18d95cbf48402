#![doc = include_str!("../README.md")]

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;

use serde::de::IgnoredAny;
use tokenizers::Tokenizer;

mod kept_text;
mod layout;
mod spacing;

pub use kept_text::kept_text;
pub use layout::{Layout, LayoutError};
pub use spacing::Spacing;

/// A file that is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerFileError {
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

impl TokenizerFileError {
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

/// Reads a `tokenizer.json`, or that of a model folder, plain or gzip-compressed, with the
/// truncation and padding that it sets.
///
/// # Errors
/// [`TokenizerFileError`] naming the file.
pub fn read(path: impl AsRef<Path>) -> Result<Tokenizer, TokenizerFileError> {
    let path = path.as_ref();
    let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    let text = match whole_file::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(TokenizerFileError::Read { path, source }),
    };
    parse(&text).map_err(|problem| TokenizerFileError::Content { path, problem })
}

fn parse(text: &str) -> Result<Tokenizer, String> {
    // A file that was cut is no JSON, which says where it ends.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    match quietly(|| text.parse::<Tokenizer>()) {
        Some(parsed) => parsed.map_err(|error| error.to_string()),
        None => Err("it is damaged".into()),
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or nothing if it panics, which is said nowhere.
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
