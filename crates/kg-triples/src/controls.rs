//! Control graphs, which separate the effect of knowledge from side effects.
use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use serde::Deserialize;

use crate::seed::stream_rng;
use crate::{Error, GraphBuilder, KnowledgeGraph, LabelKind};

/// Replacement of a graph's facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Every fact relates an entity to itself, so mixed sequences are a bilingual dictionary.
    LabelPairs,
    /// False facts with the same heads and relations.
    FalseFacts,
}

/// The relation of an entity to itself, and its label in every language.
const IDENTITY: &str = "=";

impl KnowledgeGraph {
    /// Creates a control graph with the labels of this graph.
    ///
    /// The tail of a false fact is drawn from the tails of its relation, weighted by frequency,
    /// without the true tails of its head and those already drawn for it. If none remains, the fact
    /// is dropped. The draw depends on `seed` and the graph.
    ///
    /// # Errors
    /// None for a valid graph: [`GraphBuilder`] validates graphs when they are built.
    ///
    /// ```
    /// use kg_triples::{Control, GraphBuilder};
    ///
    /// let mut builder = GraphBuilder::default();
    /// for (head, tail) in [("Germany", "Berlin"), ("Peru", "Lima")] {
    ///     builder.add_triple(head, "capital", tail)?;
    /// }
    /// let graph = builder.build();
    /// let facts = |control| -> Result<Vec<String>, kg_triples::Error> {
    ///     let control = graph.control(control, 1)?;
    ///     let facts = control.triples();
    ///     Ok(facts.map(|fact| format!("{} {}", fact.head, fact.tail)).collect())
    /// };
    /// assert_eq!(facts(Control::FalseFacts)?, ["Germany Lima", "Peru Berlin"]);
    /// assert_eq!(facts(Control::LabelPairs)?.len(), 4);
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn control(&self, control: Control, seed: u64) -> Result<Self, Error> {
        let mut builder = GraphBuilder::default();
        match control {
            Control::LabelPairs => {
                for entity in self.entities() {
                    builder.add_triple(entity, IDENTITY, entity)?;
                }
                for language in self.languages() {
                    builder.add_label(
                        IDENTITY,
                        language.as_str(),
                        IDENTITY,
                        LabelKind::Relation,
                    )?;
                }
            }
            Control::FalseFacts => {
                let mut tails: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
                let mut used_facts = BTreeSet::new();
                for fact in self.triples() {
                    tails.entry(fact.relation).or_default().push(fact.tail);
                    used_facts.insert((fact.head, fact.relation, fact.tail));
                }
                let mut rng = stream_rng(seed, "false facts", 0);
                for fact in self.triples() {
                    let (head, relation) = (fact.head, fact.relation);
                    let relation_tails = tails.get(relation).into_iter().flatten();
                    let unused_tails = relation_tails
                        .filter(|tail| !used_facts.contains(&(head, relation, **tail)));
                    if let Some(tail) = unused_tails.collect::<Vec<_>>().choose(&mut rng) {
                        builder.add_triple(head, relation, tail)?;
                        used_facts.insert((head, relation, tail));
                    }
                }
            }
        }
        builder.add_labels(self)?;
        Ok(builder.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_facts_are_not_true_and_use_tails_of_their_relation() {
        let mut builder = GraphBuilder::default();
        let facts = (0..40).map(|k| (format!("h{}", k % 20), format!("r{}", k / 20), k % 7));
        let facts: Vec<_> = facts.collect();
        for (head, relation, tail) in &facts {
            builder.add_triple(head, relation, &format!("t{tail}")).unwrap();
        }
        // A relation with one tail has no false fact.
        builder.add_triple("h0", "only", "t0").unwrap();
        builder.add_label("t0", "en", "zero", LabelKind::Entity).unwrap();
        let graph = builder.build();
        let false_facts = graph.control(Control::FalseFacts, 7).unwrap();
        assert_eq!((false_facts.len(), graph.len()), (40, 41));
        let true_facts: BTreeSet<_> = graph.triples().collect();
        assert!(
            false_facts
                .triples()
                .all(|fact| !true_facts.contains(&fact) && fact.tail.starts_with('t'))
        );
        assert_eq!(false_facts.label("t0", "en"), Some("zero"));
        assert_eq!(false_facts, graph.control(Control::FalseFacts, 7).unwrap());
        assert_ne!(false_facts, graph.control(Control::FalseFacts, 8).unwrap());
    }

    #[test]
    fn a_label_pair_has_one_entity_on_both_sides() {
        let mut builder = GraphBuilder::default();
        builder.add_triple("Q183", "P36", "Q64").unwrap();
        for (language, label) in [("en", "Germany"), ("de", "Deutschland")] {
            builder.add_label("Q183", language, label, LabelKind::Entity).unwrap();
        }
        let pairs = builder.build().control(Control::LabelPairs, 0).unwrap();
        assert!(pairs.triples().all(|fact| fact.head == fact.tail) && pairs.len() == 2);
        assert_eq!(pairs.label("=", "de"), Some("="));
    }
}
