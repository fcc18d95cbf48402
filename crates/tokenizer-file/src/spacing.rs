//! Compares how a tokenizer encodes a word inside a text and the same word as a separate text.
use std::borrow::Cow;

use tokenizers::models::ModelWrapper;
use tokenizers::{Result, Tokenizer};

/// The way in which a tokenizer marks the beginning or continuation of words.
///
/// Some tokenizers encode a word inside a text like a separate word: XLM-R's tokenizer prepends a
/// space mark to every text, and BERT's tokenizer marks the pieces that continue a word. Other
/// tokenizers, such as Gemma's, mark only actual spaces; a word inside a text must then be encoded
/// with a space before it.
///
/// ```
/// use tokenizer_file::{Spacing, read};
///
/// let tokenizer = read("../testkit/fixtures/byte_fallback.json")?;
/// let spacing = Spacing::of(&tokenizer)?;
/// assert_eq!(spacing.after_space("house"), " house");
///
/// let tokenizer = read("../testkit/fixtures/wordpiece.json")?;
/// let spacing = Spacing::of(&tokenizer)?;
/// assert_eq!(spacing.after_space("house"), "house");
/// assert_eq!(spacing.continuation("house"), "##house");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spacing {
    marks_spaces: bool,
    /// Prefix of pieces that continue a word.
    continuation_prefix: String,
}

impl Spacing {
    /// Determines the spacing by encoding `a b`. Truncation and padding of the tokenizer should be
    /// disabled.
    ///
    /// # Errors
    /// Errors of `Tokenizer::encode_fast`.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let separate_ids = [ids(tokenizer, "a")?, ids(tokenizer, "b")?].concat();
        let joined_ids = ids(tokenizer, "a b")?;
        let prefix = match tokenizer.get_model() {
            ModelWrapper::BPE(model) => model.continuing_subword_prefix.clone(),
            ModelWrapper::WordPiece(model) => Some(model.continuing_subword_prefix.clone()),
            ModelWrapper::Unigram(_) | ModelWrapper::WordLevel(_) => None,
        };
        Ok(Self {
            marks_spaces: joined_ids != separate_ids,
            continuation_prefix: prefix.unwrap_or_else(String::new),
        })
    }

    /// Returns whether the tokens of a word inside a text differ from those of the separate word.
    pub fn marks_spaces(&self) -> bool {
        self.marks_spaces
    }

    /// Returns the string whose tokens are the tokens of `text` after a space.
    pub fn after_space<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.marks_spaces { format!(" {text}").into() } else { text.into() }
    }

    /// Returns the vocabulary entry for `text` as a piece that continues a word.
    pub fn continuation(&self, text: &str) -> String {
        format!("{}{text}", self.continuation_prefix)
    }

    /// Returns whether a word begins directly after `before` without a space. BERT's tokenizer also
    /// splits words at punctuation, so a word begins after a comma.
    ///
    /// # Errors
    /// Errors of `Tokenizer::encode_fast`.
    pub fn word_begins_after(&self, tokenizer: &Tokenizer, before: &str) -> Result<bool> {
        let Some(last_char) =
            before.chars().next_back().filter(|_| !self.continuation_prefix.is_empty())
        else {
            return Ok(false);
        };
        let last_char = last_char.to_string();
        let joined_ids = ids(tokenizer, &format!("{last_char}a"))?;
        Ok(joined_ids == [ids(tokenizer, &last_char)?, ids(tokenizer, "a")?].concat())
    }
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    Ok(tokenizer.encode_fast(text, false)?.get_ids().to_vec())
}
