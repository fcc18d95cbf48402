//! Selection of facts by the labels of their ids and by rank.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::ids::IdMap;
use super::rules::{Rules, Verdict};
use super::{SampleConfig, SampleReport};
use crate::seed;

/// A fact that may be drawn, by its rank. Facts sort as ids do.
type Ranked<T> = (u64, [T; 3]);

/// Facts by their ids.
pub(super) type FactIds = Vec<[Box<str>; 3]>;

/// The `count` lowest.
fn lowest<T: Ord>(facts: &mut Vec<T>, count: usize) {
    if count < facts.len() {
        facts.select_nth_unstable(count);
        facts.truncate(count);
    }
}

/// What is drawn of a group: the `quota` facts of lowest rank, none of them above `highest`.
pub(super) struct Bound {
    quota: usize,
    highest: AtomicU64,
}

impl Bound {
    fn new(quota: usize) -> Self {
        Self { quota, highest: AtomicU64::new(u64::MAX) }
    }
}

/// The groups to draw from: relations, or one that is named by nothing.
pub(super) type Bounds = HashMap<String, Bound>;

/// What a block of facts gives.
#[derive(Default)]
pub(super) struct Found {
    report: SampleReport,
    /// How many may be drawn.
    sizes: HashMap<String, usize>,
    drawn: Vec<(String, Vec<Ranked<Box<str>>>)>,
}

/// Draws facts, in one pass or, evenly by relation, in two. `pass` judges every fact within bounds
/// and hands over what is found, in one part or several.
pub(super) fn draw<E>(
    config: &SampleConfig,
    pass: impl Fn(Option<&Bounds>, &mut dyn FnMut(Found)) -> Result<(), E>,
) -> Result<(SampleReport, FactIds), E> {
    let mut report = SampleReport { requested: config.count, ..SampleReport::default() };
    let mut bounds = Bounds::from([(String::new(), Bound::new(config.count))]);
    if config.stratified {
        let mut sizes: HashMap<String, usize> = HashMap::new();
        pass(None, &mut |found| {
            for (relation, count) in found.sizes {
                *sizes.entry(relation).or_default() += count;
            }
        })?;
        let shares = share(sizes.into_iter().collect(), config.count).into_iter();
        bounds = shares.map(|(relation, quota)| (relation, Bound::new(quota))).collect();
    }
    let mut drawn: HashMap<String, Vec<Ranked<Box<str>>>> = HashMap::new();
    pass(Some(&bounds), &mut |found| {
        report.add(&found.report);
        for (group, facts) in found.drawn {
            let Some(bound) = bounds.get(&group) else { continue };
            let all = drawn.entry(group).or_default();
            all.extend(facts);
            if all.len() > 2 * bound.quota {
                lowest(all, bound.quota);
                let highest = all.iter().map(|(rank, _)| *rank).max();
                bound.highest.store(highest.unwrap_or_default(), Ordering::Relaxed);
            }
        }
    })?;
    let mut picked = Vec::new();
    for (group, mut facts) in drawn {
        lowest(&mut facts, bounds.get(&group).map_or(0, |bound| bound.quota));
        picked.extend(facts.into_iter().map(|(_, fact)| fact));
    }
    Ok((report, picked))
}

/// Decides which facts may be drawn.
pub(super) struct Judge<'a> {
    pub(super) config: &'a SampleConfig,
    pub(super) rules: Rules,
    pub(super) labels: IdMap,
    pub(super) ranks: Ranks,
    /// Heads of the requested types; `None`: all.
    pub(super) heads: Option<IdMap>,
}

impl Judge<'_> {
    /// Judges facts: counts them all, and draws within `bounds`.
    pub(super) fn judge<'f, E>(
        &self,
        facts: impl Iterator<Item = Result<[&'f str; 3], E>>,
        bounds: Option<&Bounds>,
    ) -> Result<Found, E> {
        let mut report = SampleReport::default();
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        let mut drawn: HashMap<&str, Vec<Ranked<&str>>> = HashMap::new();
        for fact in facts {
            let fact = fact?;
            let [head, relation, tail] = fact;
            report.read += 1;
            if head == tail {
                report.self_loops += 1;
                continue;
            }
            if !self.takes(head, relation) {
                report.filtered += 1;
                continue;
            }
            let verdict = self.rules.judge(fact.map(|id| self.labels.get(id)));
            report.count(verdict);
            if verdict != Verdict::Usable {
                continue;
            }
            let Some(bounds) = bounds else {
                *sizes.entry(relation).or_default() += 1;
                continue;
            };
            let group = if self.config.stratified { relation } else { "" };
            let highest = bounds.get(group).map(|bound| bound.highest.load(Ordering::Relaxed));
            let rank = self.ranks.rank(fact);
            if highest.is_some_and(|highest| rank <= highest) {
                drawn.entry(group).or_default().push((rank, fact));
            }
        }
        let quota = |group: &str| {
            bounds.and_then(|bounds| bounds.get(group)).map_or(0, |bound| bound.quota)
        };
        let owned = |(group, mut facts): (&str, Vec<Ranked<&str>>)| {
            lowest(&mut facts, quota(group));
            let facts = facts.into_iter().map(|(rank, fact)| (rank, fact.map(Box::from)));
            (group.to_owned(), facts.collect())
        };
        let drawn = drawn.into_iter().map(owned).collect();
        let sizes = sizes.into_iter().map(|(group, count)| (group.to_owned(), count)).collect();
        Ok(Found { report, sizes, drawn })
    }

    /// Whether head and relation are requested.
    fn takes(&self, head: &str, relation: &str) -> bool {
        let relations = &self.config.relations;
        (relations.is_empty() || relations.iter().any(|known| known == relation))
            && self.heads.as_ref().is_none_or(|heads| heads.get(head) != 0)
    }
}

/// How many triples each relation gives, by how many it has. Relations with few triples give all of
/// them, the others share the rest evenly.
pub(super) fn share<T: Ord>(mut sizes: Vec<(T, usize)>, count: usize) -> Vec<(T, usize)> {
    sizes.sort_unstable_by(|(a, few), (b, many)| (few, a).cmp(&(many, b)));
    let (mut left, mut taken) = (sizes.len(), 0);
    let share = |(relation, size): (T, usize)| {
        let quota = size.min((count - taken) / left.max(1));
        (left, taken) = (left.saturating_sub(1), taken + quota);
        (relation, quota)
    };
    sizes.into_iter().map(share).collect()
}

impl SampleReport {
    /// Adds the counts of other triples.
    fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.read, other.read),
            (&mut self.self_loops, other.self_loops),
            (&mut self.filtered, other.filtered),
            (&mut self.short_labels, other.short_labels),
            (&mut self.without_head_label, other.without_head_label),
            (&mut self.without_tail_label, other.without_tail_label),
            (&mut self.without_relation_label, other.without_relation_label),
            (&mut self.available, other.available),
        ] {
            *sum += count;
        }
    }
}

/// Random numbers that depend on the seed and the three ids of a triple alone.
pub(super) struct Ranks {
    key: u64,
}

impl Ranks {
    pub(super) fn new(seed: u64) -> Self {
        Self { key: ChaCha8Rng::seed_from_u64(seed).next_u64() }
    }

    /// Two ChaCha steps: equal facts under two seeds, or two facts under one, share nothing that
    /// shows.
    pub(super) fn rank(&self, ids: [&str; 3]) -> u64 {
        ChaCha8Rng::seed_from_u64(seed::hash_of(&ids) ^ self.key).next_u64()
    }
}
