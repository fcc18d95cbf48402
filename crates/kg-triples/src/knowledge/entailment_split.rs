//! Split of triples into training triples and queries.
use std::collections::BTreeMap;

use super::described::DescriptionSource;
use super::{EntailmentConfig, EntailmentReport};
use crate::{Error, KnowledgeGraph, Language, seed};

/// Returns the languages of `config`, or all `described_languages` if this list is empty.
pub(super) fn requested_languages(
    config: &EntailmentConfig,
    described_languages: &[Language],
) -> Result<Vec<Language>, Error> {
    if config.languages.is_empty() {
        if described_languages.len() == 1 && config.multilingual {
            let rule = "two languages or more; add labels or descriptions in another language";
            return Err(Error::Config {
                key: "languages",
                value: format!("{described_languages:?}"),
                rule,
            });
        }
        return Ok(described_languages.to_vec());
    }
    let unknown = config.languages.iter().find(|language| !described_languages.contains(language));
    match unknown {
        Some(language) => Err(Error::unknown_language(language.as_str(), described_languages)),
        None => Ok(config.languages.clone()),
    }
}

/// Fact numbers of training triples (`train`) and of triples that can be queries (`test`). Skipped
/// triples, which `report` counts, are in neither list.
#[derive(Default)]
pub(super) struct TripleSplit {
    pub(super) train: Vec<u32>,
    pub(super) test: Vec<u32>,
    pub(super) facts_about: BTreeMap<String, Vec<u32>>,
    pub(super) report: EntailmentReport,
}

pub(super) fn split_triples(
    graph: &KnowledgeGraph,
    descriptions: &DescriptionSource,
    languages: &[Language],
    config: &EntailmentConfig,
) -> TripleSplit {
    let mut object_counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for triple in graph.triples() {
        *object_counts.entry((triple.head, triple.relation)).or_default() += 1;
    }
    let languages_of = |id: &str| -> Vec<&Language> {
        languages.iter().filter(|code| descriptions.has_text(graph, id, **code)).collect()
    };
    let mut split = TripleSplit::default();
    let report = &mut split.report;
    for (fact, triple) in (0u32..).zip(graph.triples()) {
        report.triples += 1;
        let (subject, object) = (languages_of(triple.head), languages_of(triple.tail));
        if subject.is_empty() {
            report.without_subject += 1;
            continue;
        }
        if object.is_empty() {
            report.without_object += 1;
            continue;
        }
        let has_two_languages =
            || subject.iter().any(|first| object.iter().any(|second| first != second));
        if config.multilingual && !has_two_languages() {
            report.without_language += 1;
            continue;
        }
        let name = format!("fact {} {} {}", triple.head, triple.relation, triple.tail);
        if seed::hash_to_unit(config.seed, &name) < config.hold_out {
            if object_counts.get(&(triple.head, triple.relation)) == Some(&1) {
                split.test.push(fact);
                report.test += 1;
            } else {
                report.ambiguous += 1;
            }
            continue;
        }
        split.train.push(fact);
        report.train += 1;
        for entity in [triple.head, triple.tail] {
            split.facts_about.entry(entity.to_owned()).or_default().push(fact);
        }
    }
    split
}
