//! Cuts documents into passages, which are the units of retrieval and reading.
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Minimum length of a passage in words; shorter paragraphs are joined.
const MIN_WORDS: usize = 50;

/// Maximum length in words of a passage with several sentences; longer paragraphs are cut.
const MAX_WORDS: usize = 250;

/// A line with more characters than this number is a paragraph. Lines of texts that are wrapped at
/// a fixed width are shorter.
const LONG_LINE_CHARS: usize = 200;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns the byte ranges of a text's passages, in order, for example for
/// [`collection::Document::passages`]. If there is one passage, it is the whole text without a byte
/// order mark. If there are several, the white space around each passage is excluded.
///
/// ```
/// let text = format!("{}\n\n{}", "Lima is in Peru. ".repeat(13), "Quito is in Ecuador. ".repeat(13));
/// let ranges = polyqa::passage_ranges(&text);
/// assert_eq!(ranges.len(), 2);
/// assert!(text[ranges[1].clone()].starts_with("Quito"));
/// ```
pub fn passage_ranges(text: &str) -> Vec<Range<usize>> {
    let whole = whole(text);
    let ranges = cut_paragraphs(&text[whole.clone()]);
    if ranges.len() < 2 {
        return std::iter::once(whole).collect();
    }
    let in_text = |range: Range<usize>| whole.start + range.start..whole.start + range.end;
    ranges.into_iter().map(in_text).collect()
}

/// Returns the byte range of a text without a byte order mark at its start.
pub(crate) fn whole(text: &str) -> Range<usize> {
    let start = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    start..text.len()
}

/// A part of a text: its byte range and its length in words.
type Part = (Range<usize>, usize);

/// Returns the byte range of each passage. A paragraph ends at a blank line or at the end of a long
/// line. Paragraphs are joined to a passage until the passage has at least [`MIN_WORDS`] words. A
/// passage of more than [`MAX_WORDS`] words is cut between sentences (UAX #29) into parts of about
/// equal length.
fn cut_paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut passages: Vec<Part> = Vec::new();
    let mut incomplete: Option<Part> = None;
    for (paragraph, length) in paragraphs(text) {
        let (joined, sum) = match incomplete.take() {
            Some((before, sum)) => (before.start..paragraph.end, sum + length),
            None => (paragraph, length),
        };
        match sum {
            ..MIN_WORDS => incomplete = Some((joined, sum)),
            MIN_WORDS..=MAX_WORDS => passages.push((joined, sum)),
            _ => passages.extend(split_paragraph(text, joined)),
        }
    }
    // A short remainder at the end of a text is joined to the previous passage if the result is at
    // most `MAX_WORDS` words long.
    match (passages.last_mut(), incomplete) {
        (Some((last, sum)), Some((remainder, length))) if *sum + length <= MAX_WORDS => {
            last.end = remainder.end
        }
        (_, incomplete) => passages.extend(incomplete),
    }
    passages.iter().filter_map(|(range, _)| trim_range(text, range)).collect()
}

/// Cuts a paragraph between sentences into the fewest parts of at most [`MAX_WORDS`] words. The
/// parts have about equal lengths.
fn split_paragraph(text: &str, paragraph: Range<usize>) -> Vec<Part> {
    let sentences = text[paragraph.clone()].split_sentence_bound_indices();
    let sentences = sentences.map(|(offset, sentence)| {
        let start = paragraph.start + offset;
        (start..start + sentence.len(), count_words(sentence))
    });
    let sentences: Vec<Part> = sentences.collect();
    let total_words: usize = sentences.iter().map(|(_, length)| length).sum();
    let n_parts = total_words.div_ceil(MAX_WORDS).max(1);
    let mut parts: Vec<Part> = Vec::with_capacity(n_parts);
    let mut words_before = 0;
    for (sentence, length) in sentences {
        // A sentence is assigned to the part that contains its middle.
        let starts_next = (2 * words_before + length) * n_parts > 2 * parts.len() * total_words;
        words_before += length;
        match parts.last_mut() {
            Some((part, sum)) if !starts_next && *sum + length <= MAX_WORDS => {
                part.end = sentence.end;
                *sum += length;
            }
            _ => parts.push((sentence, length)),
        }
    }
    parts
}

