//! The file formats of NER data sets.
use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::{numbered_lines, read_text_with_note, write_atomic};
use crate::ner::SpanText;
use crate::ner::detect::{is_blank, split_language};
use crate::ner::spans::parse_spans;
use crate::ner::tag;
use crate::{Error, Result};

/// One sentence with one tag per word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// The `sent_id` in Universal NER files, the language in WikiAnn files; `None` in CoNLL files.
    pub id: Option<String>,
    /// The untokenised text: `# text` in Universal NER files, `None` in the other formats.
    pub text: Option<String>,
    /// Words of the sentence.
    pub words: Vec<String>,
    /// A tag for each word: `O`, or one of `B-`, `I-`, `E-` and `S-` followed by a type.
    pub tags: Vec<String>,
    /// The line of each word, from 1; empty if the sentence was not read from a file.
    pub lines: Vec<usize>,
}

impl Sentence {
    /// Creates a sentence from words and tags.
    pub fn new(words: &[&str], tags: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self { id: None, text: None, words: owned(words), tags: owned(tags), lines: Vec::new() }
    }

    /// The line of the first word.
    pub fn line(&self) -> Option<usize> {
        self.lines.first().copied()
    }
}

/// File format of words and tags. Each line has one word, and a blank line ends a sentence, except in
/// files of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NerFormat {
    /// CoNLL-2002, CoNLL-2003 and XGLUE: the first column is the word, the last column is the tag,
    /// and all lines have the same number of columns. Columns are separated by tabs or, in lines
    /// without a tab, by spaces. `-DOCSTART-` lines are skipped.
    Conll,
    /// WikiAnn (PAN-X): `lang:word`, a tab and the tag on each line.
    WikiAnn,
    /// Universal NER: the columns are the index of the word, the word, the tag and further columns,
    /// separated by tabs. Lines that start with `#` are comments.
    UniversalNer,
    /// Each line is a JSON object with a text and labelled spans, as in FiNERweb; see
    /// [`read_spans`](crate::ner::read_spans). [`SpanText::to_sentence`](crate::ner::SpanText)
    /// converts it to words and tags.
    Spans,
}

impl NerFormat {
    /// Name of the format in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conll => "CoNLL",
            Self::WikiAnn => "WikiAnn",
            Self::UniversalNer => "Universal NER",
            Self::Spans => "spans",
        }
    }
}

/// Reads sentences from a file, plain or gzipped. If `format` is `None`, [`NerFormat::detect`]
/// detects the format.
///
/// ```
/// let sentences = transfer_eval::ner::read_ner("../../data/uner/zh_pud.test.iob2.gz", None)?;
/// assert_eq!(sentences[0].words.len(), sentences[0].tags.len());
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] naming file and line if a line lacks columns, has a different
/// number of columns than the first line, or contains an unknown tag; [`Error::Content`] without a
/// sentence, or if the format is ambiguous.
pub fn read_ner(path: impl AsRef<Path>, format: Option<NerFormat>) -> Result<Vec<Sentence>> {
    Ok(read_ner_with_format(path, format)?.0)
}

/// Reads sentences like [`read_ner`], and returns the format as well.
///
/// # Errors
/// The errors of [`read_ner`].
pub fn read_ner_with_format(
    path: impl AsRef<Path>,
    format: Option<NerFormat>,
) -> Result<(Vec<Sentence>, NerFormat)> {
    let path = path.as_ref();
    let text = read_text_with_note(path)?;
    let detect = || NerFormat::detect(&text).map_err(|reason| Error::content(path, reason));
    let format = format.map_or_else(detect, Ok)?;
    Ok((parse_ner(&text, format, path)?, format))
}

/// Parses sentences; `path` is used in error messages.
pub(super) fn parse_ner(
    text: &str,
    format: NerFormat,
    path: impl AsRef<Path>,
) -> Result<Vec<Sentence>> {
    let path = path.as_ref();
    if format == NerFormat::Spans {
        let texts = parse_spans(text, path)?;
        return Ok(texts.iter().map(SpanText::to_sentence).collect());
    }
    let mut parser =
        Parser { path, format, first_column_count: None, sentences: Vec::new(), current: None };
    for (number, line) in numbered_lines(text) {
        parser.add_line(number, line)?;
    }
    parser.end_sentence();
    if parser.sentences.is_empty() {
        return Err(Error::content(path, "no sentence; expected one word and its tag per line"));
    }
    Ok(parser.sentences)
}

struct Parser<'a> {
    path: &'a Path,
    format: NerFormat,
    /// Number of columns of the first line with a word, and its line number.
    first_column_count: Option<(usize, usize)>,
    sentences: Vec<Sentence>,
    current: Option<Sentence>,
}

