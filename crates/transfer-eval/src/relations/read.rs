//! Reading of TACRED's JSON files and of lists of relations.
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::files::{numbered_lines, parse_line, read_text, read_text_with_note};
use crate::{Error, Result};

/// A sentence with two marked entities and their relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationExample {
    /// Id of the example.
    pub id: String,
    /// The words as in the file; brackets can be escaped (`-LRB-`).
    pub words: Vec<String>,
    /// Words of the subject. TACRED's files have inclusive ends; this range is exclusive.
    pub subject: Range<usize>,
    /// Words of the object, which may overlap with the subject.
    pub object: Range<usize>,
    /// Entity type of the subject, such as `PERSON`.
    pub subject_type: String,
    /// Entity type of the object.
    pub object_type: String,
    /// The relation, such as `per:title` or [`NO_RELATION`](super::NO_RELATION).
    pub relation: String,
}

/// An object of the file; other keys, such as `docid` and `stanford_pos`, are ignored.
#[derive(Deserialize)]
struct Record {
    id: String,
    token: Vec<String>,
    relation: String,
    subj_start: usize,
    subj_end: usize,
    obj_start: usize,
    obj_end: usize,
    subj_type: String,
    obj_type: String,
}

/// The keys of an object, for errors.
const EXPECTED: &str = "an object with id, token, relation, subj_start, subj_end, obj_start, \
    obj_end, subj_type and obj_type";

/// Reads TACRED's JSON (`train.json`), plain or gzipped: an array of objects, or one object per
/// line. The files of MultiTACRED and of corrected versions (TACREV, Re-TACRED) have the same
/// format.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] for malformed JSON; [`Error::Content`] naming the example if a
/// key is missing or a span is empty or outside the sentence, or without an example.
pub fn read_relations(path: impl AsRef<Path>) -> Result<Vec<RelationExample>> {
    let path = path.as_ref();
    parse_relations(&read_text(path)?, path)
}

/// Parses the text of a file for [`read_relations`]; `path` is used in messages.
pub(super) fn parse_relations(text: &str, path: impl AsRef<Path>) -> Result<Vec<RelationExample>> {
    let path = path.as_ref();
    let records = if text.trim_start().starts_with('[') {
        // Objects are parsed one by one, so that an error names the example.
        let objects: Vec<Value> = serde_json::from_str(text).map_err(|error| {
            Error::line(path, error.line(), format!("{error}; expected an array of objects"))
        })?;
        let record = |(index, object): (usize, Value)| {
            let named = object.get("id").and_then(Value::as_str);
            let name = named.map_or(String::new(), |id| format!(" (`{id}`)"));
            serde_json::from_value(object).map_err(|error| {
                let message = format!("example {}{name}: {error}; expected {EXPECTED}", index + 1);
                Error::content(path, message)
            })
        };
        objects.into_iter().enumerate().map(record).collect::<Result<Vec<Record>>>()?
    } else {
        let lines = numbered_lines(text).filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(number, line)| parse_line(line, path, number, EXPECTED))
            .collect::<Result<_>>()?
    };
    if records.is_empty() {
        return Err(Error::content(path, "no example"));
    }
    records.into_iter().enumerate().map(|(index, record)| example(index, record, path)).collect()
}

fn example(index: usize, record: Record, path: &Path) -> Result<RelationExample> {
    let error = |problem: String| {
        let message = format!("example {} (`{}`): {problem}", index + 1, record.id);
        Error::content(path, message)
    };
    let count = record.token.len();
    let span = |name: &str, start: usize, end: usize| {
        if start > end || end >= count {
            return Err(error(format!(
                "{name}_start = {start}, {name}_end = {end} (inclusive) in a sentence of {count} \
                 words"
            )));
        }
        Ok(start..end + 1)
    };
    let subject = span("subj", record.subj_start, record.subj_end)?;
    let object = span("obj", record.obj_start, record.obj_end)?;
    if record.relation.trim().is_empty() {
        return Err(error("the relation is blank".into()));
    }
    Ok(RelationExample {
        id: record.id,
        words: record.token,
        subject,
        object,
        subject_type: record.subj_type,
        object_type: record.obj_type,
        relation: record.relation,
    })
}

/// Reads the relations of [`read_relations`]' files, or one relation per line, as the key and
/// prediction files of TACRED's scorer. Blank lines are allowed only at the end of the file.
///
/// # Errors
/// The errors of [`read_relations`]; [`Error::Line`] for a blank line; [`Error::Content`] without a
/// relation.
pub fn read_relation_names(path: impl AsRef<Path>) -> Result<Vec<String>> {
    let path = path.as_ref();
    let text = read_text(path)?;
    if text.trim_start().starts_with(['[', '{']) {
        let examples = parse_relations(&text, path)?;
        return Ok(examples.into_iter().map(|example| example.relation).collect());
    }
    let text = read_text_with_note(path)?;
    let text = text.trim_end();
    if text.is_empty() {
        return Err(Error::content(path, "no relation; expected one relation per line"));
    }
    let name = |(number, line): (usize, &str)| match line.trim() {
        "" => Err(Error::line(path, number, "blank; expected a relation")),
        name => Ok(name.to_owned()),
    };
    numbered_lines(text).map(name).collect()
}
