//! Sentence boundaries.
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Returns the sentence ranges of a text (Unicode UAX 29), in code points, without surrounding
/// white space.
///
/// ```
/// use qa_translate::sentence_ranges;
///
/// assert_eq!(sentence_ranges("It rains. Why? "), [0..9, 10..14]);
/// assert_eq!(sentence_ranges("下雨了。为什么？"), [0..4, 4..8]);
/// ```
pub fn sentence_ranges(text: &str) -> Vec<Range<usize>> {
    let mut offset = 0;
    let mut ranges = Vec::new();
    for piece in text.split_sentence_bounds() {
        let leading = piece.chars().take_while(|c| c.is_whitespace()).count();
        let start = offset + leading;
        offset += piece.chars().count();
        let length = piece.trim().chars().count();
        if length > 0 {
            ranges.push(start..start + length);
        }
    }
    ranges
}
