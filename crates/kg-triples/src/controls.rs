//! Control graphs for ablations. Training on a control graph instead of the original graph measures
//! the effect of the original facts.
use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use serde::Deserialize;

use crate::seed::stream_rng;
use crate::{Error, GraphBuilder, KnowledgeGraph, LabelKind};

/// Kind of facts in a control graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// One fact per entity, which relates the entity to itself. In a mixed sequence of such a fact,
    /// head and tail are the labels of the entity in the two languages.
    LabelPairs,
    /// The facts of the graph with false tails.
    FalseFacts,
}

/// The relation between an entity and itself. This text is the relation's id and its label in every
/// language.
const IDENTITY_RELATION: &str = "=";

impl KnowledgeGraph {
    /// Creates a control graph of the given kind. It has the labels of this graph.
    ///
    /// The tail of a false fact is drawn from the tails of all facts with its relation, weighted by
    /// frequency. A tail is excluded if it forms a true fact or an earlier false fact with the head
    /// and the relation. If no tail remains, the fact is dropped. The draw depends on `seed` and
    /// the graph.
    ///
    /// # Errors
    /// None for a graph built by [`GraphBuilder`].
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
    ///     let control = graph.control_graph(control, 1)?;
    ///     let facts = control.triples();
    ///     Ok(facts.map(|fact| format!("{} {}", fact.head, fact.tail)).collect())
    /// };
    /// assert_eq!(facts(Control::FalseFacts)?, ["Germany Lima", "Peru Berlin"]);
    /// assert_eq!(facts(Control::LabelPairs)?.len(), 4);
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn control_graph(&self, control: Control, seed: u64) -> Result<Self, Error> {
        let mut builder = GraphBuilder::default();
        match control {
            Control::LabelPairs => {
                for entity in self.entities() {
                    builder.add_triple(entity, IDENTITY_RELATION, entity)?;
                }
                for language in self.languages() {
                    builder.add_label(
                        IDENTITY_RELATION,
                        language.as_str(),
                        IDENTITY_RELATION,
                        LabelKind::Relation,
                    )?;
                }
            }
            Control::FalseFacts => {
                let mut tails_by_relation: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
                let mut used_facts = BTreeSet::new();
                for fact in self.triples() {
                    tails_by_relation.entry(fact.relation).or_default().push(fact.tail);
                    used_facts.insert((fact.head, fact.relation, fact.tail));
                }
                let mut rng = stream_rng(seed, "false facts", 0);
                for fact in self.triples() {
                    let (head, relation) = (fact.head, fact.relation);
                    let relation_tails = tails_by_relation.get(relation).into_iter().flatten();
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
        // A relation with a single tail has no false fact.
        builder.add_triple("h0", "only", "t0").unwrap();
        builder.add_label("t0", "en", "zero", LabelKind::Entity).unwrap();
        let graph = builder.build();
        let false_facts = graph.control_graph(Control::FalseFacts, 7).unwrap();
        assert_eq!((false_facts.len(), graph.len()), (40, 41));
        let true_facts: BTreeSet<_> = graph.triples().collect();
        assert!(
            false_facts
                .triples()
                .all(|fact| !true_facts.contains(&fact) && fact.tail.starts_with('t'))
        );
        assert_eq!(false_facts.label("t0", "en"), Some("zero"));
        assert_eq!(false_facts, graph.control_graph(Control::FalseFacts, 7).unwrap());
        assert_ne!(false_facts, graph.control_graph(Control::FalseFacts, 8).unwrap());
    }

    #[test]
    fn label_pairs_have_equal_heads_and_tails() {
        let mut builder = GraphBuilder::default();
        builder.add_triple("Q183", "P36", "Q64").unwrap();
        for (language, label) in [("en", "Germany"), ("de", "Deutschland")] {
            builder.add_label("Q183", language, label, LabelKind::Entity).unwrap();
        }
        let pairs = builder.build().control_graph(Control::LabelPairs, 0).unwrap();
        assert!(pairs.triples().all(|fact| fact.head == fact.tail) && pairs.len() == 2);
        assert_eq!(pairs.label("=", "de"), Some("="));
    }
}
