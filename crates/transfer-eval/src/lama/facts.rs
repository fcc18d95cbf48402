//! LAMA's files: facts, relations and templates.
use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::json_lines;
use crate::{Error, Result};

/// The placeholder of the object in LAMA's sentences.
const MASK: &str = "[MASK]";

/// The four corpora of LAMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Corpus {
    /// `Google_RE/{relation}_test.jsonl`: relations for place of birth, date of birth and place of
    /// death, with one template each.
    GoogleRe,
    /// `TREx/{relation}.jsonl`: Wikidata relations with the templates of `relations.jsonl`.
    TRex,
    /// `ConceptNet/test.jsonl`: sentences with a mask.
    #[cfg_attr(feature = "cli", value(name = "conceptnet"))]
    ConceptNet,
    /// `Squad/test.jsonl`: sentences with a mask.
    Squad,
}

impl Corpus {
    /// All corpora, in the papers' order.
    pub const ALL: [Self; 4] = [Self::GoogleRe, Self::TRex, Self::ConceptNet, Self::Squad];

    /// The name in the papers' tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::GoogleRe => "Google-RE",
            Self::TRex => "T-REx",
            Self::ConceptNet => "ConceptNet",
            Self::Squad => "SQuAD",
        }
    }
}

/// A relation with a template, or a file of sentences without templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Relation {
    /// Id of the relation, such as `P19` or `place_of_birth`; `test` for a file of sentences.
    #[serde(rename = "relation")]
    pub id: String,
    /// A sentence with `[X]` for the subject and `[Y]` for the object; `None` for a file of
    /// sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Cardinality of the relation in T-REx: `1-1`, `N-1` or `N-M`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl Relation {
    /// Reads `relations.jsonl`.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] naming a line that is not a relation, that repeats an id,
    /// or whose template does not have `[X]` and exactly one `[Y]`; [`Error::Content`] if there is
    /// no relation.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let expected = "a relation: {\"relation\": \"P19\", \"template\": \"[X] was born in [Y] .\", \"type\": \"N-1\"}";
        let rows: Vec<(usize, Self)> = json_lines(path, expected)?;
        let mut ids = HashSet::new();
        for (line, relation) in &rows {
            if !ids.insert(&relation.id) {
                let message = format!("relation `{}` occurs twice", relation.id);
                return Err(Error::line(path, *line, message));
            }
            // An absent template is an error, like an empty one.
            let template = relation.template.as_deref().unwrap_or("");
            split_template(template).map_err(|message| Error::line(path, *line, message))?;
        }
        if rows.is_empty() {
            return Err(Error::content(path, "no relation"));
        }
        Ok(rows.into_iter().map(|(_, relation)| relation).collect())
    }

    fn google_re() -> Vec<Self> {
        [
            ("place_of_birth", "[X] was born in [Y] ."),
            ("date_of_birth", "[X] (born [Y])."),
            ("place_of_death", "[X] died in [Y] ."),
        ]
        .map(|(id, template)| Self { id: id.into(), template: Some(template.into()), kind: None })
        .into()
    }

    fn sentence_file() -> Self {
        Self { id: "test".into(), template: None, kind: None }
    }
}

/// One fact as a sentence with a gap for the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The key `uuid` or `id` in the file; the line number if both are missing.
    pub id: String,
    /// The relation's id.
    pub relation: String,
    /// The object, which fills the gap.
    pub object: String,
    /// The part of the sentence before the gap.
    pub before: String,
    /// The part of the sentence after the gap. Interpretation: if the sentence has several gaps,
    /// the object fills the first gap, and the other gaps remain `[MASK]`, as in the released
    /// scorer.
    pub after: String,
    /// Whether the sentence was generated from a template.
    pub from_template: bool,
    /// Line number in the file, from 1.
    pub line: usize,
}

/// The facts of one relation, and counts of the lines that are excluded by the rules of the
/// released scorer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The facts, in file order.
    pub facts: Vec<Fact>,
    /// Number of lines without `sub_label` or `obj_label`.
    pub incomplete: usize,
    /// Number of lines that more raters denied than confirmed (Google-RE).
    pub denied: usize,
    /// Number of lines that repeat the subject and object of an earlier line, for a relation with a
    /// template.
    pub repeated: usize,
}

