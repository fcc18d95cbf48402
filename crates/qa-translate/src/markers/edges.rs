//! Punctuation that a translator draws into a marked span.
use std::ops::Range;

use super::invisible::{count_leading, count_trailing, is_blank};

/// Full stops, which also end abbreviations and ordinal numbers.
const FULL_STOPS: [char; 2] = ['.', '．'];

/// Punctuation that ends a sentence or clause and no abbreviation.
const SEPARATORS: [char; 27] = [
    ',', ';', ':', '!', '?', '，', '；', '：', '！', '？', '。', '、', '،', '؛', '؟', '۔', '।',
    '॥', '።', '…', '‥', '—', '–', '―', '·', '・', '‧',
];

/// Separators that a translator draws from the preceding text into the start of a span. Hyphens, which
/// may be signs of numbers, full stops and exclamation marks, which may begin names, are not removed.
const LEADING: [char; 12] = [',', ';', ':', '，', '；', '：', '、', '،', '؛', '…', '—', '·'];

/// Inverted punctuation at the start of a sentence.
const INVERTED: [char; 2] = ['¿', '¡'];

/// Opening and closing quotation marks and brackets.
const PAIRS: [(char, char); 22] = [
    ('"', '"'),
    ('“', '”'),
    ('„', '“'),
    ('„', '”'),
    ('”', '”'),
    ('«', '»'),
    ('»', '«'),
    ('‹', '›'),
    ('「', '」'),
    ('『', '』'),
    ('《', '》'),
    ('〈', '〉'),
    ('＂', '＂'),
    ('(', ')'),
    ('（', '）'),
    ('[', ']'),
    ('【', '】'),
    ('〔', '〕'),
    ('⟨', '⟩'),
    ('{', '}'),
    ('*', '*'),
    ('`', '`'),
];

fn is_opening(c: char) -> bool {
    PAIRS.iter().any(|&(open, _)| open == c)
}

fn is_closing(c: char) -> bool {
    PAIRS.iter().any(|&(_, close)| close == c)
}

fn is_punctuation(c: char) -> bool {
    FULL_STOPS.contains(&c)
        || SEPARATORS.contains(&c)
        || INVERTED.contains(&c)
        || LEADING.contains(&c)
        || is_opening(c)
        || is_closing(c)
}

fn ends_sentence(c: char) -> bool {
    FULL_STOPS.contains(&c) || matches!(c, '!' | '?' | '！' | '？' | '。' | '؟' | '۔' | '।' | '॥')
}

/// Returns the first character of a text that is not blank.
fn first_visible(text: &[char]) -> Option<char> {
    text.iter().copied().find(|&c| !is_blank(c))
}

/// Returns `span` without punctuation at its ends that the source's span does not have.
///
/// - Commas, colons, question marks and similar punctuation, unpaired quotation marks and brackets,
///   and a pair around the complete span are removed.
/// - A full stop is removed only if it has moved: it follows the source's span, and no punctuation
///   that ends a sentence follows the translation's span.
pub(super) fn trim_punctuation(
    text: &[char],
    span: Range<usize>,
    source: &[char],
    source_span: &Range<usize>,
) -> Range<usize> {
    let marked = &source[source_span.clone()];
    let source_starts = marked.first().is_some_and(|&c| is_punctuation(c));
    let source_ends = marked.last().is_some_and(|&c| is_punctuation(c));
    let stop_follows_source = first_visible(&source[source_span.end..]).is_some_and(ends_sentence);
    let mut span = span;
    loop {
        let inner = &text[span.clone()];
        let ([first, .., last], false) = (inner, source_starts && source_ends) else { return span };
        let stop_follows = first_visible(&text[span.end..]).is_some_and(ends_sentence);
        let count = |c: char| inner.iter().filter(|&&other| other == c).count();
        let is_pair = PAIRS.contains(&(*first, *last));
        let has_partner = |c: char, is_open: bool| {
            PAIRS.iter().any(|&(open, close)| match is_open {
                true => open == c && open != close && inner.contains(&close),
                false => close == c && open != close && inner.contains(&open),
            }) || (PAIRS.contains(&(c, c)) && count(c) % 2 == 0)
        };
        let trims_start = !source_starts
            && (INVERTED.contains(first)
                || LEADING.contains(first)
                || (is_opening(*first)
                    && (!has_partner(*first, true) || (is_pair && !source_ends))));
        let trims_end = !source_ends
            && (SEPARATORS.contains(last)
                || (FULL_STOPS.contains(last) && stop_follows_source && !stop_follows)
                || (is_closing(*last)
                    && (!has_partner(*last, false) || (is_pair && !source_starts))));
        let mut trimmed = span.clone();
        if trims_start {
            trimmed.start += 1;
            trimmed.start += count_leading(&text[trimmed.clone()]);
        }
        if trims_end && !trimmed.is_empty() {
            trimmed.end -= 1;
            trimmed.end -= count_trailing(&text[trimmed.clone()]);
        }
        if trimmed == span || trimmed.is_empty() {
            return span;
        }
        span = trimmed;
    }
}
