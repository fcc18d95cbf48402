//! Properties of characters that decide how a text is folded.
use std::sync::{LazyLock, OnceLock};

use regex_syntax::hir::{self, HirKind};
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::run::{Case, fold_run};

/// The zero-width non-joiner, which separates the parts of a word in Arabic script.
pub(super) const NON_JOINER: char = '\u{200C}';

/// The soft hyphen.
pub(super) const SOFT_HYPHEN: char = '\u{AD}';

/// Sorted ranges of a character property.
struct Ranges(Vec<(char, char)>);

impl Ranges {
    /// Returns the characters of a class of the regular expression syntax, such as `\p{Nd}`.
    #[expect(clippy::panic, reason = "the classes are constants of this file")]
    fn of(class: &str) -> Self {
        match regex_syntax::parse(class).map(hir::Hir::into_kind) {
            Ok(HirKind::Class(hir::Class::Unicode(class))) => {
                Self(class.iter().map(|range| (range.start(), range.end())).collect())
            }
            other => panic!("{class} is a class of characters: {other:?}"),
        }
    }

    /// Returns the range with the character.
    fn find(&self, c: char) -> Option<(char, char)> {
        let index = self.0.partition_point(|&(_, end)| end < c);
        self.0.get(index).copied().filter(|&(start, _)| start <= c)
    }
}

static IGNORABLE: LazyLock<Ranges> =
    LazyLock::new(|| Ranges::of(r"\p{Default_Ignorable_Code_Point}"));
static DECIMAL: LazyLock<Ranges> = LazyLock::new(|| Ranges::of(r"\p{Nd}"));
static ARABIC: LazyLock<Ranges> = LazyLock::new(|| Ranges::of(r"[\p{Arabic}&&\p{Alphabetic}]"));

/// Returns whether a character is invisible: soft hyphen, zero-width characters, directional marks,
/// variation selectors and the other characters of the property `Default_Ignorable_Code_Point`.
pub(super) fn is_ignorable(c: char) -> bool {
    IGNORABLE.find(c).is_some()
}

/// Returns whether a character is an Arabic letter.
pub(super) fn is_arabic_letter(c: char) -> bool {
    ARABIC.find(c).is_some()
}

/// Returns the ASCII digit with the value of a decimal digit of any script.
pub(super) fn ascii_digit(c: char) -> Option<char> {
    // The Unicode Standard assigns the decimal digits of a script to consecutive code points in
    // ascending order. The digits of the range U+1D7CE to U+1D7FF are five times zero to nine.
    let (zero, _) = DECIMAL.find(c)?;
    char::from_digit((u32::from(c) - u32::from(zero)) % 10, 10)
}

static CLASSES: LazyLock<[(Class, Ranges); 5]> = LazyLock::new(|| {
    [
        (Class::Mark, r"\p{M}"),
        (
            Class::Ideographs,
            r"[[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}]&&\p{Alphabetic}]",
        ),
        (Class::Hangul, r"[\p{Hangul}&&\p{Alphabetic}]"),
        (
            Class::Unspaced,
            r"[[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Balinese}\p{Javanese}]&&\p{Alphabetic}]",
        ),
        (Class::Word, r"[\p{Alphabetic}\p{N}]"),
    ]
    .map(|(class, ranges)| (class, Ranges::of(ranges)))
});

/// How a character takes part in the terms of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// White space, punctuation and symbols.
    Separator,
    /// A mark, which belongs to the characters before it.
    Mark,
    /// Han and kana.
    Ideographs,
    /// Hangul.
    Hangul,
    /// Scripts of South-East Asia without spaces between words.
    Unspaced,
    /// Arabic.
    Arabic,
    /// Digits, and the letters of the other scripts.
    Word,
}

/// Returns the class of a character.
pub(crate) fn class(c: char) -> Class {
    match c {
        'a'..='z' | '0'..='9' | 'A'..='Z' => Class::Word,
        '\0'..='\x7F' => Class::Separator,
        _ => properties(c).class,
    }
}

fn find_class(c: char) -> Class {
    if is_arabic_letter(c) && !c.is_numeric() {
        return Class::Arabic;
    }
    let class = CLASSES.iter().find(|(_, ranges)| ranges.find(c).is_some());
    class.map_or(Class::Separator, |&(class, _)| class)
}

/// Returns whether a character is removed wherever it occurs: invisible characters, and marks that
/// are optional in the Arabic and the Hebrew script.
pub(super) fn is_removed(c: char) -> bool {
    is_ignorable(c) || is_optional_mark(c)
}

/// Returns whether a character is an optional mark: Arabic vowel signs, Quranic annotation marks
/// and the tatweel; Hebrew points and cantillation marks.
fn is_optional_mark(c: char) -> bool {
    matches!(
        c,
        '\u{0591}'..='\u{05BD}' | '\u{05BF}' | '\u{05C1}' | '\u{05C2}' | '\u{05C4}' | '\u{05C5}' | '\u{05C7}'
            | '\u{0610}'..='\u{061A}' | '\u{0640}' | '\u{064B}'..='\u{0652}' | '\u{0656}'..='\u{0658}'
            | '\u{0670}' | '\u{06D6}'..='\u{06DC}' | '\u{06DF}'..='\u{06E4}' | '\u{06E7}' | '\u{06E8}'
            | '\u{06EA}'..='\u{06ED}'
    )
}

/// Properties of a character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Properties {
    pub class: Class,
    /// Whether the character belongs to the run of the previous character.
    pub continues: bool,
    /// The character that this character alone is folded to, with the case folded and with the
    /// case retained; `None` for no or several characters.
    singles: [Option<char>; 2],
}

impl Properties {
    /// Returns the character that this character alone is folded to; `None` for no or several
    /// characters.
    pub fn single(&self, case: Case) -> Option<char> {
        match case {
            Case::Folded => self.singles[0],
            Case::Retained => self.singles[1],
        }
    }
}

/// Characters per page of the cache.
const PAGE: usize = 256;

/// The properties of all characters, computed by page at first use.
static PAGES: [OnceLock<Box<[Properties]>>; 0x11_0000 / PAGE] =
    [const { OnceLock::new() }; 0x11_0000 / PAGE];

/// Returns the properties of a character.
pub(super) fn properties(c: char) -> Properties {
    let code = c as usize;
    let page = PAGES[code / PAGE].get_or_init(|| {
        let first = code / PAGE * PAGE;
        (first..first + PAGE).map(|code| compute(char::from_u32(code as u32))).collect()
    });
    page[code % PAGE]
}

/// Computes the properties of a character; `None` is a surrogate.
fn compute(c: Option<char>) -> Properties {
    let Some(c) = c else {
        return Properties { class: Class::Separator, continues: false, singles: [None; 2] };
    };
    let singles = [Case::Folded, Case::Retained].map(|case| {
        let mut folded = String::new();
        fold_run(c.encode_utf8(&mut [0; 4]), case, &mut folded);
        let mut chars = folded.chars();
        chars.next().filter(|_| chars.next().is_none())
    });
    Properties { class: find_class(c), continues: continues_run(c), singles }
}

/// Returns whether a character can change by, or is removed together with, the characters before
/// it: combining marks, vowels and final consonants of decomposed Hangul, invisible characters.
fn continues_run(c: char) -> bool {
    let first = std::iter::once(c).nfkd().next().expect("no decomposition is empty");
    is_removed(c)
        || is_removed(first)
        || canonical_combining_class(first) != 0
        || is_nfc_quick(std::iter::once(first)) == IsNormalized::Maybe
}
