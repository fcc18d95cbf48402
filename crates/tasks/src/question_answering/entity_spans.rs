//! Spans of the entities in questions, if stored in the data.
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use mlqa_eval::squad;
use tokenizer_file::trim_removed_start;
use tokenizers::Tokenizer;

use crate::{Error, Result};

/// Span of the entity in the question's text, in code points, by question id.
pub type QuestionEntitySpans = BTreeMap<String, Range<usize>>;

/// Reads `head_start` and `head_length` of the questions of a SQuAD-style file, if present.
///
/// Both fields count code points of the question. `path` is the path of `file`.
///
/// # Errors
/// [`Error::Eval`] naming the question if a value is not a number.
pub(super) fn read_entity_spans(file: &squad::File, path: &Path) -> Result<QuestionEntitySpans> {
    let mut spans = QuestionEntitySpans::new();
    for question in file.questions() {
        let start: Option<usize> = question.parse_field("head_start", path)?;
        let length: Option<usize> = question.parse_field("head_length", path)?;
        if let (Some(start), Some(length)) = (start, length) {
            spans.insert(question.id.clone(), start..start.saturating_add(length));
        }
    }
    Ok(spans)
}

/// Returns the tokens of a question that overlap the code points `span`; `None` if no token does.
pub(super) fn entity_tokens(
    tokenizer: &Tokenizer,
    question: &str,
    span: &Range<usize>,
) -> Result<Option<Range<usize>>> {
    let trimmed = trim_removed_start(tokenizer, question);
    let encoding = tokenizer
        .encode_char_offsets(trimmed, false)
        .map_err(|error| Error::Tokenizer(format!("question {question:?}: {error}")))?;
    let offset = question.chars().count() - trimmed.chars().count();
    let overlaps =
        |&(start, end): &(usize, usize)| start + offset < span.end && end + offset > span.start;
    let offsets = encoding.get_offsets();
    let first = offsets.iter().position(overlaps);
    let last = offsets.iter().rposition(overlaps);
    Ok(first.zip(last).map(|(first, last)| first..last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_spans_are_read_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.json");
        let text = r#"{"data": [{"paragraphs": [{"context": "Lima", "qas": [
            {"id": "q1", "question": "The capital of Peru?", "head_start": 15, "head_length": 4},
            {"id": "q2", "question": "Which city is it?"}]}]}]}"#;
        std::fs::write(&path, text).unwrap();
        let spans = read_entity_spans(&squad::File::read(&path).unwrap(), &path).unwrap();
        assert_eq!(spans, QuestionEntitySpans::from([("q1".to_owned(), 15..19)]));
    }
}
