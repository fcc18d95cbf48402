//! Documents that the reader searches for answers.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atomic_file::Lines;
use documents::Extracted;
use serde::Deserialize;

use crate::{Error, Result};

/// A text that is searched for answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Name of the document in answers: the path of a file, or the `id` of a row. For a row
    /// without `id`, the name is the path and the line number.
    pub id: Arc<str>,
    /// The whole text, of any length. A byte order mark (U+FEFF) at the start of the text counts in
    /// offsets, but is not passed to models. In a PDF file's text, each page ends with
    /// [`documents::PAGE_BREAK`]. Any text with this character has page numbers.
    pub text: Arc<str>,
}

/// Maximum size in bytes of texts that are stored in memory.
const MAX_BYTES: u64 = documents::MAX_FILE_BYTES;

const ROW_FORMAT: &str =
    "a document on each line: {\"text\": \"…\", \"id\": \"…\"}, `id` may be absent";

/// Documents in files or in memory. Each pass over the documents reads the files again, so the
/// files can be larger than the memory. A file with rows (`.jsonl`, `.jsonl.gz`) has one document
/// per line. A file with any other name is one document: PDF, HTML, Markdown or plain text, see
/// [`documents::Format::of`].
///
/// Standard input (`-`), named pipes and the pipes of a shell's `<(…)` can be read only once. They
/// are read when they are added, and their documents are stored in memory, up to 256 MB per input.
///
/// ```
/// use polyqa::Documents;
///
/// let folder = tempfile::tempdir().unwrap();
/// let (peru, rows) = (folder.path().join("peru.txt"), folder.path().join("more.jsonl"));
/// std::fs::write(&peru, "Lima is in Peru.").unwrap();
/// std::fs::write(&rows, "{\"id\": \"b\", \"text\": \"Quito is in Ecuador.\"}\n").unwrap();
/// let documents = Documents::from_files([peru, rows])?;
/// assert_eq!(documents.count()?, 2);
/// let texts: Vec<_> = documents.iter().collect::<Result<_, _>>()?;
/// assert_eq!(&*texts[1].text, "Quito is in Ecuador.");
/// # Ok::<(), polyqa::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Documents {
    sources: Vec<Source>,
    /// Whether each document is a single passage.
    pub(crate) unsplit: bool,
    /// The folder for temporary files; `None`: the system's.
    pub(crate) temporary_folder: Option<PathBuf>,
}

#[derive(Clone, Debug)]
enum Source {
    Text(PathBuf),
    Rows(PathBuf),
    InMemory(Document),
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
        let sources = documents.into_iter().map(Source::InMemory).collect();
        Self { sources, ..Self::default() }
    }
}

impl Documents {
    /// Returns the documents in these files, in this order. `-` is one text on standard input.
    ///
    /// # Errors
    /// [`Error::Read`] naming a file that does not exist, is a folder, or cannot be read;
    /// [`Error::Content`] if the rows of a pipe are invalid or larger than 256 MB.
    pub fn from_files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let mut documents = Self::default();
        for path in paths {
            let is_pipe = path == Path::new("-") || is_pipe(&path)?;
            if has_rows(&path) {
                documents = documents.with_rows(path)?;
            } else if is_pipe {
                documents.sources.push(Source::InMemory(read_document(&path)?));
            } else {
                documents.sources.push(Source::Text(path));
            }
        }
        Ok(documents)
    }

    /// Adds a file of rows, regardless of its name; `-` is standard input.
    ///
    /// # Errors
    /// [`Error::Read`] naming a file that does not exist or is a folder; [`Error::Read`] or
    /// [`Error::Content`] if the rows on standard input or of a pipe are invalid, or larger than
    /// 256 MB. Errors in a regular file are returned when its rows are read.
    pub fn with_rows(mut self, path: PathBuf) -> Result<Self> {
        if path == Path::new("-") || is_pipe(&path)? {
            self.sources.extend(stored_rows(&path, MAX_BYTES)?);
        } else {
            self.sources.push(Source::Rows(path));
        }
        Ok(self)
    }

    /// Returns the same documents, each as a single passage.
    ///
    /// By default, a document is cut at the ends of paragraphs: consecutive short paragraphs form
    /// one passage of 50 words or more, and a paragraph of more than 250 words is cut between
    /// sentences.
    #[must_use]
    pub fn without_passages(self) -> Self {
        Self { unsplit: true, ..self }
    }

    /// Returns the same documents. If their texts are larger than 64 MB, the index is stored in this
    /// folder in place of the system's folder for temporary files.
    #[must_use]
    pub fn with_temporary_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { temporary_folder: Some(folder.into()), ..self }
    }

    /// Returns whether there are neither files nor documents.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Counts the documents. Files of rows are read completely.
    ///
    /// # Errors
    /// The errors of [`iter`](Self::iter).
    pub fn count(&self) -> Result<usize> {
        let count_documents = |source: &Source| match source {
            Source::Rows(path) => read_rows(path, false)
                .try_fold(0, |count: usize, row| row.map(|_| count.saturating_add(1))),
            _ => Ok(1),
        };
        self.sources.iter().map(count_documents).sum()
    }

    /// Returns the documents in order.
    ///
    /// # Errors
    /// An item is [`Error::Read`] or [`Error::Content`] naming the file and the line.
    pub fn iter(&self) -> impl Iterator<Item = Result<Document>> {
        self.sources.iter().flat_map(|source| -> Box<dyn Iterator<Item = Result<Document>>> {
            match source {
                Source::Text(path) => Box::new(std::iter::once(read_document(path))),
                Source::Rows(path) => Box::new(read_rows(path, false)),
                Source::InMemory(document) => Box::new(std::iter::once(Ok(document.clone()))),
            }
        })
    }
}

