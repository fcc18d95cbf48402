//! Folding of a base character with its marks.
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use super::tables::{ascii_digit, is_removed};

/// Zero-width joiner.
pub(super) const JOINER: char = '\u{200D}';

/// Characters whose older encoding is a consonant, a virama and a joiner: the Malayalam chillu
/// letters and the Bengali khanda ta (Unicode Standard 16.0, sections 12.9 and 12.2).
const JOINED: [([char; 2], char); 7] = [
    (['\u{0D23}', '\u{0D4D}'], '\u{0D7A}'),
    (['\u{0D28}', '\u{0D4D}'], '\u{0D7B}'),
    (['\u{0D30}', '\u{0D4D}'], '\u{0D7C}'),
    (['\u{0D32}', '\u{0D4D}'], '\u{0D7D}'),
    (['\u{0D33}', '\u{0D4D}'], '\u{0D7E}'),
    (['\u{0D15}', '\u{0D4D}'], '\u{0D7F}'),
    (['\u{09A4}', '\u{09CD}'], '\u{09CE}'),
];

/// Whether folding retains the case of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Folded,
    Retained,
}

/// The viramas in [`JOINED`].
pub(super) const VIRAMAS: [char; 2] = ['\u{0D4D}', '\u{09CD}'];

/// Appends a folded run to `folded`. A run is a character and the characters after it that can
/// change together with it.
pub(super) fn fold_run(run: &str, case: Case, folded: &mut String) {
    // U+00B4 has a compatibility decomposition into a space and a mark, and U+1FFD is canonically
    // equivalent to it.
    let acute_as_apostrophe = |c| if c == '\u{B4}' { '\'' } else { c };
    let mut visible = String::with_capacity(run.len());
    for c in run.nfd().map(acute_as_apostrophe).nfkd() {
        if c == JOINER {
            compose_joined(&mut visible);
        } else if !is_removed(c) {
            visible.push(c);
        }
    }
    // Removed characters may have separated marks, which are now reordered.
    let visible: String = visible.nfd().collect();
    let cased = match case {
        Case::Folded => UniCase::unicode(visible).to_folded_case(),
        Case::Retained => visible,
    };
    let mut base = '\0';
    // Whether a mark above the base was retained.
    let mut has_mark_above = false;
    let mut kept = String::with_capacity(cased.len());
    for c in cased.nfkd() {
        let class = canonical_combining_class(c);
        if is_removed_after(c, base, has_mark_above) {
            continue;
        }
        let c = unify(c);
        if class == 0 {
            base = c;
            has_mark_above = false;
        }
        has_mark_above |= class == ABOVE;
        kept.push(c);
    }
    folded.extend(kept.nfc());
}

/// The canonical combining class of marks above a base.
const ABOVE: u8 = 230;

/// Replaces a consonant and a virama at the end by the character that they encode with a joiner.
fn compose_joined(text: &mut String) {
    let mut last = text.chars().rev();
    if let (Some(virama), Some(consonant)) = (last.next(), last.next())
        && let Some((_, c)) = JOINED.iter().find(|(pair, _)| *pair == [consonant, virama])
    {
        text.truncate(text.len() - virama.len_utf8() - consonant.len_utf8());
        text.push(*c);
    }
}

/// Returns whether a mark is optional after a base.
fn is_removed_after(mark: char, base: char, has_mark_above: bool) -> bool {
    match mark {
        // Hamza and madda of the alef.
        '\u{0653}'..='\u{0655}' => base == '\u{0627}',
        // The nukta of Hindi's loan consonants; the nukta of ड़ and ढ़ distinguishes words.
        '\u{093C}' => matches!(base, 'क' | 'ख' | 'ग' | 'ज' | 'फ'),
        // The stress mark of Cyrillic vowels; ѓ and ќ are letters.
        '\u{0301}' => "аеиоуыэюяієАЕИОУЫЭЮЯІЄ".contains(base),
        // The case folding of İ is an i with a dot above.
        '\u{0307}' => matches!(base, 'i' | 'j') && !has_mark_above,
        _ => false,
    }
}

/// Returns the representative of characters that are used for each other.
fn unify(c: char) -> char {
    match c {
        '\u{2018}'
        | '\u{2019}'
        | '\u{201B}'
        | '\u{02BB}'..='\u{02BD}'
        | '\u{055A}'
        | '\u{05F3}'
        | '`' => '\'',
        '\u{201C}'..='\u{201F}' | '\u{05F4}' => '"',
        '\u{2010}' | '\u{2012}' | '\u{2013}' | '\u{2212}' => '-',
        // Arabic: alef wasla; alef maksura and the Persian yeh; teh marbuta and the Urdu heh;
        // the Persian kaf.
        '\u{0671}' => '\u{0627}',
        '\u{0649}' | '\u{06CC}' => '\u{064A}',
        '\u{0629}' | '\u{06C1}' | '\u{06C3}' => '\u{0647}',
        '\u{06A9}' => '\u{0643}',
        c if c.is_ascii() => {
            if c.is_ascii_whitespace() || c == '\u{0B}' {
                ' '
            } else {
                c
            }
        }
        c if c.is_whitespace() => ' ',
        c => ascii_digit(c).unwrap_or(c),
    }
}
