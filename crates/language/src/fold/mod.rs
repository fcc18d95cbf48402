//! Text folding: spellings of the same words become equal texts.
mod offsets;
mod run;
mod tables;

pub use offsets::Folded;
pub(crate) use tables::{Class, class};

use run::{Case, JOINER, VIRAMAS, fold_run};
use tables::{NON_JOINER, SOFT_HYPHEN, is_arabic_letter, is_ignorable, properties};

/// Folds a text for comparison and search.
///
/// - **Encoding**: compatibility normalisation (NFKC) and full case folding. `ﬁ` becomes `fi`, `Ａ`
///   becomes `a`, `ß` becomes `ss`, and decomposed characters are composed.
/// - **Invisible characters** (`Default_Ignorable_Code_Point`) are removed: soft hyphen, zero-width
///   space, joiner and non-joiner, word joiner, byte order mark, directional marks, variation
///   selectors. Between Arabic letters, the non-joiner becomes a space, because Persian words are
///   written with either.
/// - **Punctuation**: apostrophes become `'`, double quotation marks `"`; hyphens, en dash and
///   minus become `-`. A run of white space becomes one space.
/// - **Hyphen at a line end**: a letter, a hyphen, a line break and a letter that is not upper-case
///   become part of one word, without hyphen.
/// - **Digits**: decimal digits of all scripts become `0` to `9`.
/// - **Optional marks** are removed: Arabic vowel signs and tatweel, Hebrew points, stress marks on
///   Cyrillic vowels, the dot above `i` and `j`, the nukta of क़ ख़ ग़ ज़ फ़.
/// - **Arabic letters**: أ إ آ ٱ become ا, ى and ی become ي, ة ہ ۃ become ه, ک becomes ك.
/// - **Malayalam chillu letters and Bengali khanda ta** in their older encoding with a joiner become
///   the newer characters.
///
/// Diacritics, tone marks of Thai and Lao, viramas and the asat are retained, because they
/// distinguish words. Folding is idempotent, and canonically equivalent texts have equal folded
/// texts.
///
/// ```
/// let folded = language::fold("D’Ambro\u{AD}sio’s Straße");
/// assert_eq!(folded.as_str(), "d'ambrosio's strasse");
/// let source = "D’Ambro\u{AD}sio’s Straße";
/// assert_eq!(&source[folded.source_range(2..10)], "Ambro\u{AD}sio");
/// ```
pub fn fold(text: &str) -> Folded {
    Folder::fold(text, Case::Folded)
}

/// Folds a text like [`fold`], but retains the case of letters.
///
/// ```
/// let folded = language::fold_retaining_case("Bra\u{308}ndvo\u{308}rth’s");
/// assert_eq!(folded.as_str(), "Brändvörth's");
/// ```
pub fn fold_retaining_case(text: &str) -> Folded {
    Folder::fold(text, Case::Retained)
}

/// Maximum number of characters between a hyphen or a non-joiner and the letter after it.
const MAX_LOOKAHEAD: usize = 64;

/// Returns whether a character is invisible: soft hyphen, zero-width characters, directional marks,
/// variation selectors and the other characters of the property `Default_Ignorable_Code_Point`.
///
/// ```
/// assert!("\u{200B}\u{FEFF}\u{AD}".chars().all(language::is_invisible));
/// assert!(!"a \u{640}\n".chars().any(language::is_invisible));
/// ```
pub fn is_invisible(c: char) -> bool {
    is_ignorable(c)
}

/// The state of folding at a position of the source text.
struct Folder<'t> {
    source: &'t str,
    case: Case,
    /// The first character of the last run that is not removed.
    base: Option<char>,
    folded: Folded,
}

impl<'t> Folder<'t> {
    fn fold(source: &'t str, case: Case) -> Folded {
        let mut folder = Self { source, case, base: None, folded: Folded::default() };
        folder.folded.reserve(source.len());
        let mut position = 0;
        while position < source.len() {
            position = folder.step(position);
        }
        folder.folded
    }

