//! Properties of characters that layout and white space depend on.
use unicode_script::{Script, UnicodeScript};

/// Returns whether a character belongs to a script that is written without spaces: Han, kana or
/// Bopomofo, or their punctuation and full-width forms.
pub fn is_wide(char: char) -> bool {
    matches!(char.script(), Script::Han | Script::Hiragana | Script::Katakana | Script::Bopomofo)
        || matches!(char, '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ff60}')
}

/// Returns whether a character controls the presentation only: a soft hyphen, a byte order mark or
/// a mark of the writing direction.
pub fn is_presentation(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}'
    )
}
