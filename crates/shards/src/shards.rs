//! Files of lines, perhaps packed, that together are one dataset.
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use flate2::bufread::MultiGzDecoder;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

#[cfg(feature = "parquet")]
use crate::parquet_rows::ParquetRows;
use crate::{Error, Fingerprint, Manifest, Result};

/// What a folder of shards holds, in words.
const EXPECTED: &str = "*.jsonl or *.txt, plain or packed as .gz or .zst, or *.parquet";

/// Bytes of the longest line that is read: a file without line ends would otherwise fill memory.
pub(crate) const LONGEST_LINE: u64 = 1 << 26;

/// The line without a byte order mark.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// `column 5: …` of an error in a text of one line.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = format!(" at line {} column {}", error.line(), error.column());
    format!("column {}: {}", error.column(), text.strip_suffix(&end).unwrap_or(&text))
}

/// Whether a file of this name in a folder is a shard: `*.jsonl` or `*.txt`, plain or packed as
/// `.gz` or `.zst`, or `*.parquet`, and not hidden.
///
/// ```
/// assert!(shards::is_shard("part-0007.jsonl.gz") && shards::is_shard("en.txt"));
/// assert!(shards::is_shard("train-00000-of-00041.parquet"));
/// assert!(!shards::is_shard(".part.jsonl") && !shards::is_shard("counts.tsv"));
/// ```
pub fn is_shard(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let lines = plain.ends_with(".jsonl") || plain.ends_with(".txt");
    !name.starts_with('.') && (lines || name.ends_with(".parquet"))
}

/// Whether the shard holds rows in place of lines.
fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// What its examples are called in messages.
fn unit(path: &Path) -> &'static str {
    if is_parquet(path) { "row" } else { "line" }
}

/// One line of a shard, as it is read. A row of a Parquet file is the line of a JSON object, with a
/// member for each column.
#[derive(Clone, Copy, Debug)]
pub struct ShardLine<'a> {
    /// The file.
    pub path: &'a Path,
    /// The line's or row's number in it, from 1.
    pub number: u64,
    /// The line, without its end.
    pub text: &'a [u8],
}

impl ShardLine<'_> {
    /// Whether the line is JSON by the name of its file: `*.jsonl`, plain or packed, or
    /// `*.parquet`.
    pub fn is_json(&self) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
        plain.unwrap_or(&name).ends_with(".jsonl") || is_parquet(self.path)
    }

    /// The JSON value of the line, whatever byte order mark is before it.
    ///
    /// # Errors
    /// What is wrong, with the column.
    pub fn parse<T: DeserializeOwned>(&self) -> std::result::Result<T, String> {
        serde_json::from_slice(without_mark(self.text)).map_err(|error| in_line(&error))
    }

    /// An error that names file and line.
    pub fn refuse(&self, reason: impl std::fmt::Display) -> Error {
        let unit = unit(self.path);
        Error::file(self.path, format!("{unit} {}, {reason}", self.number))
    }
}

/// A file of a dataset, as it was when the dataset was opened.
#[derive(Clone, Debug)]
pub struct ShardFile {
    path: PathBuf,
    lines: u64,
    /// Unpacked.
    bytes: u64,
    /// SHA-256 of the bytes, unpacked.
    digest: [u8; 32],
    /// Size and time of the file, compared before it is read again.
    seen: (u64, Option<SystemTime>),
}

fn seen(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

impl ShardFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines that are not blank: its examples.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Bytes, unpacked; of a Parquet file, those of its rows as JSON.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the file once.
    fn scan(
        path: &Path,
        visit: &mut dyn FnMut(ShardLine<'_>) -> std::result::Result<(), String>,
    ) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|error| Error::file(path, error))?;
        let (mut hash, mut lines, mut line) = (Sha256::new(), 0, Vec::new());
        let mut reader = LineReader::open(path)?;
        while reader.read(&mut line)? {
            hash.update(&line);
            if !is_blank(&line) {
                let line = ShardLine { path, number: reader.line, text: without_end(&line) };
                visit(line).map_err(|reason| line.refuse(reason))?;
                lines += 1;
            }
        }
        let (path, bytes) = (path.to_owned(), reader.byte);
        Ok(Self { path, lines, bytes, digest: hash.finalize().into(), seen: seen(&metadata) })
    }

    /// Opens the file at a place between two lines, and makes sure that it is still the same.
    pub(crate) fn reader_at(&self, byte: u64, line: u64) -> Result<LineReader> {
        let found = fs::metadata(&self.path).map_err(|error| Error::file(&self.path, error))?;
        if seen(&found) != self.seen {
            // Its time may be new and its content not.
            let now = Self::scan(&self.path, &mut |_| Ok(()))?;
            if now.digest != self.digest {
                return Err(self.changed(now.bytes));
            }
        }
        let mut reader = LineReader::open(&self.path)?;
        reader.skip(byte, line)?;
        Ok(reader)
    }

    /// Refuses a reader that is at the end of the file, if this is not the end that was seen.
    pub(crate) fn check_end(&self, reader: &LineReader) -> Result<()> {
        if reader.byte == self.bytes { Ok(()) } else { Err(self.changed(reader.byte)) }
    }

    fn changed(&self, bytes: u64) -> Error {
        let reason = format!(
            "the file changed: {bytes} bytes unpacked, {} when training began; restore it, or \
             start a new run",
            self.bytes
        );
        Error::file(&self.path, reason)
    }
}

