//! Which facts stand beside the one that a question asks for.
use std::collections::{BTreeMap, HashSet};

use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::{KnowledgeGraph, Language};

/// The facts to choose from: those of one split that can be put into words.
pub(super) struct FactPool<'g> {
    graph: &'g KnowledgeGraph,
    language: Language,
    all: Vec<[u32; 3]>,
    by_relation: BTreeMap<u32, Vec<[u32; 3]>>,
}

impl<'g> FactPool<'g> {
    pub(super) fn new(graph: &'g KnowledgeGraph, language: Language, all: Vec<[u32; 3]>) -> Self {
        let mut by_relation: BTreeMap<u32, Vec<[u32; 3]>> = BTreeMap::new();
        for fact in &all {
            by_relation.entry(fact[1]).or_default().push(*fact);
        }
        Self { graph, language, all, by_relation }
    }

    pub(super) fn facts(&self) -> &[[u32; 3]] {
        &self.all
    }

    /// `count` facts, the target first, then up to `same_relation` with its relation, the rest of
    /// any relation; `None` if there are not enough that go together.
    pub(super) fn choose(
        &self,
        target: [u32; 3],
        count: usize,
        same_relation: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<[u32; 3]>> {
        let mut chosen = Chosen::start(self, target);
        let same = self.by_relation.get(&target[1]).map(Vec::as_slice).unwrap_or_default();
        chosen.fill(same, count.min(same_relation + 1), rng);
        chosen.fill(&self.all, count, rng);
        (chosen.facts.len() == count).then_some(chosen.facts)
    }
}

/// A growing context. Entities are told apart by their labels, as a reader does.
struct Chosen<'g> {
    pool: &'g FactPool<'g>,
    facts: Vec<[u32; 3]>,
    heads: HashSet<&'g str>,
    tails: HashSet<&'g str>,
    target_names: Vec<Option<&'g str>>,
    stated: HashSet<(&'g str, u32)>,
}

impl<'g> Chosen<'g> {
    fn start(pool: &'g FactPool<'g>, target: [u32; 3]) -> Self {
        let mut chosen = Self {
            pool,
            facts: Vec::new(),
            heads: HashSet::new(),
            tails: HashSet::new(),
            target_names: names(pool.graph, target[0]),
            stated: HashSet::new(),
        };
        chosen.add(target);
        chosen
    }

    /// Adds facts of `candidates` in random order until there are `count`.
    fn fill(&mut self, candidates: &[[u32; 3]], count: usize, rng: &mut ChaCha8Rng) {
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
    /// tail, and nothing is said twice about one head and relation.
    fn fits(&self, fact: [u32; 3]) -> bool {
        let Some((head, tail)) = self.labels(fact) else { return false };
        let other_head = names(self.pool.graph, fact[0])
            .iter()
            .zip(&self.target_names)
            .all(|(name, target)| name.is_none() || name != target);
        other_head
            && head != tail
            && !self.tails.contains(head)
            && !self.tails.contains(tail)
            && !self.heads.contains(tail)
            && !self.stated.contains(&(head, fact[1]))
    }

    fn add(&mut self, fact: [u32; 3]) {
        if let Some((head, tail)) = self.labels(fact) {
            self.heads.insert(head);
            self.tails.insert(tail);
            self.stated.insert((head, fact[1]));
            self.facts.push(fact);
        }
    }

    fn labels(&self, fact: [u32; 3]) -> Option<(&'g str, &'g str)> {
        let label = |id| self.pool.graph.label_at(id, self.pool.language);
        Some((label(fact[0])?, label(fact[2])?))
    }
}

/// The labels of an entity in all languages of the graph.
fn names(graph: &KnowledgeGraph, id: u32) -> Vec<Option<&str>> {
    graph.languages().iter().map(|language| graph.label_at(id, *language)).collect()
}
