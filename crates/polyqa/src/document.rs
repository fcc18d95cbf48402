//! The texts that are asked about.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlqa_eval::NBest;
use serde::Deserialize;
use whole_file::Lines;

use crate::{Error, Result};

/// A text that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name in answers: that of its file, or the `id` of its row.
    pub id: Arc<str>,
    /// All of it, of any length. A byte order mark (U+FEFF) at its start counts in offsets and is
    /// not shown to models.
    pub text: Arc<str>,
}

/// The byte order mark of a text.
const MARK: char = '\u{feff}';

impl Document {
    /// The text without a byte order mark at its start.
    pub(crate) fn unmarked_text(&self) -> &str {
        self.text.strip_prefix(MARK).unwrap_or(&self.text)
    }

    /// The text without a byte order mark, shared if there is none.
    pub(crate) fn context(&self) -> Arc<str> {
        self.text.strip_prefix(MARK).map_or_else(|| self.text.clone(), Arc::from)
    }

    /// Moves answers found in [`context`](Self::context) to their offsets in the text.
    pub(crate) fn place(&self, mut found: NBest) -> NBest {
        if self.text.starts_with(MARK) {
            found.candidates.iter_mut().for_each(|one| one.answer_start += 1);
        }
        found
    }
}

/// Bytes of the longest text; a longer one is likely no text.
const LONGEST: u64 = 256 << 20;

const ROW: &str = "a document on each line: {\"text\": \"…\", \"id\": \"…\"}, `id` may be absent";

/// Documents in files, read anew at each pass, so that they need not fit into memory: a file with
/// rows (`.jsonl`, `.jsonl.gz`) has one on each line, every other file is one.
///
/// ```
/// use polyqa::Documents;
///
/// let folder = tempfile::tempdir().unwrap();
/// let (peru, rows) = (folder.path().join("peru.txt"), folder.path().join("more.jsonl"));
/// std::fs::write(&peru, "Lima is in Peru.").unwrap();
/// std::fs::write(&rows, "{\"id\": \"b\", \"text\": \"Quito is in Ecuador.\"}\n").unwrap();
/// let documents = Documents::of_files([peru, rows])?;
/// assert_eq!(documents.count()?, 2);
/// let texts: Vec<_> = documents.iter().collect::<Result<_, _>>()?;
/// assert_eq!(&*texts[1].text, "Quito is in Ecuador.");
/// # Ok::<(), polyqa::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Documents(Vec<Source>);

#[derive(Clone, Debug)]
enum Source {
    Text(PathBuf),
    Rows(PathBuf),
    Here(Document),
}

/// A row of a file.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(alias = "context")]
    text: String,
}

impl From<Vec<Document>> for Documents {
    fn from(documents: Vec<Document>) -> Self {
        Self(documents.into_iter().map(Source::Here).collect())
    }
}

impl Documents {
    /// Documents in these files, in this order; `-` is one text on standard input, and is kept.
    ///
    /// # Errors
    /// [`Error::Read`] naming a file that is not there, is a folder, or cannot be read.
    pub fn of_files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let source = |path: PathBuf| {
            if path == Path::new("-") {
                return Ok(Source::Here(document(&path)?));
            }
            let found = std::fs::metadata(&path).map_err(|source| Error::read(&path, source))?;
            if found.is_dir() {
                let reason = "it is a folder; name its files, as folder/*.txt";
                return Err(Error::read(&path, std::io::Error::other(reason)));
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            let rows = name.ends_with(".jsonl") || name.ends_with(".jsonl.gz");
            Ok(if rows { Source::Rows(path) } else { Source::Text(path) })
        };
        Ok(Self(paths.into_iter().map(source).collect::<Result<_>>()?))
    }

    /// Adds a file of rows, whatever its name; `-` is standard input, and is kept.
    ///
    /// # Errors
    /// As [`of_files`](Self::of_files).
    pub fn with_rows(mut self, path: PathBuf) -> Result<Self> {
        if path == Path::new("-") {
            let kept = rows(&path).map(|row| Ok(Source::Here(row?)));
            self.0.extend(kept.collect::<Result<Vec<_>>>()?);
        } else {
            self.0.push(Source::Rows(path));
        }
        Ok(self)
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are; files of rows are read for it.
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn count(&self) -> Result<usize> {
        let of = |source: &Source| match source {
            Source::Rows(path) => {
                rows(path).try_fold(0, |count: usize, row| row.map(|_| count.saturating_add(1)))
            }
            _ => Ok(1),
        };
        self.0.iter().map(of).sum()
    }

    /// The documents one by one, in order.
    ///
    /// # Errors
    /// An item is [`Error::Read`] or [`Error::Content`] naming the file and the line.
    pub fn iter(&self) -> impl Iterator<Item = Result<Document>> {
        self.0.iter().flat_map(|source| -> Box<dyn Iterator<Item = Result<Document>>> {
            match source {
                Source::Text(path) => Box::new(std::iter::once(document(path))),
                Source::Rows(path) => Box::new(rows(path)),
                Source::Here(document) => Box::new(std::iter::once(Ok(document.clone()))),
            }
        })
    }
}

/// A file as one document.
fn document(path: &Path) -> Result<Document> {
    let text = whole_file::read_to_string_with_mark(path, LONGEST);
    let text = text.map_err(|source| Error::read(path, source))?;
    Ok(Document { id: path.to_string_lossy().into(), text: text.into() })
}

/// The documents of a file of rows; nothing after an error.
fn rows(path: &Path) -> impl Iterator<Item = Result<Document>> + use<> {
    let path = path.to_owned();
    let mut lines = Some(Lines::open(&path));
    std::iter::from_fn(move || {
        let mut reader = match lines.take()? {
            Ok(reader) => reader,
            Err(source) => return Some(Err(Error::read(&path, source))),
        };
        let row = next_row(&mut reader, &path)?;
        if row.is_ok() {
            lines = Some(Ok(reader));
        }
        Some(row)
    })
}

fn next_row(lines: &mut Lines, path: &Path) -> Option<Result<Document>> {
    loop {
        match lines.advance() {
            Ok(true) if lines.bytes().trim_ascii().is_empty() => {}
            Ok(true) => break,
            Ok(false) => return None,
            Err(source) => return Some(Err(Error::read(path, source))),
        }
    }
    let number = lines.number();
    Some(match serde_json::from_slice::<Row>(lines.bytes()) {
        Ok(Row { id, text }) => {
            let id = match id {
                Some(serde_json::Value::String(id)) => id,
                Some(serde_json::Value::Null) | None => format!("{}:{number}", path.display()),
                Some(other) => other.to_string(),
            };
            Ok(Document { id: id.into(), text: text.into() })
        }
        Err(error) => Err(Error::line(path, number, format_args!("{error}; expected {ROW}"))),
    })
}
