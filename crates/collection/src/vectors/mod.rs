//! Vectors of passages: files that never change, an exact scan of 8-bit rows, and float32 rows for
//! the scores of the best passages.
mod dot;
mod file;

pub(crate) use file::{VectorFile, file_name, is_vector_file, merge, write};

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Number of passages of the 8-bit scan whose float32 vectors are compared. With this number, the
/// best 50 were always those of a complete float32 scan in measurements with 1,000,000 vectors.
const RERANKED: usize = 100;

/// A passage and its score. The greatest one is the best one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scored {
    score: f32,
    number: Reverse<u64>,
    /// Index of the file and of the row in the file.
    row: (usize, usize),
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A file of vectors, and which of its rows belong to passages of the collection.
#[derive(Debug)]
pub(crate) struct PartView {
    pub file: Arc<VectorFile>,
    /// Whether each row's passage is in the collection; `None` if all are.
    pub alive: Option<Vec<bool>>,
}

impl PartView {
    /// Compares the rows' passages with the sorted numbers of all passages.
    pub fn new(file: Arc<VectorFile>, alive: &[u64]) -> Self {
        let mut passages = alive.iter().copied().peekable();
        let is_alive = |number: u64| {
            while passages.next_if(|&passage| passage < number).is_some() {}
            passages.peek() == Some(&number)
        };
        let flags: Vec<bool> = file.numbers().map(is_alive).collect();
        let alive = flags.contains(&false).then_some(flags);
        Self { file, alive }
    }

    /// Returns the number of rows whose passages are in the collection.
    pub fn alive_rows(&self) -> usize {
        match &self.alive {
            Some(flags) => flags.iter().filter(|&&flag| flag).count(),
            None => self.file.rows(),
        }
    }

    pub fn is_alive(&self, row: usize) -> bool {
        self.alive.as_ref().is_none_or(|flags| flags[row])
    }
}

/// Returns the numbers and cosine similarities of the `limit` passages that are most similar to a
/// vector of norm 1, best first. Passages with equal similarities are in the order of their numbers.
pub(crate) fn nearest(parts: &[PartView], query: &[f32], limit: usize) -> Vec<(u64, f32)> {
    let (codes, scale) = file::quantise(query);
    let n_candidates = limit.max(RERANKED);
    let mut best: BinaryHeap<Reverse<Scored>> = BinaryHeap::with_capacity(n_candidates + 1);
    let mut worst = f32::NEG_INFINITY;
    for (index, part) in parts.iter().enumerate() {
        for row in (0..part.file.rows()).filter(|&row| part.is_alive(row)) {
            let dot = dot::dot(&codes, part.file.codes(row));
            let score = scale * part.file.scale(row) * to_f32(dot);
            if score >= worst || best.len() < n_candidates {
                let number = Reverse(part.file.number(row));
                best.push(Reverse(Scored { score, number, row: (index, row) }));
                if best.len() > n_candidates {
                    best.pop();
                }
                if let Some(Reverse(last)) = best.peek().filter(|_| best.len() == n_candidates) {
                    worst = last.score;
                }
            }
        }
    }
    let rescore = |Reverse(Scored { row: (part, row), number, .. })| {
        let score = cosine(query, parts[part].file.vector(row));
        Scored { score, number, row: (part, row) }
    };
    let mut hits: Vec<Scored> = best.into_iter().map(rescore).collect();
    hits.sort_by(|a, b| b.cmp(a));
    hits.truncate(limit);
    hits.into_iter().map(|hit| (hit.number.0, hit.score)).collect()
}

/// Returns the cosine similarity of a passage's vector, if it has one.
pub(crate) fn similarity(parts: &[PartView], query: &[f32], number: u64) -> Option<f32> {
    let find = |part: &PartView| {
        let row = part.file.find(number)?;
        Some(cosine(query, part.file.vector(row)))
    };
    parts.iter().find_map(find)
}

/// Computes the dot product of two vectors of norm 1, in float64.
fn cosine(a: &[f32], b: impl Iterator<Item = f32>) -> f32 {
    let sum: f64 = a.iter().zip(b).map(|(&a, b)| f64::from(a) * f64::from(b)).sum();
    // Rounding to f32 is intended.
    #[expect(clippy::cast_possible_truncation)]
    {
        sum as f32
    }
}

/// Converts a dot product of codes, which is below 2^24 for vectors of up to 1,040 elements; larger
/// ones are rounded.
#[expect(clippy::cast_precision_loss)]
fn to_f32(dot: i32) -> f32 {
    dot as f32
}
