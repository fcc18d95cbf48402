//! Reader for the released EntityCS corpus, in which mentions are enclosed in `<en>…</en>`.
use std::path::Path;

use serde::{Deserialize, Deserializer};

use crate::entity_linking::{JoinedText, LinkedText, Mention, string_or_number};
use crate::jsonl::{JsonlReader, Record};
use crate::{Error, Language};

/// A line of the released corpus: an English sentence and, if there is one, its switched form. A
/// sentence with several switched forms has several lines.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TaggedPair {
    /// The number of the sentence. In the file, it may be a JSON number or string.
    #[serde(deserialize_with = "number_or_string")]
    pub id: u64,
    /// The language of the labels in the switched sentence.
    #[serde(default)]
    pub language: Option<Language>,
    /// The English sentence, with mentions enclosed in `<en>…</en>`.
    pub en_sentence: String,
    /// The switched sentence. Labels that replace mentions are enclosed in `<xx>…</xx>`, where `xx`
    /// is the language; mentions that are not replaced are enclosed in `<en>…</en>`.
    #[serde(default)]
    pub cs_sentence: Option<String>,
}

fn number_or_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    string_or_number(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl Record for TaggedPair {
    const NAME: &'static str = "sentence of EntityCS";

    fn invalid_reason(&self) -> Option<String> {
        self.texts().err()
    }
}

impl TaggedPair {
    /// Returns the English sentence and its switched form, if there is one, as linked texts without
    /// tags.
    ///
    /// The corpus has no entity ids, so the entity of a mention is the mention's English text.
    ///
    /// # Errors
    /// The reason why the line is invalid, such as an unclosed tag or different numbers of mentions
    /// in the English and the switched sentence.
    ///
    /// ```
    /// use kg_triples::switch::TaggedPair;
    /// let line = r#"{"id": 19, "language": "de",
    ///     "en_sentence": "They enter a <en>coral reef</en>.",
    ///     "cs_sentence": "They enter a <de>Korallenriff</de>."}"#;
    /// let pair: TaggedPair = serde_json::from_str(line)?;
    /// let (english, switched) = pair.texts().expect("matching tags");
    /// let switched = switched.expect("a switched form");
    /// assert_eq!(switched.text, "They enter a Korallenriff.");
    /// assert_eq!(switched.mentions[0].entity, "coral reef");
    /// assert_eq!(switched.switched_from, Some(english.id));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn texts(&self) -> Result<(LinkedText, Option<LinkedText>), String> {
        let (text, spans) = untag(&self.en_sentence, &[Language::EN])?;
        let names: Vec<String> = spans
            .iter()
            .map(|(start, end)| text.chars().skip(*start).take(end - start).collect())
            .collect();
        let mentions = |spans: Vec<(usize, usize)>| {
            let named_spans = spans.into_iter().zip(names.iter().cloned());
            named_spans.map(|((start, end), entity)| Mention { start, end, entity }).collect()
        };
        let id = self.id.to_string();
        let linked_text = |id: String, language, text, spans, switched_from| LinkedText {
            id,
            language,
            entity: None,
            text,
            mentions: mentions(spans),
            switched_from,
        };
        let english = linked_text(id.clone(), Language::EN, text, spans, None);
        let (language, switched) = match (self.language, &self.cs_sentence) {
            (Some(language), Some(switched)) => (language, switched),
            (None | Some(Language::EN), None) => return Ok((english, None)),
            (None, _) => return Err("`cs_sentence` without `language`".into()),
            (_, None) => return Err("`language` without `cs_sentence`".into()),
        };
        let (text, spans) = untag(switched, &[language, Language::EN])?;
        if spans.len() != names.len() {
            let (switched_count, english_count) = (spans.len(), names.len());
            return Err(format!(
                "{switched_count} mentions in cs_sentence, {english_count} in en_sentence"
            ));
        }
        let switched = linked_text(format!("{id}@{language}"), language, text, spans, Some(id));
        Ok((english, Some(switched)))
    }
}

/// Returns the text without the tags of `languages`, and the ranges of the mentions that were
/// enclosed in these tags, in code points.
fn untag(tagged: &str, languages: &[Language]) -> Result<(String, Vec<(usize, usize)>), String> {
    let mut text = JoinedText::default();
    let mut spans = Vec::new();
    let mut remaining = tagged;
    let next_tag = |remaining: &str| {
        let tags = languages.iter().filter_map(|language| {
            let tag = format!("<{language}>");
            remaining.find(&tag).map(|at| (at, tag.len(), format!("</{language}>")))
        });
        tags.min_by_key(|(at, ..)| *at)
    };
    while let Some((at, length, close)) = next_tag(remaining) {
        let (before, after) = remaining.split_at(at);
        let after = &after[length..];
        let Some((mention, after)) = after.split_once(&close) else {
            return Err(format!(
                "no {close} after {:?}",
                before.chars().take(20).collect::<String>()
            ));
        };
        text.push(before);
        let span = text.push(mention);
        if span.0 == span.1 {
            return Err(format!("an empty mention before {close}"));
        }
        spans.push(span);
        remaining = after;
    }
    text.push(remaining);
    Ok((text.text, spans))
}

/// Reads a file of the released corpus as linked texts. For each line, the switched sentence is
/// returned. If `with_english` is set, the English sentence is returned before its first switched
/// sentence.
pub struct TaggedReader {
    pairs: JsonlReader<TaggedPair>,
    with_english: bool,
    last_id: Option<u64>,
    pending: Option<LinkedText>,
}

impl TaggedReader {
    /// Opens the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened.
    pub fn open(path: impl AsRef<Path>, with_english: bool) -> Result<Self, Error> {
        Ok(Self { pairs: JsonlReader::open(path)?, with_english, last_id: None, pending: None })
    }
}

impl Iterator for TaggedReader {
    type Item = Result<LinkedText, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(text) = self.pending.take() {
                return Some(Ok(text));
            }
            let pair = match self.pairs.next()? {
                Ok(pair) => pair,
                Err(error) => return Some(Err(error)),
            };
            let (english, switched) = match pair.texts() {
                Ok(texts) => texts,
                Err(got) => return Some(Err(self.pairs.record_error(got))),
            };
            let is_first_line = self.last_id.replace(pair.id) != Some(pair.id);
            self.pending = switched;
            if self.with_english && is_first_line {
                return Some(Ok(english));
            }
        }
    }
}
