//! Vocabularies that restrict predictions.
use std::collections::BTreeSet;
use std::path::Path;

use tokenizers::Tokenizer;

use crate::files::{numbered_lines, read_text_with_note};
use crate::tokens::PieceEncoder;
use crate::{Error, Result};

/// The words that all compared models have in common, as in LAMA's `common_vocab_cased.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonVocabulary {
    words: BTreeSet<String>,
}

impl CommonVocabulary {
    /// Reads one word per line.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] if there is no word.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = read_text_with_note(path)?;
        let words =
            numbered_lines(&text).map(|(_, line)| line.trim()).filter(|line| !line.is_empty());
        let words: BTreeSet<String> = words.map(str::to_owned).collect();
        if words.is_empty() {
            return Err(Error::content(path, "no word; expected one word per line"));
        }
        Ok(Self { words })
    }

    /// Creates a vocabulary from words.
    pub fn new<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect() }
    }

    /// Whether every word of `text`, split at spaces, is in the vocabulary.
    pub fn contains_all(&self, text: &str) -> bool {
        text.split(' ').all(|word| self.words.contains(word))
    }

    /// Returns the piece ids of all words that consist of a single piece.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if a word cannot be tokenised, or no word is one piece.
    pub fn candidates(&self, tokenizer: &Tokenizer) -> Result<Candidates> {
        let pieces = PieceEncoder::of(tokenizer)?;
        let ids = |spaced: bool| -> Result<Vec<u32>> {
            let mut ids = BTreeSet::new();
            for word in &self.words {
                ids.extend(pieces.single_piece(word, spaced)?);
            }
            Ok(ids.into_iter().collect())
        };
        let candidates = Candidates { spaced: ids(true)?, joined: ids(false)? };
        if candidates.spaced.is_empty() {
            return Err(Error::Tokenizer("no word of the common vocabulary is one piece".into()));
        }
        Ok(candidates)
    }
}

/// Piece ids to which predictions are restricted, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Ids for masks of words after a space, such as XLM-R's `▁Paris` or BERT's `Paris`.
    pub spaced: Vec<u32>,
    /// Ids for masks of words directly after other text, such as XLM-R's `Paris` or BERT's
    /// `##Paris`.
    pub joined: Vec<u32>,
}

impl Candidates {
    /// Returns the ids for a mask with the given [`Cloze::spaced`](super::Cloze::spaced).
    pub fn ids(&self, spaced: bool) -> &[u32] {
        if spaced { &self.spaced } else { &self.joined }
    }
}
