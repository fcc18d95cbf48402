//! Tokens of a text with their offsets in code points.
use std::borrow::Cow;
use std::path::Path;

use tokenizer_file::trim_removed_start;
use tokenizers::Tokenizer;

use super::words::{Tokens, WordCache};
use crate::Error;
use crate::metric::unicode::is_space;

pub(crate) fn layout_error(error: tokenizer_file::LayoutError) -> Error {
    Error::SpecialToken { message: error.to_string() }
}

/// Loads a `tokenizer.json` from a file or folder.
///
/// # Errors
/// [`Error::File`] or [`Error::Tokenizer`], naming the file.
pub fn load_tokenizer(path: impl AsRef<Path>) -> Result<Tokenizer, Error> {
    let path = path.as_ref();
    tokenizer_file::read(path).map_err(|error| match error {
        tokenizer_file::Error::Read(error) => Error::File(error),
        tokenizer_file::Error::Content { ref path, .. } => {
            Error::Tokenizer { name: path.display().to_string(), message: error.problem() }
        }
    })
}

/// Returns the tokenizer without truncation and padding. The tokenizer is copied only if its file
/// configures truncation or padding, because a copy is large and has an empty cache.
pub(crate) fn clear_truncation(tokenizer: Cow<'_, Tokenizer>) -> Result<Cow<'_, Tokenizer>, Error> {
    if tokenizer.get_padding().is_none() && tokenizer.get_truncation().is_none() {
        return Ok(tokenizer);
    }
    let mut tokenizer = tokenizer.into_owned();
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| Error::Tokenizer {
        name: "truncation".into(),
        message: error.to_string(),
    })?;
    Ok(Cow::Owned(tokenizer))
}

/// Tokenises `text`, using `cache` if it is set. The offsets are the tokenizer's
/// offsets. `name` describes the text in errors.
pub(crate) fn tokenize_as_is(
    tokenizer: &Tokenizer,
    cache: Option<&WordCache>,
    text: &str,
    name: &dyn Fn() -> String,
) -> Result<Tokens, Error> {
    let by_words = cache.map(|cache| cache.tokenize(text, |word| encode(tokenizer, word, name)));
    match by_words.transpose()?.flatten() {
        Some(tokens) => Ok(tokens),
        None => encode(tokenizer, text, name),
    }
}

fn encode(tokenizer: &Tokenizer, text: &str, name: &dyn Fn() -> String) -> Result<Tokens, Error> {
    let encoding = tokenizer.encode_char_offsets(text, false).map_err(|error| {
        Error::Tokenizer { name: format!("on {}", name()), message: error.to_string() }
    })?;
    Ok(Tokens { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
}

/// Tokenises `text`, and restricts the offsets to the visible text of each token. `name` describes
/// the text in errors.
pub(crate) fn tokenize(
    tokenizer: &Tokenizer,
    cache: Option<&WordCache>,
    text: &str,
    name: &dyn Fn() -> String,
) -> Result<Tokens, Error> {
    let trimmed = trim_removed_start(tokenizer, text);
    let trimmed_chars = text.chars().count() - trimmed.chars().count();
    let mut tokens = tokenize_as_is(tokenizer, cache, trimmed, name)?;
    for (start, end) in &mut tokens.offsets {
        (*start, *end) = (*start + trimmed_chars, *end + trimmed_chars);
    }
    restrict_to_visible_text(&mut tokens.offsets, &text.chars().collect::<Vec<char>>());
    Ok(tokens)
}

/// Restricts offsets to the visible text of each token:
/// - leading and trailing white space (a metaspace token includes the space before it) is removed;
/// - characters that the normaliser composed with the preceding character (marks, jamo, voicing
///   signs) are added to the preceding character's token, because `tokenizers` aligns the composed
///   character with the first character only.
fn restrict_to_visible_text(offsets: &mut [(usize, usize)], text: &[char]) {
    let char_at = |k: usize| text.get(k).copied();
    let mut next_start = text.len();
    for (start, end) in offsets.iter_mut().rev() {
        *end = (*end).min(text.len());
        let old_start = *start;
        while *end < next_start && char_at(*end).is_some_and(|c| !is_space(c) && !is_invisible(c)) {
            *end += 1;
        }
        while *start < *end && char_at(*start).is_some_and(is_space) {
            *start += 1;
        }
        while *start < *end && char_at(*end - 1).is_some_and(is_space) {
            *end -= 1;
        }
        next_start = old_start.min(next_start);
    }
}

/// Format and control characters, which BERT's normaliser removes and SentencePiece's NFKC removes
/// or replaces by a space.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2581}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::restrict_to_visible_text;

    #[test]
    fn offsets_are_restricted_to_visible_text() {
        for (name, text, mut offsets, expected) in [
            // The composed ê is aligned only with `e`.
            ("composed mark", "e\u{302} x", vec![(0, 1), (2, 4)], vec![(0, 2), (3, 4)]),
            ("space alone", "a b", vec![(0, 1), (1, 2), (2, 3)], vec![(0, 1), (2, 2), (2, 3)]),
            ("invisible character", "a\u{200f} b", vec![(0, 1), (2, 4)], vec![(0, 1), (3, 4)]),
        ] {
            restrict_to_visible_text(&mut offsets, &text.chars().collect::<Vec<char>>());
            assert_eq!(offsets, expected, "{name}");
        }
    }
}
