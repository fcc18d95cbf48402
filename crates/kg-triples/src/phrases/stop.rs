use std::collections::BTreeSet;

use super::Word;
use super::words::words;
use crate::{Error, Language};

/// A list of stop words. An entry may consist of several words, as in Vietnamese and Chinese.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopWords {
    entries: BTreeSet<Vec<String>>,
    max_words: usize,
}

impl StopWords {
    /// Creates a list from entries. Entries are split into words in the same way as queries.
    pub fn new<W: AsRef<str>>(entries: impl IntoIterator<Item = W>) -> Self {
        let entries: BTreeSet<Vec<String>> = entries
            .into_iter()
            .map(|entry| words(entry.as_ref()).into_iter().map(|word| word.text).collect())
            .filter(|entry: &Vec<String>| !entry.is_empty())
            .collect();
        let max_words = entries.iter().map(Vec::len).max().unwrap_or(0); // no entries
        Self { entries, max_words }
    }

    /// Returns the list of the `stop-words` crate (Stopwords ISO) for a language. For a variant
    /// without a list, such as `zh-hant`, the list of the base language is used.
    ///
    /// # Errors
    /// [`Error::Value`] if the crate has no list for the language.
    pub fn built_in(language: Language) -> Result<Self, Error> {
        let code = language.as_str();
        let base_code = code.split_once(['-', '_']).map_or(code, |(base_code, _)| base_code);
        let words = stop_words::lookup(code).or_else(|| stop_words::lookup(base_code));
        let words = words.ok_or_else(|| Error::Value {
            field: "stop words",
            expected: "a language with a list in the crate stop-words".into(),
            got: format!("{code:?}"),
        })?;
        Ok(Self::new(words))
    }

    /// Returns whether a single lower-case word is an entry.
    pub fn contains(&self, word: &str) -> bool {
        self.entries.contains([word.to_owned()].as_slice())
    }

    fn is_entry(&self, gram: &[Word]) -> bool {
        gram.len() <= self.max_words
            && self.entries.contains(&gram.iter().map(|word| word.text.clone()).collect::<Vec<_>>())
    }

    /// Whether an n-gram is excluded because it begins or ends with an entry.
    pub(super) fn excludes(&self, gram: &[Word]) -> bool {
        (1..=gram.len().min(self.max_words))
            .any(|size| self.is_entry(&gram[..size]) || self.is_entry(&gram[gram.len() - size..]))
    }
}
