use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::jsonl::{JsonlReader, Record};

/// A text, or a record with named fields (a row of a table). A document may have both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The id, without white space. Ids are unique in a corpus.
    pub id: String,
    /// The text.
    #[serde(default)]
    pub text: String,
    /// The cells of a record by the names of their columns.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

impl Record for Document {
    const NAME: &'static str = "document";

    fn invalid_reason(&self) -> Option<String> {
        if self.id.is_empty() || self.id.contains(char::is_whitespace) {
            return Some(format!("an empty id or one with white space: {:?}", self.id));
        }
        let mut texts = self.fields.values().chain([&self.text]);
        let is_blank = texts.all(|text| text.trim().is_empty());
        is_blank.then(|| format!("no text in `text` or `fields` of {:?}", self.id))
    }
}

/// Reads a corpus, one document per line, such as `{"id": "7", "text": "…"}` or `{"id": "7",
/// "fields": {"country": "Peru", "capital": "Lima"}}`.
///
/// # Errors
/// As [`JsonlReader`]; [`Error::Json`] with the line of an id that occurs twice; [`Error::Empty`]
/// for a file without a document.
pub fn read_documents(path: impl AsRef<Path>) -> Result<Vec<Document>, Error> {
    let path = path.as_ref();
    let mut reader = JsonlReader::<Document>::open(path)?;
    let mut ids = HashSet::new();
    let mut documents = Vec::new();
    while let Some(document) = reader.next() {
        let document = document?;
        if !ids.insert(document.id.clone()) {
            return Err(reader.record_error(format!("the id {:?} a second time", document.id)));
        }
        documents.push(document);
    }
    match documents.is_empty() {
        true => Err(Error::Empty {
            what: path.display().to_string(),
            hint: "expected one document per line".into(),
        }),
        false => Ok(documents),
    }
}