impl Parser<'_> {
    fn end_sentence(&mut self) {
        self.sentences.extend(self.current.take().filter(|sentence| !sentence.words.is_empty()));
    }

    fn add_line(&mut self, number: usize, line: &str) -> Result<()> {
        if is_blank(line) {
            self.end_sentence();
            return Ok(());
        }
        if self.format == NerFormat::UniversalNer && line.starts_with('#') {
            if let Some(id) = line.strip_prefix("# sent_id = ") {
                self.current.get_or_insert_default().id = Some(id.to_owned());
            }
            if let Some(text) = line.strip_prefix("# text = ") {
                self.current.get_or_insert_default().text = Some(text.to_owned());
            }
            return Ok(());
        }
        let columns: Vec<&str> = match self.format {
            NerFormat::Conll if !line.contains('\t') => {
                line.split(' ').filter(|column| !column.is_empty()).collect()
            }
            _ => line.split('\t').collect(),
        };
        if self.format == NerFormat::Conll && columns.first() == Some(&"-DOCSTART-") {
            self.end_sentence();
            return Ok(());
        }
        let line_error = |message: String| Error::line(self.path, number, message);
        let (count, first) = *self.first_column_count.get_or_insert((columns.len(), number));
        if columns.len() != count {
            let got = columns.len();
            return Err(line_error(format!("{got} columns, but line {first} has {count}")));
        }
        let (id, word, tag) = self.parse_columns(&columns).map_err(line_error)?;
        if word.is_empty() {
            return Err(line_error("the word is empty".into()));
        }
        tag::check(tag).map_err(line_error)?;
        let sentence = self.current.get_or_insert_default();
        if let Some(id) = id {
            sentence.id.get_or_insert_with(|| id.to_owned());
        }
        sentence.words.push(word.to_owned());
        sentence.tags.push(tag.to_owned());
        sentence.lines.push(number);
        Ok(())
    }

    /// Returns the sentence id, the word and the tag from the columns of one line, or an error
    /// message. The sentence id is the language in WikiAnn files, and `None` in the other formats,
    /// whose columns contain no id.
    fn parse_columns<'t>(
        &self,
        columns: &[&'t str],
    ) -> Result<(Option<&'t str>, &'t str, &'t str), String> {
        let got = columns.len();
        match (self.format, columns) {
            (NerFormat::Conll, [word, .., tag]) => Ok((None, word, tag)),
            (NerFormat::Conll, _) => Err("1 column; expected a word and a tag".into()),
            (NerFormat::WikiAnn, [word, tag]) => match split_language(word) {
                Some((language, word)) => Ok((Some(language), word, tag)),
                None => Err(format!("`{word}` is not `lang:word`, such as en:Paris")),
            },
            (NerFormat::WikiAnn, _) => {
                Err(format!("{got} columns; expected lang:word, a tab and a tag"))
            }
            (NerFormat::UniversalNer, [index, word, tag, ..]) => {
                let next = 1 + self.current.as_ref().map_or(0, |sentence| sentence.words.len());
                match index.parse() == Ok(next) {
                    true => Ok((None, word, tag)),
                    false => Err(format!("index `{index}`, but the next word is number {next}")),
                }
            }
            (NerFormat::UniversalNer | NerFormat::Spans, _) => {
                Err(format!("{got} columns; expected index, word and tag, separated by tabs"))
            }
        }
    }
}

/// Writes `word<TAB>tag` lines with a blank line after each sentence ([`NerFormat::Conll`]),
/// atomically.
///
/// # Errors
/// [`Error::File`]; [`Error::Mismatch`] if a sentence has no word, the numbers of words and tags
/// differ, or a word is empty or contains a tab or line break.
pub fn write_ner(path: impl AsRef<Path>, sentences: &[Sentence]) -> Result<()> {
    let mut text = String::new();
    for (k, sentence) in sentences.iter().enumerate() {
        let (words, tags) = (sentence.words.len(), sentence.tags.len());
        let invalid_word =
            sentence.words.iter().find(|word| word.is_empty() || word.contains(['\t', '\n']));
        let message = match invalid_word {
            _ if words != tags => format!("{tags} tags for {words} words"),
            _ if words == 0 => "no word".into(),
            Some(word) => format!("the word {word:?} is empty or contains a tab or line break"),
            None => String::new(),
        };
        if !message.is_empty() {
            return Err(Error::mismatch("sentence", k, sentence.line(), message));
        }
        for (word, tag) in sentence.words.iter().zip(&sentence.tags) {
            let _ = writeln!(text, "{word}\t{tag}");
        }
        text.push('\n');
    }
    write_atomic(path.as_ref(), text.as_bytes())
}
