//! Cache of the last tokenizer and its tokenised words.
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use mlqa_eval::{Error, WindowTokenizer, load_tokenizer};

/// Version of a tokenizer file, which changes if the file is modified or replaced.
#[derive(Debug, PartialEq)]
struct FileVersion {
    file: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

impl FileVersion {
    /// Returns `None` if the path is not a regular file.
    fn of(path: &Path) -> Option<Self> {
        let file = std::path::absolute(tokenizer_file::find(path).ok()?).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self { file, bytes: metadata.len(), modified: metadata.modified().ok()? })
    }
}

type CachedTokenizer = (FileVersion, Arc<WindowTokenizer<'static>>);

static CACHE: Mutex<Option<CachedTokenizer>> = Mutex::new(None);

/// Returns the tokenizer of a file or folder. The file is read unless its tokenizer is cached.
pub fn get_or_load(path: &Path) -> Result<Arc<WindowTokenizer<'static>>, Error> {
    let version = FileVersion::of(path);
    let cache = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some((cached_version, tokenizer)), Some(version)) = (&*cache(), &version)
        && cached_version == version
    {
        return Ok(Arc::clone(tokenizer));
    }
    let tokenizer = Arc::new(WindowTokenizer::new(Cow::Owned(load_tokenizer(path)?))?);
    *cache() = version.map(|version| (version, Arc::clone(&tokenizer)));
    Ok(tokenizer)
}
