//! Tokenisation of words and texts. Truncation and padding configured in the tokenizer's file are
//! disabled.
use tokenizer_file::{Layout, LayoutError, Spacing};
use tokenizers::Tokenizer;

use crate::{Error, Result};

/// Returns the special tokens that the tokenizer adds to texts.
pub(crate) fn layout(tokenizer: &Tokenizer) -> Result<Layout> {
    Layout::of(tokenizer).map_err(layout_error)
}

pub(crate) fn layout_error(error: LayoutError) -> Error {
    Error::Tokenizer(error.to_string())
}

/// A tokenizer without truncation or padding, and its convention for marking spaces.
pub(crate) struct PieceEncoder {
    tokenizer: Tokenizer,
    spacing: Spacing,
    unknown_id: Option<u32>,
}

impl PieceEncoder {
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let tokenizer_error = |error: tokenizers::Error| Error::Tokenizer(error.to_string());
        let mut tokenizer = tokenizer.clone();
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(tokenizer_error)?;
        let spacing = Spacing::of(&tokenizer).map_err(tokenizer_error)?;
        let unknown_id = Layout::of(&tokenizer).and_then(|layout| layout.unknown()).ok();
        Ok(Self { tokenizer, spacing, unknown_id })
    }

    /// Returns the piece ids of a text, without special tokens.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match self.tokenizer.encode_fast(text, false) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(Error::Tokenizer(format!("on {text:?}: {error}"))),
        }
    }

    /// Returns the piece ids of one or more words that follow a space.
    pub fn encode_after_space(&self, word: &str) -> Result<Vec<u32>> {
        self.encode(&self.spacing.after_space(word))
    }

    /// Returns the piece ids of a mark, which must be in the vocabulary. `advice` ends the error.
    pub fn encode_mark(&self, mark: &str, advice: &str) -> Result<Vec<u32>> {
        let ids = self.encode_after_space(mark)?;
        if ids.is_empty() || ids.iter().any(|&id| Some(id) == self.unknown_id) {
            return Err(Error::Tokenizer(format!("no piece for the mark `{mark}`; {advice}")));
        }
        Ok(ids)
    }

    /// Returns the piece ids of each word, tokenised separately.
    pub fn encode_words(&self, words: &[String]) -> Result<Vec<Vec<u32>>> {
        words.iter().map(|word| self.encode_after_space(word)).collect()
    }

    /// Returns the piece of a word; `None` if the word is not exactly one known piece. `spaced` is
    /// true for a word that follows a space, and false for a word directly after other text.
    pub fn single_piece(&self, word: &str, spaced: bool) -> Result<Option<u32>> {
        let only_piece = |pieces: Vec<u32>| match pieces.as_slice() {
            [id] => Some(*id),
            _ => None,
        };
        let id = if spaced {
            only_piece(self.encode_after_space(word)?)
        } else if self.spacing.marks_spaces() {
            // The token string of a piece can differ from its text, so the text is encoded.
            only_piece(self.encode(word)?)
        } else {
            self.tokenizer.token_to_id(&self.spacing.continuation(word))
        };
        Ok(id.filter(|&id| Some(id) != self.unknown_id))
    }

    /// Whether a word directly after the text `before` is tokenised like a word that follows a
    /// space.
    pub fn spaced_after(&self, before: &str) -> Result<bool> {
        match before.chars().next_back() {
            // Tokenizers that mark only actual spaces have no mark at the beginning of a text.
            None => Ok(!self.spacing.marks_spaces()),
            Some(last) if last.is_whitespace() => Ok(true),
            Some(_) => self
                .spacing
                .word_begins_after(&self.tokenizer, before)
                .map_err(|error| Error::Tokenizer(format!("on {before:?}: {error}"))),
        }
    }

    /// The token string of an id of the vocabulary.
    pub fn token(&self, id: u32) -> String {
        self.tokenizer.id_to_token(id).expect("an id of the vocabulary")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
pub(crate) mod tests {
    use std::sync::LazyLock;

    use tokenizers::Tokenizer;

    /// A tokenizer like XLM-R's.
    pub fn tokenizer() -> &'static Tokenizer {
        static TOKENIZER: LazyLock<Tokenizer> =
            LazyLock::new(|| Tokenizer::from_file(testkit::fixture("tokenizer.json")).unwrap());
        &TOKENIZER
    }
}
