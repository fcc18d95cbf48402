//! Characters without a visible form that translators add next to markers.

/// Direction marks and zero-width spaces: they have no meaning at the ends of a span.
const INVISIBLE: [char; 18] = [
    '\u{ad}', '\u{61c}', '\u{180e}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}',
    '\u{202c}', '\u{202d}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
    '\u{fe0e}', '\u{feff}',
];

/// ZERO WIDTH NON-JOINER and ZERO WIDTH JOINER.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// Viramas, after which a joiner selects the form of a letter at the end of a word (Devanagari to
/// Sinhala, Unicode 16).
const VIRAMAS: [char; 10] = [
    '\u{94d}', '\u{9cd}', '\u{a4d}', '\u{acd}', '\u{b4d}', '\u{bcd}', '\u{c4d}', '\u{ccd}',
    '\u{d4d}', '\u{dca}',
];

/// Returns whether a character is white space or has no visible form. Such characters may occur
/// within a marker.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || INVISIBLE.contains(&c) || JOINERS.contains(&c)
}

/// Returns the number of blank characters at the start of a text.
pub(super) fn count_leading(text: &[char]) -> usize {
    text.iter().take_while(|&&c| is_blank(c)).count()
}

/// Returns the number of blank characters at the end of a text, without a joiner that belongs to
/// the last letter.
pub(super) fn count_trailing(text: &[char]) -> usize {
    let count = text.iter().rev().take_while(|&&c| is_blank(c)).count();
    let first = text.len() - count;
    let has_virama = first > 0 && VIRAMAS.contains(&text[first - 1]);
    let has_joiner = count > 0 && JOINERS.contains(&text[first]);
    count - usize::from(has_virama && has_joiner)
}
