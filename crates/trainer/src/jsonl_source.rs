//! A source that reads a JSONL file line by line.
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ExampleSource, Fingerprint, Result, TaskError, TrainError};

/// One JSON object a line, in the file's order in every epoch. Empty lines are passed over.
///
/// # Example
/// ```
/// use serde::Deserialize;
/// use trainer::{ExampleSource, JsonlSource, rng_for};
///
/// #[derive(Deserialize)]
/// struct Row {
///     input_ids: Vec<u32>,
/// }
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("train.jsonl");
/// std::fs::write(&path, "{\"input_ids\": [0, 7, 2]}\n{\"input_ids\": [0, 2]}\n")?;
/// let mut rows = JsonlSource::<Row>::open(&path)?;
/// assert_eq!(rows.examples(), Some(2));
/// rows.start_epoch(0, rng_for(1, "order", 0))?;
/// assert_eq!(rows.next_example()?.map(|row| row.input_ids), Some(vec![0, 7, 2]));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct JsonlSource<T> {
    path: PathBuf,
    file: BufReader<File>,
    place: JsonlPosition,
    examples: u64,
    bytes: u64,
    digest: Vec<u8>,
    line: Vec<u8>,
    holds: PhantomData<fn() -> T>,
}

/// A place between two lines of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct JsonlPosition {
    /// Bytes before it.
    pub byte: u64,
    /// Lines before it.
    pub line: u64,
}

/// The line without a byte order mark.
pub(crate) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

impl<T> JsonlSource<T> {
    /// Opens a file and reads it once, to count its examples and to hash them for the fingerprint.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |error: std::io::Error| TrainError::file(path, error);
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(refuse)?);
        let (mut hash, mut examples, mut bytes) = (Sha256::new(), 0, 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = file.read_until(b'\n', &mut line).map_err(refuse)?;
            if read == 0 {
                break;
            }
            hash.update(&line);
            bytes += read as u64;
            examples += u64::from(!is_blank(&line));
        }
        file.rewind().map_err(refuse)?;
        let (path, digest) = (path.to_owned(), hash.finalize().to_vec());
        let place = JsonlPosition::default();
        Ok(Self { path, file, place, examples, bytes, digest, line, holds: PhantomData })
    }

    fn refuse(&self, reason: impl std::fmt::Display) -> TaskError {
        TrainError::file(&self.path, reason).into()
    }
}

impl<T: DeserializeOwned> ExampleSource for JsonlSource<T> {
    type Example = T;
    type Position = JsonlPosition;

    fn start_epoch(&mut self, _: u64, _: ChaCha8Rng) -> std::result::Result<(), TaskError> {
        self.seek(JsonlPosition::default())
    }

    fn next_example(&mut self) -> std::result::Result<Option<T>, TaskError> {
        loop {
            self.line.clear();
            let read = self.file.read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| self.refuse(error))?;
            self.place.byte += read as u64;
            if read == 0 {
                let (bytes, before) = (self.place.byte, self.bytes);
                if bytes != before {
                    let reason = format!(
                        "{bytes} bytes, {before} when training began; restore the file, or start \
                         a new run"
                    );
                    return Err(self.refuse(reason));
                }
                return Ok(None);
            }
            self.place.line += 1;
            if !is_blank(&self.line) {
                let example = serde_json::from_slice(without_mark(&self.line));
                return example.map(Some).map_err(|error| {
                    self.refuse(format!("line {}, {}", self.place.line, in_line(&error)))
                });
            }
        }
    }

    fn position(&self) -> JsonlPosition {
        self.place
    }

    fn seek(&mut self, position: JsonlPosition) -> std::result::Result<(), TaskError> {
        if position.byte > self.bytes {
            let JsonlPosition { byte, line } = position;
            let bytes = self.bytes;
            let reason = format!("line {line} ends at byte {byte}, but the file has {bytes} bytes");
            return Err(self.refuse(reason));
        }
        let moved = self.file.seek(SeekFrom::Start(position.byte));
        moved.map_err(|error| self.refuse(error))?;
        self.place = position;
        Ok(())
    }

    fn examples(&self) -> Option<u64> {
        Some(self.examples)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("jsonl", &self.digest);
    }
}

/// `column 5: …` of an error in a text of one line.
pub(crate) fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = format!(" at line {} column {}", error.line(), error.column());
    format!("column {}: {}", error.column(), text.strip_suffix(&end).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng_for;

    fn source(text: &str) -> (tempfile::TempDir, JsonlSource<Vec<u32>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        let mut source = JsonlSource::open(path).unwrap();
        source.start_epoch(0, rng_for(0, "order", 0)).unwrap();
        (folder, source)
    }

    fn rest(source: &mut JsonlSource<Vec<u32>>) -> Vec<Vec<u32>> {
        std::iter::from_fn(|| source.next_example().unwrap()).collect()
    }

    #[test]
    fn every_place_can_be_gone_back_to() {
        let (_folder, mut source) = source("[1]\n\n[2, 3]\r\n \n[4]");
        assert_eq!(source.examples(), Some(3));
        let mut places = vec![source.position()];
        while source.next_example().unwrap().is_some() {
            places.push(source.position());
        }
        assert_eq!(places[3], JsonlPosition { byte: 18, line: 5 });
        let all = [vec![1], vec![2, 3], vec![4]];
        for (number, place) in places.into_iter().enumerate() {
            source.seek(place).unwrap();
            assert_eq!(rest(&mut source), all[number..], "{place:?}");
        }
        source.start_epoch(1, rng_for(0, "order", 1)).unwrap();
        assert_eq!(rest(&mut source), all);
        let error = source.seek(JsonlPosition { byte: 19, line: 5 }).unwrap_err().to_string();
        assert!(error.ends_with("line 5 ends at byte 19, but the file has 18 bytes"), "{error}");
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert_eq!(rest(&mut source("\u{feff}[1]\n[2]\n").1), [[1], [2]]);
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let (folder, mut source) = source("[1]\n\n[2, \"x\"]\n");
        source.next_example().unwrap();
        let error = source.next_example().unwrap_err().to_string();
        let want = "rows.jsonl: line 3, column 7: invalid type: string \"x\", expected u32";
        assert!(error.ends_with(want), "{error}");
        let none = folder.path().join("none.jsonl");
        let error = JsonlSource::<Vec<u32>>::open(none).err().unwrap().to_string();
        assert!(error.contains("none.jsonl: "), "{error}");
    }

    #[test]
    fn a_file_that_changed_is_noticed() {
        let (folder, mut source) = source("[1]\n");
        std::fs::write(folder.path().join("rows.jsonl"), "[1]\n[2]\n").unwrap();
        source.seek(JsonlPosition::default()).unwrap();
        source.next_example().unwrap();
        source.next_example().unwrap();
        let error = source.next_example().unwrap_err().to_string();
        assert!(error.contains("8 bytes, 4 when training began"), "{error}");
    }

    #[test]
    fn the_fingerprint_is_of_the_bytes() {
        let hash = |text| {
            let mut fingerprint = Fingerprint::new();
            source(text).1.fingerprint(&mut fingerprint);
            fingerprint.finish().unwrap()
        };
        assert_eq!(hash("[1]\n"), hash("[1]\n"));
        assert_ne!(hash("[1]\n"), hash("[2]\n"));
    }
}
