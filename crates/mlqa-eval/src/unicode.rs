//! Python 3.11's view of characters (Unicode 14.0.0), on which the official scores depend.
use crate::unicode_tables::{CASE_IGNORABLE, CASED, PUNCTUATION, WORD};

/// Characters of later Unicode versions that have a lower case in Rust and none in Python 3.11.
const CASED_AFTER_14: [(u32, u32); 9] = [
    (0x1C89, 0x1C89),
    (0xA7CB, 0xA7CC),
    (0xA7CE, 0xA7CE),
    (0xA7D2, 0xA7D2),
    (0xA7D4, 0xA7D4),
    (0xA7DA, 0xA7DA),
    (0xA7DC, 0xA7DC),
    (0x10D50, 0x10D65),
    (0x16EA0, 0x16EB8),
];

fn within(table: &[(u32, u32)], c: char) -> bool {
    let c = u32::from(c);
    let after = table.partition_point(|&(low, _)| low <= c);
    after.checked_sub(1).and_then(|k| table.get(k)).is_some_and(|&(_, high)| c <= high)
}

/// General category P*, or one of the 32 ASCII symbols of Python's `string.punctuation`.
pub(crate) fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() } else { within(&PUNCTUATION, c) }
}

/// What `\w` matches in a Python `str` pattern: letters, numbers and `_`, but no combining marks.
pub(crate) fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { within(&WORD, c) }
}

/// Where Python's `str.split()` splits: Unicode white space and the four separators U+001C..U+001F.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Python's `str.lower()`: full lower-casing with the final sigma rule.
pub(crate) fn lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c == 'Σ' {
            let (before, rest) = text.split_at(at);
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            let last = before.chars().rev().find(|&c| !within(&CASE_IGNORABLE, c));
            let next = after.chars().find(|&c| !within(&CASE_IGNORABLE, c));
            let is_final =
                last.is_some_and(|c| within(&CASED, c)) && !next.is_some_and(|c| within(&CASED, c));
            out.push(if is_final { 'ς' } else { 'σ' });
        } else if within(&CASED_AFTER_14, c) {
            out.push(c);
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unicode_tables::DIGEST;

    #[test]
    fn every_code_point_agrees_with_python() {
        let mut digest: u64 = 0xCBF2_9CE4_8422_2325;
        for c in (0..0x11_0000_u32).filter_map(char::from_u32) {
            let punctuation = is_punctuation(c) && !(c.is_ascii() && "$+<=>^`|~".contains(c));
            let flags = u8::from(punctuation)
                | u8::from(is_word(c)) << 1
                | u8::from(within(&CASED, c)) << 2
                | u8::from(within(&CASE_IGNORABLE, c)) << 3
                | u8::from(is_space(c)) << 4;
            // U+03A3 alone is not final, as in Python.
            for byte in std::iter::once(flags).chain(lower(&c.to_string()).into_bytes()) {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
            }
        }
        assert_eq!(digest, DIGEST, "a class or a lower case differs from Python 3.11");
    }

    #[test]
    fn final_sigma_as_python_has_it() {
        // python3.11: [s.lower() for s in (...)]
        for (upper, expected) in [
            ("ΟΔΟΣ", "οδος"),
            ("ΣΑΣ ΣΑ", "σας σα"),
            ("Σ", "σ"),
            ("Α'Σ", "α'ς"),
            ("ΑΣ.Β", "ας.β".replace('ς', "σ").as_str()),
        ] {
            assert_eq!(lower(upper), expected);
        }
        assert_eq!(lower("İI"), "i\u{307}i");
    }
}
