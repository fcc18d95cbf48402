//! The cache folder of a repository, in the layout of huggingface_hub.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use atomic_file::fs;
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::names::{
    CONFIG, CONFIG_AND_TOKENIZER_FILES, INDEX, MAX_JSON_BYTES, QUANTIZED_WEIGHTS, Repository,
    TOKENIZER, WEIGHTS, is_commit, parse_shards,
};

/// State of a model's snapshot in the cache.
pub(crate) enum CachedModel {
    /// All required files of this commit are cached.
    Complete(String),
    /// All required files of this commit are cached except `tokenizer.json`, which the repository
    /// may not have.
    WithoutTokenizer(String),
    /// A required file is not cached. The value is the name of the file, or "the model" if no
    /// commit of the revision is cached.
    Missing(String),
}

pub(crate) struct Cache {
    pub(crate) repository: Repository,
    /// `models--owner--name`.
    folder: PathBuf,
    /// Folder of the lock files of huggingface_hub for this repository.
    #[cfg(feature = "fetch")]
    lock_folder: PathBuf,
}

impl Cache {
    pub(crate) fn new(cache: &Path, repository: Repository) -> Self {
        let name = repository.folder_name();
        Self {
            repository,
            folder: cache.join(&name),
            #[cfg(feature = "fetch")]
            lock_folder: cache.join(".locks").join(&name),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Returns the cached state of the requested revision.
    pub(crate) fn cached_model(&self) -> Result<CachedModel> {
        let Some(commit) = self.commit(&self.repository.revision) else {
            return Ok(CachedModel::Missing("the model".to_owned()));
        };
        let snapshot = self.snapshot(&commit);
        let mut required = self.weight_files(&commit)?;
        required.insert(0, CONFIG.to_owned());
        if let Some(file) = required.into_iter().find(|file| !snapshot.join(file).is_file()) {
            return Ok(CachedModel::Missing(file));
        }
        match snapshot.join(TOKENIZER).is_file() || self.absence_file(&commit, TOKENIZER).exists() {
            true => Ok(CachedModel::Complete(commit)),
            false => Ok(CachedModel::WithoutTokenizer(commit)),
        }
    }

    /// Returns the commit of a revision: the revision itself if it is a commit, otherwise the
    /// commit in `refs`.
    fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        // A damaged reference is written again by the download.
        let commit = fs::read_limited(self.folder.join("refs").join(revision), 1024).ok()?;
        let commit = String::from_utf8(commit).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Returns the names of a snapshot's weight files, whether they are cached or not: one file, or
    /// the index and its shards.
    pub(crate) fn weight_files(&self, commit: &str) -> Result<Vec<String>> {
        let snapshot = self.snapshot(commit);
        let index = snapshot.join(INDEX);
        if snapshot.join(WEIGHTS).is_file() || !index.is_file() {
            let is_quantized =
                !snapshot.join(WEIGHTS).is_file() && snapshot.join(QUANTIZED_WEIGHTS).is_file();
            let weights = if is_quantized { QUANTIZED_WEIGHTS } else { WEIGHTS };
            return Ok(vec![weights.to_owned()]);
        }
        let bytes = fs::read_limited(&index, MAX_JSON_BYTES)?;
        let shards = parse_shards(&bytes).map_err(|reason| {
            let folder = snapshot.display();
            let reason = format!("{reason}; if the error persists, delete {folder}");
            self.repository.response_error(INDEX, reason)
        })?;
        Ok([INDEX.to_owned()].into_iter().chain(shards).collect())
    }

    /// Returns the files of a snapshot with their content ids.
    pub(crate) fn files(&self, commit: &str) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for name in CONFIG_AND_TOKENIZER_FILES
            .map(str::to_owned)
            .into_iter()
            .chain(self.weight_files(commit)?)
        {
            let path = self.snapshot(commit).join(&name);
            if path.is_file() {
                files.insert(name, content_id(&path)?);
            }
        }
        Ok(files)
    }

    /// Returns the path of the empty file that records that a commit lacks `file`.
    fn absence_file(&self, commit: &str, file: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(file)
    }
}

/// Returns the name of the blob to which a file is linked, or the SHA-256 of a copied file.
fn content_id(path: &Path) -> Result<String> {
    if let Ok(target) = path.read_link()
        && target.parent().is_some_and(|folder| folder.ends_with("blobs"))
        && let Some(blob) = target.file_name().and_then(|name| name.to_str())
    {
        return Ok(blob.to_owned());
    }
    let mut hasher = Sha256::new();
    fs::open(path)?.read_into(&mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

#[cfg(feature = "fetch")]
mod write {
    use std::fs::OpenOptions;
    use std::io;

    use atomic_file::FileLock;
    use atomic_file::fs::File;

    use super::*;

    impl Cache {
        pub(crate) fn blob(&self, etag: &str) -> PathBuf {
            self.folder.join("blobs").join(etag)
        }

        /// Locks a blob, after waiting until no other process holds the lock. Dropping the returned
        /// value releases the lock. Returns `None` if the file system does not support locks.
        pub(crate) fn lock(&self, etag: &str) -> Result<Option<FileLock>> {
            let path = self.lock_folder.join(format!("{etag}.lock"));
            create_parent_folder(&path)?;
            loop {
                let options =
                    OpenOptions::new().create(true).truncate(false).write(true).to_owned();
                let file = File::open_with(&path, &options)?;
                let lock = file.lock()?;
                if has_directory_entry(&file) {
                    return Ok(lock);
                }
            }
        }

        /// Links a file of a snapshot to its blob.
        pub(crate) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<()> {
            let path = self.snapshot(commit).join(file);
            create_parent_folder(&path)?;
            let root = "../".repeat(2 + file.matches('/').count());
            if link(&path, &format!("{root}blobs/{etag}")).is_ok() {
                return Ok(());
            }
            let mut file = atomic_file::AtomicFile::create(&path)?;
            let copied = io::copy(&mut fs::open(self.blob(etag))?, &mut file);
            copied.map_err(atomic_file::Error::new(&path, "write"))?;
            Ok(file.finish()?)
        }

        /// Records that a commit lacks a file.
        pub(crate) fn record_absence(&self, commit: &str, file: &str) -> Result<()> {
            let path = self.absence_file(commit, file);
            create_parent_folder(&path)?;
            File::create(&path)?;
            Ok(())
        }

        /// Stores the commit of a branch or tag.
        pub(crate) fn record_commit(&self, revision: &str, commit: &str) -> Result<()> {
            if revision == commit || self.commit(revision).as_deref() == Some(commit) {
                return Ok(());
            }
            let path = self.folder.join("refs").join(revision);
            create_parent_folder(&path)?;
            Ok(atomic_file::write(&path, commit)?)
        }
    }

    pub(crate) fn create_parent_folder(path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(path);
        Ok(fs::create_dir_all(folder)?)
    }

    /// Returns whether the open file still has a directory entry. Another process may remove the
    /// lock file when its download is finished.
    #[cfg(unix)]
    fn has_directory_entry(file: &File) -> bool {
        use std::os::unix::fs::MetadataExt;
        file.metadata().map_or(true, |metadata| metadata.nlink() > 0)
    }

    #[cfg(not(unix))]
    fn has_directory_entry(_file: &File) -> bool {
        true
    }

    /// Creates a symbolic link, and replaces an existing link. The target is a relative path, so
    /// that a cache can be moved.
    #[cfg(unix)]
    fn link(path: &Path, target: &str) -> io::Result<()> {
        match std::os::unix::fs::symlink(target, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(path)?;
                std::os::unix::fs::symlink(target, path)
            }
            result => result,
        }
    }

    #[cfg(not(unix))]
    fn link(_path: &Path, _target: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(feature = "fetch")]
pub(crate) use write::create_parent_folder;
