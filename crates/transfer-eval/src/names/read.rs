//! Gold names and predicted names in the file formats of WikiKGE-10.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::normalize_name;
use crate::files::json_lines;
use crate::{Error, Result};

/// The names of an entity with the annotators' judgments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GoldNames {
    /// The entity's id.
    #[serde(rename = "wikidata_id")]
    pub entity: String,
    /// Correct names.
    #[serde(rename = "correct_values")]
    pub correct: Vec<String>,
    /// Incorrect names.
    #[serde(rename = "incorrect_values")]
    pub incorrect: Vec<String>,
}

/// Predicted names by entity, normalised with [`normalize_name`]; each entity has at least one
/// name.
pub type PredictedNames = BTreeMap<String, BTreeSet<String>>;

/// Filters of predicted names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameConfig {
    /// Minimum confidence. The authors use 2 for the coverage of M-NTA, and 1 everywhere else.
    pub threshold: u32,
    /// Whether only names marked as primary, such as Wikidata's labels, are used.
    pub primary: bool,
    /// Language of the lines to read, for files whose lines have the key `lang`.
    pub language: Option<String>,
}

impl Default for NameConfig {
    fn default() -> Self {
        Self { threshold: 1, primary: false, language: None }
    }
}

/// A line of predictions, in the format of WikiKGE-10 or of `kg-triples names`.
#[derive(Deserialize)]
struct Record {
    #[serde(alias = "entity")]
    wikidata_id: String,
    lang: Option<String>,
    values: Vec<Value>,
    /// Whether each name is primary, for names without a confidence.
    primary: Option<Vec<bool>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    WithConfidence(u32, String, bool),
    Name(String),
}

/// Reads the judged names of a language from a file of JSON lines, plain or gzipped.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] for a malformed line or a duplicate entity; [`Error::Content`]
/// if the file has no lines.
pub fn read_gold(path: impl AsRef<Path>) -> Result<Vec<GoldNames>> {
    let path = path.as_ref();
    let expected = "an object with wikidata_id, correct_values and incorrect_values";
    let lines: Vec<(usize, GoldNames)> = json_lines(path, expected)?;
    let mut entities = BTreeSet::new();
    for (number, GoldNames { entity, .. }) in &lines {
        if !entities.insert(entity) {
            return Err(Error::line(path, *number, format!("a second line of entity {entity}")));
        }
    }
    match lines.is_empty() {
        true => Err(Error::content(path, "no entity")),
        false => Ok(lines.into_iter().map(|(_, gold)| gold).collect()),
    }
}

/// Reads predicted names from a file of JSON lines, plain or gzipped. If an entity has several
/// lines, the last line is used, as in the authors' scripts.
///
/// `values` contains names, or triples of a confidence, a name and whether the name is primary:
/// `{"wikidata_id": "Q64", "values": [[3, "Berlin", true]]}`.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] for a malformed line; [`Error::Content`] if the file has
/// several languages and the configuration does not select one, or if it has no line in the
/// selected language.
pub fn read_predicted(path: impl AsRef<Path>, config: &NameConfig) -> Result<PredictedNames> {
    let path = path.as_ref();
    let expected = "an object with wikidata_id (or entity) and values, a list of names or of \
                    [confidence, name, primary]";
    let mut predicted = PredictedNames::new();
    let mut file_language = None;
    let (mut n_lines, mut n_matching) = (0, 0);
    let mut other_languages = BTreeSet::new();
    for (number, record) in json_lines::<Record>(path, expected)? {
        match (&config.language, record.lang) {
            (Some(language), Some(lang)) if *language != lang => {
                n_lines += 1;
                other_languages.insert(lang);
                continue;
            }
            (None, Some(lang)) if *file_language.get_or_insert_with(|| lang.clone()) != lang => {
                let message = "several languages; select one with --language";
                return Err(Error::content(path, message));
            }
            _ => (),
        }
        (n_lines, n_matching) = (n_lines + 1, n_matching + 1);
        let primary = record.primary.unwrap_or_else(|| vec![false; record.values.len()]);
        if primary.len() != record.values.len() {
            let message =
                format!("{} values, but {} in primary", record.values.len(), primary.len());
            return Err(Error::line(path, number, message));
        }
        let mut names = BTreeSet::new();
        for (value, is_primary) in record.values.into_iter().zip(primary) {
            let (confidence, name, primary) = match value {
                Value::WithConfidence(confidence, name, primary) => (confidence, name, primary),
                Value::Name(name) => (1, name, is_primary),
            };
            if confidence >= config.threshold && (primary || !config.primary) {
                names.insert(normalize_name(&name));
            }
        }
        match names.is_empty() {
            true => predicted.remove(&record.wikidata_id),
            false => predicted.insert(record.wikidata_id, names),
        };
    }
    match (&config.language, n_lines, n_matching) {
        (Some(language), 1.., 0) => {
            let languages = other_languages.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("no line with lang {language:?}; the languages are {languages}");
            Err(Error::content(path, message))
        }
        _ => Ok(predicted),
    }
}
