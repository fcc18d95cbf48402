//! Where spans may begin and end.
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// The words of a text as Unicode divides it (UAX 29), in code points: in scripts without spaces
/// single characters, of punctuation each mark.
///
/// ```
/// assert_eq!(qa_translate::units("a bc."), [0..1, 2..4, 4..5]);
/// assert_eq!(qa_translate::units("北京"), [0..1, 1..2]);
/// ```
pub fn units(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut all = Vec::new();
    for piece in text.split_word_bounds() {
        let start = at;
        at += piece.chars().count();
        if !piece.trim().is_empty() {
            all.push(start..at);
        }
    }
    all
}
