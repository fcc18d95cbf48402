//! Downloads the missing files of a snapshot into the cache.
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{Read, SeekFrom};
use std::path::Path;
use std::time::Duration;

use atomic_file::fs::File;
use sha2::{Digest, Sha256};

use crate::Progress;
use crate::cache::{Cache, create_parent_folder};
use crate::error::{Error, Result};
use crate::http::{Client, FILE_LIST, FileInfo};
use crate::names::{
    ADAPTER_FILES, CONFIG, CONFIG_AND_TOKENIZER_FILES, INDEX, POLYQA_FILES, QUANTIZED_WEIGHTS,
    Repository, SENTENCE_ENCODER_FILES, TOKENIZER, WEIGHTS, is_commit, is_sha256, quote,
};
use crate::settings::Settings;

/// Number of automatic retries after a closed connection.
const RETRIES: u32 = 3;
/// Delay before the first retry; later delays are multiples of this delay.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Downloads the missing files of the requested revision, and returns the revision's commit.
pub(crate) fn fetch(
    settings: &Settings,
    cache: &Cache,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<String> {
    let repository = &cache.repository;
    let client = Client::new(settings, repository)?;
    let listing = client.listing()?;
    let commit = listing.sha;
    let revision = &repository.revision;
    if !is_commit(&commit) || (is_commit(revision) && *revision != commit) {
        let got = quote(&commit);
        let reason = format!("expected the commit of {revision} as 40 hex digits, got {got}");
        return Err(client.response_error(FILE_LIST, reason));
    }
    let names: BTreeSet<String> = listing.siblings.into_iter().map(|file| file.rfilename).collect();
    let weights_file = find_weights(repository, &names)?;

    let mut downloader = Downloader { client, cache, commit: &commit, progress };
    let small_files = CONFIG_AND_TOKENIZER_FILES
        .into_iter()
        .chain(SENTENCE_ENCODER_FILES)
        .chain(ADAPTER_FILES)
        .chain(POLYQA_FILES)
        .filter(|name| names.contains(*name));
    for name in small_files.chain([weights_file]) {
        downloader.fetch(name)?;
    }
    for name in cache.weight_files(&commit)? {
        downloader.fetch(&name)?;
    }
    if !names.contains(TOKENIZER) {
        cache.record_absence(&commit, TOKENIZER)?;
    }
    // The commit is recorded last, so that a branch never refers to an incomplete snapshot.
    cache.record_commit(revision, &commit)?;
    Ok(commit)
}

/// Returns the name of the weight file or of the index of its shards; an error if the repository
/// has no supported model.
fn find_weights(repository: &Repository, names: &BTreeSet<String>) -> Result<&'static str> {
    let weights =
        [WEIGHTS, INDEX, QUANTIZED_WEIGHTS].into_iter().find(|name| names.contains(*name));
    let is_pickle = |file: &String| file.starts_with("pytorch_model") && file.contains(".bin");
    let reason = match weights {
        Some(weights) if names.contains(CONFIG) => return Ok(weights),
        Some(_) => format!("has no {CONFIG}, so it is not a model of transformers"),
        None if names.contains(ADAPTER_FILES[0]) => format!(
            "is an adapter without its base model; merge it in PEFT \
             (`AutoPeftModelForQuestionAnswering.from_pretrained(\"{}\").merge_and_unload()`), save the \
             result with its tokenizer, and use the folder",
            repository.name
        ),
        None if names.iter().any(is_pickle) => format!(
            "has only pytorch_model.bin, a Python pickle, which can run code when it is opened and \
             is not downloaded; convert it (with AutoModelForMaskedLM if it is not a reader) and \
             use the folder: python3 -c 'from transformers import \
             AutoModelForQuestionAnswering as M, AutoTokenizer as T; \
             [c.from_pretrained(\"{}\", revision=\"{}\").save_pretrained(\"FOLDER\") \
             for c in (M, T)]'",
            repository.name, repository.revision
        ),
        None => format!(
            "has neither {WEIGHTS} nor {INDEX}; choose a repository with safetensors weights"
        ),
    };
    Err(Error::Missing { repository: repository.to_string(), reason })
}

