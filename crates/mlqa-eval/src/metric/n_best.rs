//! The best answers of each question.
use std::collections::BTreeMap;

use std::path::Path;

use atomic_file::AtomicFile;
use rayon::prelude::*;
use serde::Serialize;

use crate::Error;
use crate::files::write_json;

/// A candidate answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Candidate {
    /// The text of the answer in the context, without surrounding white space.
    pub text: String,
    /// `start_logit + end_logit`.
    pub score: f32,
    /// Softmax of the scores over the question's retained candidates.
    pub probability: f64,
    /// Start logit of the first token.
    pub start_logit: f32,
    /// End logit of the last token.
    pub end_logit: f32,
    /// Index of the window.
    pub window: usize,
    /// Index of the answer's first token within the window.
    pub start: usize,
    /// Index of the answer's last token within the window (inclusive).
    pub end: usize,
    /// Start of the answer in the context, in code points.
    pub answer_start: usize,
}

/// The answers to one question, best first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NBest {
    /// The question's id.
    pub id: String,
    /// At most `n_best` answers with distinct texts; empty if no window has a valid span. With
    /// `Compatible::RunQa`, equal and empty texts are retained.
    pub candidates: Vec<Candidate>,
    /// The lowest score of `<s>` (start plus end logit) among the question's windows; `None`
    /// without windows.
    pub null_score: Option<f32>,
    /// Whether decoding chose "no answer".
    pub null: bool,
}

impl NBest {
    /// Returns the answer to score: the best candidate's text, or "" for "no answer".
    pub fn answer(&self) -> &str {
        match self.best() {
            Some(best) if !self.null => &best.text,
            _ => "",
        }
    }

    /// Returns the best candidate with a non-empty text. Empty texts occur only with
    /// `Compatible::RunQa`.
    fn best(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| !candidate.text.is_empty())
    }

    /// Retains the first `max_candidates` candidates. Their probabilities are normalised again.
    pub fn truncate(&mut self, max_candidates: usize) {
        if max_candidates < self.candidates.len() {
            self.candidates.truncate(max_candidates);
            let total: f64 = self.candidates.iter().map(|candidate| candidate.probability).sum();
            for candidate in &mut self.candidates {
                candidate.probability /= total;
            }
        }
    }

    /// Returns the null score minus the best answer's score, as in Hugging Face's `null_odds.json`.
    ///
    /// A larger value means "no answer" is more likely. If no candidate has a text, the result is
    /// the null score. If there are no windows, the result is `None`.
    pub fn null_odds(&self) -> Option<f64> {
        let best = self.best().map_or(0.0, |best| f64::from(best.score));
        self.null_score.map(|null| f64::from(null) - best)
    }
}

/// Writes n-best lists atomically as one indented JSON object, which maps sorted question ids to
/// n-best lists.
///
/// # Errors
/// [`Error::File`].
pub fn write_n_best(path: impl AsRef<Path>, lists: &[NBest]) -> Result<(), Error> {
    let by_id: BTreeMap<&str, &NBest> = lists.iter().map(|list| (list.id.as_str(), list)).collect();
    write_json(path.as_ref(), &by_id)
}

/// Number of questions that one thread formats at a time.
const CHUNK_QUESTIONS: usize = 32;
/// Typical size of a line in bytes.
const LINE_BYTES: usize = 4096;
const SEPARATOR: &str = ",\n";

/// Streaming writer of n-best lists. The file is one JSON object that maps question ids to n-best
/// lists, with one question per line.
pub struct NBestFile {
    file: AtomicFile,
    separator: &'static str,
}

impl NBestFile {
    /// Creates a temporary file, which [`NBestFile::finish`] renames to `path`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        Ok(Self { file: AtomicFile::create(path)?, separator: "{\n" })
    }

    /// Appends the lists of further questions.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn add(&mut self, all: &[NBest]) -> Result<(), Error> {
        let chunks = all.par_chunks(CHUNK_QUESTIONS).map(format_lines);
        let chunks = chunks.collect::<Result<Vec<_>, serde_json::Error>>();
        let write_error = atomic_file::Error::new(self.file.path(), "write");
        for chunk in chunks.map_err(|error| write_error(error.into()))? {
            self.file.write_all(self.separator.as_bytes())?;
            self.file.write_all(&chunk)?;
            self.separator = SEPARATOR;
        }
        Ok(())
    }

    /// Completes the file and renames it to its final name.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(mut self) -> Result<(), Error> {
        let end = if self.separator == SEPARATOR { "\n}\n" } else { "{\n}\n" };
        self.file.write_all(end.as_bytes())?;
        Ok(self.file.finish()?)
    }
}

fn format_lines(chunk: &[NBest]) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::with_capacity(CHUNK_QUESTIONS * LINE_BYTES);
    for list in chunk {
        if !lines.is_empty() {
            lines.extend_from_slice(SEPARATOR.as_bytes());
        }
        serde_json::to_writer(&mut lines, &list.id)?;
        lines.extend_from_slice(b": ");
        serde_json::to_writer(&mut lines, list)?;
    }
    Ok(lines)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;

    #[test]
    fn lists_written_in_chunks_are_one_object() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, 31, 32, 33, 65, 200] {
            let list = |k: usize| NBest {
                id: format!("id \"{k}\""),
                candidates: vec![Candidate::default(); k % 3],
                null_score: Some(k as f32 / 3.0),
                null: k.is_multiple_of(2),
            };
            let all: Vec<NBest> = (0..count).map(list).collect();
            let path = folder.path().join("n_best.json");
            let mut file = NBestFile::create(&path).unwrap();
            all.chunks(90).for_each(|chunk| file.add(chunk).unwrap());
            file.finish().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), count + 2);
            let read: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
            let value = |list: &NBest| {
                let text = serde_json::to_string(list).unwrap();
                (list.id.clone(), serde_json::from_str(&text).unwrap())
            };
            assert!(read == all.iter().map(value).collect(), "{count}");
        }
    }
}
