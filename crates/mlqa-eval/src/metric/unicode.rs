//! Character properties of Python 3.11 (Unicode 14.0.0), on which the official scores depend.
use std::sync::LazyLock;

/// Output of `data/unicode_tables.py`: inclusive ranges of code points, three bytes for each end.
const TABLES: &[u8] = include_bytes!("../../data/unicode14.bin");

/// Punctuation: general categories P*.
const PUNCTUATION: [(u32, u32); 189] = decode_ranges(0);
/// Characters that `\w` matches in a Python pattern: categories L* and N*, and `_`; no marks.
const WORD: [(u32, u32); 734] = decode_ranges(189);
/// Characters with the property Cased and without Case_Ignorable.
const CASED: [(u32, u32); 149] = decode_ranges(923);
/// Characters with the property Case_Ignorable.
const CASE_IGNORABLE: [(u32, u32); 427] = decode_ranges(1072);

/// Decodes the `N` ranges of a class, which start at range `first` of [`TABLES`], at compile time.
const fn decode_ranges<const N: usize>(first: usize) -> [(u32, u32); N] {
    let mut all = [(0, 0); N];
    let mut at = 0;
    while at < N {
        let low = 6 * (first + at);
        all[at] = (code_point_at(low), code_point_at(low + 3));
        at += 1;
    }
    all
}

const fn code_point_at(byte: usize) -> u32 {
    u32::from_le_bytes([TABLES[byte], TABLES[byte + 1], TABLES[byte + 2], 0])
}

/// Characters of later Unicode versions, which Rust lower-cases but Python 3.11 does not
/// lower-case.
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

fn in_ranges(table: &[(u32, u32)], c: char) -> bool {
    let c = u32::from(c);
    let after = table.partition_point(|&(low, _)| low <= c);
    table[..after].last().is_some_and(|&(_, high)| c <= high)
}

const IS_PUNCTUATION: u8 = 1;
const IS_WORD: u8 = 2;
const IS_CASED: u8 = 4;

/// The classes of the first 65,536 code points, which cover nearly all text. An access to this
/// array is faster than a search in the ranges.
static CLASSES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut classes = vec![0; 1 << 16];
    for (table, class) in [
        (PUNCTUATION.as_slice(), IS_PUNCTUATION),
        (WORD.as_slice(), IS_WORD),
        (CASED.as_slice(), IS_CASED),
    ] {
        for range in table {
            let flags = classes.iter_mut().take(range.1 as usize + 1).skip(range.0 as usize);
            flags.for_each(|flags| *flags |= class);
        }
    }
    for symbol in (0..=127_u8).filter(u8::is_ascii_punctuation) {
        classes[usize::from(symbol)] |= IS_PUNCTUATION;
    }
    classes
});

/// Returns whether a character is in a class. For code points beyond [`CLASSES`], the ranges in
/// `table` are searched.
fn in_class(c: char, class: u8, table: &[(u32, u32)]) -> bool {
    CLASSES.get(c as usize).map_or_else(|| in_ranges(table, c), |classes| classes & class != 0)
}

/// Returns a predicate for characters that normalisation leaves unchanged: characters without case
/// that are not punctuation. The predicate may be false for some of these characters.
pub(crate) fn unchanged_predicate() -> impl Fn(char) -> bool {
    let classes = CLASSES.as_slice();
    move |c| classes.get(c as usize).is_some_and(|class| class & (IS_PUNCTUATION | IS_CASED) == 0)
}

/// Whether a character has a general category P* or is in Python's `string.punctuation` (32 ASCII
/// symbols).
pub(crate) fn is_punctuation(c: char) -> bool {
    in_class(c, IS_PUNCTUATION, &PUNCTUATION)
}

/// Whether `\w` of a Python `str` pattern matches: letters, numbers and `_`, but no combining
/// marks.
pub(crate) fn is_word(c: char) -> bool {
    in_class(c, IS_WORD, &WORD)
}

/// Whether Python's `str.split()` splits at a character: Unicode white space and the four
/// separators U+001C..U+001F.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Calls `take` with the lower case of a character. Σ is not supported, because its lower case
/// depends on its neighbours.
pub(crate) fn lower_char(c: char, mut take: impl FnMut(char)) {
    if c.is_ascii() {
        take(c.to_ascii_lowercase());
    } else if !in_class(c, IS_CASED, &CASED) || in_ranges(&CASED_AFTER_14, c) {
        // Characters without case have no lower case.
        take(c);
    } else {
        c.to_lowercase().for_each(take);
    }
}

/// Lower-cases a text like Python's `str.lower()`, including the final sigma rule.
pub(crate) fn lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c == 'Σ' {
            let (before, rest) = text.split_at(at);
            let after = &rest[c.len_utf8()..];
            let last = before.chars().rev().find(|&c| !in_ranges(&CASE_IGNORABLE, c));
            let next = after.chars().find(|&c| !in_ranges(&CASE_IGNORABLE, c));
            let is_final = last.is_some_and(|c| in_ranges(&CASED, c))
                && !next.is_some_and(|c| in_ranges(&CASED, c));
            out.push(if is_final { 'ς' } else { 'σ' });
        } else {
            lower_char(c, |lower| out.push(lower));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a hash of the classes and the lower case of every code point, printed by
    /// `data/unicode_tables.py`.
    const DIGEST: u64 = 0x386D_27BF_332F_12FF;

    #[test]
    fn every_code_point_agrees_with_python() {
        let mut digest: u64 = 0xCBF2_9CE4_8422_2325;
        for c in (0..0x11_0000_u32).filter_map(char::from_u32) {
            let punctuation = is_punctuation(c) && !(c.is_ascii() && "$+<=>^`|~".contains(c));
            let flags = u8::from(punctuation)
                | u8::from(is_word(c)) << 1
                | u8::from(in_ranges(&CASED, c)) << 2
                | u8::from(in_ranges(&CASE_IGNORABLE, c)) << 3
                | u8::from(is_space(c)) << 4;
            // A single U+03A3 becomes σ, not the final ς, as in Python.
            for byte in std::iter::once(flags).chain(lower(&c.to_string()).into_bytes()) {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
            }
        }
        assert_eq!(digest, DIGEST, "a class or a lower case differs from Python 3.11");
    }

    #[test]
    fn final_sigma_follows_python() {
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
