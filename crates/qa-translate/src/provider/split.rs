//! Splits texts that are too long for a server.
use mlqa_eval::Language;

use crate::markers::is_inside_marker;
use crate::place::is_written_without_spaces;
use crate::sentence_ranges;

/// A part of a text and the white space in front of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub separator: String,
    pub text: String,
}

/// Splits a text at sentences that do not begin or end within marked text. Consecutive sentences of
/// at most `max_characters` code points form one part; if this is the complete text or the limit is
/// unknown, each sentence is a part. Returns `None` if there is only one sentence.
pub(super) fn split(text: &str, max_characters: Option<usize>) -> Option<Vec<Part>> {
    let characters: Vec<char> = text.chars().collect();
    let mut sentences: Vec<std::ops::Range<usize>> = Vec::new();
    for sentence in sentence_ranges(text) {
        match sentences.last_mut() {
            Some(last) if is_inside_marker(&characters[..last.end]) => last.end = sentence.end,
            _ => sentences.push(sentence),
        }
    }
    let mut packed = sentences.clone();
    if let Some(max) = max_characters {
        packed.clear();
        for sentence in &sentences {
            match packed.last_mut() {
                Some(last) if sentence.end - last.start <= max => last.end = sentence.end,
                _ => packed.push(sentence.clone()),
            }
        }
    }
    let ranges = if packed.len() > 1 { packed } else { sentences };
    let mut end = 0;
    let text_of = |part: &[char]| part.iter().collect::<String>();
    let parts = ranges.iter().map(|range| {
        let separator = text_of(&characters[end..range.start]);
        end = range.end;
        Part { separator, text: text_of(&characters[range.clone()]) }
    });
    let parts: Vec<Part> = parts.collect();
    (parts.len() > 1).then_some(parts)
}

/// Joins the translations of parts. Languages without spaces between words have no space between
/// sentences, either.
pub(super) fn join(parts: &[Part], translations: &[String], to: Language) -> String {
    let mut text = String::new();
    for (part, translation) in parts.iter().zip(translations) {
        let separator = match (part.separator.as_str(), is_written_without_spaces(to)) {
            _ if text.is_empty() => "",
            (" ", true) => "",
            ("", false) => " ",
            (separator, _) => separator,
        };
        text.push_str(separator);
        text.push_str(translation.trim());
    }
    text
}
