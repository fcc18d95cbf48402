//! Bilingual dictionaries.
use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::files::{numbered_lines, read_text_with_note};
use crate::{Error, Result};

/// Distinct pairs of a source word and a target word, in the order of the file. Words may have
/// several translations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dictionary {
    pairs: Vec<(String, String)>,
}

/// [`Dictionary::split`] holds out one of this many source words.
const SPLIT: usize = 5;

impl Dictionary {
    /// Creates a dictionary. Repeated pairs are removed.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut seen = HashSet::new();
        Self { pairs: pairs.into_iter().filter(|pair| seen.insert(pair.clone())).collect() }
    }

    /// Reads one pair per line, plain or gzipped. Words are separated by a tab, or, in lines without
    /// a tab, by white space. Only words separated by a tab may contain spaces. Blank lines are
    /// skipped.
    ///
    /// ```
    /// use transfer_eval::retrieval::map::Dictionary;
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("en-de.txt");
    /// std::fs::write(&path, "house Haus\nNew York\tNew York\n").unwrap();
    /// let dictionary = Dictionary::read(&path)?;
    /// assert_eq!(dictionary.pairs()[1], ("New York".into(), "New York".into()));
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] for another number of words; [`Error::Content`] without a
    /// pair.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut pairs = Vec::new();
        for (number, line) in numbered_lines(&read_text_with_note(path)?) {
            if line.trim().is_empty() {
                continue;
            }
            let words: Vec<&str> = match line.contains('\t') {
                true => line.split('\t').map(str::trim).collect(),
                false => line.split_whitespace().collect(),
            };
            match words.as_slice() {
                [source, target] if !source.is_empty() && !target.is_empty() => {
                    pairs.push((String::from(*source), String::from(*target)));
                }
                _ => {
                    let message = "expected a source word and a target word; separate words that \
                                   contain spaces by a tab";
                    return Err(Error::line(path, number, message));
                }
            }
        }
        match pairs.is_empty() {
            true => Err(Error::content(path, "no pair; expected two words per line")),
            false => Ok(Self::new(pairs)),
        }
    }

    /// Returns the pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Holds out the pairs of every fifth source word. Returns the remaining pairs and the held-out
    /// pairs.
    pub fn split(&self) -> (Self, Self) {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let (mut rest, mut held_out) = (Vec::new(), Vec::new());
        for pair in &self.pairs {
            let next = numbers.len();
            let number = *numbers.entry(&pair.0).or_insert(next);
            let part = if number % SPLIT == SPLIT - 1 { &mut held_out } else { &mut rest };
            part.push(pair.clone());
        }
        (Self { pairs: rest }, Self { pairs: held_out })
    }

    /// Returns the distinct source words, each with its translations, in the order of the file.
    pub(super) fn by_source(&self) -> Vec<(&str, Vec<&str>)> {
        let mut positions: HashMap<&str, usize> = HashMap::new();
        let mut words: Vec<(&str, Vec<&str>)> = Vec::new();
        for (source, target) in &self.pairs {
            let position = *positions.entry(source).or_insert(words.len());
            if position == words.len() {
                words.push((source, Vec::new()));
            }
            words[position].1.push(target);
        }
        words
    }
}
