//! Writing of a collection.
use std::collections::HashSet;
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use atomic_file::FileLock;
use sha2::{Digest, Sha256};
use tantivy::directory::error::LockError;
use tantivy::query::{BooleanQuery, Query, RangeQuery, TermSetQuery};
use tantivy::{Index, IndexWriter, TantivyDocument, TantivyError, Term};

use crate::collection::Source;
use crate::manifest::{
    Manifest, Part, check_marker, has_marker, vectors_folder, words_folder, write_marker,
};
use crate::postings::Postings;
use crate::segment::SegmentWriter;
use crate::snapshot::check_vector;
use crate::stored::to_stored;
use crate::terms::index_error;
use crate::vectors::{PartView, file_name, is_vector_file, merge, write};
use crate::{Document, Encoder, Error, Result, Snapshot};

/// Memory of the words that are not yet written to disk, in bytes.
const MEMORY_BYTES: usize = 100 << 20;

/// Memory of tantivy's own writer in bytes, the minimum. It gets no documents.
const UNUSED_BYTES: usize = 15_000_000;

/// Number of vector files of about the same size that are merged into one.
const MERGED_FILES: usize = 8;

/// Number of vectors of the smallest size of files.
const SMALL_FILE_ROWS: u64 = 4096;

/// Maximum time to wait for the lock of a tantivy writer that was dropped.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A collection that is open for writing. Only one writer can be open at a time.
///
/// Changes become visible together with [`commit`](Self::commit). A writer that is dropped before
/// leaves the collection unchanged, as does a process that is killed.
pub struct Writer {
    source: Source,
    writer: IndexWriter,
    /// The segment with the passages that are not yet written to disk.
    segment: Option<SegmentWriter>,
    /// Memory for the next segment.
    postings: Postings,
    /// Memory of the words of a segment, in bytes.
    memory_bytes: usize,
    /// The last committed state.
    snapshot: Snapshot,
    /// The manifest of the next commit.
    manifest: Manifest,
    /// Digests of the ids of documents that were added, updated or removed since the last commit.
    changed: HashSet<[u8; 16]>,
    /// Ids of documents that were updated or removed since the last commit.
    deleted: Vec<Term>,
    /// Whether an operation failed such that the changes are incomplete.
    failed: bool,
    /// Held until all other fields are dropped; `None` if the file system does not support locks.
    _lock: Option<FileLock>,
}

