//! Selection of the facts in the context of a question.
use std::collections::{BTreeMap, HashSet};

use kg_triples::{KnowledgeGraph, Language, Triple};
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

/// The candidate facts of one split, all of which can be expressed as sentences.
pub(super) struct FactPool<'g> {
    graph: &'g KnowledgeGraph,
    language: Language,
    facts: Vec<Triple<'g>>,
    by_relation: BTreeMap<&'g str, Vec<Triple<'g>>>,
}

impl<'g> FactPool<'g> {
    pub(super) fn new(
        graph: &'g KnowledgeGraph,
        language: Language,
        facts: Vec<Triple<'g>>,
    ) -> Self {
        let mut by_relation: BTreeMap<&str, Vec<Triple<'_>>> = BTreeMap::new();
        for fact in &facts {
            by_relation.entry(fact.relation).or_default().push(*fact);
        }
        Self { graph, language, facts, by_relation }
    }

    pub(super) fn facts(&self) -> &[Triple<'g>] {
        &self.facts
    }

    /// Selects `count` facts: the target, then up to `same_relation_facts` facts with the target's
    /// relation, then facts of any relation. Returns `None` if fewer than `count` facts are
    /// compatible.
    pub(super) fn select(
        &self,
        target: Triple<'g>,
        count: usize,
        same_relation_facts: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<Triple<'g>>> {
        let mut context = ContextFacts::new(self, target);
        context.fill(&self.by_relation[target.relation], count.min(same_relation_facts + 1), rng);
        context.fill(&self.facts, count, rng);
        (context.facts.len() == count).then_some(context.facts)
    }
}

/// The facts selected so far for a context. Entities are distinguished by their labels, because the
/// input of a reader contains only labels.
struct ContextFacts<'p, 'g> {
    pool: &'p FactPool<'g>,
    facts: Vec<Triple<'g>>,
    heads: HashSet<&'g str>,
    tails: HashSet<&'g str>,
    target_labels: Vec<Option<&'g str>>,
    /// Pairs of head label and relation.
    head_relations: HashSet<(&'g str, &'g str)>,
}

impl<'p, 'g> ContextFacts<'p, 'g> {
    fn new(pool: &'p FactPool<'g>, target: Triple<'g>) -> Self {
        let mut context = Self {
            pool,
            facts: Vec::new(),
            heads: HashSet::new(),
            tails: HashSet::new(),
            target_labels: all_labels(pool.graph, target.head),
            head_relations: HashSet::new(),
        };
        context.add(target);
        context
    }

    /// Adds compatible facts of `candidates` in random order until the context has `count` facts.
    fn fill(&mut self, candidates: &[Triple<'g>], count: usize, rng: &mut ChaCha8Rng) {
        // The first pass tries a few random candidates, which usually suffice; the second pass
        // tries all.
        for sample_size in [candidates.len().min(64), candidates.len()] {
            if self.facts.len() >= count {
                return;
            }
            for index in index::sample(rng, candidates.len(), sample_size) {
                let fact = candidates[index];
                if self.is_compatible(fact) {
                    self.add(fact);
                    if self.facts.len() == count {
                        return;
                    }
                }
            }
        }
    }

    /// Returns whether a fact is compatible with the context.
    ///
    /// The target is the fact of the question. In each language, the fact's head and the target's
    /// head must have different labels. The context must not yet contain the fact's tail, or a fact
    /// with the same head and relation. No label may be both a head and a tail.
    fn is_compatible(&self, fact: Triple<'g>) -> bool {
        let Some((head, tail)) = self.labels(fact) else { return false };
        let differs_from_target = all_labels(self.pool.graph, fact.head)
            .iter()
            .zip(&self.target_labels)
            .all(|(label, target_label)| label.is_none() || label != target_label);
        differs_from_target
            && head != tail
            && !self.tails.contains(head)
            && !self.tails.contains(tail)
            && !self.heads.contains(tail)
            && !self.head_relations.contains(&(head, fact.relation))
    }

    fn add(&mut self, fact: Triple<'g>) {
        let (head, tail) = self.labels(fact).expect("facts of a context have labels");
        self.heads.insert(head);
        self.tails.insert(tail);
        self.head_relations.insert((head, fact.relation));
        self.facts.push(fact);
    }

    fn labels(&self, fact: Triple<'g>) -> Option<(&'g str, &'g str)> {
        let label = |id| self.pool.graph.label(id, self.pool.language.as_str());
        Some((label(fact.head)?, label(fact.tail)?))
    }
}

/// Returns the labels of an entity in all languages of the graph.
fn all_labels<'g>(graph: &'g KnowledgeGraph, id: &str) -> Vec<Option<&'g str>> {
    graph.languages().iter().map(|language| graph.label(id, language.as_str())).collect()
}