/// The line without `\n` or `\r\n`.
pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The files of one dataset, each read once to count its lines and to hash them. A clone is the
/// same dataset, and costs nothing.
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
/// let mut longest = 0;
/// let shards = Shards::open_with([folder.path()], |line| {
///     longest = longest.max(line.parse::<Row>()?.input_ids.len());
///     Ok(())
/// })?;
/// assert_eq!((shards.files().len(), shards.lines(), longest), (2, 2, 3));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shards {
    files: Arc<[ShardFile]>,
}

impl Shards {
    /// Opens files, and those files of folders that [`is_shard`] names, sorted by name; of a folder
    /// with a [`Manifest`], those of its `train`, if they are as they were written.
    ///
    /// # Errors
    /// [`Error::Config`] without a path; [`Error::File`] naming the file that cannot be
    /// read, with the line where it is damaged, what is called like a shard in a folder and is no
    /// file, a file that comes twice, a folder without shards, or the first file if none has a
    /// line.
    pub fn open<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        Self::open_with(paths, |_| Ok(()))
    }

    /// The same, and shows each line that is not blank to `visit`, in the order of the files: to
    /// check examples before training and to count what they hold.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::File`] naming the file and line that `visit` refused,
    /// with its reason.
    pub fn open_with<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
        mut visit: impl FnMut(ShardLine<'_>) -> std::result::Result<(), String>,
    ) -> Result<Self> {
        let mut found = Vec::new();
        for path in paths {
            add_files(path.as_ref(), &mut found)?;
        }
        check_each_once(&found)?;
        let Some(first) = found.first() else {
            return Err(Error::Config {
                key: "shards".into(),
                value: "none".into(),
                rule: format!("must be one file or more, or a folder of {EXPECTED}"),
            });
        };
        let files = found.iter().map(|path| ShardFile::scan(path, &mut visit));
        let files: Arc<[ShardFile]> = files.collect::<Result<_>>()?;
        if files.iter().all(|file| file.lines == 0) {
            let others = match found.len() - 1 {
                0 => String::new(),
                others => format!(", nor do the {others} other shards"),
            };
            return Err(Error::file(first, format!("holds no line{others}")));
        }
        Ok(Self { files })
    }

    /// The files, in the order of the paths.
    pub fn files(&self) -> &[ShardFile] {
        &self.files
    }

    /// Those files that `keep` is true for, in their order; they are not read again.
    pub fn only(&self, keep: impl Fn(&ShardFile) -> bool) -> Self {
        Self { files: self.files.iter().filter(|file| keep(file)).cloned().collect() }
    }

    /// Shows each line that is not blank to `visit`, in the order of the files.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with); [`Error::File`] for a file that changed since it was
    /// opened.
    pub fn each_line(
        &self,
        mut visit: impl FnMut(ShardLine<'_>) -> std::result::Result<(), String>,
    ) -> Result<()> {
        for file in self.files.iter() {
            let read = ShardFile::scan(&file.path, &mut visit)?;
            if read.digest != file.digest {
                return Err(file.changed(read.bytes));
            }
        }
        Ok(())
    }

    /// Lines that are not blank, of all files.
    pub fn lines(&self) -> u64 {
        self.files.iter().map(|file| file.lines).sum()
    }

    /// Adds the content of the files in their order, unpacked, without their names.
    pub fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for file in self.files.iter() {
            fingerprint.add("shard", file.digest);
        }
    }
}

fn add_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let refuse = |error: std::io::Error| Error::file(path, error);
    if !fs::metadata(path).map_err(refuse)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if let Some(manifest) = Manifest::read(path)? {
        let name = |file: &PathBuf| file.strip_prefix(path).ok()?.to_str().map(str::to_owned);
        let first = files.len();
        add_files(&path.join("train"), files)?;
        for file in files.iter().skip(first) {
            match name(file).and_then(|name| manifest.files.get(&name)) {
                Some(digest) => digest.check(file)?,
                None => return Err(Error::file(file, "in no manifest; move it away")),
            }
        }
        return Ok(());
    }
    let mut inside = Vec::new();
    for entry in fs::read_dir(path).map_err(refuse)? {
        let file = entry.map_err(refuse)?.path();
        if is_shard(&file.file_name().unwrap_or_default().to_string_lossy()) {
            check_file(&file)?;
            inside.push(file);
        }
    }
    if inside.is_empty() {
        return Err(Error::file(path, format!("the folder holds no {EXPECTED}")));
    }
    inside.sort();
    files.append(&mut inside);
    Ok(())
}

