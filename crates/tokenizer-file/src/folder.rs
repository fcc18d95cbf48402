//! The file of a model folder that its tokenizer is read from.
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::sentencepiece::CONVERT;

/// What is read, the first that is there.
const FILES: [&str; 3] = ["tokenizer.json", "sentencepiece.bpe.model", "spm.model"];

/// Files of tokenizers of other kinds.
const OTHERS: [&str; 5] =
    ["vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "tekken.json"];

/// The file that [`read`](crate::read) takes: of a model folder `tokenizer.json` or, where it has
/// none, `sentencepiece.bpe.model` (XLM-R) or `spm.model` (DeBERTa); else `path` itself.
///
/// # Errors
/// [`Error::Read`] naming the folder, the files and, where it has only a tokenizer of another kind
/// (`vocab.txt`, `spiece.model`), what converts it.
pub fn find(path: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let path = path.as_ref();
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    // A link to nothing counts: what it names is missing, not the name.
    let there = |name: &&str| path.join(name).symlink_metadata().is_ok();
    if let Some(name) = FILES.into_iter().find(there) {
        return Ok(path.join(name));
    }
    let none = format!("it has none of {}", FILES.join(", "));
    let reason = match OTHERS.into_iter().find(there) {
        Some(other) => format!("{none}, but {other}; {CONVERT}"),
        None => format!("{none}; copy one of them from the model's page"),
    };
    Err(Error::Read { path: path.to_owned(), source: IoError::new(ErrorKind::NotFound, reason) })
}
