use std::path::Path;

use serde::{Deserialize, Serialize};
use shards::Shards;

use crate::entity_linking::{LinkedText, Mention};
use crate::jsonl::{JsonlReader, Record};
use crate::{Error, Language};

/// A search result of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The title, as shown by a search engine.
    pub title: String,
    /// The text, with one paragraph per line. It is empty if it is missing in the input.
    #[serde(default)]
    pub text: String,
}

/// A query and its search results: a line of the input.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QueryDocuments {
    /// The text of the query.
    pub query: String,
    /// The language of the query and of its results.
    #[serde(rename = "lang")]
    pub language: Language,
    /// The results, best first.
    pub documents: Vec<Document>,
}

impl Record for QueryDocuments {
    const NAME: &'static str = "query with its documents";

    fn invalid_reason(&self) -> Option<String> {
        self.query.trim().is_empty().then(|| "an empty query".into())
    }
}

/// A part of a text; offsets count Unicode code points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpan {
    /// First code point.
    pub start: usize,
    /// Index after the last code point.
    pub end: usize,
}

/// A phrase and its occurrences in a text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PhraseOccurrences {
    /// The words of the phrase in lower case, separated by spaces.
    pub phrase: String,
    /// All occurrences of the phrase, in order of position.
    pub occurrences: Vec<TextSpan>,
}

/// A passage with its knowledge phrases: a line of the output.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PhrasePassage {
    /// The language of the text.
    #[serde(rename = "lang")]
    pub language: Language,
    /// The text, which is one paragraph.
    pub text: String,
    /// The distinct phrases, in order of their first occurrence; occurrences may overlap.
    pub phrases: Vec<PhraseOccurrences>,
}

/// Converts a linked text to a passage. Each mention becomes a phrase whose name is the id of the
/// entity.
///
/// ```
/// use kg_triples::entity_linking::LinkedText;
/// use kg_triples::phrases::PhrasePassage;
///
/// let line = r#"{"id": "7", "lang": "de", "text": "in Bern",
///     "mentions": [{"start": 3, "end": 7, "entity": "Q70"}]}"#;
/// let text: LinkedText = serde_json::from_str(line)?;
/// let passage = PhrasePassage::from(&text);
/// let phrase = &passage.phrases[0];
/// assert_eq!((phrase.phrase.as_str(), phrase.occurrences[0].end), ("Q70", 7));
/// # Ok::<(), serde_json::Error>(())
/// ```
impl From<&LinkedText> for PhrasePassage {
    fn from(text: &LinkedText) -> Self {
        let phrase = |mention: &Mention| PhraseOccurrences {
            phrase: mention.entity.clone(),
            occurrences: vec![TextSpan { start: mention.start, end: mention.end }],
        };
        Self {
            language: text.language,
            text: text.text.clone(),
            phrases: text.mentions.iter().map(phrase).collect(),
        }
    }
}

impl PhrasePassage {
    /// Creates a passage whose entire text is one phrase, so that any token can be masked.
    ///
    /// ```
    /// use kg_triples::Language;
    /// use kg_triples::phrases::PhrasePassage;
    ///
    /// let passage = PhrasePassage::single_phrase(Language::DE, "grüne Aare");
    /// assert_eq!(passage.phrases[0].occurrences[0].end, 10); // code points
    /// ```
    pub fn single_phrase(language: Language, text: impl Into<String>) -> Self {
        let text = text.into();
        let span = TextSpan { start: 0, end: text.chars().count() };
        let phrase = PhraseOccurrences { phrase: text.clone(), occurrences: vec![span] };
        Self { language, text, phrases: vec![phrase] }
    }

    /// Reads the output of `kg-triples phrases`, which is a file or a prepared folder.
    ///
    /// # Errors
    /// As [`JsonlReader`] and [`Shards::open`].
    ///
    /// ```
    /// use kg_triples::phrases::PhrasePassage;
    ///
    /// let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("phrases.jsonl");
    /// let line = r#"{"lang": "de", "text": "in Bern", "phrases": [{"phrase": "bern",
    ///     "occurrences": [{"start": 3, "end": 7}]}]}"#.replace('\n', "");
    /// std::fs::write(&path, line).unwrap();
    /// assert_eq!(PhrasePassage::read_all(&path)?[0].text, "in Bern");
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn read_all(path: impl AsRef<Path>) -> Result<Vec<Self>, Error> {
        let path = path.as_ref();
        if !path.is_dir() {
            return JsonlReader::open(path)?.collect();
        }
        let mut passages = Vec::new();
        for file in Shards::open([path])?.files() {
            for passage in JsonlReader::open(file.path())? {
                passages.push(passage?);
            }
        }
        Ok(passages)
    }
}

impl Record for PhrasePassage {
    const NAME: &'static str = "passage with phrases";

    fn invalid_reason(&self) -> Option<String> {
        if self.text.is_empty() {
            return Some("an empty text".into());
        }
        let length = self.text.chars().count();
        for (number, phrase) in self.phrases.iter().enumerate() {
            let invalid =
                phrase.occurrences.iter().find(|at| at.start >= at.end || at.end > length);
            if let Some(TextSpan { start, end }) = invalid {
                return Some(format!(
                    "phrases[{number}] at {start}..{end} of {length} code points"
                ));
            }
            if phrase.occurrences.is_empty() {
                return Some(format!("phrases[{number}] without an occurrence"));
            }
        }
        None
    }
}