impl Writer {
    /// Creates a collection in a new or empty folder.
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder is not empty or cannot be written.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        atomic_file::fs::create_dir_all(folder)?;
        if has_marker(folder) {
            return Err(Error::folder(folder, "the folder is a collection already"));
        }
        for entry in atomic_file::fs::read_dir(folder)? {
            // A killed process can leave temporary files.
            if !atomic_file::is_temporary(&entry?.file_name()) {
                let problem = "the folder is not empty; expected a new or empty folder";
                return Err(Error::folder(folder, problem));
            }
        }
        write_marker(folder)?;
        Self::open(folder)
    }

    /// Opens a collection. If the process that created it was killed before the first commit, the
    /// collection is empty.
    ///
    /// # Errors
    /// [`Error::Busy`] if another writer is open; the errors of
    /// [`Collection::open`](crate::Collection::open).
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        check_marker(folder)?;
        let lock = match atomic_file::fs::open(folder)?.try_lock() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(Error::Busy { path: folder.to_owned() });
            }
            result => result?,
        };
        let words = words_folder(folder);
        for folder in [&words, &vectors_folder(folder)] {
            atomic_file::fs::create_dir_all(folder)?;
        }
        let source = Source::open(folder, is_new(&words)?)?;
        let error = |error: TantivyError| match index_error(&words, &error) {
            Error::Busy { .. } => Error::Busy { path: folder.to_owned() },
            other => other,
        };
        // The lock is acquired before the state is read, which another writer could replace.
        let writer = locked_writer(&source.index).map_err(error)?;
        let (snapshot, _) = source.load()?;
        let manifest = snapshot.manifest.clone();
        let writer = Self {
            source,
            writer,
            segment: None,
            postings: Postings::default(),
            memory_bytes: MEMORY_BYTES,
            snapshot,
            manifest,
            changed: HashSet::new(),
            deleted: Vec::new(),
            failed: false,
            _lock: lock,
        };
        writer.remove_unused_files();
        // A killed process can leave files of words with names that the next commit uses again.
        let collected = writer.writer.garbage_collect_files().wait();
        collected.map_err(|error| index_error(&words, &error))?;
        Ok(writer)
    }

    /// Returns the last committed state.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the last committed state. Changes since then are discarded.
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }

    /// Adds a document.
    ///
    /// # Errors
    /// [`Error::Document`] if the document is invalid, the collection has a document with this id,
    /// or a document with this id was added, updated or removed since the last commit. In these
    /// cases, other changes are retained. [`Error::Folder`] if the folder cannot be written.
    pub fn add(&mut self, document: &Document) -> Result<()> {
        document.check()?;
        if self.snapshot.contains(&document.id)? {
            let problem =
                "the collection has a document with this id already; update it, or use another id";
            return Err(Error::document(&document.id, problem));
        }
        self.register(&document.id)?;
        self.manifest.documents += 1;
        self.write(document)
    }

    /// Adds a document or, if the collection has a document with this id, replaces it.
    ///
    /// # Errors
    /// The errors of [`add`](Self::add), but not that of an existing document.
    pub fn update(&mut self, document: &Document) -> Result<()> {
        document.check()?;
        let exists = self.snapshot.contains(&document.id)?;
        self.register(&document.id)?;
        if exists {
            self.delete(&document.id);
        } else {
            self.manifest.documents += 1;
        }
        self.write(document)
    }

    /// Removes a document.
    ///
    /// # Errors
    /// [`Error::Document`] if there is no document with this id, or a document with this id was
    /// added, updated or removed since the last commit.
    pub fn remove(&mut self, id: &str) -> Result<()> {
        if !self.snapshot.contains(id)? {
            return Err(Error::document(id, "the collection has no document with this id"));
        }
        self.register(id)?;
        self.manifest.documents -= 1;
        self.delete(id);
        Ok(())
    }

    /// Sets the encoder of the vectors. If the collection has one, the encoders are compared.
    ///
    /// # Errors
    /// [`Error::Vectors`] if the collection has vectors of another encoder, or if the probe is not a
    /// vector of norm 1.
    pub fn set_encoder(&mut self, encoder: Encoder) -> Result<()> {
        check_vector(&encoder, &encoder.probe)?;
        match &self.manifest.encoder {
            Some(stored) => stored.check(&encoder),
            None => {
                self.manifest.encoder = Some(encoder);
                Ok(())
            }
        }
    }

    /// Adds the vectors of passages that were committed and have no vectors: pairs of the passage's
    /// number and its vector of norm 1. They are written to disk at once, and are used after the
    /// next commit.
    ///
    /// # Errors
    /// [`Error::Vectors`] if no encoder is set, a vector is invalid, or a number is not that of a
    /// passage without a vector; [`Error::Folder`] if the vectors cannot be written.
    pub fn add_vectors(&mut self, mut rows: Vec<(u64, Vec<f32>)>) -> Result<()> {
        let Some(encoder) = &self.manifest.encoder else {
            return Err(Error::vectors("no encoder is set; set the encoder of the vectors first"));
        };
        rows.sort_by_key(|&(number, _)| number);
        let mut previous = None;
        for (number, vector) in &rows {
            check_vector(encoder, vector)?;
            let has_vector = previous == Some(*number)
                || self.snapshot.parts()?.iter().any(|part| part.file.find(*number).is_some());
            if has_vector || !self.snapshot.has_passage(*number)? {
                return Err(Error::vectors(format!(
                    "passage {number}: expected a passage of the collection without a vector"
                )));
            }
            previous = Some(*number);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let file = self.next_file();
        let rows = write(&vectors_folder(&self.source.folder), file, &rows)?;
        self.manifest.parts.push(Part { file, rows });
        Ok(())
    }

    /// Makes all changes since the last commit visible, after they have been written to disk.
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder cannot be written; the writer must be dropped then. The
    /// collection is unchanged, unless only the merge of files of vectors after the commit failed.
    pub fn commit(&mut self) -> Result<()> {
        self.commit_manifest()?;
        if self.merge_files()? {
            self.commit_manifest()?;
        }
        self.remove_unused_files();
        Ok(())
    }

    /// Commits, and waits until the word index has been merged in the background.
    ///
    /// # Errors
    /// The errors of [`commit`](Self::commit).
    pub fn finish(mut self) -> Result<()> {
        self.commit()?;
        let words = words_folder(&self.source.folder);
        self.writer.wait_merging_threads().map_err(|error| index_error(&words, &error))
    }

    /// The only place of commits: a commit without the manifest would drop it.
    fn commit_manifest(&mut self) -> Result<()> {
        if self.failed {
            let problem = "an earlier change could not be written; nothing was committed";
            return Err(Error::folder(&self.source.folder, problem));
        }
        self.failed = true;
        self.commit_words().map_err(|error| write_error(&self.source.folder, &error))?;
        (self.snapshot, _) = self.source.load()?;
        self.changed.clear();
        self.failed = false;
        Ok(())
    }

    fn commit_words(&mut self) -> tantivy::Result<()> {
        self.finish_segment()?;
        self.postings = Postings::default();
        self.delete_passages()?;
        let mut prepared = self.writer.prepare_commit()?;
        prepared.set_payload(&self.manifest.to_payload());
        prepared.commit()?;
        Ok(())
    }

    /// Remembers that a document changes. Returns an error if it has changed since the last commit.
    fn register(&mut self, id: &str) -> Result<()> {
        let digest = Sha256::digest(id);
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        match self.changed.insert(key) {
            true => Ok(()),
            false => Err(Error::document(
                id,
                "the id occurs twice; expected each id once, so rename or remove one of the documents",
            )),
        }
    }

    /// Deletes the committed passages of a document with the next commit.
    fn delete(&mut self, id: &str) {
        self.deleted.push(Term::from_field_text(self.source.fields.id, id));
    }

    /// Deletes the passages of updated and removed documents from the word index.
    fn delete_passages(&mut self) -> tantivy::Result<()> {
        if self.deleted.is_empty() {
            return Ok(());
        }
        let documents = TermSetQuery::new(std::mem::take(&mut self.deleted));
        // The ids alone would also delete the new passages of updated documents.
        let next = self.snapshot.manifest.next_passage;
        let end = Bound::Excluded(Term::from_field_u64(self.source.fields.number, next));
        let committed = RangeQuery::new(Bound::Unbounded, end);
        let both: Vec<Box<dyn Query>> = vec![Box::new(documents), Box::new(committed)];
        self.writer.delete_query(Box::new(BooleanQuery::intersection(both)))?;
        Ok(())
    }

    /// Writes the passages of a document.
    fn write(&mut self, document: &Document) -> Result<()> {
        let passages = to_stored(document, self.source.fields, &mut self.manifest.next_passage);
        self.write_passages(document, &passages).map_err(|error| {
            self.failed = true;
            write_error(&self.source.folder, &error)
        })
    }

    fn write_passages(
        &mut self,
        document: &Document,
        passages: &[TantivyDocument],
    ) -> tantivy::Result<()> {
        for passage in passages {
            let segment = match &mut self.segment {
                Some(segment) => segment,
                none => {
                    let segment = self.writer.new_segment();
                    let postings = std::mem::take(&mut self.postings);
                    none.insert(SegmentWriter::new(segment, self.source.fields, postings)?)
                }
            };
            segment.add(&document.id, passage)?;
            if segment.is_full(self.memory_bytes) {
                self.finish_segment()?;
            }
        }
        Ok(())
    }

    /// Writes the segment to disk. It becomes visible with the next commit.
    fn finish_segment(&mut self) -> tantivy::Result<()> {
        if let Some(segment) = self.segment.take() {
            let (meta, postings) = segment.finish()?;
            self.postings = postings;
            self.writer.add_segment(meta)?;
        }
        Ok(())
    }

    fn next_file(&mut self) -> u64 {
        let file = self.manifest.next_file;
        self.manifest.next_file += 1;
        file
    }

    /// Merges files of vectors: small ones into larger ones, and such in which more than a fifth of
    /// the rows belong to removed passages. Returns whether there was any.
    fn merge_files(&mut self) -> Result<bool> {
        if self.manifest.parts.is_empty() {
            return Ok(false);
        }
        let groups = groups_to_merge(self.snapshot.parts()?);
        for group in &groups {
            let file = self.next_file();
            let parts = self.snapshot.parts()?;
            let views: Vec<&PartView> = group.iter().map(|&index| &parts[index]).collect();
            let rows = if views.iter().all(|view| view.alive_rows() == 0) {
                0
            } else {
                merge(&vectors_folder(&self.source.folder), file, &views)?
            };
            // The committed manifest has the files of the snapshot.
            let merged: HashSet<u64> =
                group.iter().map(|&index| self.snapshot.manifest.parts[index].file).collect();
            self.manifest.parts.retain(|part| !merged.contains(&part.file));
            if rows > 0 {
                self.manifest.parts.push(Part { file, rows });
            }
        }
        Ok(!groups.is_empty())
    }

    /// Removes files of vectors that no manifest names: those of killed processes, and those that
    /// were merged. Files that cannot be removed, for example because a reader has mapped them on
    /// Windows, are removed later.
    fn remove_unused_files(&self) {
        let folder = vectors_folder(&self.source.folder);
        let used: HashSet<String> =
            self.snapshot.manifest.parts.iter().map(|part| file_name(part.file)).collect();
        let Ok(entries) = std::fs::read_dir(&folder) else { return };
        let is_unused = |path: &PathBuf| {
            let Some(name) = path.file_name() else { return false };
            let is_merged =
                name.to_str().is_some_and(|name| is_vector_file(name) && !used.contains(name));
            is_merged || atomic_file::is_temporary(name)
        };
        for path in entries.flatten().map(|entry| entry.path()).filter(is_unused) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Returns whether a folder of words has no index yet.
///
/// # Errors
/// [`Error::Folder`] if the index's metadata is missing, but its segments are not.
fn is_new(words: &Path) -> Result<bool> {
    if words.join("meta.json").exists() {
        return Ok(false);
    }
    for entry in atomic_file::fs::read_dir(words)? {
        let name = entry?.file_name();
        // A killed process can leave locks, lists of files and temporary files.
        if !name.to_string_lossy().starts_with('.') {
            let problem =
                "meta.json is missing; the collection is damaged, so index the documents again";
            return Err(Error::folder(words, problem));
        }
    }
    Ok(true)
}

/// Returns groups of indices of files to be merged.
fn groups_to_merge(parts: &[PartView]) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    let mut levels: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        let alive = part.alive_rows();
        if 5 * alive < 4 * part.file.rows() {
            groups.push(vec![index]);
        } else {
            let level = (to_u64(alive) / SMALL_FILE_ROWS).checked_ilog(8).map_or(0, |log| log + 1);
            levels.entry(level).or_default().push(index);
        }
    }
    groups.extend(levels.into_values().filter(|files| files.len() >= MERGED_FILES));
    groups
}

