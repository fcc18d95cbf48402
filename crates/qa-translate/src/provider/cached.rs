use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use mlqa_eval::Language;

use crate::error::create_folder_of;
use crate::lines::{Line, Table, insert, is_lost, parse};
use crate::{Error, Translations, Translator};

/// Another translator that gets each text only once: what it returns is appended to a JSONL file
/// and synced to the disk after every [`Translator::batch_size`] texts, so that work that was
/// killed goes on where it stopped.
///
/// Texts without translation, or with a blank one, are not kept and will be requested again. The
/// file does not know which translator it came from: keep one for each. It is locked while it is
/// open.
#[derive(Debug)]
pub struct Cached<T> {
    inner: T,
    path: PathBuf,
    file: File,
    table: Table,
}

impl<T: Translator> Cached<T> {
    /// Opens the cache at `path`, or begins one. A last line that was torn by a kill is cut off;
    /// nothing else of the file is ever changed.
    ///
    /// # Errors
    /// [`Error::Io`], also where another program has the cache open;
    /// [`Error::Line`] for any other line that is no translation.
    pub fn open(inner: T, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        create_folder_of(path)?;
        whole_file::check_output(path).map_err(Error::io(path, "use it as a cache"))?;
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = opened.map_err(Error::io(path, "open the cache"))?;
        lock(&file).map_err(Error::io(path, "lock the cache"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io(path, "read the cache"))?;
        let (table, sound) = read_sound(&bytes, path)?;
        if sound < bytes.len() {
            // A slice's length is at most `isize::MAX`.
            let cut = file.set_len(sound as u64).and_then(|()| file.sync_all());
            cut.map_err(Error::io(path, "cut the torn line off the cache"))?;
        }
        Ok(Self { inner, path: path.to_owned(), file, table })
    }

    /// Translations held.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Translates `texts`, all different, and keeps the translations.
    fn request(&mut self, texts: &[&str], from: Language, to: Language) -> Result<(), Error> {
        let targets = self.inner.translate(texts, from, to)?;
        if targets.len() != texts.len() {
            return Err(Error::Count { expected: texts.len(), got: targets.len() });
        }
        let refuse = || Error::io(&self.path, "write the cache");
        let mut bytes = Vec::new();
        let mut lines = Vec::with_capacity(texts.len());
        for (&source, target) in texts.iter().zip(targets) {
            if let Some(target) = target.filter(|target| !is_lost(source, target)) {
                let line = Line { from, to, source: source.to_owned(), target };
                serde_json::to_writer(&mut bytes, &line).map_err(|error| refuse()(error.into()))?;
                bytes.push(b'\n');
                lines.push(line);
            }
        }
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data()).map_err(refuse())?;
        let known = lines.into_iter().map(|line| ((line.from, line.to, line.source), line.target));
        self.table.extend(known);
        Ok(())
    }
}

/// Keeps others from writing to the file. File systems without locks are not locked.
fn lock(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{FlockOperation, flock};
        let locked = flock(file, FlockOperation::NonBlockingLockExclusive);
        if let Err(error) = locked.map_err(io::Error::from)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            let reason = "another run has it open; wait for that run, or give another file";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, reason));
        }
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// How every line of a cache begins.
const BEGINNING: &[u8] = b"{\"from\":\"";

/// The translations of a cache file and how many of its bytes are sound.
fn read_sound(bytes: &[u8], path: &Path) -> Result<(Table, usize), Error> {
    let mut table = Table::new();
    let mut sound = 0;
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let last = sound + line.len() == bytes.len();
        if last && is_torn(line) {
            break;
        }
        if !line.trim_ascii().is_empty() {
            insert(&mut table, parse(line.trim_ascii_end(), path, index + 1)?, path, index + 1)?;
        }
        sound += line.len();
    }
    Ok((table, sound))
}

/// Whether a last line is what a kill or a power cut leaves of one that was written here: without
/// its end, or with zeros. Anything else was written by others, and stays.
fn is_torn(line: &[u8]) -> bool {
    let written = line.get(..line.iter().position(|&byte| byte == 0).unwrap_or(line.len()));
    let written = written.unwrap_or_default();
    let ours = written.starts_with(BEGINNING) || BEGINNING.starts_with(written);
    ours && (!line.ends_with(b"\n") || written.len() < line.len())
}

impl<T: Translator> Translator for Cached<T> {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let mut seen = HashSet::new();
        let unknown: Vec<&str> = texts
            .iter()
            .copied()
            .filter(|&text| !self.table.contains_key(&(from, to, text.to_owned())))
            .filter(|&text| seen.insert(text))
            .collect();
        for batch in unknown.chunks(self.inner.batch_size().max(1)) {
            self.request(batch, from, to)?;
        }
        let find = |&text: &&str| self.table.get(&(from, to, text.to_owned())).cloned();
        Ok(texts.iter().map(find).collect())
    }

    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }
}
