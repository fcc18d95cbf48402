//! Datasets of one or several files of lines, which may be compressed.
use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use atomic_file::check_text_start;
use atomic_file::fs::File;
use flate2::bufread::MultiGzDecoder;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::line::{MAX_LINE_BYTES, is_blank, without_bom, without_line_end};
#[cfg(feature = "parquet")]
use crate::parquet_rows::ParquetRows;
use crate::prepared::NOT_LISTED;
use crate::{Error, Fingerprint, Manifest, Result};

/// Description of the file names of shards, for error messages.
const SHARD_NAMES: &str = "*.jsonl or *.txt, plain or compressed as .gz or .zst, or *.parquet";

/// Formats the error of a single line of JSON as `column 5: …`.
fn format_json_error(error: &serde_json::Error) -> String {
    format!("column {}: {}", error.column(), atomic_file::json::reason(error))
}

/// Returns whether `name` is the file name of a shard: `*.jsonl` or `*.txt`, plain or compressed as
/// `.gz` or `.zst`, or `*.parquet`, and not hidden.
///
/// ```
/// assert!(shards::is_shard("part-0007.jsonl.gz") && shards::is_shard("en.txt"));
/// assert!(shards::is_shard("train-00000-of-00041.parquet"));
/// assert!(!shards::is_shard(".part.jsonl") && !shards::is_shard("counts.tsv"));
/// ```
pub fn is_shard(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let is_text = stem.ends_with(".jsonl") || stem.ends_with(".txt");
    !name.starts_with('.') && (is_text || name.ends_with(".parquet"))
}

/// Returns whether a file has the extension `expected`, in upper or lower case.
fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(expected))
}

/// Returns the term for a record of the shard in error messages: `row` for Parquet files, else
/// `line`.
fn record_term(path: &Path) -> &'static str {
    if has_extension(path, "parquet") { "row" } else { "line" }
}

/// One line of a shard. A row of a Parquet file is a JSON object with one member per column.
#[derive(Clone, Copy, Debug)]
pub struct ShardLine<'a> {
    /// Path of the file.
    pub path: &'a Path,
    /// Number of the line or row, from 1.
    pub number: u64,
    /// The line without its line end.
    pub text: &'a [u8],
}

impl ShardLine<'_> {
    /// Returns whether the file name indicates JSON: `*.jsonl`, plain or compressed, or
    /// `*.parquet`.
    pub fn is_json(&self) -> bool {
        // Extensions are ASCII, but the rest of the name may not be UTF-8.
        let name = self.path.to_string_lossy().to_ascii_lowercase();
        let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
        stem.unwrap_or(&name).ends_with(".jsonl") || has_extension(self.path, "parquet")
    }

    /// Parses the line as JSON, with or without a byte order mark.
    ///
    /// # Errors
    /// The parse error with its column.
    pub fn parse<T: DeserializeOwned>(&self) -> std::result::Result<T, String> {
        serde_json::from_slice(without_bom(self.text)).map_err(|error| format_json_error(&error))
    }

    /// Returns an error with the file and the number of the line. For a row of a Parquet file, the
    /// error lists the columns that are neither text nor numbers.
    pub fn error(&self, reason: impl std::fmt::Display) -> Error {
        let (term, number, types) = (record_term(self.path), self.number, self.other_types());
        Error::file(self.path, format!("{term} {number}, {reason}{types}"))
    }

    /// Describes the columns of a row of a Parquet file that are neither text nor numbers, for error
    /// messages; empty for other files and without such columns.
    #[cfg(feature = "parquet")]
    pub fn other_types(&self) -> String {
        match has_extension(self.path, "parquet") {
            true => crate::parquet_value::describe_other_types(self.text),
            false => String::new(),
        }
    }

    /// Describes the columns of a row of a Parquet file that are neither text nor numbers; without
    /// the feature `parquet`, the result is empty.
    #[cfg(not(feature = "parquet"))]
    pub fn other_types(&self) -> String {
        String::new()
    }
}

/// A file of a dataset, with the size and hash that it had when it was opened.
#[derive(Clone, Debug)]
pub struct ShardFile {
    path: PathBuf,
    line_count: u64,
    /// Number of uncompressed bytes.
    bytes: u64,
    /// SHA-256 of the uncompressed bytes.
    digest: [u8; 32],
    /// Size and modification time of the file, compared before the file is read again.
    size_and_time: (u64, Option<SystemTime>),
}