fn write_error(folder: &Path, error: &TantivyError) -> Error {
    let problem = format!(
        "cannot write the word index: {error}; the collection is unchanged. Check the free disk space and \
         permissions"
    );
    Error::folder(folder, problem)
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).expect("a size fits into 64 bits")
}

/// Opens tantivy's writer.
///
/// tantivy releases its lock by closing the lock file. A child process that another thread is starting
/// shares the open file until it executes its program, so the lock of a writer that was dropped can
/// remain for a moment. The folder's own lock excludes other writers of this crate, so a lock that
/// remains longer belongs to another program.
fn locked_writer(index: &Index) -> tantivy::Result<IndexWriter> {
    let start = Instant::now();
    loop {
        match index.writer_with_num_threads(1, UNUSED_BYTES) {
            Err(TantivyError::LockFailure(LockError::LockBusy, _))
                if start.elapsed() < LOCK_WAIT =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the ids and texts of the passages with the words of a question, and their scores.
    fn hits(writer: &Writer, question: &str) -> Vec<((String, String), f32)> {
        let hits = writer.snapshot().select(&question.into(), 1000).unwrap();
        let mut hits: Vec<_> = hits
            .into_iter()
            .map(|hit| (hit.passage.document.to_string(), hit.passage.text.to_string(), hit.words))
            .map(|(id, text, score)| ((id, text), score.unwrap()))
            .collect();
        hits.sort_by(|a, b| a.0.cmp(&b.0));
        hits
    }

    #[test]
    fn hits_do_not_depend_on_the_segments() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, memory_bytes: usize| {
            let mut writer = Writer::create(folder.path().join(name)).unwrap();
            writer.memory_bytes = memory_bytes;
            let document = |id: u64, round: u64| {
                let words = ["Lima", "Quito", "Sucre", "東京都", "Straßen"];
                let word = |k: u64| words[(id * k + round) as usize % words.len()];
                let text: String = (1..=id % 7 + 2).map(|k| format!("{} ", word(k))).collect();
                let passages = vec![0..word(1).len(), word(1).len()..text.len()];
                Document { id: id.to_string().into(), text: text.into(), passages }
            };
            (0..60).for_each(|id| writer.add(&document(id, 0)).unwrap());
            writer.commit().unwrap();
            for id in 40..80 {
                writer.update(&document(id, 1)).unwrap();
            }
            (0..10).for_each(|id| writer.remove(&id.to_string()).unwrap());
            writer.commit().unwrap();
            assert_eq!(writer.snapshot().document_count(), 70);
            assert_eq!(writer.snapshot().passage_count(), 140);
            writer
        };
        let one = write("one", MEMORY_BYTES);
        let many = write("many", 1);
        for question in ["Lima", "Quito Straße", "東京 Sucre"] {
            let expected = hits(&one, question);
            assert!(expected.len() > 20);
            let actual = hits(&many, question);
            assert_eq!(actual.len(), expected.len());
            for ((actual, actual_score), (expected, score)) in actual.iter().zip(&expected) {
                assert_eq!(actual, expected);
                // tantivy adds the scores of words in an order that depends on the segment.
                assert!((actual_score - score).abs() < 1e-5, "{actual_score} {score}");
            }
        }
    }
}