#[derive(Deserialize)]
struct Record {
    uuid: Option<String>,
    id: Option<String>,
    sub_label: Option<String>,
    obj_label: Option<String>,
    #[serde(default)]
    masked_sentences: Vec<String>,
    #[serde(default)]
    judgments: Vec<Judgment>,
}

#[derive(Deserialize)]
struct Judgment {
    judgment: String,
}

/// Splits a template at its `[Y]`.
fn split_template(template: &str) -> Result<(&str, &str), String> {
    match template.split_once("[Y]") {
        Some((before, after)) if !after.contains("[Y]") && template.contains("[X]") => {
            Ok((before, after))
        }
        _ => Err(format!("template {template:?} needs [X] for the subject and one [Y]")),
    }
}

/// Splits a template; an invalid template is an [`Error::Config`].
pub(crate) fn split_relation_template(template: &str) -> Result<(&str, &str)> {
    split_template(template)
        .map_err(|rule| Error::config("template", format!("{template:?}"), rule))
}

/// Reads the facts of one relation. If the relation has a template, only the first of several facts
/// with equal subject and object is returned.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] naming a line that is not a fact or, if the relation has no
/// template, a line without `[MASK]`; [`Error::Content`] if no line is a fact; [`Error::Config`] if
/// the template is invalid.
pub(super) fn read_facts(path: impl AsRef<Path>, relation: &Relation) -> Result<Facts> {
    let path = path.as_ref();
    let template = relation.template.as_deref().map(split_relation_template).transpose()?;
    let expected =
        "a fact of LAMA, with sub_label, obj_label and, without a template, masked_sentences";
    let mut out = Facts::default();
    let mut pairs = HashSet::new();
    for (line, record) in json_lines::<Record>(path, expected)? {
        let (Some(subject), Some(object)) = (record.sub_label, record.obj_label) else {
            out.incomplete += 1;
            continue;
        };
        let n_confirmed =
            record.judgments.iter().filter(|judgment| judgment.judgment == "yes").count();
        if record.judgments.len() > 2 * n_confirmed {
            out.denied += 1;
            continue;
        }
        let (before, after) = match template {
            Some((before, after)) => {
                if !pairs.insert((subject.clone(), object.clone())) {
                    out.repeated += 1;
                    continue;
                }
                (before.replace("[X]", &subject), after.replace("[X]", &subject))
            }
            None => {
                let text = record.masked_sentences.join(" ");
                let Some((before, after)) = text.split_once(MASK) else {
                    return Err(Error::line(path, line, format!("no {MASK} in masked_sentences")));
                };
                (before.to_owned(), after.to_owned())
            }
        };
        out.facts.push(Fact {
            id: record.uuid.or(record.id).unwrap_or_else(|| line.to_string()),
            relation: relation.id.clone(),
            object,
            before,
            after,
            from_template: template.is_some(),
            line,
        });
    }
    if out.facts.is_empty() {
        return Err(Error::content(path, "no fact; expected one JSON object per line"));
    }
    Ok(out)
}

/// Reads the relations of a corpus and their facts from the released folder `data`. T-REx relations
/// without a file are skipped, as in the released scorer.
///
/// # Errors
/// As for [`Relation::read`]; [`Error::Line`] naming a line that is not a fact; [`Error::Content`]
/// if no relation has a file, or a file has no fact.
pub fn read_corpus(folder: impl AsRef<Path>, corpus: Corpus) -> Result<Vec<(Relation, Facts)>> {
    let folder = folder.as_ref();
    let (relations, subfolder, ending) = match corpus {
        Corpus::GoogleRe => (Relation::google_re(), "Google_RE", "_test.jsonl"),
        Corpus::TRex => (Relation::read(folder.join("relations.jsonl"))?, "TREx", ".jsonl"),
        Corpus::ConceptNet => (vec![Relation::sentence_file()], "ConceptNet", ".jsonl"),
        Corpus::Squad => (vec![Relation::sentence_file()], "Squad", ".jsonl"),
    };
    let mut out = Vec::with_capacity(relations.len());
    for relation in relations {
        let path = folder.join(subfolder).join(format!("{}{ending}", relation.id));
        if corpus != Corpus::TRex || path.exists() {
            let facts = read_facts(path, &relation)?;
            out.push((relation, facts));
        }
    }
    if out.is_empty() {
        return Err(Error::content(&folder.join(subfolder), "no file of any relation"));
    }
    Ok(out)
}