    /// Folds the text at a position and returns the next position.
    fn step(&mut self, start: usize) -> usize {
        let plain = self.plain_length(start);
        if plain > 0 {
            let part = &self.source[start..start + plain];
            self.base = part.chars().next_back();
            self.folded.push_ascii(part, start, self.case);
            return start + plain;
        }
        let separate = self.push_separate(start);
        if separate > start {
            return separate;
        }
        let c = self.source[start..].chars().next().expect("the position is before the end");
        let mut end = start + c.len_utf8();
        if let Some(next) = self.joined_line(c, end) {
            return next;
        }
        if c == NON_JOINER && self.separates(self.base, end) {
            self.base = Some(' ');
            self.folded.push(' ', start..end);
            return end;
        }
        let first_end = end;
        // The end of the last character of the run that is not invisible.
        let mut visible_end = if is_ignorable(c) { start } else { end };
        let mut last = c;
        let base = if properties(c).continues { self.base } else { Some(c) };
        for c in self.source[end..].chars() {
            // ASCII characters never continue a run.
            if c.is_ascii() || !properties(c).continues {
                break;
            }
            let next = end + c.len_utf8();
            let ends_run = match c {
                SOFT_HYPHEN => is_letter(base) && self.continuation(next).is_some(),
                NON_JOINER => self.separates(base, next),
                _ => false,
            };
            if ends_run {
                break;
            }
            end = next;
            // A joiner after a virama is part of a letter in an older encoding.
            if !is_ignorable(c) || (c == JOINER && VIRAMAS.contains(&last)) {
                (visible_end, last) = (end, c);
            }
        }
        self.base = base;
        match properties(c).single(self.case) {
            Some(folded) if visible_end == first_end && end == first_end => {
                self.folded.push(folded, start..end)
            }
            _ => {
                let mut run = String::new();
                fold_run(&self.source[start..end], self.case, &mut run);
                self.folded.push_run(&run, start..visible_end.max(start));
            }
        }
        end
    }

    /// Returns the number of ASCII characters from a position that are folded to their lower case
    /// and do not depend on the characters around them.
    fn plain_length(&self, start: usize) -> usize {
        let bytes = &self.source.as_bytes()[start..];
        let mut after_space = self.folded.ends_with_space();
        let mut length = 0;
        for &byte in bytes {
            let is_plain = match byte {
                b' ' => !after_space,
                b'-' | b'`' => false,
                _ => byte.is_ascii_graphic(),
            };
            if !is_plain {
                break;
            }
            after_space = byte == b' ';
            length += 1;
        }
        // A mark after the last character would change it.
        let before_other = bytes.get(length).is_some_and(|byte| !byte.is_ascii());
        length - usize::from(before_other && length > 0)
    }

    /// Folds the characters at a position that are folded to one character each, independently of the
    /// characters around them, and returns the next position. ASCII characters before ASCII
    /// characters are left to [`plain_length`](Self::plain_length).
    fn push_separate(&mut self, start: usize) -> usize {
        let mut position = start;
        let mut chars = self.source[start..].chars();
        let mut next = chars.next();
        while let Some(c) = next {
            next = chars.next();
            let next_is_ascii = next.is_some_and(|next| next.is_ascii());
            let depends_on_others = matches!(c, '-' | '\u{2010}' | SOFT_HYPHEN | NON_JOINER)
                || (c.is_ascii() && next_is_ascii)
                || properties(c).continues
                || next.is_some_and(|next| !next.is_ascii() && properties(next).continues);
            let folded = properties(c).single(self.case).filter(|_| !depends_on_others);
            let Some(folded) = folded else { break };
            let end = position + c.len_utf8();
            self.base = Some(c);
            self.folded.push(folded, position..end);
            position = end;
        }
        position
    }

    /// Returns the position of the letter that continues a word after a hyphen at a line end, if
    /// `c`, which ends at `end`, is such a hyphen.
    fn joined_line(&self, c: char, end: usize) -> Option<usize> {
        let is_hyphen = matches!(c, '-' | '\u{2010}' | SOFT_HYPHEN);
        if is_hyphen && is_letter(self.base) { self.continuation(end) } else { None }
    }

    /// Returns the position of the letter that follows a line break at a position, if it is not
    /// upper-case.
    fn continuation(&self, position: usize) -> Option<usize> {
        let is_blank = |c: char| matches!(c, ' ' | '\t' | '\u{0C}') || is_ignorable(c);
        let rest = self.lookahead(position).trim_start_matches(is_blank);
        let rest = rest
            .strip_prefix("\r\n")
            .or_else(|| rest.strip_prefix(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']))?;
        let rest = rest.trim_start_matches(is_blank);
        let next = rest.chars().next()?;
        let continues_word =
            next.is_alphabetic() && !next.is_uppercase() && !properties(next).continues;
        continues_word.then(|| position + self.lookahead(position).len() - rest.len())
    }

    /// Returns the text at a position, up to a maximum length that bounds the time for texts with many
    /// invisible characters.
    fn lookahead(&self, position: usize) -> &'t str {
        let rest = &self.source[position..];
        rest.char_indices().nth(MAX_LOOKAHEAD).map_or(rest, |(end, _)| &rest[..end])
    }

    /// Returns whether a non-joiner after `base` that ends at a position is between Arabic letters.
    fn separates(&self, base: Option<char>, position: usize) -> bool {
        let next = self.lookahead(position).chars().find(|&c| !is_ignorable(c));
        base.is_some_and(is_arabic_letter) && next.is_some_and(is_arabic_letter)
    }
}

/// Returns whether a character is a letter.
fn is_letter(c: Option<char>) -> bool {
    c.is_some_and(char::is_alphabetic)
}
