//! Downloads the missing files of a snapshot into the cache.
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cache::{Cache, create_parent_folder};
use crate::http::{Announced, Client, LIST};
use crate::names::{
    CONFIG, INDEX, Repository, SENTENCE, SMALL, TOKENIZER, WEIGHTS, is_commit, is_sha256, quoted,
};
use crate::settings::Settings;
use crate::{Error, Progress, Result};

/// Number of automatic retries after a closed connection, and the delay before the first retry. The
/// delay increases with each retry.
const RETRIES: u32 = 3;
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
    let wanted = &repository.revision;
    if !is_commit(&commit) || (is_commit(wanted) && *wanted != commit) {
        let got = quoted(&commit);
        let reason = format!("expected the commit of {wanted} as 40 hex digits, got {got}");
        return Err(client.answer(LIST, reason));
    }
    let listed: BTreeSet<String> =
        listing.siblings.into_iter().map(|file| file.rfilename).collect();
    let weights = weights(repository, &listed)?;

    let mut fetch = Fetch { client, cache, commit: &commit, progress };
    let small = SMALL.into_iter().chain(SENTENCE).filter(|name| listed.contains(*name));
    for name in small.chain([weights]) {
        fetch.file(name)?;
    }
    for name in cache.weights(&commit)? {
        fetch.file(&name)?;
    }
    if !listed.contains(TOKENIZER) {
        cache.note_absent(&commit, TOKENIZER)?;
    }
    // Written last, so that a branch never refers to an incomplete snapshot.
    cache.note_commit(wanted, &commit)?;
    Ok(commit)
}

/// Returns the name of the weight file, or of its index, if the repository has a model.
fn weights(repository: &Repository, listed: &BTreeSet<String>) -> Result<&'static str> {
    let weights = [WEIGHTS, INDEX].into_iter().find(|name| listed.contains(*name));
    let is_pickle = |file: &String| file.starts_with("pytorch_model") && file.contains(".bin");
    let reason = match weights {
        Some(weights) if listed.contains(CONFIG) => return Ok(weights),
        Some(_) => format!("has no {CONFIG}, so it holds no model of transformers"),
        None if listed.iter().any(is_pickle) => format!(
            "has its weights as pytorch_model.bin only, a Python pickle that can run code when it \
             is opened, so it is not fetched; convert it once, with AutoModelForMaskedLM where it \
             is no reader, and give the folder: python3 -c 'from transformers import \
             AutoModelForQuestionAnswering as M, AutoTokenizer as T; \
             [c.from_pretrained(\"{}\", revision=\"{}\").save_pretrained(\"FOLDER\") \
             for c in (M, T)]'",
            repository.name, repository.revision
        ),
        None => format!("has neither {WEIGHTS} nor {INDEX}; name a repository with such weights"),
    };
    Err(Error::Missing { repository: repository.to_string(), reason })
}

struct Fetch<'a> {
    client: Client<'a>,
    cache: &'a Cache,
    commit: &'a str,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Fetch<'_> {
    /// Downloads one file into the snapshot. Its name is one of the fixed names or a validated
    /// shard name.
    fn file(&mut self, name: &str) -> Result<()> {
        if self.cache.snapshot(self.commit).join(name).is_file() {
            return Ok(());
        }
        let announced = self.client.announced(self.commit, name)?;
        let total = announced.size;
        (self.progress)(Progress { file: name, done: 0, total });
        let _lock = self.cache.lock(&announced.etag)?;
        let blob = self.cache.blob(&announced.etag);
        if !fs::metadata(&blob).is_ok_and(|data| data.is_file() && data.len() == total) {
            create_parent_folder(&blob)?;
            let partial = self.cache.blob(&format!("{}.incomplete", announced.etag));
            self.persist(name, &announced, &partial).inspect_err(|error| {
                if matches!(error, Error::Answer { .. }) {
                    // An error of the removal is ignored, because the original error is more
                    // informative.
                    let _ = fs::remove_file(&partial);
                }
            })?;
            fs::rename(&partial, &blob)
                .and_then(|()| atomic_file::sync_folder_of(&blob))
                .map_err(Error::io(&blob, "name the file"))?;
        }
        (self.progress)(Progress { file: name, done: total, total });
        self.cache.link(self.commit, name, &announced.etag)
    }

    /// Calls [`download`](Self::download), and retries if the connection is closed after some
    /// bytes.
    fn persist(&mut self, name: &str, announced: &Announced, partial: &Path) -> Result<()> {
        let came = || fs::metadata(partial).map_or(0, |data| data.len());
        for again in 1..=RETRIES {
            let before = came();
            match self.download(name, announced, partial) {
                Err(Error::Network { .. }) if came() > before => {
                    std::thread::sleep(RETRY_DELAY.saturating_mul(again));
                }
                done => return done,
            }
        }
        self.download(name, announced, partial)
    }

    /// Writes the content to `partial` and syncs the file. Bytes of an earlier attempt are kept if
    /// a digest can verify the complete file.
    fn download(&mut self, name: &str, announced: &Announced, partial: &Path) -> Result<()> {
        let Announced { etag, size: total } = announced;
        let total = *total;
        let io = || Error::io(partial, "write the file");
        let options =
            File::options().create(true).truncate(false).read(true).write(true).open(partial);
        let mut file = options.map_err(io())?;
        let mut hasher = Sha256::new();
        let left = match is_sha256(etag) {
            true => io::copy(&mut file, &mut hasher).map_err(io())?,
            false => 0,
        };
        let start = if left < total { left } else { 0 };
        let (mut content, mut done) = self.client.content(self.commit, name, start, total)?;
        if done != left {
            hasher.reset();
        }
        file.set_len(done).and_then(|()| file.seek(SeekFrom::Start(done))).map_err(io())?;
        let mut buffer = vec![0; 1 << 16];
        while done <= total {
            let read = content.read(&mut buffer);
            let read = read.map_err(|error| self.cut(name, done, total, &error.to_string()))?;
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hasher.update(piece);
            file.write_all(piece).map_err(io())?;
            done = done.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            (self.progress)(Progress { file: name, done: done.min(total), total });
        }
        if done < total {
            return Err(self.cut(name, done, total, "the connection was closed"));
        }
        let got = format!("{:x}", hasher.finalize());
        if done > total || (is_sha256(etag) && got != *etag) {
            let reason = match done > total {
                true => format!("expected {total} bytes, got more"),
                false => format!("expected content of SHA-256 {etag}, got {got}"),
            };
            let reason = format!("{reason}; what came is deleted, run the command again");
            return Err(self.client.answer(name, reason));
        }
        file.sync_all().map_err(io())
    }

    fn cut(&self, name: &str, done: u64, total: u64, problem: &str) -> Error {
        self.client.network(name, format!("{done} of {total} bytes came: {problem}"))
    }
}
