//! What a snapshot lacks, from the server into the cache.
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::cache::{Cache, make_folder_of};
use crate::http::{Announced, Client, LIST};
use crate::names::{INDEX, Repository, SMALL, TOKENIZER, WEIGHTS, is_commit, is_sha256};
use crate::settings::Settings;
use crate::{Error, Progress, Result};

/// Fetches what is not there of the wanted revision, and returns its commit.
pub(crate) fn fetch(
    settings: &Settings,
    repository: &Repository,
    cache: &Cache,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<String> {
    let client = Client::new(settings, repository)?;
    let listing = client.listing()?;
    let commit = listing.sha;
    let is_wanted = !is_commit(&repository.revision) || repository.revision == commit;
    if !is_commit(&commit) || !is_wanted {
        let got: String = commit.chars().take(80).collect();
        let reason = format!("expected the revision's commit of 40 hex digits, got {got:?}");
        return Err(client.answer(LIST, reason));
    }
    let listed: BTreeSet<String> =
        listing.siblings.into_iter().map(|file| file.rfilename).collect();
    let weights = [WEIGHTS, INDEX].into_iter().find(|name| listed.contains(*name));
    let Some(weights) = weights else { return Err(without_weights(repository, &listed)) };
    if !listed.contains(SMALL[0]) {
        let reason = format!("has no {}, so it holds no model of transformers", SMALL[0]);
        return Err(Error::Content { repository: repository.to_string(), reason });
    }

    let mut fetch = Fetch { client, cache, commit: &commit, progress };
    for name in SMALL.into_iter().filter(|name| listed.contains(*name)).chain([weights]) {
        fetch.file(name)?;
    }
    for shard in cache.shards(repository, &commit)?.unwrap_or_default() {
        fetch.file(&shard)?;
    }
    if !listed.contains(TOKENIZER) {
        cache.note_absent(&commit, TOKENIZER)?;
    }
    // Last, so that a branch never stands for a snapshot in parts.
    cache.note_commit(&repository.revision, &commit)?;
    Ok(commit)
}

/// Says what the files without safetensors weights are, and what to do.
fn without_weights(repository: &Repository, listed: &BTreeSet<String>) -> Error {
    let Repository { name, revision } = repository;
    let pickled = |file: &String| file.starts_with("pytorch_model") && file.contains(".bin");
    let reason = if listed.iter().any(pickled) {
        format!(
            "has its weights as pytorch_model.bin only, a Python pickle that can run code when it \
             is opened, so it is not fetched; convert it once, with AutoModelForMaskedLM where it \
             is no reader, and give the folder: python3 -c 'from transformers import \
             AutoModelForQuestionAnswering as M, AutoTokenizer as T; \
             [c.from_pretrained(\"{name}\", revision=\"{revision}\").save_pretrained(\"FOLDER\") \
             for c in (M, T)]'"
        )
    } else {
        format!("has neither {WEIGHTS} nor {INDEX}; give a repository with such weights")
    };
    Error::Content { repository: repository.to_string(), reason }
}

struct Fetch<'a> {
    client: Client<'a>,
    cache: &'a Cache,
    commit: &'a str,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Fetch<'_> {
    /// Brings one file into the snapshot. Its name is one of the fixed ones or a checked shard's.
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
            make_folder_of(&blob)?;
            let partial = self.cache.blob(&format!("{}.incomplete", announced.etag));
            let outcome = self.download(name, &announced, &partial);
            if matches!(outcome, Err(Error::Answer { .. } | Error::Digest { .. })) {
                // The error that led here says more than one about the file would.
                let _ = fs::remove_file(&partial);
            }
            outcome?;
            fs::rename(&partial, &blob)
                .and_then(|()| whole_file::sync_folder_of(&blob))
                .map_err(Error::io(&blob, "name the file"))?;
        }
        (self.progress)(Progress { file: name, done: total, total });
        self.cache.link(self.commit, name, &announced.etag)
    }

    /// Writes the content to `partial`, after what an earlier try left there if a digest can tell
    /// that the two fit, and syncs it.
    fn download(&mut self, name: &str, announced: &Announced, partial: &Path) -> Result<()> {
        let total = announced.size;
        let io = |action| move |source| Error::io(partial, action)(source);
        let options =
            File::options().create(true).truncate(false).read(true).write(true).open(partial);
        let mut file = options.map_err(io("write the file"))?;
        let mut hasher = Sha256::new();
        let mut done = match is_sha256(&announced.etag) {
            true => std::io::copy(&mut file, &mut hasher).map_err(io("read the file"))?,
            false => 0,
        };
        if done < total || total == 0 {
            let (mut content, from) = self.client.content(self.commit, name, done, total)?;
            if from != done {
                hasher = Sha256::new();
                done = from;
            }
            file.set_len(done).map_err(io("write the file"))?;
            file.seek(SeekFrom::Start(done)).map_err(io("write the file"))?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                let read = content
                    .read(&mut buffer)
                    .map_err(|error| self.cut(name, done, total, error))?;
                let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
                    break;
                };
                done = done.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                if done > total {
                    break;
                }
                hasher.update(piece);
                file.write_all(piece).map_err(io("write the file"))?;
                (self.progress)(Progress { file: name, done, total });
            }
            if done < total {
                return Err(self.cut(name, done, total, "the connection was closed"));
            }
        }
        if done > total {
            let reason = format!("expected {total} bytes, got more; what came is deleted");
            return Err(self.client.answer(name, reason));
        }
        let got = format!("{:x}", hasher.finalize());
        if is_sha256(&announced.etag) && got != announced.etag {
            return Err(Error::Digest {
                repository: self.client.repository().to_string(),
                file: name.to_owned(),
                expected: announced.etag.clone(),
                got,
            });
        }
        file.sync_all().map_err(io("write the file"))
    }

    fn cut(&self, name: &str, done: u64, total: u64, error: impl std::fmt::Display) -> Error {
        self.client.network(name, format!("{done} of {total} bytes came: {error}"))
    }
}
