//! Clozes about facts, in the layout of mLAMA (Kassner, Dufter and Schütze 2021): a folder for each
//! language with `templates.jsonl` and `<relation>.jsonl`.
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::verbalised::Verbalised;
use crate::questions::TemplateSet;
use crate::{KgError, KnowledgeGraph, Language, output};

/// What became of the facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClozeReport {
    /// Facts that are asked for, in every language.
    pub facts: usize,
    /// Facts that lack a label or a statement in one of the languages.
    pub without_words: usize,
}

#[derive(Serialize)]
struct Template<'a> {
    relation: &'a str,
    template: String,
}

#[derive(Serialize)]
struct Fact<'a> {
    uuid: String,
    sub_uri: &'a str,
    obj_uri: &'a str,
    sub_label: &'a str,
    obj_label: &'a str,
}

/// Writes `<language>/templates.jsonl` and `<language>/<relation>.jsonl` into `folder`: the facts
/// whose head is in `heads`, the same ones in each language, in the order of their fact numbers. A
/// fact's `uuid` is `<head>-<relation>-<tail>`.
///
/// # Errors
/// [`KgError::Empty`] if no fact can be said in all languages; [`KgError::Value`] for a relation's
/// id that cannot name a file; [`KgError::Io`] if a file cannot be written.
///
/// ```
/// # let mut builder = kg_triples::GraphBuilder::default();
/// # builder.add_triple("Q142", "P36", "Q90")?;
/// # for (id, label) in [("Q142", "France"), ("Q90", "Paris")] {
/// #     builder.add_label(id, "en", label, kg_triples::LabelKind::Entity)?;
/// # }
/// # builder.add_label("P36", "en", "capital", kg_triples::LabelKind::Relation)?;
/// # let graph = builder.build();
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("templates.tsv");
/// # let rows = "relation_id\tlang\tkind\ttemplate\n\
/// #             P36\ten\tstatement\t{tail} is the capital of {head}.\n";
/// # std::fs::write(&path, rows).unwrap();
/// use kg_triples::Language;
/// use kg_triples::probes::write_clozes;
/// use kg_triples::questions::TemplateSet;
///
/// let templates = TemplateSet::read(&path)?;
/// let (heads, languages) = (["Q142".to_owned()].into(), [Language::new("en")?]);
/// let report = write_clozes(&graph, &templates, &heads, &languages, folder.path())?;
/// assert_eq!(report.facts, 1);
/// let text = std::fs::read_to_string(folder.path().join("en/templates.jsonl")).unwrap();
/// assert_eq!(text, "{\"relation\":\"P36\",\"template\":\"[Y] is the capital of [X].\"}\n");
/// # Ok::<(), kg_triples::KgError>(())
/// ```
pub fn write_clozes(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    heads: &BTreeSet<String>,
    languages: &[Language],
    folder: impl AsRef<Path>,
) -> Result<ClozeReport, KgError> {
    let said = Verbalised::new(graph, templates, heads, languages);
    let report = ClozeReport { facts: said.facts.len(), without_words: said.without_words };
    if said.facts.is_empty() {
        return Err(KgError::Empty {
            what: "clozes".into(),
            hint: format!(
                "{} facts lack labels or statements in one of the languages",
                said.without_words
            ),
        });
    }
    let mut files = Vec::new();
    for &language in languages {
        let mut relations: BTreeMap<&str, Vec<Fact<'_>>> = BTreeMap::new();
        for triple in &said.facts {
            let labels = (said.label(triple.head, language), said.label(triple.tail, language));
            let (Some(sub_label), Some(obj_label)) = labels else { continue };
            relations.entry(triple.relation).or_default().push(Fact {
                uuid: format!("{}-{}-{}", triple.head, triple.relation, triple.tail),
                sub_uri: triple.head,
                obj_uri: triple.tail,
                sub_label,
                obj_label,
            });
        }
        let folder = folder.as_ref().join(language.as_str());
        let texts: Vec<Template<'_>> = relations
            .keys()
            .filter_map(|&relation| {
                let template = said.template(relation, language)?.say("[X]", "[Y]");
                Some(Template { relation, template })
            })
            .collect();
        files.push(lines(&folder.join("templates.jsonl"), &texts)?);
        for (relation, facts) in &relations {
            expect_file_name(relation)?;
            files.push(lines(&folder.join(format!("{relation}.jsonl")), facts)?);
        }
    }
    output::publish(files)?;
    Ok(report)
}

/// Refuses an id with which a file would lie elsewhere, or hide.
fn expect_file_name(relation: &str) -> Result<(), KgError> {
    if !relation.starts_with('.') && !relation.contains(['/', '\\', '\0']) {
        return Ok(());
    }
    let expected = "no slash and no dot in front, since it names a file".to_owned();
    Err(KgError::Value { field: "relation_id", expected, got: format!("{relation:?}") })
}

fn lines<T: Serialize>(path: &Path, rows: &[T]) -> Result<whole_file::Synced, KgError> {
    let mut file = output::create(path)?;
    for row in rows {
        serde_json::to_writer(&mut file, row)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(KgError::io(path, "write the file"))?;
    }
    output::sync(file)
}