/// Returns whether a file's name is that of a file of rows.
pub(crate) fn has_rows(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")
}

/// Returns whether a file can be read only once: a pipe, a socket or a device.
///
/// # Errors
/// [`Error::Read`] if the file does not exist or is a folder.
pub(crate) fn is_pipe(path: &Path) -> Result<bool> {
    let read_error = atomic_file::Error::new(path, "read");
    let metadata = std::fs::metadata(path).map_err(|error| {
        let name = path.to_string_lossy();
        let is_question =
            name.ends_with(['?', '？', '؟', '¿']) || name.split_whitespace().count() > 2;
        match error.kind() {
            std::io::ErrorKind::NotFound if is_question => read_error(std::io::Error::other(
                format!("{error}; a question is passed with -q, such as -q {name:?}"),
            )),
            _ => read_error(error),
        }
    })?;
    if metadata.is_dir() {
        let reason = "is a folder; expected its files, such as folder/*.txt";
        return Err(atomic_file::Error::new(path, "read")(std::io::Error::other(reason)).into());
    }
    Ok(!metadata.is_file())
}

/// Reads all rows of a file into memory.
///
/// # Errors
/// The errors of [`read_rows`]; [`Error::Content`] if the texts have more than `max_bytes` bytes.
fn stored_rows(path: &Path, max_bytes: u64) -> Result<Vec<Source>> {
    let mut bytes = 0;
    let store = |row: Result<Document>| {
        let document = row?;
        bytes += document.text.len() as u64;
        if bytes > max_bytes {
            let problem = format!(
                "can be read only once and has texts of more than {} MB; expected a regular file, which is \
                 read in parts",
                max_bytes >> 20
            );
            return Err(Error::Content { path: path.to_owned(), problem });
        }
        Ok(Source::InMemory(document))
    };
    read_rows(path, false).map(store).collect()
}

/// Reads a file as one document. Warnings about a part of the text become notes.
pub(crate) fn read_document(path: &Path) -> Result<Document> {
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_json {
        let problem = "is JSON; expected a document, such as a .txt, .md, .html or .pdf file. Rows are in \
                       .jsonl files, a SQuAD-style file with contexts is passed with --questions, and any \
                       text can be passed on standard input (-)";
        return Err(Error::Content { path: path.to_owned(), problem: problem.to_owned() });
    }
    let Extracted { text, warnings, .. } = documents::read(path)?;
    for warning in warnings {
        atomic_file::note(&format!("{}: {warning}", path.display()));
    }
    Ok(Document { id: path.to_string_lossy().into(), text: text.into() })
}

/// Returns the documents of a file of rows, up to the first error. With `needs_ids`, a row without
/// an id is an error.
pub(crate) fn read_rows(
    path: &Path,
    needs_ids: bool,
) -> impl Iterator<Item = Result<Document>> + use<> {
    let path = path.to_owned();
    let mut lines = Some(Lines::open(&path));
    std::iter::from_fn(move || {
        let mut open_lines = match lines.take()? {
            Ok(open_lines) => open_lines,
            Err(error) => return Some(Err(error.into())),
        };
        let row = next_row(&mut open_lines, &path, needs_ids)?;
        if row.is_ok() {
            lines = Some(Ok(open_lines));
        }
        Some(row)
    })
}

fn next_row(lines: &mut Lines, path: &Path, needs_ids: bool) -> Option<Result<Document>> {
    loop {
        match lines.advance() {
            Ok(true) if lines.bytes().trim_ascii().is_empty() => {}
            Ok(true) => break,
            Ok(false) => return None,
            Err(error) => return Some(Err(error.into())),
        }
    }
    let number = lines.number();
    Some(match serde_json::from_slice::<Row>(lines.bytes()) {
        Ok(Row { id: None | Some(serde_json::Value::Null), .. }) if needs_ids => {
            let problem = "the document has no id; expected {\"id\": \"…\", \"text\": \"…\"}";
            Err(Error::line(path, number, problem))
        }
        Ok(Row { id, text }) => {
            let id = row_id(id).unwrap_or_else(|| format!("{}:{number}", path.display()));
            Ok(Document { id: id.into(), text: text.into() })
        }
        Err(error) => {
            Err(Error::line(path, number, format_args!("{error}; expected {ROW_FORMAT}")))
        }
    })
}

/// Returns the id of a row as text, if it has one.
pub(crate) fn row_id(id: Option<serde_json::Value>) -> Option<String> {
    match id? {
        serde_json::Value::Null => None,
        serde_json::Value::String(id) => Some(id),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_pipe_have_a_maximum_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let text = "a".repeat(1 << 19);
        std::fs::write(&path, format!("{{\"text\": \"{text}\"}}\n").repeat(3)).unwrap();
        assert_eq!(stored_rows(&path, 3 << 19).unwrap().len(), 3);
        let error = stored_rows(&path, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("rows: can be read only once") && error.contains("1 MB"), "{error}");
    }
}
