//! Reading of extractions: tab-separated files, and Re-OIE2016's JSON.
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::files::{numbered_lines, read_text, read_text_with_note, write_atomic};
use crate::{Error, Result};

/// A predicate and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct OieExtraction {
    /// The predicate, words separated by spaces.
    pub predicate: String,
    /// The arguments in order; the first is the subject. An argument can be empty.
    pub arguments: Vec<String>,
    /// Confidence of a prediction; 1 for a gold extraction.
    pub confidence: f64,
}

/// A sentence with its extractions.
#[derive(Clone, Debug, PartialEq)]
pub struct OieSentence {
    /// The sentence.
    pub text: String,
    /// Its extractions, in the order of the file.
    pub extractions: Vec<OieExtraction>,
}

/// Whitespace as in Python's `str.split`, which CaRB's scorer uses: four control characters more than
/// in Rust.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Reads predicted extractions, plain or gzipped. Each line has the columns sentence, confidence,
/// predicate and arguments, separated by tabs; blank lines are skipped.
///
/// Whitespace at both ends of a line is removed, and thereby empty arguments at its end.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] for fewer than three columns or a confidence that is not a finite
/// number.
pub fn read_oie(path: impl AsRef<Path>) -> Result<Vec<OieSentence>> {
    let path = path.as_ref();
    parse_predicted(&read_text_with_note(path)?, path)
}

pub(super) fn parse_predicted(text: &str, path: &Path) -> Result<Vec<OieSentence>> {
    let mut sentences = Sentences::default();
    for (number, line) in numbered_lines(text) {
        let line = line.trim_matches(is_space);
        if line.is_empty() {
            continue;
        }
        let columns: Vec<&str> = line.split('\t').collect();
        let [sentence, confidence, predicate, arguments @ ..] = columns.as_slice() else {
            let message = format!(
                "{} columns; expected sentence, confidence, predicate and arguments, separated by tabs",
                columns.len()
            );
            return Err(Error::line(path, number, message));
        };
        let parsed = confidence.trim_matches(is_space).parse::<f64>();
        let Some(confidence) = parsed.ok().filter(|confidence| confidence.is_finite()) else {
            let message = format!("confidence {confidence:?}: expected a finite number");
            return Err(Error::line(path, number, message));
        };
        sentences.add(sentence, predicate, arguments.iter().copied(), confidence);
    }
    Ok(sentences.list)
}

/// Reads gold extractions, plain or gzipped: CaRB's tab-separated files, or Re-OIE2016's JSON, which
/// is detected by its first character.
///
/// A line of a tab-separated file has the columns sentence, predicate and arguments. Arguments that
/// contain `C: ` (a context) are skipped, as in CaRB. The JSON file maps each sentence to a list of
/// objects with the keys `pred`, `arg0` to `arg3`, `temp` and `loc`, in this order; empty arguments
/// are skipped. The word `<be>` of a predicate is removed, and a predicate of this word only becomes
/// `[is]`, as in the released reader.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] for fewer than two columns or malformed JSON; [`Error::Content`]
/// without a sentence.
pub fn read_oie_gold(path: impl AsRef<Path>) -> Result<Vec<OieSentence>> {
    let path = path.as_ref();
    let text = read_text(path)?;
    match text.trim_start().starts_with('{') {
        true => parse_gold_json(&text, path),
        false => parse_gold(&read_text_with_note(path)?, path),
    }
}

pub(super) fn parse_gold(text: &str, path: &Path) -> Result<Vec<OieSentence>> {
    let mut sentences = Sentences::default();
    for (number, line) in numbered_lines(text) {
        let columns: Vec<&str> = line.trim_matches(is_space).split('\t').collect();
        let [sentence, predicate, arguments @ ..] = columns.as_slice() else {
            let message = "expected sentence, predicate and arguments, separated by tabs";
            return Err(Error::line(path, number, message));
        };
        let trim = |text: &&'_ str| -> String { text.trim_matches(is_space).to_owned() };
        let arguments = arguments.iter().filter(|argument| !argument.contains("C: ")).map(trim);
        let arguments: Vec<String> = arguments.collect();
        let arguments = arguments.iter().map(String::as_str);
        sentences.add(&trim(sentence), &trim(predicate), arguments, 1.0);
    }
    Ok(sentences.list)
}

