//! Texts with labelled spans of characters, such as FiNERweb's rows.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use crate::error::check_counts;
use crate::files::{numbered_lines, parse_line, read_text_with_note};
use crate::ner::score::score_entities;
use crate::ner::{Entity, NerScore, Sentence};
use crate::{Error, Result};

/// A text with labelled spans. Spans may overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct SpanText {
    /// The text.
    pub text: String,
    /// Its spans.
    #[serde(rename = "char_spans")]
    pub spans: Vec<LabelledSpan>,
    /// The line of the text in its file, from 1; `None` if it was not read from a file.
    #[serde(skip)]
    pub line: Option<usize>,
}

/// A labelled span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct LabelledSpan {
    /// Offset of the first code point.
    pub start: usize,
    /// Offset after the last code point.
    pub end: usize,
    /// The label, in any language.
    pub label: String,
}

/// Reads one text per line, plain or gzipped, as a JSON object with `text` and `char_spans`, a list of
/// `start`, `end` (exclusive) and `label`. Offsets are in code points; other keys are ignored.
///
/// This is the format of FiNERweb's rows (`whoisjones/fiNERweb` and, with translated labels,
/// `whoisjones/fiNERweb-x`, as of 2025-12-17), written with `Dataset.to_json` of `datasets`.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] for a malformed row, or for a span that is empty, outside the text
/// or has a blank label; [`Error::Content`] without a row.
pub fn read_spans(path: impl AsRef<Path>) -> Result<Vec<SpanText>> {
    let path = path.as_ref();
    parse_spans(&read_text_with_note(path)?, path)
}

/// Parses rows; `path` is used in error messages.
pub(super) fn parse_spans(content: &str, path: &Path) -> Result<Vec<SpanText>> {
    let expected = "an object with text and char_spans, a list of start, end and label";
    let mut texts = Vec::new();
    for (number, line) in numbered_lines(content) {
        if line.trim().is_empty() {
            continue;
        }
        let mut row: SpanText = parse_line(line, path, number, expected)?;
        let length = row.text.chars().count();
        for LabelledSpan { start, end, label } in &row.spans {
            let message = match (start, end) {
                _ if label.trim().is_empty() => {
                    format!("the label of span {start}..{end} is blank")
                }
                (start, end) if start >= end => format!("the span {start}..{end} is empty"),
                (_, end) if *end > length => {
                    format!("span {start}..{end} of a text with {length} code points")
                }
                _ => continue,
            };
            return Err(Error::line(path, number, message));
        }
        row.line = Some(number);
        texts.push(row);
    }
    match texts.is_empty() {
        true => Err(Error::content(path, "no row; expected one JSON object per line")),
        false => Ok(texts),
    }
}

/// Returns whether a file starts with a row of spans.
pub(super) fn is_spans(content: &str) -> bool {
    let first = content.lines().find(|line| !line.trim().is_empty());
    first.is_some_and(|line| line.starts_with('{') && line.contains("\"char_spans\""))
}

impl SpanText {
    /// Converts the text to words and IOB2 tags. Words are the segments of Unicode's word boundaries
    /// (UAX 29) except white space, and are also separated at the ends of spans, so that each span
    /// consists of whole words. Of overlapping spans, the longest is used; spans of white space are
    /// skipped.
    pub fn to_sentence(&self) -> Sentence {
        let mut longest_first: Vec<&LabelledSpan> = self.spans.iter().collect();
        longest_first.sort_by_key(|span| (Reverse(span.end - span.start), span.start));
        let mut used: Vec<&LabelledSpan> = Vec::new();
        for span in longest_first {
            if used.iter().all(|other| span.end <= other.start || other.end <= span.start) {
                used.push(span);
            }
        }
        used.sort();
        let ends: BTreeSet<usize> = used.iter().flat_map(|span| [span.start, span.end]).collect();
        let mut sentence = Sentence { text: Some(self.text.clone()), ..Sentence::default() };
        let (mut offset, mut last_span) = (0, None);
        for segment in self.text.split_word_bounds() {
            let mut word_start = offset;
            let mut word = String::new();
            let count = segment.chars().count();
            for (k, c) in segment.chars().enumerate() {
                word.push(c);
                let end = offset + k + 1;
                if k + 1 < count && !ends.contains(&end) {
                    continue;
                }
                let word = std::mem::take(&mut word);
                if !word.trim().is_empty() {
                    let span = used.iter().position(|s| s.start <= word_start && end <= s.end);
                    sentence.tags.push(match span {
                        None => "O".to_owned(),
                        Some(index) => {
                            let letter = if span == last_span { "I" } else { "B" };
                            format!("{letter}-{}", used[index].label)
                        }
                    });
                    sentence.words.push(word);
                    sentence.lines.extend(self.line);
                    last_span = span;
                }
                word_start = end;
            }
            offset += count;
        }
        sentence
    }
}

