//! Cuts documents into passages, which are the units of retrieval and reading.
use std::ops::Range;
use std::sync::Arc;

use mlqa_eval::NBest;
use unicode_segmentation::UnicodeSegmentation;

use crate::answer::TextOffset;
use crate::{Document, Documents, Result};

/// Minimum length of a passage in words; shorter paragraphs are joined.
const MIN_WORDS: usize = 50;

/// Maximum length in words of a passage with several sentences; longer paragraphs are cut.
const MAX_WORDS: usize = 250;

/// A line with more characters than this number is a paragraph. Lines of texts that are wrapped at
/// a fixed width are shorter.
const LONG_LINE_CHARS: usize = 200;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A part of a document: one or more paragraphs, or sentences of a long paragraph.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    pub document: Document,
    pub text: Arc<str>,
    /// Offset of the passage in the document's text, in code points.
    start: usize,
    /// Offset of the document's text in the whole document, if `document` is a part of a document in
    /// a collection.
    pub offset: Option<TextOffset>,
}

impl Passage {
    /// Returns a document as one passage, without a byte order mark at its start.
    pub fn whole(document: &Document) -> Self {
        let text = document
            .text
            .strip_prefix(BYTE_ORDER_MARK)
            .map_or_else(|| document.text.clone(), Arc::from);
        Self {
            start: usize::from(text.len() < document.text.len()),
            text,
            document: document.clone(),
            offset: None,
        }
    }

    /// Returns a passage of a collection.
    pub fn stored(passage: &collection::Passage) -> Self {
        let collection::Passage { document, text, start, start_byte, .. } = passage;
        Self {
            document: Document { id: document.clone(), text: text.clone() },
            text: text.clone(),
            start: 0,
            offset: Some(TextOffset { chars: *start, bytes: *start_byte }),
        }
    }

    /// Returns the byte range of each passage of a document.
    pub fn byte_ranges(document: &Document) -> Vec<Range<usize>> {
        let whole = Self::whole(document);
        let before = document.text.len() - whole.text.len();
        let ranges = passage_ranges(&whole.text);
        if ranges.len() < 2 {
            return std::iter::once(before..document.text.len()).collect();
        }
        ranges.into_iter().map(|range| before + range.start..before + range.end).collect()
    }

    /// Returns the passages of a document, in order. If there is one passage, it is the whole text.
    /// If there are several, the white space around each passage is excluded.
    pub fn split(document: &Document) -> Vec<Self> {
        let whole = Self::whole(document);
        let ranges = passage_ranges(&whole.text);
        if ranges.len() < 2 {
            return vec![whole];
        }
        let (mut byte, mut start) = (0, whole.start);
        let passage = |range: Range<usize>| {
            start += whole.text[byte..range.start].chars().count();
            byte = range.start;
            let text = whole.text[range].into();
            Self { document: document.clone(), text, start, offset: None }
        };
        ranges.into_iter().map(passage).collect()
    }

    /// Converts offsets of answers in the passage to offsets in the document.
    pub fn to_document_offsets(&self, mut n_best: NBest) -> NBest {
        for candidate in &mut n_best.candidates {
            candidate.answer_start += self.start;
        }
        n_best
    }
}

impl Documents {
    /// Returns the passages of the documents in order, each with the index of its document.
    ///
    /// # Errors
    /// The errors of [`iter`](Self::iter).
    pub(crate) fn passages(&self) -> impl Iterator<Item = Result<(usize, Passage)>> {
        self.iter().enumerate().flat_map(|(index, document)| {
            let passages = match document {
                Ok(document) if self.unsplit => vec![Ok(Passage::whole(&document))],
                Ok(document) => Passage::split(&document).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            passages.into_iter().map(move |passage| passage.map(|passage| (index, passage)))
        })
    }
}

/// A part of a text: its byte range and its length in words.
type Part = (Range<usize>, usize);

/// Returns the byte range of each passage. A paragraph ends at a blank line or at the end of a long
/// line. Paragraphs are joined to a passage until the passage has at least [`MIN_WORDS`] words. A
/// passage of more than [`MAX_WORDS`] words is cut between sentences (UAX #29) into parts of about
/// equal length.
fn passage_ranges(text: &str) -> Vec<Range<usize>> {
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
    use mlqa_eval::Candidate;
    use proptest::prelude::*;

    use super::*;

    fn passages(text: &str) -> Vec<Passage> {
        Passage::split(&Document { id: "d".into(), text: text.into() })
    }

    fn passage_texts(text: &str) -> Vec<String> {
        passages(text).iter().map(|passage| passage.text.to_string()).collect()
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
    fn answer_offsets_refer_to_the_document() {
        let long = "Ein Satz über die Stadt. ".repeat(30);
        let text = format!("\u{feff}{long}\n\nÉcrit à Lima. {long}");
        let all_passages = passages(&text);
        let passage = all_passages.iter().find(|passage| passage.text.contains("Lima")).unwrap();
        let byte = passage.text.find("Lima").unwrap();
        let answer_start = passage.text[..byte].chars().count();
        let candidates = vec![Candidate { answer_start, ..Candidate::default() }];
        let n_best = NBest { id: "q".into(), candidates, null_score: None, null: false };
        let start = passage.to_document_offsets(n_best).candidates[0].answer_start;
        assert_eq!(text.chars().skip(start).take(4).collect::<String>(), "Lima");
    }

    #[test]
    fn byte_ranges_are_those_of_the_passages() {
        let long = "Écrit à Lima. ".repeat(30);
        for text in ["", " \n", "\u{feff}Lima\n", &format!("\u{feff}{long}\n\n{long}\n")] {
            let document = Document { id: "d".into(), text: text.into() };
            let of_ranges: Vec<&str> =
                Passage::byte_ranges(&document).into_iter().map(|range| &text[range]).collect();
            assert_eq!(of_ranges, passage_texts(text));
        }
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
            let all_passages = passages(&text);
            for passage in &all_passages {
                let start = text.char_indices().nth(passage.start).map_or(text.len(), |(byte, _)| byte);
                prop_assert!(start >= end && text[end..start].trim().is_empty());
                end = start + passage.text.len();
                prop_assert_eq!(&text[start..end], &*passage.text);
                prop_assert!(all_passages.len() == 1 || count_words(&passage.text) <= MAX_WORDS
                    || passage.text.trim_end().split_sentence_bounds().count() == 1);
            }
            prop_assert!(text[end..].trim().is_empty());
        }
    }
}
