//! Detection of the format of NER files from all lines.
use std::collections::HashMap;

use crate::files::numbered_lines;
use crate::ner::read::{NerFormat, parse_ner};
use crate::ner::spans::is_spans;
use crate::ner::tag;

/// Counts of lines that are typical of a format.
#[derive(Default)]
struct LineCounts<'t> {
    words: usize,
    comments: usize,
    /// Lines whose first column is the number of the word in its sentence.
    indices: usize,
    /// Lines with more than three columns.
    many_columns: usize,
    sentences_of_several_words: usize,
    /// Lines that start with a language code and a colon, by code.
    languages: HashMap<&'t str, usize>,
}

impl<'t> LineCounts<'t> {
    fn of(text: &'t str) -> Self {
        let mut counts = Self::default();
        let mut index = 0;
        for (_, line) in numbered_lines(text) {
            if is_comment(line) {
                counts.comments += 1;
                continue;
            }
            if is_blank(line) {
                index = 0;
                continue;
            }
            index += 1;
            counts.words += 1;
            counts.sentences_of_several_words += usize::from(index == 2);
            let columns: Vec<&str> = line.split('\t').collect();
            counts.many_columns += usize::from(columns.len() > 3);
            match columns.as_slice() {
                [first, _, _, ..] => counts.indices += usize::from(first.parse() == Ok(index)),
                [first, _] => {
                    if let Some((language, _)) = split_language(first) {
                        *counts.languages.entry(language).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        counts
    }
}

impl NerFormat {
    /// Detects the format from all lines.
    ///
    /// - A file whose first line is a JSON object with `char_spans` has spans.
    /// - A file with comments is in the format of Universal NER.
    /// - A file is in WikiAnn's format if most of its lines start with the same language code and a
    ///   colon, such as `de:`.
    /// - A file is in the format of Universal NER if most of its lines start with the number of the
    ///   word in its sentence, unless all sentences have one word and the file is valid in CoNLL's
    ///   format.
    /// - Any other file is in CoNLL's format.
    ///
    /// # Errors
    /// Returns a message if the format is ambiguous: the file has more than three columns and is
    /// valid both as CoNLL and as Universal NER.
    pub fn detect(text: &str) -> Result<Self, String> {
        if is_spans(text) {
            return Ok(Self::Spans);
        }
        let counts = LineCounts::of(text);
        let is_most = |count: usize| 2 * count > counts.words;
        if counts.comments > 0 {
            return Ok(Self::UniversalNer);
        }
        if counts.languages.values().any(|&count| is_most(count)) {
            return Ok(Self::WikiAnn);
        }
        if !is_most(counts.indices) {
            return Ok(Self::Conll);
        }
        if parse_ner(text, Self::Conll, "").is_err() {
            return Ok(Self::UniversalNer);
        }
        match (counts.sentences_of_several_words, counts.many_columns) {
            (0, _) => Ok(Self::Conll),
            // The tag is the third and the last column.
            (_, 0) => Ok(Self::UniversalNer),
            _ => Err(
                "the format is ambiguous: the first column has numbers as in Universal NER, and \
                      the last column has tags as in CoNLL; give the format (--format)"
                    .into(),
            ),
        }
    }
}

pub(super) fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| byte == b' ' || byte == b'\t')
}

/// Whether a line is a comment: it starts with `#` and its last column is not a tag.
fn is_comment(line: &str) -> bool {
    let last = line.rsplit_once([' ', '\t']).map_or(line, |(_, last)| last);
    line.starts_with('#') && tag::check(last).is_err()
}

/// Splits `lang:word` into a language code and a word. Schemes of addresses such as `https:` are
/// not codes: a code has two or three letters before the first hyphen, or is `simple`.
pub(super) fn split_language(text: &str) -> Option<(&str, &str)> {
    let (language, word) = text.split_once(':')?;
    let base = language.split_once('-').map_or(language, |(base, _)| base);
    let is_code = language.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && (matches!(base.len(), 2 | 3) || language == "simple");
    is_code.then_some((language, word))
}
