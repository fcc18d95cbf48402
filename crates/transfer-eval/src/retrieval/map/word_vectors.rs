//! Words with their vectors, in the text format of word2vec and fastText.
use std::collections::HashMap;
use std::path::Path;

use atomic_file::{AtomicFile, Lines};
use ndarray::Array2;

use crate::{Error, Result};

/// A vocabulary with one vector per word. Words are distinct, and values are finite.
#[derive(Clone, Debug, PartialEq)]
pub struct WordVectors {
    words: Vec<String>,
    vectors: Array2<f32>,
    repeated: usize,
}

impl WordVectors {
    /// Creates a vocabulary from distinct words and their vectors, `[words, D]`.
    ///
    /// # Errors
    /// [`Error::Array`] if the numbers of words and vectors differ, there is no vector, a value is
    /// not finite, or a word is repeated.
    pub fn new(words: Vec<String>, vectors: Array2<f32>) -> Result<Self> {
        let error = |message: String| Err(Error::array("vectors", message));
        if vectors.is_empty() || vectors.nrows() != words.len() {
            return error(format!("shape {:?} for {} words", vectors.dim(), words.len()));
        }
        let is_finite = |row: ndarray::ArrayView1<'_, f32>| row.iter().all(|v| v.is_finite());
        if let Some(row) = vectors.outer_iter().position(|row| !is_finite(row)) {
            return error(format!("the vector of `{}` is not finite", words[row]));
        }
        let vocabulary = Self { words, vectors, repeated: 0 };
        match vocabulary.rows().len() == vocabulary.words.len() {
            true => Ok(vocabulary),
            false => error("a word is repeated".to_owned()),
        }
    }

    /// Reads the first `max_words` words of a text file, plain or gzipped. Published files contain
    /// the most frequent words first.
    ///
    /// Each line has a word and its D values, separated by spaces. The last D fields of a line are
    /// the values, so that words may contain spaces. The first line may contain the number of words
    /// and D instead. The first vector of a repeated word is used.
    ///
    /// ```
    /// use transfer_eval::retrieval::map::WordVectors;
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("de.vec");
    /// std::fs::write(&path, "2 3\nHaus 0.5 -1 2\nder 1e-3 0 0\n").unwrap();
    /// let vectors = WordVectors::read(&path, 200_000)?;
    /// assert_eq!(vectors.words(), ["Haus", "der"]);
    /// assert_eq!(vectors.vectors().row(0).to_vec(), [0.5, -1.0, 2.0]);
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] for a wrong number of values or a value that is not a finite
    /// float32; [`Error::Content`] without a vector, or if the file has another number of vectors
    /// than its first line states.
    pub fn read(path: impl AsRef<Path>, max_words: usize) -> Result<Self> {
        let path = path.as_ref();
        let mut lines = Lines::open(path)?.note_missing_newline();
        let mut parser = Parser::default();
        let (mut number, mut expected) = (0, None);
        while parser.words.len() < max_words && lines.advance()? {
            number += 1;
            let line_error = |message: String| Error::line(path, number, message);
            let line = std::str::from_utf8(lines.bytes().trim_ascii_end())
                .map_err(|_| line_error("not UTF-8; convert the file first".to_owned()))?;
            match parse_header(line).filter(|_| number == 1) {
                Some((count, width)) => (expected, parser.width) = (Some(count), width),
                None if line.is_empty() => {}
                None => parser.add_line(line).map_err(line_error)?,
            }
        }
        let count = parser.words.len() + parser.repeated;
        if parser.words.is_empty() {
            let message = "no vectors; expected a word and its values per line";
            return Err(Error::content(path, message));
        }
        let is_complete = parser.words.len() < max_words;
        if let Some(expected) = expected
            && (count > expected || (is_complete && count < expected))
        {
            let message = format!("{count} vectors, but the first line states {expected}");
            return Err(Error::content(path, message));
        }
        let vectors = Array2::from_shape_vec((parser.words.len(), parser.width), parser.values)
            .map_err(|error| Error::content(path, error.to_string()))?;
        Ok(Self { words: parser.words, vectors, repeated: parser.repeated })
    }

    /// Returns the words.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Returns the vectors, `[words, D]`.
    pub fn vectors(&self) -> &Array2<f32> {
        &self.vectors
    }

    /// Returns the number of skipped vectors of repeated words.
    pub fn repeated(&self) -> usize {
        self.repeated
    }

    /// Returns the row of each word.
    pub(super) fn rows(&self) -> HashMap<&str, usize> {
        self.words.iter().enumerate().map(|(row, word)| (word.as_str(), row)).collect()
    }

    /// Separates the words from the vectors.
    pub(super) fn into_parts(self) -> (Vec<String>, Array2<f32>) {
        (self.words, self.vectors)
    }

    /// Writes the text format with its first line, atomically. Values are read back without a
    /// difference.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] for a word that the format cannot represent, because it
    /// contains a line break or starts or ends with white space.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let is_invalid = |word: &&String| word.contains(['\n', '\r']) || word.trim() != *word;
        if let Some(word) = self.words.iter().find(is_invalid) {
            let message = format!("the format cannot represent the word {word:?}");
            return Err(Error::content(path, message));
        }
        atomic_file::create_folder_of(path)?;
        let mut file = AtomicFile::create(path)?;
        self.write_rows(&mut file)?;
        Ok(file.finish()?)
    }

    fn write_rows(&self, file: &mut AtomicFile) -> Result<()> {
        writeln!(file, "{} {}", self.vectors.nrows(), self.vectors.ncols())?;
        for (word, row) in std::iter::zip(&self.words, self.vectors.outer_iter()) {
            write!(file, "{word}")?;
            for value in row {
                write!(file, " {value}")?;
            }
            writeln!(file)?;
        }
        Ok(())
    }
}

/// The rows of a text file so far.
#[derive(Default)]
struct Parser {
    words: Vec<String>,
    seen: std::collections::HashSet<String>,
    values: Vec<f32>,
    width: usize,
    repeated: usize,
}

impl Parser {
    fn add_line(&mut self, line: &str) -> std::result::Result<(), String> {
        let got = line.matches(' ').count();
        if self.width == 0 {
            self.width = got;
        }
        if got < self.width || got == 0 {
            return Err(format!("{got} values, expected a word and {} values", self.width.max(1)));
        }
        let mut fields = line.rsplitn(self.width + 1, ' ');
        let start = self.values.len();
        for field in fields.by_ref().take(self.width) {
            match field.parse::<f32>() {
                Ok(value) if value.is_finite() => self.values.push(value),
                _ => return Err(format!("`{field}` is not a finite float32")),
            }
        }
        self.values[start..].reverse();
        // `got` is at least `width`, so that a field remains for the word.
        let word = fields.map(str::to_owned).collect::<String>();
        if self.seen.insert(word.clone()) {
            self.words.push(word);
        } else {
            self.repeated += 1;
            self.values.truncate(start);
        }
        Ok(())
    }
}

/// Parses the number of words and the number of dimensions.
fn parse_header(line: &str) -> Option<(usize, usize)> {
    let (count, width) = line.split_once(' ')?;
    let (count, width) = (count.parse().ok()?, width.parse().ok()?);
    (width > 0).then_some((count, width))
}
