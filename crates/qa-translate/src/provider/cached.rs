//! A cache of translations.
use std::collections::HashSet;
use std::path::Path;

use mlqa_eval::Language;

use super::journal::Journal;
use crate::lines::{Line, TranslationTable, add_translation, is_blank_translation, parse};
use crate::{Error, ReplyReport, Translations, Translator};

/// A cache of another translator's results in a JSONL file, so that each text is requested only
/// once.
///
/// The file is synced to disk after every [`Translator::batch_size`] texts, so that a killed run
/// can be resumed. Texts with a missing or blank translation are not stored and will be requested
/// again. Each line records [`Translator::identity`]; lines of other translators are ignored and
/// retained. The file is locked while it is open.
#[derive(Debug)]
pub struct Cached<T> {
    inner: T,
    journal: Journal,
    table: TranslationTable,
    identity: Option<String>,
    other_translations: usize,
}

/// First bytes of every line of a cache.
const LINE_PREFIX: &[u8] = b"{\"from\":\"";

impl<T: Translator> Cached<T> {
    /// Opens or creates the cache at `path`. The incomplete last line of a killed run is removed;
    /// the other lines are never changed.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be opened, read or locked; [`Error::Line`] for a line that
    /// is not a translation.
    pub fn open(inner: T, path: impl AsRef<Path>) -> Result<Self, Error> {
        let identity = inner.identity();
        Self::open_as(inner, path, identity)
    }

    /// Opens or creates the cache with another identity than [`Translator::identity`], for example
    /// because a server has moved to another address.
    ///
    /// # Errors
    /// The errors of [`Cached::open`].
    pub fn open_as(
        inner: T,
        path: impl AsRef<Path>,
        identity: Option<String>,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let (mut table, mut other_translations) = (TranslationTable::new(), 0);
        let journal = Journal::open(path, LINE_PREFIX, |line, number| {
            let line = parse(line, path, number)?;
            if line.provider == identity {
                return add_translation(&mut table, line, path, number);
            }
            other_translations += 1;
            Ok(())
        })?;
        Ok(Self { inner, journal, table, identity, other_translations })
    }

    /// Returns the number of translations of other translators in the file.
    pub fn other_translations(&self) -> usize {
        self.other_translations
    }

    /// Translates `texts`, which must be distinct, and stores the translations.
    fn request(&mut self, texts: &[&str], from: Language, to: Language) -> Result<(), Error> {
        let targets = self.inner.translate(texts, from, to)?;
        if targets.len() != texts.len() {
            return Err(Error::Count { expected: texts.len(), got: targets.len() });
        }
        let lines: Vec<Line> = texts
            .iter()
            .zip(targets)
            .filter_map(|(&source, target)| {
                let target = target.filter(|target| !is_blank_translation(source, target))?;
                let (source, provider) = (source.to_owned(), self.identity.clone());
                Some(Line { from, to, source, target, provider })
            })
            .collect();
        self.journal.add(&lines)?;
        let entries =
            lines.into_iter().map(|line| ((line.from, line.to, line.source), line.target));
        self.table.extend(entries);
        Ok(())
    }
}

impl<T: Translator> Translator for Cached<T> {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let mut distinct = HashSet::new();
        let uncached: Vec<&str> = texts
            .iter()
            .copied()
            .filter(|&text| !self.table.contains_key(&(from, to, text.to_owned())))
            .filter(|&text| distinct.insert(text))
            .collect();
        for batch in uncached.chunks(self.inner.batch_size().max(1)) {
            self.request(batch, from, to)?;
        }
        let look_up = |&text: &&str| self.table.get(&(from, to, text.to_owned())).cloned();
        Ok(texts.iter().map(look_up).collect())
    }

    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }

    fn identity(&self) -> Option<String> {
        self.identity.clone()
    }

    fn take_reply_report(&mut self) -> ReplyReport {
        self.inner.take_reply_report()
    }
}
