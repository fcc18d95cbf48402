//! Word boundaries, where spans may start and end.
use std::ops::Range;

use mlqa_eval::Language;
use unicode_segmentation::UnicodeSegmentation;

/// Languages written without spaces between words.
const UNSPACED: [&str; 7] = ["zh", "yue", "ja", "th", "lo", "km", "my"];

/// Returns whether a language is written without spaces between words.
pub(crate) fn is_written_without_spaces(language: Language) -> bool {
    UNSPACED.contains(&language.base())
}

/// Returns the word ranges of a text (Unicode UAX 29), in code points.
///
/// Each punctuation mark, and each character of a script without spaces, has a separate range.
///
/// ```
/// assert_eq!(qa_translate::word_ranges("a bc."), [0..1, 2..4, 4..5]);
/// assert_eq!(qa_translate::word_ranges("北京"), [0..1, 1..2]);
/// ```
pub fn word_ranges(text: &str) -> Vec<Range<usize>> {
    let mut offset = 0;
    let mut ranges = Vec::new();
    for piece in text.split_word_bounds() {
        let start = offset;
        offset += piece.chars().count();
        if !piece.trim().is_empty() {
            ranges.push(start..offset);
        }
    }
    ranges
}
