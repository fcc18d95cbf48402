//! Words with their vectors, as files.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;
use std::path::Path;

use ndarray::Array2;
use whole_file::{Lines, WholeFile};

use super::{Frame, Step, arrays, npy};
use crate::files::utf8;
use crate::{Error, Result};

/// The vectors of a vocabulary: row i belongs to word i. Words differ, values are finite.
#[derive(Clone, Debug, PartialEq)]
pub struct WordVectors {
    /// The words, in the file's order.
    words: Vec<String>,
    /// `[words, D]`.
    vectors: Array2<f32>,
    /// Words left out because they came before.
    repeated: usize,
}

impl WordVectors {
    /// Words with their vectors, `[words, D]`. A word that came before is left out with its vector.
    ///
    /// # Errors
    /// [`Error::Array`] if counts differ, there is no vector, or a value is not finite.
    pub fn new(words: Vec<String>, vectors: Array2<f32>) -> Result<Self> {
        let (rows, width) = vectors.dim();
        if rows != words.len() || rows == 0 || width == 0 {
            let message = format!("shape {:?} for {} words", vectors.dim(), words.len());
            return Err(Error::array("vectors", message));
        }
        let row_is_finite = |row: ndarray::ArrayView1<'_, f32>| row.iter().all(|v| v.is_finite());
        if let Some(row) = vectors.outer_iter().position(|row| !row_is_finite(row)) {
            let message = format!("row {row} has a value that is not finite");
            return Err(Error::array("vectors", message));
        }
        let mut seen = std::collections::HashSet::with_capacity(rows);
        let first: Vec<bool> = words.iter().map(|word| seen.insert(word.as_str())).collect();
        let repeated = first.iter().filter(|first| !**first).count();
        if repeated == 0 {
            return Ok(Self { words, vectors, repeated });
        }
        let kept: Vec<usize> =
            first.iter().enumerate().filter_map(|(row, first)| first.then_some(row)).collect();
        let vectors = vectors.select(ndarray::Axis(0), &kept);
        let kept = words.into_iter().zip(first).filter_map(|(word, first)| first.then_some(word));
        Ok(Self { words: kept.collect(), vectors, repeated })
    }

    /// Reads the first `first` words of a file (all, if `None`), which are the most frequent ones
    /// in published files.
    ///
    /// - `.npy` (float32 or float64, `[N, D]`, C order) and `.safetensors` (one tensor of that
    ///   kind, or one called `vectors`) need `words`, a file with one word a line;
    /// - anything else is text as fastText writes it, plain or gzip-compressed: a word and its D
    ///   values a line, spaces between; a first line `N D` may say how many. The last D fields of a
    ///   line are its values, so that words may hold spaces.
    ///
    /// Only what is kept is held in memory, in float32. Of a word that occurs more than once, the
    /// first vector is kept.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] naming file and line, or [`Error::Content`] naming the
    /// file,
    /// for a wrong number of values or rows, a value that is no finite float32, a file that ends
    /// early, or no vector at all.
    ///
    /// ```
    /// use transfer_eval::retrieval::map::WordVectors;
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("de.vec");
    /// std::fs::write(&path, "2 3\nHaus 0.5 -1 2\nder 1e-3 0 0\n").unwrap();
    /// let vectors = WordVectors::read(&path, None, None)?;
    /// assert_eq!(vectors.words(), ["Haus", "der"]);
    /// assert_eq!(vectors.vectors().row(0).to_vec(), [0.5, -1.0, 2.0]);
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    pub fn read(
        path: impl AsRef<Path>,
        words: Option<&Path>,
        first: Option<usize>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let first = first.unwrap_or(usize::MAX);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let read = match extension {
            Some("npy") => npy::read,
            Some("safetensors") => arrays::read,
            _ if words.is_some() => {
                let message = "a text file holds its words; a file of words goes with .npy and \
                               .safetensors";
                return Err(Error::content(path, message));
            }
            _ => return read_text(path, first),
        };
        let Some(words) = words else {
            let message = "holds no words; name the file that has them, one a line";
            return Err(Error::content(path, message));
        };
        let vectors = read(path, first)?;
        let words = read_words(words, path, vectors.nrows(), first)?;
        Self::new(words, vectors).map_err(|error| Error::content(path, error.to_string()))
    }

    /// The words.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// `[words, D]`.
    pub fn vectors(&self) -> &Array2<f32> {
        &self.vectors
    }

    /// Words left out because they came before.
    pub fn repeated(&self) -> usize {
        self.repeated
    }

    /// The row of each word.
    pub fn index(&self) -> HashMap<&str, usize> {
        self.words.iter().enumerate().map(|(row, word)| (word.as_str(), row)).collect()
    }

    /// The same words with other vectors.
    ///
    /// # Errors
    /// As [`WordVectors::new`], and whatever `change` returns.
    pub fn try_map(self, change: impl FnOnce(Array2<f32>) -> Result<Array2<f32>>) -> Result<Self> {
        let changed = Self::new(self.words, change(self.vectors)?)?;
        Ok(Self { repeated: self.repeated, ..changed })
    }

    /// The vectors alone.
    pub fn into_vectors(self) -> Array2<f32> {
        self.vectors
    }

    /// The same words with their vectors normalised by `steps`, in place.
    ///
    /// # Errors
    /// [`Error::Config`] if the last step is not [`Step::Unit`].
    pub fn normalized(self, steps: &[Step]) -> Result<Self> {
        self.try_map(|mut vectors| {
            Frame::fit(vectors.view(), steps)?.apply(&mut vectors)?;
            Ok(vectors)
        })
    }

