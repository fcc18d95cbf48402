//! Held-out examples, drawn in complete groups.
use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;
use trainer::rng_for;

/// Name of the set of held-out examples, and of the random stream that selects this set.
pub(crate) const HELD_OUT: &str = "held out";

/// Randomly selects groups that together contain at least `min_fraction` of all examples.
///
/// `groups` contains one item per example: the group of the example.
pub(crate) fn held_out_groups<G: Ord>(
    groups: impl IntoIterator<Item = G>,
    min_fraction: f64,
    seed: u64,
) -> BTreeSet<G> {
    let mut sizes: BTreeMap<G, usize> = BTreeMap::new();
    for group in groups {
        *sizes.entry(group).or_default() += 1;
    }
    let min_count = min_fraction * sizes.values().sum::<usize>() as f64;
    let mut order: Vec<(G, usize)> = sizes.into_iter().collect();
    order.shuffle(&mut rng_for(seed, HELD_OUT, 0));
    let mut held_out = BTreeSet::new();
    let mut held_out_count = 0;
    for (group, size) in order {
        if held_out_count as f64 >= min_count {
            break;
        }
        held_out_count += size;
        held_out.insert(group);
    }
    held_out
}
