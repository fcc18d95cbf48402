//! Facts that can be expressed in every language of a probe.
use std::collections::{BTreeMap, BTreeSet};

use kg_triples::{KnowledgeGraph, Language, Triple};

use crate::questions::template::{Template, TemplateKind, TemplateSet};

/// The facts whose head is in a given set and that have labels and a statement template in all
/// `languages`, so that every language has the same items.
pub(super) struct VerbalisedFacts<'a> {
    graph: &'a KnowledgeGraph,
    templates: &'a TemplateSet,
    pub(super) languages: &'a [Language],
    /// The facts, in the order of the graph's triples.
    pub(super) facts: Vec<Triple<'a>>,
    /// Number of facts with a head in the given set that lack a label or a template.
    pub(super) without_sentence: usize,
}

impl<'a> VerbalisedFacts<'a> {
    pub(super) fn new(
        graph: &'a KnowledgeGraph,
        templates: &'a TemplateSet,
        heads: &BTreeSet<String>,
        languages: &'a [Language],
    ) -> Self {
        let candidates: Vec<_> =
            graph.triples().filter(|triple| heads.contains(triple.head)).collect();
        let mut verbalised =
            Self { graph, templates, languages, facts: Vec::new(), without_sentence: 0 };
        let has_sentences = |triple: &&Triple<'a>| {
            languages.iter().all(|&language| verbalised.sentence(**triple, language).is_some())
        };
        let facts: Vec<_> = candidates.iter().filter(has_sentences).copied().collect();
        verbalised.without_sentence = candidates.len() - facts.len();
        verbalised.facts = facts;
        verbalised
    }

    /// Returns the first statement template of a relation.
    pub(super) fn template(&self, relation: &str, language: Language) -> Option<&'a Template> {
        self.templates.get(relation, language, TemplateKind::Statement).first()
    }

    pub(super) fn label(&self, id: &str, language: Language) -> Option<&'a str> {
        self.graph.label(id, language.as_str())
    }

    /// Returns a fact as a sentence; `None` if a label or the template is missing.
    pub(super) fn sentence(&self, triple: Triple<'_>, language: Language) -> Option<String> {
        let (head, tail) = (self.label(triple.head, language)?, self.label(triple.tail, language)?);
        Some(self.template(triple.relation, language)?.render_text(head, tail))
    }

    /// Returns the tails of each relation over all facts of the graph.
    pub(super) fn tails_by_relation(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let mut tails: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for triple in self.graph.triples() {
            tails.entry(triple.relation).or_default().insert(triple.tail);
        }
        tails
    }

    /// Returns the tails of each head and relation over all facts of the graph.
    pub(super) fn tails_by_head(&self) -> BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>> {
        let mut tails: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for triple in self.graph.triples() {
            tails.entry((triple.head, triple.relation)).or_default().insert(triple.tail);
        }
        tails
    }
}
