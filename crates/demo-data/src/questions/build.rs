use std::collections::{BTreeMap, BTreeSet};

use kg_triples::{KnowledgeGraph, Language};
use rayon::prelude::*;

use super::item::{ItemBuilder, Plan, QuestionConfig, QuestionItem, QuestionSet, no_items_error};
use super::template::TemplateSet;

/// Creates the items of one split: questions about the facts of `graph` whose head is in `heads`.
///
/// Contexts consist only of facts whose head is in `heads`. In counterfactual contexts, the
/// entities are drawn from the whole `graph`.
///
/// One set is returned for each of `context_languages`. All sets contain the same facts and drawn
/// entities in the same order, so items with equal ids are translations of each other. The facts of
/// a context are selected so that their labels in `config.context_language` are unambiguous. An
/// item is skipped in all sets if one of the languages lacks a label or template, or has the same
/// label for two entities of the item.
///
/// # Errors
/// [`kg_triples::Error::Config`] for a value out of range;
/// [`kg_triples::Error::UnknownLanguage`]; [`kg_triples::Error::Empty`] if there are no items.
pub fn build_questions(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    split: &str,
    heads: &BTreeSet<String>,
    config: &QuestionConfig,
    context_languages: &[Language],
) -> Result<Vec<QuestionSet>, kg_triples::Error> {
    let builder = ItemBuilder::new(graph, templates, split, config)?;
    let known_language = |language: &Language| graph.known_language(language.as_str());
    let languages: Vec<Language> =
        context_languages.iter().map(known_language).collect::<Result<_, _>>()?;
    let (pool, item_facts, mut report) = builder.select_facts(heads);
    let rendered: Vec<Option<Vec<QuestionItem>>> = (0u64..)
        .zip(item_facts)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(number, fact)| {
            let plan = builder.plan(&pool, number, fact)?;
            let render = |language: &Language| {
                let is_unambiguous =
                    labels_correspond(graph, &plan, builder.context_language, *language);
                is_unambiguous.then(|| builder.render(&plan, *language)).flatten()
            };
            languages.iter().map(render).collect()
        })
        .collect();
    let n_planned = rendered.len();
    let items: Vec<Vec<QuestionItem>> = rendered.into_iter().flatten().collect();
    report.without_context = n_planned - items.len();
    report.items = items.len();
    if items.is_empty() {
        return Err(no_items_error(split, config, &report));
    }
    let mut sets: Vec<QuestionSet> = languages
        .iter()
        .map(|&context_language| QuestionSet {
            split: split.into(),
            context_language,
            items: Vec::with_capacity(items.len()),
            report,
        })
        .collect();
    for translations in items {
        for (set, item) in sets.iter_mut().zip(translations) {
            set.items.push(item);
        }
    }
    Ok(sets)
}

/// Returns whether the labels of the plan's entities in two languages correspond one to one.
fn labels_correspond(
    graph: &KnowledgeGraph,
    plan: &Plan<'_>,
    first: Language,
    second: Language,
) -> bool {
    let (mut forward, mut backward) = (BTreeMap::new(), BTreeMap::new());
    plan.facts.iter().flat_map(|fact| [fact.head, fact.tail]).all(|id| {
        match (graph.label(id, first.as_str()), graph.label(id, second.as_str())) {
            (Some(label), Some(translation)) => {
                *forward.entry(label).or_insert(translation) == translation
                    && *backward.entry(translation).or_insert(label) == label
            }
            _ => false,
        }
    })
}
