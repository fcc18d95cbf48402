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
    let mut chars = text.char_indices().skip_while(|&(_, c)| class(c) == Class::Separator);
    let (start, first) = chars.next()?;
    let kind = class(first);
    let continues = |c| matches!(class(c), other if other == kind || other == Class::Mark);
    let end = chars.find(|&(_, c)| !continues(c)).map_or(text.len(), |(end, _)| end);
    Some((&text[start..end], kind, &text[end..]))
}

/// Visits all sequences of `n` characters. If there is only a shorter sequence, it is visited. With
/// `characters`, each character is visited, too.
fn ngrams(run: &str, n: usize, characters: bool, visit: &mut impl FnMut(&str)) {
    let mut is_short = true;
    for (start, c) in run.char_indices() {
        let rest = &run[start..];
        if characters {
            visit(&rest[..c.len_utf8()]);
        }
        let ngram = rest.char_indices().nth(n - 1).map(|(last, c)| &rest[..last + c.len_utf8()]);
        match ngram {
            Some(ngram) => {
                is_short = false;
                visit(ngram);
            }
            None => break,
        }
    }
    if is_short && !characters {
        visit(run);
    }
}

/// Returns the first `count` code points of a text.
fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}
