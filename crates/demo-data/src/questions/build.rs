use std::collections::{BTreeMap, BTreeSet};

use kg_triples::{KnowledgeGraph, Language};
use rayon::prelude::*;

use super::item::{Builder, Plan, QuestionConfig, QuestionItem, QuestionSet, known, none};
use super::template::TemplateSet;

/// Makes the items of one split: questions about the facts of `graph` whose head is in `heads`, in
/// contexts of such facts only; counterfactual labels are drawn from all entities of `graph`.
///
/// There is a set for each of `context_languages`, with the same facts, drawn labels and order:
/// items with one id are translations of each other. Facts are chosen in
/// `config.context_language`; items for which some language lacks words, or has one label for two
/// entities, are left out of all sets.
///
/// # Errors
/// [`kg_triples::Error::Config`] for a value out of its range;
/// [`kg_triples::Error::UnknownLanguage`]; [`kg_triples::Error::Empty`] if no item can be made.
pub fn build_questions(
    graph: &KnowledgeGraph,
    templates: &TemplateSet,
    split: &str,
    heads: &BTreeSet<String>,
    config: &QuestionConfig,
    context_languages: &[Language],
) -> Result<Vec<QuestionSet>, kg_triples::Error> {
    let builder = Builder::new(graph, templates, split, config)?;
    let languages = context_languages.iter().map(|language| known(graph, *language));
    let languages: Vec<Language> = languages.collect::<Result<_, _>>()?;
    let (pool, order, mut report) = builder.facts(heads);
    let made: Vec<Option<Vec<QuestionItem>>> = (0u64..)
        .zip(order)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(number, fact)| {
            let plan = builder.plan(&pool, number, fact)?;
            let words = |language: &Language| {
                let plain =
                    distinguishes_entities(graph, &plan, builder.context_language, *language);
                plain.then(|| builder.render(&plan, *language)).flatten()
            };
            languages.iter().map(words).collect()
        })
        .collect();
    let planned = made.len();
    let items: Vec<Vec<QuestionItem>> = made.into_iter().flatten().collect();
    report.without_context = planned - items.len();
    report.items = items.len();
    if items.is_empty() {
        return Err(none(split, config, &report));
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

/// Whether what has two labels in `from` has two in `to`, and what has one has one.
fn distinguishes_entities(
    graph: &KnowledgeGraph,
    plan: &Plan<'_>,
    from: Language,
    to: Language,
) -> bool {
    let (mut forward, mut backward) = (BTreeMap::new(), BTreeMap::new());
    plan.facts.iter().flat_map(|fact| [fact.head, fact.tail]).all(|id| {
        match (graph.label(id, from.as_str()), graph.label(id, to.as_str())) {
            (Some(label), Some(translation)) => {
                *forward.entry(label).or_insert(translation) == translation
                    && *backward.entry(translation).or_insert(label) == label
            }
            _ => false,
        }
    })
}
