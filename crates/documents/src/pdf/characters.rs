//! Replaces characters that stand for the shape of a glyph.
use unicode_normalization::UnicodeNormalization;

use super::radicals::unified;
use crate::characters::is_presentation;

/// Returns the text of a glyph: ligatures, presentation forms of Arabic letters and radicals are
/// replaced by letters and ideographs. Other compatibility characters, such as `½`, are part of the
/// text.
///
/// Soft hyphens are retained: at the end of a line, the line end is removed with them.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\u{ad}' => clean.push(char),
            // Private characters of Microsoft's symbol fonts are their codes, mostly of bullets.
            '\u{f020}'..='\u{f0ff}' => clean.push('•'),
            '\t' | '\n' | '\r' | '\u{a0}' | '\u{2002}'..='\u{200a}' => clean.push(' '),
            char if char.is_control() || is_presentation(char) => {}
            '\u{2e80}'..='\u{2fdf}' => clean.push(unified(char)),
            '\u{fb00}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' => {
                clean.extend(std::iter::once(char).nfkc())
            }
            char => clean.push(char),
        }
    }
    clean
}

/// Returns whether a character does not say which letter it is.
pub fn is_unmapped(char: char) -> bool {
    matches!(char, char::REPLACEMENT_CHARACTER | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..)
}

/// Returns whether a character belongs to a line from right to left.
pub fn is_right_to_left(char: char) -> bool {
    use unicode_bidi::BidiClass::{AL, R};
    matches!(unicode_bidi::bidi_class(char), R | AL)
}

/// Returns whether a character is a mark on the character before it.
pub fn is_mark(char: char) -> bool {
    unicode_bidi::bidi_class(char) == unicode_bidi::BidiClass::NSM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_letters() {
        assert_eq!(clean("o\u{fb03}ce ½ 10⁵"), "office ½ 10⁵");
        assert_eq!(clean("\u{fefb}"), "لا");
        assert_eq!(clean("\u{2f54}\u{2ecb}\u{2ee2}"), "水车马");
        assert_eq!(clean("a\u{202b}\u{1}\u{fffe}b\u{a0}c\u{f0b7}"), "ab c•");
    }
}
