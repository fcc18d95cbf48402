//! Documents, passages and questions.
use std::ops::Range;
use std::sync::Arc;

use crate::{Error, Result};

/// Character at the end of a page.
pub(crate) const PAGE_BREAK: char = '\u{c}';

/// Maximum length of an id in bytes.
const MAX_ID_BYTES: usize = 4096;

/// Maximum size of a document's text in bytes.
const MAX_TEXT_BYTES: usize = 256 << 20;

/// A document to be added to a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Unique name of the document, of 1 to 4,096 bytes.
    pub id: Arc<str>,
    /// The whole text, up to 256 MiB.
    pub text: Arc<str>,
    /// Byte ranges of the passages in `text`, in order. Passages do not overlap, and text outside
    /// of passages contains no words. If there are none, the whole text is one passage.
    pub passages: Vec<Range<usize>>,
}

impl Document {
    /// Checks the id, the text's size and the passages' ranges.
    pub(crate) fn check(&self) -> Result<()> {
        let error = |problem: String| Err(Error::document(&self.id, problem));
        if self.id.is_empty() {
            return error("the id is empty; expected a unique name".to_owned());
        }
        if self.id.len() > MAX_ID_BYTES {
            return error(format!(
                "the id has {} bytes, expected at most {MAX_ID_BYTES}",
                self.id.len()
            ));
        }
        if self.text.len() > MAX_TEXT_BYTES {
            let megabytes = MAX_TEXT_BYTES >> 20;
            return error(format!(
                "the text has {} bytes, expected at most {megabytes} MiB; split the document",
                self.text.len()
            ));
        }
        let mut end = 0;
        for passage in &self.passages {
            let before = self.text.get(end..passage.start);
            let (Some(before), Some(_)) = (before, self.text.get(passage.clone())) else {
                return error(format!(
                    "passage {passage:?}: expected byte ranges of characters of the text, in order and \
                     without overlap"
                ));
            };
            self.check_outside(before)?;
            end = passage.end;
        }
        match self.passages.is_empty() {
            true => Ok(()),
            false => self.check_outside(&self.text[end..]),
        }
    }

    /// Checks that text outside of passages contains no words.
    fn check_outside(&self, text: &str) -> Result<()> {
        let mut first = None;
        if !text.trim().is_empty() {
            language::for_each_term(text, |term| {
                first.get_or_insert_with(|| term.to_owned());
            });
        }
        match first {
            None => Ok(()),
            Some(term) => Err(Error::document(
                &self.id,
                format!(
                    "{term:?} is outside of all passages; expected passages that cover all words"
                ),
            )),
        }
    }
}

/// A passage of a document in a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Number of the passage in the collection. A passage of a document that is updated has
    /// another number.
    pub number: u64,
    /// Id of the document.
    pub document: Arc<str>,
    /// The passage's text.
    pub text: Arc<str>,
    /// Offset of the passage in the document, in code points.
    pub start: usize,
    /// Offset of the passage in the document, in bytes of UTF-8.
    pub start_byte: usize,
    /// Number of the page at the start of the passage, from 1; `None` if the document has no pages.
    /// A text with form feeds (U+000C) has pages: each form feed ends a page.
    pub page: Option<usize>,
}

impl Passage {
    /// Returns a document as one passage with number 0.
    pub fn whole(document: Arc<str>, text: Arc<str>) -> Self {
        let page = text.contains(PAGE_BREAK).then_some(1);
        Self { number: 0, document, text, start: 0, start_byte: 0, page }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Id of the question, if it has one.
    pub id: Option<String>,
    /// The question's text.
    pub text: String,
}

impl From<&str> for Query {
    fn from(text: &str) -> Self {
        Self { id: None, text: text.to_owned() }
    }
}

/// A passage that was selected for a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The passage.
    pub passage: Passage,
    /// BM25 score of the passage; `None` if the passage was not among the best by words.
    pub words: Option<f32>,
    /// Cosine similarity of passage and question; `None` without a question vector, or if the
    /// passage has no vector.
    pub cosine: Option<f32>,
}
