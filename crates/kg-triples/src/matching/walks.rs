//! Random walks.
use rand::Rng;

use super::MatchGraph;

/// Draws a walk of `steps` steps. Each step leads to a neighbour, drawn uniformly. Returns the
/// nodes of the walk, beginning with `start`, which must have a neighbour.
pub fn random_walk(graph: &MatchGraph, start: usize, steps: usize, rng: &mut impl Rng) -> Vec<u32> {
    let mut walk = Vec::with_capacity(steps + 1);
    walk.push(start as u32);
    let mut node = start;
    for _ in 0..steps {
        let neighbours = graph.neighbours(node);
        let next = neighbours[rng.random_range(0..neighbours.len())];
        walk.push(next);
        node = next as usize;
    }
    walk
}
