//! Tests of items about the same facts in several languages.

use std::collections::{BTreeMap, BTreeSet};

use crate::questions::build::build_questions;
use crate::questions::item::{QuestionConfig, QuestionSet};
use crate::questions::template::TemplateSet;
use kg_triples::{KnowledgeGraph, Language};

use super::common::{data_path, heads, test_set};

fn demo_inputs() -> (KnowledgeGraph, TemplateSet) {
    let templates = TemplateSet::read(data_path("demo/templates-all.tsv")).unwrap();
    (KnowledgeGraph::read_dir(data_path("demo/kg")).unwrap(), templates)
}

fn languages(codes: &[&str]) -> Vec<Language> {
    codes.iter().map(|code| Language::new(code).unwrap()).collect()
}

fn all_language_config() -> QuestionConfig {
    let question_languages = languages(&["en", "de", "es", "ar", "hi", "vi", "zh"]);
    QuestionConfig { question_languages, ..QuestionConfig::default() }
}

fn question_sets(codes: &[&str], counterfactual: bool) -> Vec<QuestionSet> {
    let (graph, templates) = demo_inputs();
    let config = QuestionConfig { counterfactual, items: Some(300), ..all_language_config() };
    let heads = heads(&graph);
    build_questions(&graph, &templates, "test", &heads, &config, &languages(codes)).unwrap()
}

/// Returns the ids of the entities by label.
fn ids_by_label(graph: &KnowledgeGraph, language: Language) -> BTreeMap<String, BTreeSet<String>> {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for triple in graph.triples() {
        for id in [triple.head, triple.tail] {
            let label = graph.label(id, language.as_str()).unwrap();
            ids.entry(label.to_owned()).or_default().insert(id.to_owned());
        }
    }
    ids
}

#[test]
fn sets_are_translations_of_each_other() {
    let (graph, _) = demo_inputs();
    for counterfactual in [false, true] {
        let sets = question_sets(&["en", "de", "zh", "ar"], counterfactual);
        assert!(sets[0].items.len() > 250, "{:?}", sets[0].report);
        let english_ids = ids_by_label(&graph, sets[0].context_language);
        for translated_set in &sets[1..] {
            assert_eq!(translated_set.items.len(), sets[0].items.len());
            let translated_ids = ids_by_label(&graph, translated_set.context_language);
            for (english, translated) in sets[0].items.iter().zip(&translated_set.items) {
                assert_eq!(english.id, translated.id);
                assert_eq!(english.fact_number, translated.fact_number);
                // The questions are equal, and both answers are labels of one entity.
                assert_eq!(english.questions, translated.questions);
                let mut common_ids =
                    english_ids[&english.answer].intersection(&translated_ids[&translated.answer]);
                let has_common_id = common_ids.next().is_some();
                assert!(has_common_id, "{} and {}", english.answer, translated.answer);
                let answer: String = translated
                    .context
                    .chars()
                    .skip(translated.answer_start)
                    .take(translated.answer.chars().count())
                    .collect();
                assert_eq!(answer, translated.answer);
            }
        }
        assert_ne!(sets[0].items[0].context, sets[1].items[0].context);
    }
}

#[test]
fn further_languages_do_not_change_items_of_the_first_language() {
    let (graph, templates) = demo_inputs();
    let config = QuestionConfig { items: Some(300), ..all_language_config() };
    let expected = test_set(&graph, &templates, &heads(&graph), &config).unwrap();
    let english = &question_sets(&["en"], false)[0];
    assert_eq!(english.items, expected.items);
    // Items without German labels are skipped; all other items are unchanged.
    let bilingual = &question_sets(&["en", "de"], false)[0];
    let ids: BTreeSet<&String> = bilingual.items.iter().map(|item| &item.id).collect();
    let expected: Vec<_> = expected.items.iter().filter(|item| ids.contains(&item.id)).collect();
    assert_eq!(bilingual.items.iter().collect::<Vec<_>>(), expected);
}
