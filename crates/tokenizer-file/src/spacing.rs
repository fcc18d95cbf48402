//! How words inside a text differ from words alone.
use std::borrow::Cow;

use tokenizers::models::ModelWrapper;
use tokenizers::{Result, Tokenizer};

/// What marks where a word begins, or goes on.
///
/// Some tokenizers give a word the same tokens inside a text and alone: XLM-R's puts the mark of a
/// space before every text, BERT's marks the pieces that go on. Others mark only the spaces that
/// are there, as Gemma's; for these a word inside a text is one with a space before it.
///
/// ```
/// use tokenizer_file::{Spacing, read};
///
/// let tokenizer = read("../testkit/fixtures/byte_fallback.json")?;
/// let spacing = Spacing::of(&tokenizer)?;
/// assert_eq!(spacing.inside("house"), " house");
///
/// let tokenizer = read("../testkit/fixtures/wordpiece.json")?;
/// let spacing = Spacing::of(&tokenizer)?;
/// assert_eq!(spacing.inside("house"), "house");
/// assert_eq!(spacing.continuing("house"), "##house");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spacing {
    space: bool,
    continuing: String,
}

impl Spacing {
    /// Tries out on `a b` which form of `b` is the one inside a text. The tokenizer should neither
    /// truncate nor pad.
    ///
    /// # Errors
    /// Those of `Tokenizer::encode_fast`.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let alone = [ids(tokenizer, "a")?, ids(tokenizer, "b")?].concat();
        let inside = ids(tokenizer, "a b")?;
        let continuing = match tokenizer.get_model() {
            ModelWrapper::BPE(model) => model.continuing_subword_prefix.clone(),
            ModelWrapper::WordPiece(model) => Some(model.continuing_subword_prefix.clone()),
            ModelWrapper::Unigram(_) | ModelWrapper::WordLevel(_) => None,
        };
        Ok(Self { space: inside != alone, continuing: continuing.unwrap_or_default() })
    }

    /// Whether a word inside a text has other tokens than the word alone.
    pub fn marks_spaces(&self) -> bool {
        self.space
    }

    /// What to encode for the tokens of `text` as they are inside a text, after a space.
    pub fn inside<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.space { format!(" {text}").into() } else { text.into() }
    }

    /// The name of the piece that `text` is where it goes on with a word.
    pub fn continuing(&self, text: &str) -> String {
        format!("{}{text}", self.continuing)
    }

    /// Whether a word begins right after `before`, though no space stands there: after a comma for
    /// BERT's tokenizer, which splits words by other rules and marks the pieces that continue one.
    ///
    /// # Errors
    /// Those of `Tokenizer::encode_fast`.
    pub fn begins_after(&self, tokenizer: &Tokenizer, before: &str) -> Result<bool> {
        let Some(last) = before.chars().next_back().filter(|_| !self.continuing.is_empty()) else {
            return Ok(false);
        };
        let last = last.to_string();
        let together = ids(tokenizer, &format!("{last}a"))?;
        Ok(together == [ids(tokenizer, &last)?, ids(tokenizer, "a")?].concat())
    }
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    Ok(tokenizer.encode_fast(text, false)?.get_ids().to_vec())
}