/// An object of the JSON file; other keys, such as `arg0_index`, are ignored.
#[derive(Deserialize)]
struct Record {
    pred: String,
    arg0: String,
    arg1: String,
    arg2: String,
    arg3: String,
    temp: String,
    loc: String,
}

/// The sentences of the JSON file in order.
struct Records(Vec<(String, Vec<Record>)>);

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Records;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with sentences as keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Records, A::Error> {
                let mut records = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    records.push(entry);
                }
                Ok(Records(records))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

pub(super) fn parse_gold_json(text: &str, path: &Path) -> Result<Vec<OieSentence>> {
    let records: Records = serde_json::from_str(text).map_err(|error| {
        let expected = "an object that maps each sentence to a list of objects with pred, arg0, arg1, \
            arg2, arg3, temp and loc";
        let reason = atomic_file::json::reason(&error);
        Error::line(path, error.line(), format!("{reason}; expected {expected}"))
    })?;
    if records.0.is_empty() {
        return Err(Error::content(path, "no sentence"));
    }
    let extraction = |record: Record| {
        let predicate = match record.pred.trim_matches(is_space) {
            "<be>" => "[is]".to_owned(),
            _ => record.pred.replace("<be> ", ""),
        };
        let Record { arg0, arg1, arg2, arg3, temp, loc, .. } = record;
        let arguments = [arg0, arg1, arg2, arg3, temp, loc].into_iter();
        let arguments = arguments.filter(|argument| !argument.is_empty()).collect();
        OieExtraction { predicate, arguments, confidence: 1.0 }
    };
    let sentence = |(text, records): (String, Vec<Record>)| OieSentence {
        text,
        extractions: records.into_iter().map(extraction).collect(),
    };
    Ok(records.0.into_iter().map(sentence).collect())
}

/// Collects the extractions of lines by sentence.
#[derive(Default)]
struct Sentences {
    list: Vec<OieSentence>,
    indices: HashMap<String, usize>,
}

impl Sentences {
    fn add<'a>(
        &mut self,
        text: &str,
        predicate: &str,
        arguments: impl Iterator<Item = &'a str>,
        confidence: f64,
    ) {
        let index = *self.indices.entry(text.to_owned()).or_insert_with(|| {
            self.list.push(OieSentence { text: text.to_owned(), extractions: Vec::new() });
            self.list.len() - 1
        });
        let arguments = arguments.map(str::to_owned).collect();
        let predicate = predicate.to_owned();
        self.list[index].extractions.push(OieExtraction { predicate, arguments, confidence });
    }
}

/// Writes predicted extractions, one per line, as [`read_oie`] reads them. Missing folders are
/// created.
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] if a text contains a tab or a line break.
pub fn write_oie(path: impl AsRef<Path>, sentences: &[OieSentence]) -> Result<()> {
    let path = path.as_ref();
    let mut text = String::new();
    for sentence in sentences {
        for OieExtraction { predicate, arguments, confidence } in &sentence.extractions {
            let confidence = confidence.to_string();
            let mut columns = vec![&sentence.text, &confidence, predicate];
            columns.extend(arguments);
            let is_invalid = |column: &&&String| column.contains(['\t', '\n', '\r']);
            if let Some(column) = columns.iter().find(is_invalid) {
                let message = format!("cannot store {column:?}: it has a tab or a line break");
                return Err(Error::content(path, message));
            }
            let columns: Vec<&str> = columns.into_iter().map(String::as_str).collect();
            text += &columns.join("\t");
            text.push('\n');
        }
    }
    write_atomic(path, text.as_bytes())
}
