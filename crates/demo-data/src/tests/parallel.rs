//! Reading items about the same facts in several languages.

use std::collections::{BTreeMap, BTreeSet};

use crate::questions::build::build_questions;
use crate::questions::item::{QuestionConfig, QuestionSet};
use crate::questions::template::TemplateSet;
use kg_triples::{KnowledgeGraph, Language};

use super::common::{data, heads, one_set};

fn graph() -> KnowledgeGraph {
    KnowledgeGraph::read_dir(data("demo/kg")).unwrap()
}

fn languages(codes: &[&str]) -> Vec<Language> {
    codes.iter().map(|code| Language::new(code).unwrap()).collect()
}

fn all_languages() -> QuestionConfig {
    let question_languages = languages(&["en", "de", "es", "ar", "hi", "vi", "zh"]);
    QuestionConfig { question_languages, ..QuestionConfig::default() }
}

fn sets(codes: &[&str], counterfactual: bool) -> Vec<QuestionSet> {
    let (graph, templates) = (graph(), TemplateSet::read(data("demo/templates-all.tsv")).unwrap());
    let config = QuestionConfig { counterfactual, items: Some(300), ..all_languages() };
    let heads = heads(&graph);
    build_questions(&graph, &templates, "test", &heads, &config, &languages(codes)).unwrap()
}

/// The ids that a label may stand for.
fn named(graph: &KnowledgeGraph, language: Language) -> BTreeMap<String, BTreeSet<String>> {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for triple in graph.triples() {
        for id in [triple.head, triple.tail] {
            let label = graph.label(id, language.as_str()).unwrap();
            named.entry(label.to_owned()).or_default().insert(id.to_owned());
        }
    }
    named
}

#[test]
fn sets_are_translations_of_each_other() {
    let graph = graph();
    for counterfactual in [false, true] {
        let sets = sets(&["en", "de", "zh", "ar"], counterfactual);
        assert!(sets[0].items.len() > 250, "{:?}", sets[0].report);
        for other in &sets[1..] {
            assert_eq!(other.items.len(), sets[0].items.len());
            let (mine, theirs) =
                (named(&graph, sets[0].context_language), named(&graph, other.context_language));
            for (own, translated) in sets[0].items.iter().zip(&other.items) {
                assert_eq!((&own.id, own.fact), (&translated.id, translated.fact));
                // The same questions, and an answer that names the same thing.
                assert_eq!(own.questions, translated.questions);
                let same = mine[&own.answer].intersection(&theirs[&translated.answer]).next();
                assert!(same.is_some(), "{} and {}", own.answer, translated.answer);
                let at: String = translated
                    .context
                    .chars()
                    .skip(translated.answer_start)
                    .take(translated.answer.chars().count())
                    .collect();
                assert_eq!(at, translated.answer);
            }
        }
        assert_ne!(sets[0].items[0].context, sets[1].items[0].context);
    }
}

#[test]
fn the_first_language_has_the_same_data_as_alone() {
    let (graph, templates) = (graph(), TemplateSet::read(data("demo/templates-all.tsv")).unwrap());
    let config = QuestionConfig { items: Some(300), ..all_languages() };
    let alone = one_set(&graph, &templates, &heads(&graph), &config).unwrap();
    let english = &sets(&["en"], false)[0];
    assert_eq!(english.items, alone.items);
    // Items without German labels are skipped; all other items are unchanged.
    let both = &sets(&["en", "de"], false)[0];
    let kept: BTreeSet<&String> = both.items.iter().map(|item| &item.id).collect();
    let expected: Vec<_> = alone.items.iter().filter(|item| kept.contains(&item.id)).collect();
    assert_eq!(both.items.iter().collect::<Vec<_>>(), expected);
}
