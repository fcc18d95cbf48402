//! Searches for a translated answer in its translated passage.
use std::ops::Range;

use language::fold;
use mlqa_eval::Answer;
use serde::{Deserialize, Serialize};
use unicode_normalization::char::is_combining_mark;

/// How to handle an answer that occurs more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occurrence {
    /// Rejects the answer.
    #[default]
    Unique,
    /// Selects the occurrence whose relative position is nearest to the relative position of the
    /// source answer. If two occurrences are equally near, the first occurrence is selected.
    Nearest,
}

/// Search options. The paper does not specify the search; the defaults are the strictest
/// interpretation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// How to handle an answer that occurs more than once.
    pub occurrence: Occurrence,
}

/// Reason why a search has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchError {
    /// The passage does not contain the answer as whole words, or the answer is blank.
    NotFound,
    /// The answer occurs more than once, which [`Occurrence::Unique`] rejects.
    Ambiguous,
}

/// Finds `answer` in `passage`.
///
/// An answer that is translated separately often differs from the passage in its capital letter or
/// its punctuation. The first of these searches that finds an occurrence determines the result:
///
/// 1. the answer as it is,
/// 2. the folded answer in the folded passage ([`language::fold`]), so that case, the forms of
///    quotation marks and invisible characters are ignored,
/// 3. the same searches for the answer without punctuation at its ends.
///
/// Only whole words count, so that `4` does not occur in `1947` or `4.5`. Words of scripts without
/// spaces between words have no boundaries, and a Korean word may continue with a particle.
///
/// `position`, from 0 to 1, is the relative offset of the source answer in its passage; only
/// [`Occurrence::Nearest`] uses it. Occurrences may overlap.
///
/// ```
/// use qa_translate::{Occurrence, SearchConfig, SearchError, search};
///
/// let strict = SearchConfig::default();
/// assert_eq!(search("2 und 2 sind 4", "4", 0.9, &strict).unwrap().answer_start, Some(13));
/// assert_eq!(search("2 und 2 sind 4", "2", 0.9, &strict), Err(SearchError::Ambiguous));
/// assert_eq!(search("La torre tiene cinco.", "Cinco", 0.9, &strict).unwrap().text, "cinco");
/// let nearest = SearchConfig { occurrence: Occurrence::Nearest };
/// assert_eq!(search("2 und 2 sind 4", "2", 0.9, &nearest).unwrap().answer_start, Some(6));
/// ```
///
/// # Errors
/// [`SearchError`].
pub fn search(
    passage: &str,
    answer: &str,
    position: f64,
    config: &SearchConfig,
) -> Result<Answer, SearchError> {
    let answer = answer.trim();
    let without_punctuation = answer.trim_matches(|c: char| !c.is_alphanumeric());
    let ranges = [answer, without_punctuation]
        .into_iter()
        .map(|pattern| find_words(passage, pattern))
        .find(|ranges| !ranges.is_empty())
        .ok_or(SearchError::NotFound)?;
    let with_start =
        |range: Range<usize>| (passage[..range.start].chars().count(), &passage[range]);
    let found: Vec<(usize, &str)> = ranges.into_iter().map(with_start).collect();
    let index = match config.occurrence {
        Occurrence::Unique if found.len() > 1 => return Err(SearchError::Ambiguous),
        Occurrence::Unique => 0,
        Occurrence::Nearest => {
            let length = passage.chars().count();
            let distance =
                |(start, _): &(usize, &str)| (*start as f64 / length as f64 - position).abs();
            let distances: Vec<f64> = found.iter().map(distance).collect();
            (1..found.len()).fold(0, |best, index| match distances[index] < distances[best] {
                true => index,
                false => best,
            })
        }
    };
    let (start, text) = found[index];
    Ok(Answer::at(start, text))
}

/// Returns the byte ranges of the occurrences of a pattern as whole words: exact occurrences or, if
/// there are none, occurrences in the folded text.
fn find_words(text: &str, pattern: &str) -> Vec<Range<usize>> {
    let mut exact = occurrences(text, pattern);
    exact.retain(|range| is_whole_word(text, range));
    if !exact.is_empty() {
        return exact;
    }
    let (folded_text, folded_pattern) = (fold(text), fold(pattern));
    let folded_pattern = folded_pattern.as_str().trim();
    let matches = occurrences(folded_text.as_str(), folded_pattern).into_iter();
    let mut folded: Vec<Range<usize>> = matches
        .map(|range| folded_text.source_range(range))
        // A match may begin or end within a character, such as `s` in `ß`.
        .filter(|range| fold(&text[range.clone()]).as_str() == folded_pattern)
        .filter(|range| is_whole_word(text, range))
        .collect();
    folded.dedup();
    folded
}

/// Returns the byte ranges of all occurrences of a pattern, which may overlap.
fn occurrences(text: &str, pattern: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let Some(first) = pattern.chars().next() else { return ranges };
    let mut offset = 0;
    while let Some(index) = text[offset..].find(pattern) {
        let start = offset + index;
        ranges.push(start..start + pattern.len());
        offset = start + first.len_utf8();
    }
    ranges
}

/// How a character continues a word.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    /// Separates words.
    Separator,
    Digit,
    /// A letter of a script with spaces between words.
    Spaced,
    /// A Hangul syllable, which may be followed by a particle.
    Hangul,
    /// A letter of a script without spaces between words.
    Unspaced,
}

fn script(c: char) -> Script {
    match c {
        _ if c.is_numeric() => Script::Digit,
        '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7ff}' => {
            Script::Hangul
        }
        // Thai, Lao; Burmese; Khmer; kana; Han and its extensions.
        '\u{e00}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}' => Script::Unspaced,
        _ if c.is_alphanumeric() => Script::Spaced,
        _ => Script::Separator,
    }
}

/// Returns whether no word or number continues over an end of the range.
fn is_whole_word(text: &str, range: &Range<usize>) -> bool {
    let (before, inner, after) = (&text[..range.start], &text[range.clone()], &text[range.end..]);
    !is_joined(before, inner, false) && !is_joined(inner, after, true)
}

/// Returns whether a word or a number continues from `first` to `second`.
fn is_joined(first: &str, second: &str, at_end: bool) -> bool {
    let mut left_characters = first.chars().rev().filter(|&c| !is_combining_mark(c));
    let mut right_characters = second.chars();
    let (Some(left), Some(right)) = (left_characters.next(), right_characters.next()) else {
        return false;
    };
    if is_combining_mark(right) {
        return !first.ends_with(char::is_whitespace);
    }
    let is_point = |c: char| matches!(c, '.' | ',' | '٫' | '٬');
    match (script(left), script(right)) {
        // The decimal point or thousands separator of a number.
        (Script::Digit, Script::Separator) if is_point(right) => {
            right_characters.next().is_some_and(|c| script(c) == Script::Digit)
        }
        (Script::Separator, Script::Digit) if is_point(left) => {
            left_characters.next().is_some_and(|c| script(c) == Script::Digit)
        }
        (Script::Separator | Script::Unspaced, _) | (_, Script::Separator | Script::Unspaced) => {
            false
        }
        (Script::Digit, Script::Digit) => true,
        (_, Script::Hangul) => !at_end,
        _ => true,
    }
}
