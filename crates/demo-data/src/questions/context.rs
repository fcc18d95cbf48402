//! Which facts stand beside the one that a question asks for.
use std::collections::{BTreeMap, HashSet};

use kg_triples::{KnowledgeGraph, Language, Triple};
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

/// The facts to choose from: those of one split that can be put into words.
pub(super) struct FactPool<'g> {
    graph: &'g KnowledgeGraph,
    language: Language,
    all: Vec<Triple<'g>>,
    by_relation: BTreeMap<&'g str, Vec<Triple<'g>>>,
}

impl<'g> FactPool<'g> {
    pub(super) fn new(graph: &'g KnowledgeGraph, language: Language, all: Vec<Triple<'g>>) -> Self {
        let mut by_relation: BTreeMap<&str, Vec<Triple<'_>>> = BTreeMap::new();
        for fact in &all {
            by_relation.entry(fact.relation).or_default().push(*fact);
        }
        Self { graph, language, all, by_relation }
    }

    pub(super) fn facts(&self) -> &[Triple<'g>] {
        &self.all
    }

    /// `count` facts, the target first, then up to `same_relation` with its relation, the rest of
    /// any relation; `None` if there are not enough that go together.
    pub(super) fn choose(
        &self,
        target: Triple<'g>,
        count: usize,
        same_relation: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<Triple<'g>>> {
        let mut chosen = Chosen::start(self, target);
        let same = self.by_relation.get(target.relation).map(Vec::as_slice).unwrap_or_default();
        chosen.fill(same, count.min(same_relation + 1), rng);
        chosen.fill(&self.all, count, rng);
        (chosen.facts.len() == count).then_some(chosen.facts)
    }
}

/// A growing context. Entities are told apart by their labels, as a reader does.
struct Chosen<'p, 'g> {
    pool: &'p FactPool<'g>,
    facts: Vec<Triple<'g>>,
    heads: HashSet<&'g str>,
    tails: HashSet<&'g str>,
    target_names: Vec<Option<&'g str>>,
    stated: HashSet<(&'g str, &'g str)>,
}

impl<'p, 'g> Chosen<'p, 'g> {
    fn start(pool: &'p FactPool<'g>, target: Triple<'g>) -> Self {
        let mut chosen = Self {
            pool,
            facts: Vec::new(),
            heads: HashSet::new(),
            tails: HashSet::new(),
            target_names: names(pool.graph, target.head),
            stated: HashSet::new(),
        };
        chosen.add(target);
        chosen
    }

    /// Adds facts of `candidates` in random order until there are `count`.
    fn fill(&mut self, candidates: &[Triple<'g>], count: usize, rng: &mut ChaCha8Rng) {
        // A few are nearly always enough; the second pass goes through all.
        for tries in [candidates.len().min(64), candidates.len()] {
            if self.facts.len() >= count {
                return;
            }
            for at in index::sample(rng, candidates.len(), tries) {
                if let Some(fact) = candidates.get(at).filter(|fact| self.fits(**fact)) {
                    self.add(*fact);
                    if self.facts.len() == count {
                        return;
                    }
                }
            }
        }
    }

    /// The head is not the target's under any name, the tail is new, no label is both a head and a
    /// tail, and no head and relation stand twice.
    fn fits(&self, fact: Triple<'g>) -> bool {
        let Some((head, tail)) = self.labels(fact) else { return false };
        let other_head = names(self.pool.graph, fact.head)
            .iter()
            .zip(&self.target_names)
            .all(|(name, target)| name.is_none() || name != target);
        other_head
            && head != tail
            && !self.tails.contains(head)
            && !self.tails.contains(tail)
            && !self.heads.contains(tail)
            && !self.stated.contains(&(head, fact.relation))
    }

    fn add(&mut self, fact: Triple<'g>) {
        if let Some((head, tail)) = self.labels(fact) {
            self.heads.insert(head);
            self.tails.insert(tail);
            self.stated.insert((head, fact.relation));
            self.facts.push(fact);
        }
    }

    fn labels(&self, fact: Triple<'g>) -> Option<(&'g str, &'g str)> {
        let label = |id| self.pool.graph.label(id, self.pool.language.as_str());
        Some((label(fact.head)?, label(fact.tail)?))
    }
}

/// The labels of an entity in all languages of the graph.
fn names<'g>(graph: &'g KnowledgeGraph, id: &str) -> Vec<Option<&'g str>> {
    graph.languages().iter().map(|language| graph.label(id, language.as_str())).collect()
}
