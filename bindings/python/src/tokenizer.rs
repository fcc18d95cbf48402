//! Cache of the last tokenizer, including the tokenizer's cache of words.
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use mlqa_eval::{Error, WindowTokenizer, load_tokenizer};

/// Identity of a tokenizer file, which changes if the file is replaced.
#[derive(Debug, PartialEq)]
struct Version {
    file: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

impl Version {
    /// Returns `None` if the path is not a regular file.
    fn of(path: &Path) -> Option<Self> {
        let file = std::path::absolute(tokenizer_file::find(path).ok()?).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self { file, bytes: metadata.len(), modified: metadata.modified().ok()? })
    }
}

type CachedTokenizer = (Version, Arc<WindowTokenizer<'static>>);

static LAST: Mutex<Option<CachedTokenizer>> = Mutex::new(None);

/// Returns the tokenizer of a file or folder; reads it unless it is the cached one.
pub fn tokenizer(path: &Path) -> Result<Arc<WindowTokenizer<'static>>, Error> {
    let version = Version::of(path);
    let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some((cached_version, tokenizer)), Some(version)) = (&*last(), &version)
        && cached_version == version
    {
        return Ok(Arc::clone(tokenizer));
    }
    let tokenizer = Arc::new(WindowTokenizer::new(Cow::Owned(load_tokenizer(path)?))?);
    *last() = version.map(|version| (version, Arc::clone(&tokenizer)));
    Ok(tokenizer)
}