    /// Writes the text form, with its first line; each value reads back as it was. Missing folders
    /// are created, and `-` is standard output.
    ///
    /// # Errors
    /// [`Error::Write`]; then the file is as it was. [`Error::Content`] for a word that the form
    /// cannot hold: one with a line break, or with spaces around it.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let lost = |word: &&String| word.contains(['\n', '\r']) || word.trim_matches(' ') != *word;
        if let Some(word) = self.words.iter().find(lost) {
            let message = format!("the text form cannot hold the word {word:?}");
            return Err(Error::content(path, message));
        }
        let failed = Error::write(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
        let mut file = WholeFile::create(path).map_err(failed)?;
        self.write_rows(&mut file).map_err(failed)?;
        file.finish().map_err(failed)
    }

    fn write_rows(&self, file: &mut impl Write) -> std::io::Result<()> {
        writeln!(file, "{} {}", self.vectors.nrows(), self.vectors.ncols())?;
        for (word, row) in self.words.iter().zip(self.vectors.outer_iter()) {
            write!(file, "{word}")?;
            for value in row {
                write!(file, " {value}")?;
            }
            writeln!(file)?;
        }
        Ok(())
    }
}

/// The words of the rows of `vectors`, one a line.
fn read_words(path: &Path, vectors: &Path, rows: usize, first: usize) -> Result<Vec<String>> {
    let failed = Error::read(path);
    let mut lines = Lines::open(path).map_err(failed)?.note_missing_newline();
    let mut words = Vec::with_capacity(rows);
    while words.len() < first && lines.advance().map_err(failed)? {
        words.push(utf8(&lines, lines.bytes())?.to_owned());
    }
    if words.len() != rows {
        let vectors = vectors.display();
        let message = format!("{} words for the {rows} rows of {vectors}", words.len());
        return Err(Error::content(path, message));
    }
    Ok(words)
}

/// The rows of a text file so far.
#[derive(Default)]
struct Rows {
    index: HashMap<String, usize>,
    values: Vec<f32>,
    width: usize,
    repeated: usize,
    lines: usize,
}

fn read_text(path: &Path, first: usize) -> Result<WordVectors> {
    let failed = Error::read(path);
    let mut lines = Lines::open(path).map_err(failed)?.note_missing_newline();
    let mut rows = Rows::default();
    let mut expected = None;
    while rows.index.len() < first && lines.advance().map_err(failed)? {
        let line = lines.bytes().trim_ascii_end();
        if line.is_empty() {
            continue;
        }
        if lines.number() == 1
            && let Some((count, width)) = header(line)
        {
            (expected, rows.width) = (Some(count), width);
            let bytes = std::fs::metadata(path).map_or(0, |data| data.len());
            let values = count.min(first).saturating_mul(width);
            // A value takes two bytes at least, of text that may be packed to an eighth, so that a
            // wrong header reserves no more than that.
            let most = if lines.is_packed() { bytes.saturating_mul(4) } else { bytes / 2 };
            if u64::try_from(values).is_ok_and(|values| values <= most) {
                rows.values.reserve_exact(values);
            }
            continue;
        }
        rows.push(&lines, line)?;
    }
    let count = rows.lines;
    let cut = |expected: usize| count != expected && (rows.index.len() < first || count > expected);
    if let Some(expected) = expected.filter(|&expected| cut(expected)) {
        let message = format!("{count} vectors, but its first line says {expected}");
        return Err(Error::content(path, message));
    }
    if rows.index.is_empty() {
        return Err(Error::content(path, "no vectors; expected a word and its values a line"));
    }
    rows.finish().map_err(|error| Error::content(path, error.to_string()))
}

/// The number of words and of dimensions.
fn header(line: &[u8]) -> Option<(usize, usize)> {
    let (count, width) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let (count, width) = (count.parse().ok()?, width.trim().parse().ok()?);
    (width > 0).then_some((count, width))
}

impl Rows {
    fn push(&mut self, lines: &Lines, line: &[u8]) -> Result<()> {
        let line = utf8(lines, line)?;
        if self.width == 0 {
            self.width = line.split(' ').count() - 1;
        }
        let start = self.values.len();
        let mut fields = line.rsplitn(self.width.saturating_add(1), ' ');
        for field in fields.by_ref().take(self.width) {
            match field.parse::<f32>() {
                Ok(value) if value.is_finite() => self.values.push(value),
                _ => return Err(self.refuse(lines, line, field)),
            }
        }
        let Some(word) = fields.next().filter(|_| self.width > 0) else {
            return Err(self.refuse(lines, line, ""));
        };
        self.lines += 1;
        let rows = self.index.len();
        match self.index.entry(word.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(rows);
                if let Some(row) = self.values.get_mut(start..) {
                    row.reverse();
                }
            }
            Entry::Occupied(_) => {
                self.repeated += 1;
                self.values.truncate(start);
            }
        }
        Ok(())
    }

    /// What is wrong with a line whose field `field` is no value.
    fn refuse(&self, lines: &Lines, line: &str, field: &str) -> Error {
        let (fields, width) = (line.split(' ').count() - 1, self.width);
        let word = line.split(' ').next().unwrap_or_default();
        let message = match fields < width || width == 0 {
            true => format!("`{word}` has {fields} values; expected {}", width.max(1)),
            false => format!("`{word}`: `{field}` is no finite float32"),
        };
        Error::at(lines, message)
    }

    fn finish(self) -> Result<WordVectors> {
        let mut words = vec![String::new(); self.index.len()];
        for (word, row) in self.index {
            if let Some(slot) = words.get_mut(row) {
                *slot = word;
            }
        }
        let vectors = Array2::from_shape_vec((words.len(), self.width), self.values)
            .map_err(|error| Error::array("vectors", error.to_string()))?;
        Ok(WordVectors { words, vectors, repeated: self.repeated })
    }
}
