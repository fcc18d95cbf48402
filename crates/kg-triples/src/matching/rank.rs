//! Ranking of the first corpus for each document of the second.
use rayon::prelude::*;

use super::skip_gram::dot;
use super::{Embeddings, MatchGraph};

/// The best documents of the first corpus for each document of the second, as index and score, best
/// first. Documents with equal scores are in the order of the corpus.
pub type Rankings = Vec<Vec<(usize, f32)>>;

/// Ranks documents by the cosine of their vectors and returns the `limit` best ones. Documents
/// without neighbours are not ranked, and have an empty ranking.
pub fn rank_by_cosine(graph: &MatchGraph, embeddings: &Embeddings, limit: usize) -> Rankings {
    let unit_vector = |node: usize| {
        let vector = embeddings.vector(node);
        let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        vector.iter().map(|value| (f64::from(*value) / norm) as f32).collect::<Vec<f32>>()
    };
    let has_neighbours = |node: &usize| !graph.neighbours(*node).is_empty();
    let candidates: Vec<(usize, Vec<f32>)> =
        graph.first().filter(has_neighbours).map(|node| (node, unit_vector(node))).collect();
    graph
        .second()
        .into_par_iter()
        .map(|query| {
            if !has_neighbours(&query) {
                return Vec::new();
            }
            let vector = unit_vector(query);
            let scores = candidates.iter().map(|(at, candidate)| (*at, dot(&vector, candidate)));
            best(scores.collect(), limit)
        })
        .collect()
}

/// Sorts scores in descending order and returns the first `limit`.
pub(super) fn best(mut scores: Vec<(usize, f32)>, limit: usize) -> Vec<(usize, f32)> {
    scores.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.truncate(limit);
    scores
}
