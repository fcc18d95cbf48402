//! Passages as they are stored in the word index.
use std::ops::Range;
use std::sync::Arc;

use tantivy::schema::{Field, Value};
use tantivy::{TantivyDocument, TantivyError};

use crate::document::PAGE_BREAK;
use crate::terms::Fields;
use crate::{Document, Passage};

/// Returns the passages of a document as they are stored, with the numbers from `next_number` on,
/// and increases `next_number` by their count.
pub(crate) fn to_stored(
    document: &Document,
    fields: Fields,
    next_number: &mut u64,
) -> Vec<TantivyDocument> {
    let text = &*document.text;
    let whole = std::iter::once(0..text.len());
    let ranges: Vec<Range<usize>> = match document.passages.is_empty() {
        true => whole.collect(),
        false => document.passages.clone(),
    };
    let has_pages = text.contains(PAGE_BREAK);
    let (mut end, mut start, mut page) = (0, 0, 1);
    let mut stored_passages = Vec::with_capacity(ranges.len());
    for (index, range) in ranges.iter().enumerate() {
        let is_last = index + 1 == ranges.len();
        let stored = end..if is_last { text.len() } else { range.end };
        let before = &text[end..range.start];
        start += before.chars().count();
        let mut passage = TantivyDocument::new();
        passage.add_text(fields.id, &document.id);
        passage.add_u64(fields.number, *next_number);
        passage.add_text(fields.text, &text[stored]);
        passage.add_u64(fields.from, to_u64(range.start - end));
        passage.add_u64(fields.to, to_u64(range.end - end));
        passage.add_u64(fields.start, to_u64(start));
        passage.add_u64(fields.start_byte, to_u64(range.start));
        if has_pages {
            page += before.matches(PAGE_BREAK).count();
            passage.add_u64(fields.page, to_u64(page));
            page += text[range.clone()].matches(PAGE_BREAK).count();
        }
        stored_passages.push(passage);
        *next_number += 1;
        start += text[range.clone()].chars().count();
        end = range.end;
    }
    stored_passages
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).expect("a size fits into 64 bits")
}

/// A passage as it is stored, with the text outside of passages.
pub(crate) struct StoredPassage {
    pub number: u64,
    pub id: Arc<str>,
    text: Arc<str>,
    /// Byte range of the passage in `text`.
    passage: Range<usize>,
    start: usize,
    start_byte: usize,
    page: Option<usize>,
}

impl StoredPassage {
    pub fn new(number: u64, stored: &TantivyDocument, fields: Fields) -> tantivy::Result<Self> {
        let string = |field: Field, name: &str| {
            let value = stored.get_first(field).and_then(|value| value.as_str());
            value.map(Arc::<str>::from).ok_or_else(|| missing(name))
        };
        let count = |field: Field| {
            let value = stored.get_first(field).and_then(|value| value.as_u64());
            value.and_then(|value| usize::try_from(value).ok())
        };
        let offset = |field: Field, name: &str| count(field).ok_or_else(|| missing(name));
        let Fields { id, text, from, to, start, start_byte, page, .. } = fields;
        let text = string(text, "text")?;
        let passage = offset(from, "from")?..offset(to, "to")?;
        if text.get(passage.clone()).is_none() {
            return Err(missing("valid range"));
        }
        Ok(Self {
            number,
            id: string(id, "id")?,
            text,
            passage,
            start: offset(start, "start")?,
            start_byte: offset(start_byte, "start_byte")?,
            page: count(page),
        })
    }

    pub fn into_passage(self) -> Passage {
        let Self { number, id, text, passage, start, start_byte, page } = self;
        let text = match passage == (0..text.len()) {
            true => text,
            false => text[passage].into(),
        };
        Passage { number, document: id, text, start, start_byte, page }
    }
}

/// Returns the document that consists of all its passages, in order.
pub(crate) fn to_document(parts: &[StoredPassage]) -> Document {
    let text: String = parts.iter().map(|part| &*part.text).collect();
    let range = |part: &StoredPassage| part.start_byte..part.start_byte + part.passage.len();
    let passages = parts.iter().map(range).collect();
    Document { id: parts[0].id.clone(), text: text.into(), passages }
}

/// Returns the error of a passage without a field.
pub(crate) fn missing(what: &str) -> TantivyError {
    let problem = format!("a passage has no {what}");
    TantivyError::DataCorruption(tantivy::error::DataCorruption::comment_only(problem))
}