/// Names of labels, to compare annotations with different labels.
pub type LabelNames = BTreeMap<String, String>;

/// Reads a file with a label and its name per line, separated by a tab, for example to map translated
/// labels to English or many labels to few. Spans whose label has an empty name are removed by
/// [`rename_labels`].
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] for a line without a tab, or a second line of a label.
pub fn read_label_names(path: impl AsRef<Path>) -> Result<LabelNames> {
    let path = path.as_ref();
    let mut names = LabelNames::new();
    for (number, line) in numbered_lines(&read_text_with_note(path)?) {
        if line.trim().is_empty() {
            continue;
        }
        let Some((label, name)) = line.split_once('\t') else {
            return Err(Error::line(path, number, "no tab; expected a label, a tab and a name"));
        };
        if names.insert(label.trim().to_owned(), name.trim().to_owned()).is_some() {
            return Err(Error::line(path, number, format!("a second line of `{label}`")));
        }
    }
    Ok(names)
}

/// Replaces labels by their names, and removes spans whose label has an empty name. Labels without a
/// name are unchanged.
pub fn rename_labels(texts: &mut [SpanText], names: &LabelNames) {
    for span in texts.iter_mut().flat_map(|text| &mut text.spans) {
        if let Some(name) = names.get(span.label.trim()) {
            span.label.clone_from(name);
        }
    }
    for text in texts {
        text.spans.retain(|span| !span.label.is_empty());
    }
}

/// Scores predicted spans. A span is correct if the gold annotation of its text has a span with equal
/// offsets and label. Repeated spans count once.
///
/// ```
/// use transfer_eval::ner::{LabelledSpan, SpanText, score_spans};
///
/// let span = |start, end, label: &str| LabelledSpan { start, end, label: label.into() };
/// let text = |spans| SpanText { text: "กรุงเทพ 2025".into(), spans, line: None };
/// let gold = [text(vec![span(0, 7, "เมือง"), span(8, 12, "ปี")])];
/// let predicted = [text(vec![span(0, 7, "เมือง"), span(8, 12, "เมือง")])];
/// assert_eq!(score_spans(&gold, &predicted)?.micro.f1, 0.5);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Count`] if the numbers of texts differ; [`Error::Mismatch`] with the number and line of
/// the first text that differs; [`Error::Nothing`] without a text.
pub fn score_spans(gold: &[SpanText], predicted: &[SpanText]) -> Result<NerScore> {
    if gold.is_empty() {
        return Err(Error::Nothing { what: "text" });
    }
    let line = |at: usize| gold.get(at)?.line.map(|line| format!("line {line}"));
    check_counts(("text", "texts"), gold.len(), predicted.len(), line)?;
    let mut sets = Vec::with_capacity(gold.len());
    for (k, (gold, predicted)) in std::iter::zip(gold, predicted).enumerate() {
        if gold.text != predicted.text {
            let start: String = predicted.text.chars().take(40).collect();
            let message = format!("the text of the predictions differs: {start:?}");
            return Err(Error::mismatch("text", k, gold.line, message));
        }
        sets.push((entities(gold), entities(predicted)));
    }
    Ok(score_entities(&sets))
}

fn entities(text: &SpanText) -> BTreeSet<Entity<'_>> {
    let spans = text.spans.iter();
    spans.map(|s| Entity { kind: s.label.trim(), start: s.start, end: s.end - 1 }).collect()
}
