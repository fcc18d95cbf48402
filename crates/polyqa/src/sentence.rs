//! Finds the sentence around an answer.
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Maximum number of bytes on each side of an answer; longer sentences are cut.
const MAX_CONTEXT: usize = 2000;

/// Returns the byte range of the sentence or sentences that contain a span, without surrounding
/// white space. Sentences end at sentence boundaries (UAX #29) and line breaks.
pub(crate) fn sentence_around(text: &str, span: Range<usize>) -> Range<usize> {
    let before = &text[..span.start];
    let after = &text[span.end..];
    let from = before.len() - last_line(before).len();
    let to = span.end + first_line(after).len();
    let context = &text[from..to];
    let (mut start, mut end) = (from, to);
    for (offset, _) in context.split_sentence_bound_indices() {
        let bound = from + offset;
        if bound <= span.start {
            start = bound;
        } else if bound >= span.end {
            end = bound;
            break;
        }
    }
    let sentence = &text[start..end];
    // A byte order mark is not part of a sentence.
    let is_ignored = |c: char| c.is_whitespace() || c == '\u{feff}';
    let leading = sentence.len() - sentence.trim_start_matches(is_ignored).len();
    // White space at the ends of the span is retained.
    let start = (start + leading).min(span.start);
    start..(start + text[start..end].trim_end().len()).max(span.end)
}

/// Returns the last line of a text, or at most the last [`MAX_CONTEXT`] bytes of this line.
fn last_line(text: &str) -> &str {
    let line = text.rsplit_once('\n').map_or(text, |(_, line)| line);
    let mut ends = line.len().saturating_sub(MAX_CONTEXT)..=line.len();
    let from = ends.find(|&at| line.is_char_boundary(at)).expect("the end is a boundary");
    &line[from..]
}

/// Returns the first line of a text, or at most the first [`MAX_CONTEXT`] bytes of this line.
fn first_line(text: &str) -> &str {
    let line = text.split_once('\n').map_or(text, |(line, _)| line);
    let mut ends = (0..=line.len().min(MAX_CONTEXT)).rev();
    let to = ends.find(|&at| line.is_char_boundary(at)).expect("the start is a boundary");
    &line[..to]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn sentence_of<'a>(text: &'a str, answer: &str) -> &'a str {
        let start = text.find(answer).unwrap();
        text.get(sentence_around(text, start..start + answer.len())).unwrap()
    }

    #[test]
    fn a_sentence_ends_at_its_boundary_in_any_script() {
        let text = "Lima is old. It is in Peru, by the sea.  And Quito?\nA line\r\nmore";
        assert_eq!(sentence_of(text, "Peru"), "It is in Peru, by the sea.");
        assert_eq!(sentence_of(text, "Lima"), "Lima is old.");
        assert_eq!(sentence_of(text, "old. It"), "Lima is old. It is in Peru, by the sea.");
        assert_eq!(sentence_of(text, "A line"), "A line");
        assert_eq!(sentence_of("它很大。它在秘鲁。它很老。", "秘鲁"), "它在秘鲁。");
        assert_eq!(sentence_of("यह बड़ा है। यह पेरू में है।", "पेरू"), "यह पेरू में है।");
        assert_eq!(sentence_of("هل هو كبير؟ هو في بيرو.", "بيرو"), "هو في بيرو.");
    }

    #[test]
    fn a_text_without_end_is_cut_between_characters() {
        let text = format!("{}answer{}", "é".repeat(3000), "日".repeat(3000));
        let start = text.find("answer").unwrap();
        let range = sentence_around(&text, start..start + 6);
        assert!(range.len() <= 2 * MAX_CONTEXT + 6 && text.get(range).unwrap().contains("answer"));
    }
}