/// Returns the size and, where the file system stores it, the time of the last change.
fn size_and_time(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

impl ShardFile {
    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of non-blank lines, which are the examples.
    pub fn line_count(&self) -> u64 {
        self.line_count
    }

    /// Returns the number of uncompressed bytes; for a Parquet file, the number of bytes of its
    /// rows as JSON.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the file once and calls `visit` for each non-blank line.
    fn scan(
        path: &Path,
        visit: &mut dyn FnMut(ShardLine<'_>) -> std::result::Result<(), String>,
    ) -> Result<Self> {
        let metadata = atomic_file::fs::metadata(path)?;
        let (mut hash, mut line_count, mut line) = (Sha256::new(), 0, Vec::new());
        let mut reader = LineReader::open(path)?;
        while reader.read(&mut line)? {
            hash.update(&line);
            if !is_blank(&line) {
                let line =
                    ShardLine { path, number: reader.n_lines, text: without_line_end(&line) };
                visit(line).map_err(|reason| line.error(reason))?;
                line_count += 1;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            line_count,
            bytes: reader.n_bytes,
            digest: hash.finalize().into(),
            size_and_time: size_and_time(&metadata),
        })
    }

    /// Opens the file at a position between two lines, and checks that the file has not changed.
    pub(crate) fn reader_at(&self, byte: u64, line: u64) -> Result<LineReader> {
        let metadata = atomic_file::fs::metadata(&self.path)?;
        if size_and_time(&metadata) != self.size_and_time {
            // The modification time can change while the contents remain equal.
            let current = Self::scan(&self.path, &mut |_| Ok(()))?;
            if current.digest != self.digest {
                return Err(self.changed_error(current.bytes));
            }
        }
        let mut reader = LineReader::open(&self.path)?;
        reader.skip(byte, line)?;
        Ok(reader)
    }

    /// Checks that the file has the same uncompressed size as when it was opened. `reader` must be
    /// at the end of the file.
    ///
    /// # Errors
    /// [`Error::File`] if the size has changed.
    pub(crate) fn check_end(&self, reader: &LineReader) -> Result<()> {
        if reader.n_bytes == self.bytes { Ok(()) } else { Err(self.changed_error(reader.n_bytes)) }
    }

    fn changed_error(&self, bytes: u64) -> Error {
        let reason = format!(
            "the file changed: {bytes} uncompressed bytes, {} when it was first read; restore the \
             file, or start a new run",
            self.bytes
        );
        Error::file(&self.path, reason)
    }
}

/// The files of one dataset.
///
/// Each file is read once to count and hash its lines. Clones are cheap and share the data.
///
/// # Example
/// ```
/// use serde::Deserialize;
/// use shards::Shards;
///
/// #[derive(Deserialize)]
/// struct Row {
///     input_ids: Vec<u32>,
/// }
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("a.jsonl"), "{\"input_ids\": [0, 7, 2]}\n")?;
/// std::fs::write(folder.path().join("b.jsonl"), "{\"input_ids\": [0, 2]}\n")?;
/// let mut max_length = 0;
/// let shards = Shards::open_with([folder.path()], |line| {
///     max_length = max_length.max(line.parse::<Row>()?.input_ids.len());
///     Ok(())
/// })?;
/// assert_eq!((shards.files().len(), shards.line_count(), max_length), (2, 2, 3));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shards {
    files: Arc<[ShardFile]>,
}

