//! The terms of two corpora.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use language::fold;

use super::labels::LabelPhrases;
use super::terms::{TermConfig, TermKind, whole_term};
use super::{Document, MatchGraph};
use crate::Error;
use crate::phrases::words;
use crate::switch::EntityLabels;

/// The terms of the documents of two corpora, and links between terms.
///
/// All terms are from the first corpus, from its columns, and from labels of entities that have a
/// label in the first corpus. A document of the second corpus never adds a term.
pub struct Corpora {
    pub(super) first: Vec<DocumentTerms>,
    pub(super) second: Vec<DocumentTerms>,
    pub(super) terms: Vec<String>,
    /// Pairs of different labels of an entity, in both directions, sorted.
    pub(super) label_links: BTreeSet<[u32; 2]>,
    /// Pairs of a column's name and a term of its cells.
    pub(super) column_links: BTreeSet<[u32; 2]>,
}

/// The terms of a document.
pub(super) struct DocumentTerms {
    /// Terms and their counts, sorted by term.
    pub(super) counts: Vec<(u32, u32)>,
    /// Number of terms, including those that are not terms of the corpora.
    pub(super) length: u32,
}

impl Corpora {
    /// Collects the terms of two corpora. Different labels of an entity are linked, so that a term
    /// of one language has a neighbour in another language.
    ///
    /// # Errors
    /// [`Error::Config`] if word n-grams have no word; [`Error::Empty`] if no document of the
    /// second corpus has a term of the first corpus.
    pub fn new(
        first: &[Document],
        second: &[Document],
        labels: Option<&EntityLabels>,
        config: &TermConfig,
    ) -> Result<Self, Error> {
        if config.kind == (TermKind::WordNgrams { max: 0 }) {
            return Err(Error::Config { key: "terms", value: "0".into(), rule: "1 or more words" });
        }
        let phrases =
            labels.map_or_else(LabelPhrases::default, |labels| LabelPhrases::new(labels, config));
        let mut terms = Terms::default();
        let mut column_links = BTreeSet::new();
        let mut add = |document: &Document, terms: &mut Terms| {
            collect_terms(document, config, &phrases, terms, &mut column_links)
        };
        let first: Vec<_> = first.iter().map(|document| add(document, &mut terms)).collect();
        let label_links = link_labels(&phrases, &mut terms);
        terms.are_complete = true;
        let second: Vec<_> = second.iter().map(|document| add(document, &mut terms)).collect();
        if second.iter().all(|document| document.counts.is_empty()) {
            let hint = "no document of the second corpus has a term of the first; if the languages \
                        differ, add labels in both languages";
            return Err(Error::Empty { what: "common terms".into(), hint: hint.into() });
        }
        Ok(Self { first, second, terms: terms.texts, label_links, column_links })
    }

    /// Builds the graph of documents and terms.
    ///
    /// Terms with fewer than two neighbours connect nothing and are removed. With `only_shared`,
    /// terms that do not connect the corpora are removed, too: a term must occur in both corpora,
    /// or in one of them while another label of the same entity occurs in the other one.
    ///
    /// # Errors
    /// [`Error::Empty`] if no document of the second corpus has a neighbour.
    pub fn graph(&self, only_shared: bool) -> Result<MatchGraph, Error> {
        MatchGraph::new(self, only_shared)
    }

    /// Number of terms.
    pub fn term_count(&self) -> usize {
        self.terms.len()
    }

    /// Number of pairs of terms that are linked because they are labels of one entity.
    pub fn label_link_count(&self) -> usize {
        self.label_links.len() / 2
    }

    /// The other labels of the entities that have the label `term`.
    pub(super) fn linked_labels(&self, term: u32) -> impl Iterator<Item = u32> + '_ {
        self.label_links.range([term, 0]..=[term, u32::MAX]).map(|[_, other]| *other)
    }
}

/// Interned terms.
#[derive(Default)]
struct Terms {
    ids: HashMap<String, u32>,
    texts: Vec<String>,
    /// Whether terms are only looked up and no longer added.
    are_complete: bool,
}

impl Terms {
    fn id(&mut self, term: &str) -> Option<u32> {
        if let Some(id) = self.ids.get(term) {
            return Some(*id);
        }
        if self.are_complete {
            return None;
        }
        let id = u32::try_from(self.texts.len()).expect("fewer than 2^32 terms fit into memory");
        self.ids.insert(term.to_owned(), id);
        self.texts.push(term.to_owned());
        Some(id)
    }
}

/// Collects the terms of a document, and links the names of its columns with terms of the cells.
fn collect_terms(
    document: &Document,
    config: &TermConfig,
    labels: &LabelPhrases,
    terms: &mut Terms,
    column_links: &mut BTreeSet<[u32; 2]>,
) -> DocumentTerms {
    let mut counts = BTreeMap::new();
    let mut length = 0;
    let mut add = |text: &str, terms: &mut Terms| {
        let mut added = Vec::new();
        for (term, count) in config.count_terms(text, labels) {
            length += count;
            if let Some(id) = terms.id(&term) {
                *counts.entry(id).or_default() += count;
                added.push(id);
            }
        }
        added
    };
    add(&document.text, terms);
    for (column, cell) in &document.fields {
        let cell_terms = add(cell, terms);
        let name = whole_term(&words(fold(column).as_str()));
        let name = if name.is_empty() { None } else { terms.id(&name) };
        if let Some(name) = name {
            let others = cell_terms.into_iter().filter(|term| *term != name);
            column_links.extend(others.map(|term| [name, term]));
        }
    }
    DocumentTerms { counts: counts.into_iter().collect(), length }
}

/// Adds the other labels of each entity that has a label among the terms. Returns the pairs of
/// labels, in both directions.
fn link_labels(labels: &LabelPhrases, terms: &mut Terms) -> BTreeSet<[u32; 2]> {
    let is_term = |label: &String| terms.ids.contains_key(label);
    let known: Vec<&Vec<String>> =
        labels.entities().iter().filter(|labels| labels.iter().any(is_term)).collect();
    let mut links = BTreeSet::new();
    for labels in known {
        let ids: Vec<u32> = labels
            .iter()
            .map(|label| terms.id(label).expect("terms are added until they are complete"))
            .collect();
        let pairs = ids.iter().flat_map(|a| ids.iter().map(move |b| [*a, *b]));
        links.extend(pairs.filter(|[a, b]| a != b));
    }
    links
}
