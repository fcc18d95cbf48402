//! Characters that a normaliser removes.
use tokenizers::{NormalizedString, Normalizer, Tokenizer};

/// Returns `text` without leading characters that the tokenizer's normaliser removes, such as
/// control characters and, with BERT's normaliser, direction marks.
///
/// If a text begins with such characters, `tokenizers` 0.22 shifts the offsets of all later tokens;
/// inside a text, these characters do not shift offsets. Removing them does not change the tokens.
///
/// ```
/// use tokenizer_file::{trim_removed_start, read};
///
/// let bert = read("../testkit/fixtures/wordpiece.json")?;
/// assert_eq!(trim_removed_start(&bert, "\u{200f}Bern"), "Bern");
/// // Gemma's normaliser removes nothing.
/// let gemma = read("../testkit/fixtures/byte_fallback.json")?;
/// assert_eq!(trim_removed_start(&gemma, "\u{200f}Bern"), "\u{200f}Bern");
/// # Ok::<(), tokenizer_file::Error>(())
/// ```
pub fn trim_removed_start<'t>(tokenizer: &Tokenizer, text: &'t str) -> &'t str {
    text.trim_start_matches(|c: char| is_removed(tokenizer, c))
}

fn is_removed(tokenizer: &Tokenizer, c: char) -> bool {
    let Some(normalizer) = tokenizer.get_normalizer().filter(|_| !c.is_alphanumeric()) else {
        return false;
    };
    let mut text = NormalizedString::from(c.to_string());
    normalizer.normalize(&mut text).is_ok() && text.get().is_empty()
}