impl Shards {
    /// Opens files and folders. The shards of a folder ([`is_shard`]) are sorted by name.
    ///
    /// If a folder has a [`Manifest`], the shards of its subfolder `train` are opened and checked
    /// for changes.
    ///
    /// # Errors
    /// - [`Error::Config`] if there are no paths
    /// - [`Error::File`] for a file that cannot be read or is damaged, an entry with a shard's name
    ///   that is not a file, a repeated file, or a folder without shards
    /// - [`Error::File`] naming the first file if all files are empty
    pub fn open<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        Self::open_with(paths, |_| Ok(()))
    }

    /// Opens files like [`open`](Self::open), and calls `visit` for each non-blank line in the
    /// order of the files, for example to validate examples before training.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open); [`Error::File`] naming file and line for an error of
    /// `visit`.
    pub fn open_with<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
        mut visit: impl FnMut(ShardLine<'_>) -> std::result::Result<(), String>,
    ) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            add_files(path.as_ref(), &mut files)?;
        }
        check_unique_files(&files)?;
        let Some(first) = files.first() else {
            return Err(Error::Config {
                key: "shards".into(),
                value: "none".into(),
                rule: format!("must be one file or more, or a folder of {SHARD_NAMES}"),
            });
        };
        let shard_files = files.iter().map(|path| ShardFile::scan(path, &mut visit));
        let shard_files: Arc<[ShardFile]> = shard_files.collect::<Result<_>>()?;
        if shard_files.iter().all(|file| file.line_count == 0) {
            let reason = match files.len() - 1 {
                0 => "the shard has no lines".to_owned(),
                count => format!("this shard and {count} other shards have no lines"),
            };
            return Err(Error::file(first, reason));
        }
        Ok(Self { files: shard_files })
    }

    /// Returns the files in the order of the paths.
    pub fn files(&self) -> &[ShardFile] {
        &self.files
    }

    /// Returns the files for which `predicate` returns true, without reading them again.
    pub fn filter(&self, predicate: impl Fn(&ShardFile) -> bool) -> Self {
        Self { files: self.files.iter().filter(|file| predicate(file)).cloned().collect() }
    }

    /// Reads the files again, and calls `visit` for each non-blank line in the order of the files.
    ///
    /// # Errors
    /// The errors of [`open_with`](Self::open_with); [`Error::File`] for a file that changed since
    /// it was opened.
    pub fn for_each_line(
        &self,
        mut visit: impl FnMut(ShardLine<'_>) -> std::result::Result<(), String>,
    ) -> Result<()> {
        for file in self.files.iter() {
            let current = ShardFile::scan(&file.path, &mut visit)?;
            if current.digest != file.digest {
                return Err(file.changed_error(current.bytes));
            }
        }
        Ok(())
    }

    /// Returns the number of non-blank lines of all files.
    pub fn line_count(&self) -> u64 {
        self.files.iter().map(|file| file.line_count).sum()
    }

    /// Adds the hash of each file's uncompressed content to the fingerprint, in the order of the
    /// files and without file names.
    pub fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for file in self.files.iter() {
            fingerprint.add("shard", file.digest);
        }
    }
}

/// Appends a file, or the shards of a folder, to `files`.
fn add_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !atomic_file::fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if let Some(manifest) = Manifest::read(path)? {
        let name = |file: &PathBuf| file.strip_prefix(path).ok()?.to_str().map(str::to_owned);
        let previous_count = files.len();
        add_files(&path.join("train"), files)?;
        for file in files.iter().skip(previous_count) {
            match name(file).and_then(|name| manifest.files.get(&name)) {
                Some(digest) => digest.check(file)?,
                None => return Err(Error::file(file, NOT_LISTED)),
            }
        }
        return Ok(());
    }
    let mut shards = Vec::new();
    for entry in atomic_file::fs::read_dir(path)? {
        let entry = entry?;
        if is_shard(&entry.file_name().to_string_lossy()) {
            let file = entry.path();
            check_file(&file)?;
            shards.push(file);
        }
    }
    if shards.is_empty() {
        return Err(Error::file(path, format!("the folder has no shards ({SHARD_NAMES})")));
    }
    shards.sort();
    files.append(&mut shards);
    Ok(())
}

/// Rejects a folder entry that has the name of a shard but is not a readable file.
fn check_file(file: &Path) -> Result<()> {
    let advice = "its name is that of a shard: restore the file, or move it out of the folder";
    let reason = match fs::metadata(file) {
        Err(error) => format!("{error}; {advice}"),
        Ok(metadata) if !metadata.is_file() => format!("not a file; {advice}"),
        Ok(_) if file.file_name().is_some_and(|name| name.to_str().is_none()) => {
            "its name is not UTF-8; rename it".to_owned()
        }
        Ok(_) => return Ok(()),
    };
    Err(Error::file(file, reason))
}

/// Rejects a file that is listed twice, even if its folder has two different paths.
///
/// Several links in one folder to the same file are allowed, because storage systems that
/// deduplicate files create such links.
fn check_unique_files(files: &[PathBuf]) -> Result<()> {
    let mut locations = BTreeSet::new();
    for file in files {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")));
        let folder = folder.map_err(|error| Error::file(file, error))?;
        if !locations.insert((folder, file.file_name())) {
            return Err(Error::file(file, "listed twice among the shards; list it once"));
        }
    }
    Ok(())
}

