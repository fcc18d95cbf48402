#![doc = include_str!("../README.md")]

mod cache;
mod error;
#[cfg(feature = "fetch")]
mod fetch;
#[cfg(feature = "fetch")]
mod http;
mod names;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::{Cache, CachedModel};
use crate::error::Result;
use crate::names::Repository;
use crate::settings::Settings;

pub use error::Error;

/// A client of the Hugging Face hub and its local cache.
pub struct Hub {
    settings: Settings,
}

/// The folder of a model and its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResolvedModel {
    /// The folder with `config.json`, the weights and the tokenizer's files.
    pub folder: PathBuf,
    /// Repository and commit of a hub model; `None` for a local folder.
    pub origin: Option<Origin>,
}

/// Identification of a hub model's files, for the records of training runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The repository name as requested, such as `deepset/xlm-roberta-base-squad2`.
    pub repository: String,
    /// The commit: 40 hex digits.
    pub commit: String,
    /// Content ids by file name: the SHA-256 in hex digits for large files such as weights, and
    /// git's blob id for small files. Both come from the server; the SHA-256 was compared with the
    /// content during the download.
    pub files: BTreeMap<String, String>,
}

/// Progress of the download of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name in the repository.
    pub file: &'a str,
    /// Number of bytes on disk so far.
    pub done: u64,
    /// Size of the file in bytes.
    pub total: u64,
}

impl Hub {
    /// Reads the settings from the [environment variables](crate#environment-variables), such as
    /// `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// Reads the settings from the values that `variable` returns for the names of environment
    /// variables.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        Self { settings: Settings::read(variable) }
    }

    /// Returns the folder of a model: `model` itself if it is a folder, else the snapshot of the
    /// repository `owner/name` or `name`, optionally with `@revision`. A complete snapshot in the
    /// cache is used without a request. Otherwise missing files are downloaded, and `progress` is
    /// called for every received piece of a file.
    ///
    /// # Errors
    /// [`Error`] if `model` is neither a folder nor a repository name, the cache cannot be read or
    /// written, a required download is disabled or fails, a response is invalid, or the repository
    /// has no safetensors weights.
    pub fn resolve(
        &self,
        model: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<ResolvedModel> {
        let path = Path::new(model);
        if path.is_dir() {
            return Ok(ResolvedModel { folder: path.to_owned(), origin: None });
        }
        if path.exists() {
            let problem = "is a file; expected the folder that contains it";
            return Err(Error::Name { model: model.to_owned(), problem });
        }
        let repository = Repository::parse(model)?;
        let cache = Cache::new(self.settings.cache()?, repository);
        let commit = match cache.cached_model()? {
            CachedModel::Complete(commit) => commit,
            // The code that loads the tokenizer reports the missing file.
            CachedModel::WithoutTokenizer(commit) if !self.settings.allows_downloads() => commit,
            CachedModel::WithoutTokenizer(_) => self.fetch(&cache, "tokenizer.json", progress)?,
            CachedModel::Missing(name) => self.fetch(&cache, &name, progress)?,
        };
        let folder = cache.snapshot(&commit);
        let files = cache.files(&commit)?;
        let origin = Some(Origin { repository: cache.repository.name, commit, files });
        Ok(ResolvedModel { folder, origin })
    }

    /// Downloads the missing files of a snapshot into the cache, and returns the commit.
    #[cfg_attr(not(feature = "fetch"), expect(unused_variables, reason = "used by downloads"))]
    fn fetch(
        &self,
        cache: &Cache,
        missing: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<String> {
        #[cfg(feature = "fetch")]
        if self.settings.allows_downloads() {
            return fetch::fetch(&self.settings, cache, progress);
        }
        let instruction = match self.settings.is_offline {
            true => "HF_HUB_OFFLINE disables downloads; unset it, or",
            false => "this program was built without downloads (feature `fetch`; in polyqa `hub`);",
        };
        let folder = cache.folder().display();
        let command = cache.repository.download_command();
        let reason = format!("{folder} lacks {missing}, and {instruction} run `{command}`");
        Err(Error::Missing { repository: cache.repository.to_string(), reason })
    }
}
