use std::collections::HashSet;
use std::path::Path;

use mlqa_eval::Language;

use super::journal::Journal;
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
    journal: Journal,
    table: Table,
}

/// How every line of a cache begins.
const BEGINNING: &[u8] = b"{\"from\":\"";

impl<T: Translator> Cached<T> {
    /// Opens the cache at `path`, or begins one. A last line that was torn by a kill is cut off;
    /// nothing else of the file is ever changed.
    ///
    /// # Errors
    /// [`Error::Io`], also where another program has the cache open;
    /// [`Error::Line`] for any other line that is no translation.
    pub fn open(inner: T, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut table = Table::new();
        let journal = Journal::open(path, BEGINNING, |line, number| {
            insert(&mut table, parse(line, path, number)?, path, number)
        })?;
        Ok(Self { inner, journal, table })
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
        let lines: Vec<Line> = texts
            .iter()
            .zip(targets)
            .filter_map(|(&source, target)| {
                let target = target.filter(|target| !is_lost(source, target))?;
                Some(Line { from, to, source: source.to_owned(), target })
            })
            .collect();
        self.journal.add(&lines)?;
        let known = lines.into_iter().map(|line| ((line.from, line.to, line.source), line.target));
        self.table.extend(known);
        Ok(())
    }
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