/// A reader of the lines of a file, which is decompressed according to its extension.
pub(crate) struct LineReader {
    path: PathBuf,
    input: Input,
    /// Number of uncompressed bytes read.
    pub(crate) n_bytes: u64,
    /// Number of lines read.
    pub(crate) n_lines: u64,
}

enum Input {
    Plain(BufReader<File>),
    Compressed(Box<dyn BufRead + Send>),
    #[cfg(feature = "parquet")]
    Rows(Box<ParquetRows>),
}

impl LineReader {
    fn open(path: &Path) -> Result<Self> {
        let file_error = |error: std::io::Error| Error::file(path, error);
        if has_extension(path, "parquet") {
            return Self::open_parquet(path);
        }
        let file = BufReader::with_capacity(1 << 16, atomic_file::fs::open(path)?);
        let input = if has_extension(path, "gz") {
            let decoder = MultiGzDecoder::new(file);
            Input::Compressed(Box::new(BufReader::with_capacity(1 << 16, decoder)))
        } else if has_extension(path, "zst") {
            let decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(file_error)?;
            Input::Compressed(Box::new(BufReader::with_capacity(1 << 16, decoder)))
        } else {
            Input::Plain(file)
        };
        Ok(Self { path: path.to_owned(), input, n_bytes: 0, n_lines: 0 })
    }

    #[cfg(feature = "parquet")]
    fn open_parquet(path: &Path) -> Result<Self> {
        let rows = Box::new(ParquetRows::open(path).map_err(|reason| Error::file(path, reason))?);
        Ok(Self { path: path.to_owned(), input: Input::Rows(rows), n_bytes: 0, n_lines: 0 })
    }

    #[cfg(not(feature = "parquet"))]
    fn open_parquet(path: &Path) -> Result<Self> {
        let reason = "Parquet is not supported by this build; build with the feature `parquet`";
        Err(Error::file(path, reason))
    }

    /// Reads a line with its line end; returns `false` at the end of the file.
    pub(crate) fn read(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        let max_bytes = MAX_LINE_BYTES + 1;
        let result = match &mut self.input {
            Input::Plain(file) => file.take(max_bytes).read_until(b'\n', line),
            Input::Compressed(decoder) => decoder.take(max_bytes).read_until(b'\n', line),
            #[cfg(feature = "parquet")]
            Input::Rows(rows) => rows.read(line).map(|_| line.len()).map_err(std::io::Error::other),
        };
        let length = result.map_err(|error| self.read_error(&error))? as u64;
        if self.n_lines == 0 {
            check_text_start(line).map_err(|error| Error::file(&self.path, error))?;
        }
        if length > MAX_LINE_BYTES {
            let unit = record_term(&self.path);
            let reason = format!(
                "{unit} {} is longer than {MAX_LINE_BYTES} bytes; expected one example per line",
                self.n_lines + 1
            );
            return Err(Error::file(&self.path, reason));
        }
        self.n_bytes += length;
        self.n_lines += u64::from(length > 0);
        Ok(length > 0)
    }

    /// Skips from the start of the file to a position. Compressed files are decompressed up to the
    /// position.
    fn skip(&mut self, byte: u64, line: u64) -> Result<()> {
        let skipped = match &mut self.input {
            Input::Plain(file) => file.seek(SeekFrom::Start(byte)),
            Input::Compressed(decoder) => {
                std::io::copy(&mut decoder.take(byte), &mut std::io::sink())
            }
            #[cfg(feature = "parquet")]
            Input::Rows(rows) => match rows.seek(line) {
                Ok(has_position) => Ok(if has_position { byte } else { 0 }),
                Err(reason) => Err(std::io::Error::other(reason)),
            },
        };
        if skipped.map_err(|error| self.read_error(&error))? < byte {
            let reason = format!("the file ends before byte {byte}, the end of line {line}");
            return Err(Error::file(&self.path, reason));
        }
        (self.n_bytes, self.n_lines) = (byte, line);
        Ok(())
    }

    fn read_error(&self, error: &std::io::Error) -> Error {
        let reason = match (error.kind(), &self.input) {
            (ErrorKind::UnexpectedEof, Input::Compressed(_)) => {
                "the compressed file is truncated".into()
            }
            _ => error.to_string(),
        };
        let unit = record_term(&self.path);
        Error::file(&self.path, format!("after {unit} {}: {reason}", self.n_lines))
    }
}
