use serde::{Deserialize, Serialize};

use crate::Language;
use crate::jsonl::Record;

/// Positions `start..end` of `input_ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSpan {
    /// First position.
    pub start: usize,
    /// Index after the last position.
    pub end: usize,
}

/// A passage with the position of one mention, and a description of the mentioned entity. The
/// tokens of the mention are not masked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MentionExample {
    /// Index of the passage in its source, from 0.
    pub passage: u64,
    /// Id of the text.
    pub id: String,
    /// Language of the passage (u in the paper).
    pub language: Language,
    /// Token ids of the passage, `<s> X </s>`.
    pub input_ids: Vec<u32>,
    /// The mention. Its first position is the query position (s in Eq. 1).
    pub mention: TokenSpan,
    /// Id of the mentioned entity.
    pub entity: String,
    /// Language of the description (t in the paper).
    pub description_language: Language,
    /// Token ids of the description, `<s> … </s>`.
    pub description_ids: Vec<u32>,
}

impl Record for MentionExample {
    const NAME: &'static str = "mention example";

    fn invalid_reason(&self) -> Option<String> {
        let (TokenSpan { start, end }, length) = (self.mention, self.input_ids.len());
        if start == 0 || start >= end || end >= length {
            return Some(format!("a mention at {start}..{end} of {length} tokens"));
        }
        self.description_ids.is_empty().then(|| "a description without tokens".into())
    }
}
