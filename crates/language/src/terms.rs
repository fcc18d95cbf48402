//! Terms of a word index for texts of any language.
use crate::fold;
use crate::fold::{Class, class};

/// Version of the terms that [`for_each_term`] returns for a text. An index that is stored in a
/// file must store the version, because terms of different versions do not match.
///
/// The version is incremented with each change of [`fold`], of the splitting, or of the Unicode
/// version.
pub const TERMS_VERSION: u32 = 1;

/// Number of code points of the additional term of a long word.
const PREFIX_CHARS: usize = 5;

/// Maximum number of code points of a term; the end of a longer word is ignored.
const MAX_CHARS: usize = 64;

/// Calls `visit` with each term of a text, in order.
///
/// The terms depend on the script and not on the language, so one index can contain texts of
/// several languages. The text is [folded](fold()). Words are sequences of letters, marks and
/// digits of the same kind of script; all other characters separate words. There are no stop words.
///
/// | script | terms |
/// |---|---|
/// | Latin, Cyrillic, Greek, Devanagari and other scripts with spaces between words | the word, and its first five code points if it is longer |
/// | Arabic | the word, and sequences of three letters if it is longer |
/// | Han and kana | characters, and pairs of adjacent characters |
/// | Hangul | pairs of adjacent syllables; a word of one syllable |
/// | Thai, Lao, Khmer, Burmese and other scripts of South-East Asia without spaces | sequences of three code points; a shorter sequence between other characters |
///
/// Recall on XQuAD and other collections is in `docs/results/retrieval.md` of the repository.
///
/// ```
/// let mut terms = Vec::new();
/// language::for_each_term("Die Straßen von 東京", |term| terms.push(term.to_owned()));
/// assert_eq!(terms, ["die", "strassen", "stras", "von", "東", "東京", "京"]);
/// ```
pub fn for_each_term(text: &str, mut visit: impl FnMut(&str)) {
    let folded = fold(text);
    let mut rest = folded.as_str();
    while let Some((run, kind, after)) = next_run(rest) {
        rest = after;
        match kind {
            Class::Ideographs => ngrams(run, 2, true, &mut visit),
            Class::Hangul => ngrams(run, 2, false, &mut visit),
            Class::Unspaced => ngrams(run, 3, false, &mut visit),
            Class::Arabic => {
                let word = first_chars(run, MAX_CHARS);
                visit(word);
                if first_chars(word, 3).len() < word.len() {
                    ngrams(word, 3, false, &mut visit);
                }
            }
            Class::Word | Class::Mark | Class::Separator => {
                let word = first_chars(run, MAX_CHARS);
                visit(word);
                let prefix = first_chars(word, PREFIX_CHARS);
                if prefix.len() < word.len() {
                    visit(prefix);
                }
            }
        }
    }
}

/// Returns the next sequence of characters of one class, its class, and the text after it.
fn next_run(text: &str) -> Option<(&str, Class, &str)> {
    let start = skip_while(text, 0, |class| class == Class::Separator);
    let kind = class(text[start..].chars().next()?);
    let end = skip_while(text, start, |class| class == kind || class == Class::Mark);
    Some((&text[start..end], kind, &text[end..]))
}

/// Returns the position of the first character from `start` on whose class is not `accepted`.
fn skip_while(text: &str, start: usize, accepted: impl Fn(Class) -> bool) -> usize {
    let bytes = text.as_bytes();
    let mut position = start;
    while let Some(&byte) = bytes.get(position) {
        // ASCII characters are not decoded.
        let (class, length) = match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'A'..=b'Z' => (Class::Word, 1),
            0..=0x7F => (Class::Separator, 1),
            _ => {
                let c = text[position..].chars().next().expect("the position is before the end");
                (class(c), c.len_utf8())
            }
        };
        if !accepted(class) {
            break;
        }
        position += length;
    }
    position
}

/// Visits all sequences of `n` characters. If there is only a shorter sequence, it is visited. With
/// `characters`, each character is visited, too.
fn ngrams(run: &str, n: usize, characters: bool, visit: &mut impl FnMut(&str)) {
    let mut ends = run.char_indices().map(|(start, c)| start + c.len_utf8());
    // The end of the n-gram that starts at the current character, if it is complete.
    let mut end = ends.by_ref().nth(n - 1);
    if end.is_none() && !characters {
        return visit(run);
    }
    for (start, c) in run.char_indices() {
        if characters {
            visit(&run[start..start + c.len_utf8()]);
        }
        match end {
            Some(last) => visit(&run[start..last]),
            // Only the characters at the end are without an n-gram.
            None if characters => {}
            None => break,
        }
        end = ends.next();
    }
}

/// Returns the first `count` code points of a text.
fn first_chars(text: &str, count: usize) -> &str {
    if text.len() <= count {
        return text;
    }
    match text.as_bytes().get(..count) {
        Some(bytes) if bytes.is_ascii() => &text[..count],
        _ => text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end]),
    }
}
