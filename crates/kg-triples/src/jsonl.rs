//! JSONL files: one JSON object per line, gzip-compressed if the path ends in `.gz`.
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use atomic_file::{AtomicFile, SyncedFile, publish_all};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::input::{Lines, is_gzip_path};
use crate::{Error, output};

/// A type stored as a line of a JSONL file.
pub trait Record: DeserializeOwned {
    /// Name of the type in errors, as in "expected one sequence as a JSON object".
    const NAME: &'static str;

    /// Returns the reason why a well-formed object is invalid, or `None` for a valid object. The
    /// reader calls this method for each object that it has deserialised.
    fn invalid_reason(&self) -> Option<String>;
}

/// Streaming JSONL writer. It writes to a temporary file, which [`JsonlWriter::finish`] moves to
/// the path.
pub struct JsonlWriter<T> {
    path: PathBuf,
    output: Output,
    is_empty: bool,
    record_type: PhantomData<fn(T)>,
}

enum Output {
    Plain(AtomicFile),
    Gzip(Box<GzEncoder<AtomicFile>>),
}

impl<T: Serialize> JsonlWriter<T> {
    /// Creates a writer for `path`. The folder of `path` is created if it does not exist.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = output::create(path)?;
        let output = if is_gzip_path(path) {
            Output::Gzip(GzEncoder::new(file, Compression::default()).into())
        } else {
            Output::Plain(file)
        };
        let path = path.to_owned();
        Ok(Self { path, output, is_empty: true, record_type: PhantomData })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written, for example for lack of space.
    pub fn write(&mut self, record: &T) -> Result<(), Error> {
        let line = atomic_file::json::to_string(&self.path, record)? + "\n";
        self.is_empty = false;
        match &mut self.output {
            Output::Plain(file) => Ok(file.write_all(line.as_bytes())?),
            Output::Gzip(file) => {
                file.write_all(line.as_bytes()).map_err(Error::io(&self.path, "write the file"))
            }
        }
    }

    /// Syncs the temporary file to disk and renames it to its final path.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be synced or renamed; [`Error::Empty`] if no line was
    /// written. An error leaves a file that exists at this path unchanged.
    pub fn finish(self) -> Result<(), Error> {
        Self::finish_all([self])
    }

    /// Finishes several files. All temporary files are synced before the first one is renamed.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), for any of the files. An error before the first rename leaves
    /// existing files unchanged.
    pub fn finish_all(writers: impl IntoIterator<Item = Self>) -> Result<(), Error> {
        let synced = writers.into_iter().map(Self::sync).collect::<Result<Vec<_>, _>>()?;
        Ok(publish_all(synced)?)
    }

    fn sync(self) -> Result<SyncedFile, Error> {
        if self.is_empty {
            return Err(Error::Empty {
                what: self.path.display().to_string(),
                hint: "the inputs yield no line; an existing file is unchanged".into(),
            });
        }
        let file = match self.output {
            Output::Plain(file) => file,
            Output::Gzip(file) => file.finish().map_err(Error::io(&self.path, "write the file"))?,
        };
        Ok(file.sync()?)
    }
}

/// Streaming JSONL reader. It stops after the first error and skips blank lines.
///
/// ```
/// use kg_triples::Error;
/// use kg_triples::entity_linking::EntityPage;
/// use kg_triples::jsonl::JsonlReader;
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("entities.en.jsonl");
/// let lines = "{\"id\":\"Q70\",\"label\":\"Bern\"}\n{\"id\":\"\"}\n";
/// std::fs::write(&path, lines).unwrap();
/// let mut pages = JsonlReader::<EntityPage>::open(&path)?;
/// let first = pages.next().expect("two lines")?;
/// assert_eq!(first.label.as_deref(), Some("Bern"));
/// let error = pages.next().expect("two lines").unwrap_err();
/// assert!(matches!(error, Error::Json { line: 2, .. }));
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub struct JsonlReader<T> {
    lines: Lines,
    done: bool,
    record_type: PhantomData<fn() -> T>,
}

impl<T: Record> JsonlReader<T> {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let lines = Lines::open(path.as_ref())?;
        Ok(Self { lines, done: false, record_type: PhantomData })
    }

    /// Creates an [`Error::Json`] for the line that was read last.
    pub(crate) fn record_error(&self, got: String) -> Error {
        let (path, line) = (self.lines.path().to_owned(), self.lines.number());
        Error::Json { path, line, what: T::NAME, got }
    }

    fn read(&mut self) -> Result<Option<T>, Error> {
        while self.lines.advance()? {
            if self.lines.bytes().iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let record: T = serde_json::from_slice(self.lines.bytes())
                .map_err(|error| self.record_error(error.to_string()))?;
            return match record.invalid_reason() {
                Some(got) => Err(self.record_error(got)),
                None => Ok(Some(record)),
            };
        }
        Ok(None)
    }
}

impl<T: Record> Iterator for JsonlReader<T> {
    type Item = Result<T, Error>;

    /// Returns the next object. The error is [`Error::Json`] with the line for an invalid object,
    /// and [`Error::Truncated`] for truncated gzip data.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Writes all `records` to the file `path`.
///
/// # Errors
/// As [`JsonlWriter`].
///
/// ```
/// use kg_triples::{Sequence, SequenceConfig, build_sequences, jsonl};
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
/// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
/// # let mut builder = kg_triples::GraphBuilder::default();
/// # let capitals =
/// #     [("Germany", "Berlin", "Deutschland"), ("France", "Paris", "Frankreich")];
/// # for (head, tail, de) in capitals {
/// #     builder.add_triple(head, "P36", tail)?;
/// #     for (id, language, label) in
/// #         [(head, "en", head), (head, "de", de), (tail, "en", tail), (tail, "de", tail)]
/// #     {
/// #         builder.add_label(id, language, label, kg_triples::LabelKind::Entity)?;
/// #     }
/// # }
/// # builder.add_label("P36", "en", "capital", kg_triples::LabelKind::Relation)?;
/// # builder.add_label("P36", "de", "Hauptstadt", kg_triples::LabelKind::Relation)?;
/// # let graph = builder.build();
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("en-de.jsonl.gz"); // compressed because of the extension
/// let config = SequenceConfig::default();
/// let (sequences, _) = build_sequences(&graph, ("en", "de"), &config, &tokenizer)?;
/// jsonl::write(&path, &sequences)?;
/// let read: Result<Vec<Sequence>, _> = jsonl::JsonlReader::open(&path)?.collect();
/// assert_eq!(read?, sequences);
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub fn write<'r, T: Serialize + 'r>(
    path: impl AsRef<Path>,
    records: impl IntoIterator<Item = &'r T>,
) -> Result<(), Error> {
    let mut writer = JsonlWriter::create(path)?;
    records.into_iter().try_for_each(|record| writer.write(record))?;
    writer.finish()
}
