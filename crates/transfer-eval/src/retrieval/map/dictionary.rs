//! Pairs of words that translate each other.
use std::collections::{HashMap, HashSet};
use std::path::Path;

use whole_file::Lines;

use super::WordVectors;
use crate::files::utf8;
use crate::{Error, Result};

/// Pairs of a source word and a target word, each pair once, in the file's order. A source word may
/// have several targets, and a target several sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    pairs: Vec<(String, String)>,
}

/// The pairs of a dictionary of which both words have vectors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexedPairs {
    /// Rows of source and target.
    pub pairs: Vec<(usize, usize)>,
    /// Pairs whose source word has no vector.
    pub without_source: usize,
    /// Other pairs, whose target word has no vector.
    pub without_target: usize,
}

impl Dictionary {
    /// A dictionary of pairs; repeated ones are kept once.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut seen = HashSet::new();
        let pairs = pairs.into_iter().filter(|pair| seen.insert(pair.clone())).collect();
        Self { pairs }
    }

    /// Reads one pair a line, plain or gzip-compressed; `-` is standard input. Two cells with a tab
    /// between them, so that words may hold spaces, or, in a line without a tab, two words with
    /// spaces between them, as MUSE's dictionaries have them. A line with one word stands for that
    /// word on both sides. Blank lines are skipped.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] naming file and line for a wrong number of words or an
    /// empty cell; [`Error::Content`] if there is no pair.
    ///
    /// ```
    /// use transfer_eval::retrieval::map::Dictionary;
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("en-de.txt");
    /// std::fs::write(&path, "house Haus\nNew York\tNew York\nBerlin\n").unwrap();
    /// let dictionary = Dictionary::read(&path)?;
    /// assert_eq!(dictionary.pairs()[1], ("New York".into(), "New York".into()));
    /// assert_eq!(dictionary.pairs()[2], ("Berlin".into(), "Berlin".into()));
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut lines = Lines::open(path).map_err(Error::read(path))?.note_missing_newline();
        let mut pairs = Vec::new();
        while lines.advance().map_err(Error::read(path))? {
            let line = utf8(&lines, lines.bytes())?;
            if line.trim().is_empty() {
                continue;
            }
            pairs.push(parse(line).map_err(|message| Error::at(&lines, message))?);
        }
        match pairs.is_empty() {
            true => Err(Error::content(path, "no pair; expected two words a line")),
            false => Ok(Self::new(pairs)),
        }
    }

    /// The pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Targets become sources.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let pairs = self.pairs.iter().map(|(source, target)| (target.clone(), source.clone()));
        Self { pairs: pairs.collect() }
    }

    /// The rows of both words of each pair.
    pub fn rows(&self, source: &WordVectors, target: &WordVectors) -> IndexedPairs {
        let (source, target) = (source.index(), target.index());
        let mut found = IndexedPairs::default();
        for (from, to) in &self.pairs {
            match (source.get(from.as_str()), target.get(to.as_str())) {
                (Some(&from), Some(&to)) => found.pairs.push((from, to)),
                (None, _) => found.without_source += 1,
                (Some(_), None) => found.without_target += 1,
            }
        }
        found
    }

    /// The different source words in the file's order, each with its targets.
    pub(super) fn by_source(&self) -> Vec<(&str, Vec<&str>)> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut words: Vec<(&str, Vec<&str>)> = Vec::new();
        for (from, to) in &self.pairs {
            let place = *places.entry(from).or_insert(words.len());
            match words.get_mut(place) {
                Some((_, targets)) => targets.push(to),
                None => words.push((from, vec![to])),
            }
        }
        words
    }
}

fn parse(line: &str) -> Result<(String, String), &'static str> {
    let cells: Vec<&str> = match line.contains('\t') {
        true => line.split('\t').map(str::trim).collect(),
        false => line.split_whitespace().collect(),
    };
    match cells[..] {
        [source, target] if !source.is_empty() && !target.is_empty() => {
            Ok((source.to_owned(), target.to_owned()))
        }
        [word] => Ok((word.to_owned(), word.to_owned())),
        [_, _] => Err("an empty cell; expected a source word and a target word"),
        _ => Err("expected a source word and a target word; words with spaces need a tab between"),
    }
}
