//! Selection of facts by labels and by random rank.
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::ids::IdMap;
use super::rules::{LabelCheck, LabelRules};
use super::{SampleConfig, SampleReport};
use crate::seed;

/// The rank of a fact and its ids.
type RankedFact<T> = (u64, [T; 3]);

/// Ids of head, relation and tail of facts.
pub(super) type FactIds = Vec<[Box<str>; 3]>;

/// Retains only the `count` lowest elements of `facts`.
fn retain_lowest<T: Ord>(facts: &mut Vec<T>, count: usize) {
    if count < facts.len() {
        facts.select_nth_unstable(count);
        facts.truncate(count);
    }
}

/// Number of facts to draw, and an upper bound of the ranks of these facts.
pub(super) struct Bound {
    count: usize,
    max_rank: AtomicU64,
}

/// The selected facts of a block, and counts of all facts of the block.
#[derive(Default)]
pub(super) struct SelectedFacts {
    report: SampleReport,
    drawn: Vec<RankedFact<Box<str>>>,
}

/// Draws the facts with the lowest ranks. `select_facts` must pass the facts within its first
/// argument, a [`Bound`], to its second argument, block by block. The bound decreases during the
/// call.
pub(super) fn draw<E>(
    config: &SampleConfig,
    select_facts: impl Fn(&Bound, &mut dyn FnMut(SelectedFacts)) -> Result<(), E>,
) -> Result<(SampleReport, FactIds), E> {
    let mut report = SampleReport { requested: config.count, ..SampleReport::default() };
    let bound = Bound { count: config.count, max_rank: AtomicU64::new(u64::MAX) };
    let mut drawn = Vec::new();
    select_facts(&bound, &mut |selection| {
        report.add(&selection.report);
        drawn.extend(selection.drawn);
        if drawn.len() / 2 > bound.count {
            retain_lowest(&mut drawn, bound.count);
            // No fact is within the bound if none is requested.
            let max_rank = drawn.iter().map(|(rank, _)| *rank).max().unwrap_or(0);
            bound.max_rank.store(max_rank, Ordering::Relaxed);
        }
    })?;
    retain_lowest(&mut drawn, bound.count);
    Ok((report, drawn.into_iter().map(|(_, fact)| fact).collect()))
}

/// Selects facts by their labels and ranks.
pub(super) struct FactFilter {
    pub(super) rules: LabelRules,
    pub(super) labels: IdMap,
    pub(super) ranks: Ranks,
}

impl FactFilter {
    /// Counts all facts, and selects the facts with all required labels and a rank within `bound`.
    pub(super) fn select<'f, E>(
        &self,
        facts: impl Iterator<Item = Result<[&'f str; 3], E>>,
        bound: &Bound,
    ) -> Result<SelectedFacts, E> {
        let mut report = SampleReport::default();
        let mut drawn: Vec<RankedFact<&str>> = Vec::new();
        for fact in facts {
            let fact = fact?;
            let [head, _, tail] = fact;
            report.read += 1;
            if head == tail {
                report.self_loops += 1;
                continue;
            }
            let check = self.rules.check(fact.map(|id| self.labels.get(id)));
            report.count_fact(check);
            if check != LabelCheck::Complete {
                continue;
            }
            let rank = self.ranks.rank(fact);
            if rank <= bound.max_rank.load(Ordering::Relaxed) {
                drawn.push((rank, fact));
            }
        }
        retain_lowest(&mut drawn, bound.count);
        let drawn = drawn.into_iter().map(|(rank, fact)| (rank, fact.map(Box::from)));
        Ok(SelectedFacts { report, drawn: drawn.collect() })
    }
}

impl SampleReport {
    /// Adds the counts of another block.
    fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.read, other.read),
            (&mut self.self_loops, other.self_loops),
            (&mut self.without_head_label, other.without_head_label),
            (&mut self.without_tail_label, other.without_tail_label),
            (&mut self.without_relation_label, other.without_relation_label),
            (&mut self.available, other.available),
        ] {
            *sum += count;
        }
    }
}

/// Random ranks of facts that depend only on the seed and the three ids of the fact.
pub(super) struct Ranks {
    key: u64,
}

impl Ranks {
    pub(super) fn new(seed: u64) -> Self {
        Self { key: ChaCha8Rng::seed_from_u64(seed).next_u64() }
    }

    /// Returns the rank of a fact. ChaCha is applied to the seed (in [`Self::new`]), and again to a
    /// hash of the ids combined with the result. The ranks of a fact for two seeds are therefore
    /// unrelated, as are the ranks of two facts for one seed.
    pub(super) fn rank(&self, ids: [&str; 3]) -> u64 {
        ChaCha8Rng::seed_from_u64(seed::hash_of(&ids) ^ self.key).next_u64()
    }
}