/// Returns the byte range of each paragraph, including the blank lines after the paragraph, and its
/// length in words.
fn paragraphs(text: &str) -> Vec<Part> {
    let mut paragraphs: Vec<Part> = Vec::new();
    let (mut start, mut paragraph_ended) = (0, false);
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let is_blank = line.trim().is_empty();
        if paragraph_ended && !is_blank {
            paragraphs.push((start..offset, 0));
            start = offset;
        }
        paragraph_ended = is_blank || line.chars().nth(LONG_LINE_CHARS).is_some();
        offset += line.len();
    }
    paragraphs.push((start..offset, 0));
    for (range, length) in &mut paragraphs {
        *length = count_words(&text[range.clone()]);
    }
    paragraphs
}

/// Counts the words (UAX #29; a Han or Hiragana character is a word). In some scripts without
/// spaces, UAX #29 finds few words, so the result is at least an eighth of the number of
/// characters.
fn count_words(text: &str) -> usize {
    text.unicode_words().count().max(text.chars().count() / 8)
}

/// Returns a range without surrounding white space; `None` if nothing remains.
fn trim_range(text: &str, range: &Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start().len();
    let end = start + part.trim().len();
    (start < end).then_some(start..end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passage_texts(text: &str) -> Vec<&str> {
        passage_ranges(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_long_paragraph_is_a_passage_and_short_ones_are_joined() {
        let long = "A word of it. ".repeat(20).trim().to_owned();
        let text = format!("Title\n\n{long}\n \n{long}\nA line\n\nA list:\n\n- a\n- b\n");
        let expected =
            [format!("Title\n\n{long}"), format!("{long}\nA line\n\nA list:\n\n- a\n- b")];
        assert_eq!(passage_texts(&text), expected);
        // Long lines are paragraphs, even if there are no blank lines between them.
        assert_eq!(
            passage_texts(&format!("{long}\n{long}\r\nshort\nlines")),
            [long.clone(), format!("{long}\r\nshort\nlines")]
        );
        // The text of a single passage is not trimmed.
        assert_eq!(passage_texts(" Lima\n"), [" Lima\n"]);
        assert_eq!(passage_texts(""), [""]);
    }

    #[test]
    fn an_overlong_paragraph_is_cut_between_sentences_into_equal_parts() {
        let word_counts = |text: &str| {
            passage_texts(text).iter().map(|text| count_words(text)).collect::<Vec<_>>()
        };
        assert_eq!(
            word_counts(&"Ten words are in this sentence of the long paragraph. ".repeat(26)),
            [130; 2]
        );
        assert_eq!(word_counts(&"这句话有八个字。".repeat(100)), [231, 238, 231]);
        assert_eq!(word_counts(&"word ".repeat(700)), [700]);
    }

    #[test]
    fn a_byte_order_mark_is_outside_of_passages() {
        let long = "Écrit à Lima. ".repeat(30);
        let long = long.trim();
        for (text, expected) in [
            ("", vec![""]),
            (" \n", vec![" \n"]),
            ("\u{feff}Lima\n", vec!["Lima\n"]),
            (&*format!("\u{feff}{long}\n\n{long}\n"), vec![long, long]),
        ] {
            assert_eq!(passage_texts(text), expected);
        }
        assert_eq!(whole("\u{feff}Lima"), 3..7);
    }

    proptest! {
        #[test]
        fn passages_are_the_text_without_white_space_between_them(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["Lima. ", "利马在秘鲁。", "\n", "\n\n", "\u{2029}", " ", "word "]),
                0..2000,
            ),
        ) {
            let text = pieces.concat();
            let mut end = 0;
            let all_passages = passage_ranges(&text);
            for range in &all_passages {
                prop_assert!(range.start >= end && text[end..range.start].trim().is_empty());
                end = range.end;
                let passage = &text[range.clone()];
                prop_assert!(all_passages.len() == 1 || count_words(passage) <= MAX_WORDS
                    || passage.trim_end().split_sentence_bounds().count() == 1);
            }
            prop_assert!(text[end..].trim().is_empty());
        }
    }
}