struct Downloader<'a> {
    client: Client<'a>,
    cache: &'a Cache,
    commit: &'a str,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Downloader<'_> {
    /// Downloads one file into the snapshot. `name` must be a constant or a validated shard name.
    fn fetch(&mut self, name: &str) -> Result<()> {
        if self.cache.snapshot(self.commit).join(name).is_file() {
            return Ok(());
        }
        let file_info = self.client.file_info(self.commit, name)?;
        let total = file_info.size;
        (self.progress)(Progress { file: name, done: 0, total });
        let _lock = self.cache.lock(&file_info.etag)?;
        let blob = self.cache.blob(&file_info.etag);
        if !fs::metadata(&blob).is_ok_and(|data| data.is_file() && data.len() == total) {
            create_parent_folder(&blob)?;
            let partial = self.cache.blob(&format!("{}.incomplete", file_info.etag));
            self.download_with_retries(name, &file_info, &partial).inspect_err(|error| {
                if matches!(error, Error::Response { .. }) {
                    // A failed removal is ignored: the original error is more informative.
                    let _ = fs::remove_file(&partial);
                }
            })?;
            atomic_file::fs::rename(&partial, &blob)?;
            atomic_file::sync_folder_of(&blob)?;
        }
        (self.progress)(Progress { file: name, done: total, total });
        self.cache.link(self.commit, name, &file_info.etag)
    }

    /// Calls [`download`](Self::download), and retries if the connection was closed after new bytes
    /// were received.
    fn download_with_retries(
        &mut self,
        name: &str,
        file_info: &FileInfo,
        partial: &Path,
    ) -> Result<()> {
        let partial_size = || fs::metadata(partial).map_or(0, |data| data.len());
        for attempt in 1..=RETRIES {
            let old_size = partial_size();
            match self.download(name, file_info, partial) {
                Err(Error::Network { .. }) if partial_size() > old_size => {
                    std::thread::sleep(RETRY_DELAY.saturating_mul(attempt));
                }
                result => return result,
            }
        }
        self.download(name, file_info, partial)
    }

    /// Writes the content to `partial` and syncs the file. Bytes of an earlier attempt are reused
    /// only if the ETag is a SHA-256, because only then can the complete file be verified.
    fn download(&mut self, name: &str, file_info: &FileInfo, partial: &Path) -> Result<()> {
        let FileInfo { etag, size: total } = file_info;
        let total = *total;
        let options =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).to_owned();
        let mut file = File::open_with(partial, &options)?;
        let mut hasher = Sha256::new();
        let partial_bytes = match is_sha256(etag) {
            true => file.read_into(&mut hasher)?,
            false => 0,
        };
        let start = if partial_bytes < total { partial_bytes } else { 0 };
        let (mut content, mut done) = self.client.content(self.commit, name, start, total)?;
        if done != partial_bytes {
            hasher.reset();
        }
        file.set_len(done)?;
        file.seek(SeekFrom::Start(done))?;
        let mut buffer = vec![0; 1 << 16];
        while done <= total {
            let read = content.read(&mut buffer);
            let read = read
                .map_err(|error| self.interruption_error(name, done, total, &error.to_string()))?;
            if read == 0 {
                break;
            }
            let chunk = &buffer[..read];
            hasher.update(chunk);
            file.write_all(chunk)?;
            done += read as u64;
            (self.progress)(Progress { file: name, done: done.min(total), total });
        }
        if done < total {
            return Err(self.interruption_error(name, done, total, "the connection was closed"));
        }
        let got = format!("{:x}", hasher.finalize());
        if done > total || (is_sha256(etag) && got != *etag) {
            let reason = match done > total {
                true => format!("expected {total} bytes, got more"),
                false => format!("expected content of SHA-256 {etag}, got {got}"),
            };
            let reason =
                format!("{reason}; the downloaded part was deleted; run the command again");
            return Err(self.client.response_error(name, reason));
        }
        Ok(file.sync_all()?)
    }

    fn interruption_error(&self, name: &str, done: u64, total: u64, problem: &str) -> Error {
        self.client.network_error(name, format!("received {done} of {total} bytes: {problem}"))
    }
}