/// Refuses what is called like a shard and would be skipped.
fn check_file(file: &Path) -> Result<()> {
    let called = "though it is called like a shard; restore it, or move it away";
    let fault = match fs::metadata(file) {
        Err(error) => format!("{error}, {called}"),
        Ok(found) if !found.is_file() => format!("no file, {called}"),
        Ok(_) if file.file_name().is_some_and(|name| name.to_str().is_none()) => {
            "its name is not UTF-8; rename it".to_owned()
        }
        Ok(_) => return Ok(()),
    };
    Err(Error::file(file, fault))
}

/// Refuses a file that comes twice: by its name, or by that of a folder that it lies in. Links of
/// one folder that lead to one file are two, as stores have them that keep equal files once.
fn check_each_once(files: &[PathBuf]) -> Result<()> {
    let mut places = BTreeSet::new();
    for file in files {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")));
        let folder = folder.map_err(|error| Error::file(file, error))?;
        if !places.insert((folder, file.file_name())) {
            return Err(Error::file(file, "is named twice among the shards; name it once"));
        }
    }
    Ok(())
}

/// Reads the lines of a file one by one, unpacking by the ending of its name.
pub(crate) struct LineReader {
    path: PathBuf,
    input: Input,
    /// Bytes read, unpacked.
    pub(crate) byte: u64,
    /// Lines read.
    pub(crate) line: u64,
}

enum Input {
    Plain(BufReader<File>),
    Packed(Box<dyn BufRead + Send>),
    #[cfg(feature = "parquet")]
    Rows(Box<ParquetRows>),
}

impl LineReader {
    fn open(path: &Path) -> Result<Self> {
        let refuse = |error: std::io::Error| Error::file(path, error);
        if is_parquet(path) {
            return Self::open_parquet(path);
        }
        let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(refuse)?);
        let packed = |ending: &str| {
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
        };
        let input = if packed("gz") {
            Input::Packed(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))))
        } else if packed("zst") {
            let unpacked = zstd::stream::read::Decoder::with_buffer(file).map_err(refuse)?;
            Input::Packed(Box::new(BufReader::with_capacity(1 << 16, unpacked)))
        } else {
            Input::Plain(file)
        };
        Ok(Self { path: path.to_owned(), input, byte: 0, line: 0 })
    }

    #[cfg(feature = "parquet")]
    fn open_parquet(path: &Path) -> Result<Self> {
        let rows = ParquetRows::open(path).map_err(|reason| Error::file(path, reason))?;
        Ok(Self { path: path.to_owned(), input: Input::Rows(Box::new(rows)), byte: 0, line: 0 })
    }

    #[cfg(not(feature = "parquet"))]
    fn open_parquet(path: &Path) -> Result<Self> {
        let reason = "this build does not read Parquet: build with the feature `parquet`";
        Err(Error::file(path, reason))
    }

    /// Reads a line with its end; `false` where there is none.
    pub(crate) fn read(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        let max_bytes = LONGEST_LINE + 1;
        let read = match &mut self.input {
            Input::Plain(file) => file.take(max_bytes).read_until(b'\n', line),
            Input::Packed(unpacked) => unpacked.take(max_bytes).read_until(b'\n', line),
            #[cfg(feature = "parquet")]
            Input::Rows(rows) => rows.read(line).map(|_| line.len()).map_err(std::io::Error::other),
        };
        let read = read.map_err(|error| self.unreadable(&error))? as u64;
        if read > LONGEST_LINE {
            let unit = unit(&self.path);
            let reason = format!(
                "{unit} {}, longer than {LONGEST_LINE} bytes: one example a line is expected",
                self.line + 1
            );
            return Err(Error::file(&self.path, reason));
        }
        self.byte += read;
        self.line += u64::from(read > 0);
        Ok(read > 0)
    }

    /// Goes to a place from the start of the file; packed files are unpacked up to it.
    fn skip(&mut self, byte: u64, line: u64) -> Result<()> {
        let skipped = match &mut self.input {
            Input::Plain(file) => file.seek(SeekFrom::Start(byte)),
            Input::Packed(unpacked) => {
                std::io::copy(&mut unpacked.take(byte), &mut std::io::sink())
            }
            #[cfg(feature = "parquet")]
            Input::Rows(rows) => match rows.skip(line) {
                Ok(found) => Ok(if found { byte } else { 0 }),
                Err(reason) => Err(std::io::Error::other(reason)),
            },
        };
        if skipped.map_err(|error| self.unreadable(&error))? < byte {
            let reason = format!("ends before byte {byte}, where line {line} ended");
            return Err(Error::file(&self.path, reason));
        }
        (self.byte, self.line) = (byte, line);
        Ok(())
    }

    fn unreadable(&self, error: &std::io::Error) -> Error {
        let reason = match (error.kind(), &self.input) {
            (ErrorKind::UnexpectedEof, Input::Packed(_)) => "the packed file is cut off".into(),
            _ => error.to_string(),
        };
        let unit = unit(&self.path);
        Error::file(&self.path, format!("after {unit} {}: {reason}", self.line))
    }
}
