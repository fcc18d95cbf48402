//! Quotation marks as markers of a single span.
use super::{Marker, MarkerError, MarkerPair};

/// Double quotation marks of several languages; translators replace `"` by the target language's.
const QUOTES: [char; 17] =
    ['"', '“', '”', '„', '‟', '«', '»', '「', '」', '『', '』', '＂', '〝', '〞', '〟', '《', '》'];

fn positions(text: &[char]) -> Vec<usize> {
    let is_quote = |(_, c): &(usize, &char)| QUOTES.contains(c);
    text.iter().enumerate().filter(is_quote).map(|(index, _)| index).collect()
}

/// Returns whether a text contains a double quotation mark.
pub(super) fn has_quote(text: &[char]) -> bool {
    !positions(text).is_empty()
}

/// Returns whether the end of a text is between quotation marks.
pub(super) fn is_inside(text: &[char]) -> bool {
    positions(text).len() % 2 == 1
}

/// Returns the only pair of quotation marks in a text.
pub(super) fn single_pair(text: &[char]) -> Result<MarkerPair, MarkerError> {
    let marker = |start| Marker { start, end: start + 1 };
    match *positions(text) {
        [] | [_] => Err(MarkerError::Missing),
        [open, close] => Ok((marker(open), marker(close))),
        _ => Err(MarkerError::Duplicate),
    }
}
