use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use mlqa_eval::Language;

use crate::lines::{Line, Table, insert, parse};
use crate::{TranslateError, Translator};

/// Another translator, asked for each text only once: what it returns is appended to a JSONL file
/// and synced to the disk after every [`Translator::batch_size`] texts, so that work that was
/// killed goes on where it stopped.
///
/// Texts without translation are not kept and will be asked for again. The file does not know which
/// translator it came from: keep one for each, and open it in one program at a time.
#[derive(Debug)]
pub struct Cached<T> {
    inner: T,
    path: PathBuf,
    file: File,
    table: Table,
}

impl<T: Translator> Cached<T> {
    /// Opens the cache at `path`, or begins one. A last line that was torn by a kill is cut off.
    ///
    /// # Errors
    /// [`TranslateError::Io`]; [`TranslateError::Line`] for any other line that is no translation.
    pub fn open(inner: T, path: impl AsRef<Path>) -> Result<Self, TranslateError> {
        let path = path.as_ref();
        if let Some(folder) = path.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(TranslateError::io(folder, "create the folder"))?;
        }
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(TranslateError::io(path, "open the cache"))?;
        let bytes = std::fs::read(path).map_err(TranslateError::io(path, "read the cache"))?;
        let (table, sound) = read_sound(&bytes, path)?;
        if sound < bytes.len() {
            // A slice's length is at most `isize::MAX`.
            let cut = file.set_len(sound as u64).and_then(|()| file.sync_all());
            cut.map_err(TranslateError::io(path, "cut the torn line off the cache"))?;
        }
        file.seek(SeekFrom::End(0)).map_err(TranslateError::io(path, "open the cache"))?;
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

    /// Asks for `texts`, all different, and keeps what comes.
    fn ask(&mut self, texts: &[&str], from: Language, to: Language) -> Result<(), TranslateError> {
        let targets = self.inner.translate(texts, from, to)?;
        if targets.len() != texts.len() {
            return Err(TranslateError::Count { expected: texts.len(), got: targets.len() });
        }
        let refuse = |source| TranslateError::io(&self.path, "write the cache")(source);
        let mut bytes = Vec::new();
        let mut lines = Vec::with_capacity(texts.len());
        for (&source, target) in texts.iter().zip(targets) {
            if let Some(target) = target {
                let line = Line { from, to, source: source.to_owned(), target };
                serde_json::to_writer(&mut bytes, &line).map_err(|error| refuse(error.into()))?;
                bytes.push(b'\n');
                lines.push(line);
            }
        }
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data()).map_err(refuse)?;
        let known = lines.into_iter().map(|line| ((line.from, line.to, line.source), line.target));
        self.table.extend(known);
        Ok(())
    }
}

/// The translations of a cache file and how many of its bytes are sound.
fn read_sound(bytes: &[u8], path: &Path) -> Result<(Table, usize), TranslateError> {
    let mut table = Table::new();
    let mut sound = 0;
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let last = sound + line.len() == bytes.len();
        let parsed = match line.strip_suffix(b"\n") {
            None => break,
            Some(line) => parse(line, path, index + 1),
        };
        match parsed {
            Ok(line) => insert(&mut table, line, path, index + 1)?,
            Err(_) if last => break,
            Err(error) => return Err(error),
        }
        sound += line.len();
    }
    Ok((table, sound))
}

impl<T: Translator> Translator for Cached<T> {
    fn translate(
        &mut self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<Option<String>>, TranslateError> {
        let mut seen = HashSet::new();
        let unknown: Vec<&str> = texts
            .iter()
            .copied()
            .filter(|&text| !self.table.contains_key(&(from, to, text.to_owned())))
            .filter(|&text| seen.insert(text))
            .collect();
        for batch in unknown.chunks(self.inner.batch_size().max(1)) {
            self.ask(batch, from, to)?;
        }
        let find = |&text: &&str| self.table.get(&(from, to, text.to_owned())).cloned();
        Ok(texts.iter().map(find).collect())
    }

    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }
}
