//! Clozes about facts in the layout of mLAMA (Kassner, Dufter and Schütze 2021): one folder for
//! each language, with `templates.jsonl` and `<relation>.jsonl`.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use kg_triples::{KnowledgeGraph, Language};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::verbalised::VerbalisedFacts;
use crate::facts::FactSource;
use crate::generator::{Files, Generator, json_line};
use crate::questions::template::TemplateSet;

/// Counts of used and skipped facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClozeReport {
    /// Number of facts with a cloze in every language.
    pub facts: usize,
    /// Number of skipped facts, which lack a label or a statement template in one of the languages.
    #[serde(rename = "without_words")]
    pub without_sentence: usize,
}

#[derive(Serialize)]
struct MlamaTemplate<'a> {
    relation: &'a str,
    template: String,
}

#[derive(Serialize)]
struct MlamaFact<'a> {
    uuid: String,
    sub_uri: &'a str,
    obj_uri: &'a str,
    sub_label: &'a str,
    obj_label: &'a str,
}

/// Options for clozes about the facts of a graph.
#[derive(Clone, Debug, clap::Args)]
pub struct ClozeConfig {
    /// The source of the facts.
    #[command(flatten)]
    pub facts: FactSource,
}

impl Generator for ClozeConfig {
    const COMMAND: &'static str = "demo-data clozes";

    fn seed(&self) -> Option<u64> {
        Some(self.facts.split.seed)
    }

    /// Returns the files of `<split>/<language>/` in mLAMA's layout for the splits `train` and
    /// `test`.
    fn generate(&self) -> Result<(Files, Value)> {
        let (graph, templates, split) = self.facts.read()?;
        let mut files = Files::new();
        let mut counts = Map::new();
        for (name, heads) in [("train", &split.train), ("test", &split.test)] {
            let (new_files, report) =
                build_clozes(&graph, &templates, heads, &self.facts.languages)?;
            files
                .extend(new_files.into_iter().map(|(file, text)| (format!("{name}/{file}"), text)));
            counts.insert(name.to_owned(), json!(report));
        }
        Ok((files, Value::Object(counts)))
    }
}

/// Returns `<language>/templates.jsonl` and `<language>/<relation>.jsonl` for the facts whose head
/// is in `heads`.
///
/// Facts are in the order of the graph's triples, and all languages have the same facts. The `uuid`
/// of a fact is `<head>-<relation>-<tail>`.
///
/// # Errors
/// [`kg_triples::Error::Empty`] if no fact can be expressed in all languages;
/// [`kg_triples::Error::Value`] for a relation whose id is not a valid file name.
pub fn build_clozes(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    heads: &BTreeSet<String>,
    languages: &[Language],
) -> Result<(Files, ClozeReport)> {
    let verbalised = VerbalisedFacts::new(graph, templates, heads, languages);
    let report = ClozeReport {
        facts: verbalised.facts.len(),
        without_sentence: verbalised.without_sentence,
    };
    if verbalised.facts.is_empty() {
        let hint = format!(
            "{} facts lack labels or statements in one of the languages",
            verbalised.without_sentence
        );
        return Err(kg_triples::Error::Empty { what: "clozes".into(), hint }.into());
    }
    let mut files = Files::new();
    for &language in languages {
        let mut relations: BTreeMap<&str, Vec<MlamaFact<'_>>> = BTreeMap::new();
        for triple in &verbalised.facts {
            let labels =
                (verbalised.label(triple.head, language), verbalised.label(triple.tail, language));
            let (Some(sub_label), Some(obj_label)) = labels else { continue };
            relations.entry(triple.relation).or_default().push(MlamaFact {
                uuid: format!("{}-{}-{}", triple.head, triple.relation, triple.tail),
                sub_uri: triple.head,
                obj_uri: triple.tail,
                sub_label,
                obj_label,
            });
        }
        let mlama_templates: Vec<MlamaTemplate<'_>> = relations
            .keys()
            .filter_map(|&relation| {
                let template = verbalised.template(relation, language)?.render_text("[X]", "[Y]");
                Some(MlamaTemplate { relation, template })
            })
            .collect();
        files.push((format!("{language}/templates.jsonl"), json_lines(&mlama_templates)?));
        for (relation, facts) in &relations {
            check_file_name(relation)?;
            files.push((format!("{language}/{relation}.jsonl"), json_lines(facts)?));
        }
    }
    Ok((files, report))
}

/// Rejects relation ids that are not valid file names: ids that contain a slash, a backslash or
/// NUL, and ids that start with a dot.
fn check_file_name(relation: &str) -> Result<(), kg_triples::Error> {
    if !relation.starts_with('.') && !relation.contains(['/', '\\', '\0']) {
        return Ok(());
    }
    let expected =
        "an id without slashes or a leading dot, because a file is named after it".to_owned();
    Err(kg_triples::Error::Value { field: "relation_id", expected, got: format!("{relation:?}") })
}

fn json_lines<T: Serialize>(rows: &[T]) -> Result<String> {
    rows.iter().map(json_line).collect()
}
