//! Splits texts that are too long for a server.
use mlqa_eval::Language;

use crate::markers::is_inside_marker;
use crate::place::is_written_without_spaces;
use crate::sentence_ranges;

/// Splits a text at the sentence boundary nearest to its middle that is not within marked text.
/// Returns both parts and the white space between them; `None` if there is no such boundary.
pub(super) fn split_in_two(text: &str) -> Option<(String, String, String)> {
    let characters: Vec<char> = text.chars().collect();
    let sentences = sentence_ranges(text);
    let (first, last) = (sentences.first()?.start, sentences.last()?.end);
    let middle = first.midpoint(last);
    let boundaries = sentences.iter().zip(sentences.iter().skip(1));
    let mut boundaries: Vec<_> = boundaries.map(|(a, b)| (a.end, b.start)).collect();
    boundaries.sort_by_key(|&(end, start)| end.midpoint(start).abs_diff(middle));
    let (end, start) =
        boundaries.into_iter().find(|&(end, _)| !is_inside_marker(&characters[..end]))?;
    let text_of = |part: &[char]| part.iter().collect::<String>();
    Some((
        text_of(&characters[..end]),
        text_of(&characters[end..start]),
        text_of(&characters[start..]),
    ))
}

/// Joins the translations of the parts of a split text. Languages without spaces between words
/// have no space between sentences, either.
pub(super) fn join_parts(first: &str, separator: &str, second: &str, to: Language) -> String {
    let separator = match (separator, is_written_without_spaces(to)) {
        (" ", true) => "",
        ("", false) => " ",
        _ => separator,
    };
    format!("{}{separator}{}", first.trim_end(), second.trim_start())
}
