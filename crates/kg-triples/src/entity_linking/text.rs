use serde::{Deserialize, Serialize};

use crate::Language;
use crate::jsonl::Record;

/// A mention of an entity in a text; offsets count Unicode code points.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mention {
    /// First code point.
    pub start: usize,
    /// Index after the last code point.
    pub end: usize,
    /// Id of the entity, such as `Q42`.
    pub entity: String,
}

/// A text with its mentions: a line of this crate's JSONL format.
///
/// ```
/// use kg_triples::entity_linking::LinkedText;
/// let line = r#"{"id":"7","lang":"en","text":"Bern is a city.",
///     "mentions":[{"start":0,"end":4,"entity":"Q70"}]}"#; // one line in a file
/// let text: LinkedText = serde_json::from_str(line)?;
/// assert_eq!(text.mentions[0].entity, "Q70");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinkedText {
    /// Id of the text, used in errors and output.
    pub id: String,
    /// The language of the text.
    #[serde(rename = "lang")]
    pub language: Language,
    /// The entity that the text describes, if the text is the page of an entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// The text, with one paragraph per line.
    pub text: String,
    /// Mentions, in any order; they may overlap.
    #[serde(default)]
    pub mentions: Vec<Mention>,
    /// For a code-switched text ([`switch`](crate::switch)), the id of its source text; `language`
    /// is then the language of the labels that replace mentions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_from: Option<String>,
}

impl Record for LinkedText {
    const NAME: &'static str = "linked text";

    fn invalid_reason(&self) -> Option<String> {
        if self.id.is_empty() || self.entity.as_deref() == Some("") {
            return Some("an empty id".into());
        }
        let length = self.text.chars().count();
        let invalid_mention = self
            .mentions
            .iter()
            .find(|mention| mention.start >= mention.end || mention.end > length);
        if let Some(Mention { start, end, .. }) = invalid_mention {
            return Some(format!("a mention at {start}..{end} of {length} code points"));
        }
        let invalid_index = self.mentions.iter().position(|mention| mention.entity.is_empty());
        invalid_index.map(|number| format!("mentions[{number}] with an empty entity"))
    }
}

/// A concatenation of texts, and its length in code points.
#[derive(Default)]
pub(crate) struct JoinedText {
    pub(crate) text: String,
    chars: usize,
}

impl JoinedText {
    /// Appends `part` and returns its range in code points.
    pub(crate) fn push(&mut self, part: &str) -> (usize, usize) {
        let start = self.chars;
        self.text.push_str(part);
        self.chars += part.chars().count();
        (start, self.chars)
    }

    /// Appends `part` and returns its range in code points, excluding leading and trailing white
    /// space.
    pub(crate) fn push_trimmed(&mut self, part: &str) -> (usize, usize) {
        let leading_space = part.chars().count() - part.trim_start().chars().count();
        let start = self.chars + leading_space;
        self.push(part);
        (start, start + part.trim().chars().count())
    }
}

/// A paragraph of a text. The offsets of its mentions are relative to the paragraph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage<'t> {
    /// The paragraph, without surrounding white space and control characters.
    pub text: &'t str,
    /// Mentions completely inside the paragraph, in order of position.
    pub mentions: Vec<Mention>,
}

/// Returns the non-blank lines of a text as passages. Mentions that span several lines are skipped.
pub fn passages(text: &LinkedText) -> Vec<Passage<'_>> {
    let mut mentions: Vec<&Mention> = text.mentions.iter().collect();
    mentions.sort_by_key(|mention| (mention.start, mention.end));
    let mut mentions = mentions.into_iter().peekable();
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    let mut passages = Vec::new();
    let mut line_start = 0;
    for line in text.text.split('\n') {
        let line_length = line.chars().count();
        let body = line.trim_start_matches(is_blank);
        let start = line_start + line_length - body.chars().count();
        let body = body.trim_end_matches(is_blank);
        let end = start + body.chars().count();
        line_start += line_length + 1;
        let mut passage_mentions = Vec::new();
        while let Some(mention) = mentions.next_if(|mention| mention.start < line_start) {
            if start <= mention.start && mention.end <= end {
                passage_mentions.push(Mention {
                    start: mention.start - start,
                    end: mention.end - start,
                    entity: mention.entity.clone(),
                });
            }
        }
        if !body.is_empty() {
            passages.push(Passage { text: body, mentions: passage_mentions });
        }
    }
    passages
}
