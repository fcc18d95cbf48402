//! The file of a model folder that its tokenizer is read from.
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::sentencepiece::CONVERT;

/// What is read, the first that is there.
const FILES: [&str; 2] = ["tokenizer.json", "sentencepiece.bpe.model"];

/// Files of tokenizers of other kinds.
const OTHERS: [&str; 6] =
    ["vocab.txt", "vocab.json", "spm.model", "spiece.model", "tokenizer.model", "tekken.json"];

/// The file that [`read`](crate::read) takes: of a model folder `tokenizer.json` or, where it has
/// none, `sentencepiece.bpe.model`; else `path` itself.
///
/// # Errors
/// [`Error::Read`] naming the folder, both files and, where it has only a tokenizer of another kind
/// (`vocab.txt`, `spm.model`), what converts it.
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
    let [json, model] = FILES;
    let reason = match OTHERS.into_iter().find(there) {
        Some(other) => format!("it has neither {json} nor {model}, but {other}; {CONVERT}"),
        None => {
            format!("it has neither {json} nor {model}; copy one of them from the model's page")
        }
    };
    Err(Error::Read { path: path.to_owned(), source: IoError::new(ErrorKind::NotFound, reason) })
}
