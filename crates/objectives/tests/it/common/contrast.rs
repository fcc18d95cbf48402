//! A contrastive batch, and its loss computed with loops.
use super::*;
use ndarray::ArrayView1;
use objectives::{Direction, InfoNceConfig, Negatives};

/// A batch and the queued keys (oldest first), with their entity ids.
#[derive(Clone, Debug)]
pub struct ContrastBatch {
    pub query: Array2<f64>,
    pub key: Array2<f64>,
    pub queue: Array2<f64>,
    pub ids: Vec<i64>,
    pub queue_ids: Vec<i64>,
    pub valid: Vec<bool>,
}

impl ContrastBatch {
    /// A batch of valid rows with different entities.
    pub fn new(query: Array2<f64>, key: Array2<f64>, queue: Array2<f64>) -> Self {
        let (n, q) = (query.nrows(), queue.nrows());
        let (ids, queue_ids, valid) = ((0..n as i64).collect(), vec![-1; q], vec![true; n]);
        Self { query, key, queue, ids, queue_ids, valid }
    }

    pub fn sines(n: usize, d: usize, q: usize) -> Self {
        Self::new(sines(n, d, 0.731, 1.5), sines(n, d, 1.137, 1.2), sines(q, d, 0.391, 1.4))
    }

    /// Computes the InfoNCE loss (*XLM-K*, Eq. 5) with loops.
    pub fn naive_loss(&self, skip_oldest: usize, config: &InfoNceConfig) -> f64 {
        let scale = |row: ArrayView1<f64>| {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(config.l2_eps);
            if config.l2_norm { norm } else { 1.0 }
        };
        let similarity = |a: ArrayView1<f64>, b: ArrayView1<f64>| {
            let mut dot = 0.0;
            for (x, y) in a.iter().zip(b) {
                dot += x * y;
            }
            dot / scale(a) / scale(b) / config.temperature
        };
        let rows: Vec<usize> = (0..self.valid.len()).filter(|&i| self.valid[i]).collect();
        let is_same_entity = |a: i64, b: i64| config.mask_same_entity && a >= 0 && a == b;
        let (mut total, mut terms) = (0.0, 0);
        let direction_count = if config.direction == Direction::Bidirectional { 2 } else { 1 };
        for direction in 0..direction_count {
            let (anchors, keys) =
                if direction == 0 { (&self.query, &self.key) } else { (&self.key, &self.query) };
            for &i in &rows {
                let positive = similarity(anchors.row(i), keys.row(i));
                let mut candidates = vec![positive];
                for &j in &rows {
                    if j == i || is_same_entity(self.ids[i], self.ids[j]) {
                        continue;
                    }
                    candidates.push(similarity(anchors.row(i), keys.row(j)));
                    if config.negatives == Negatives::QueriesKeysAndQueue {
                        candidates.push(similarity(anchors.row(i), anchors.row(j)));
                    }
                }
                for j in skip_oldest..self.queue.nrows() {
                    if !is_same_entity(self.ids[i], self.queue_ids[j]) {
                        candidates.push(similarity(anchors.row(i), self.queue.row(j)));
                    }
                }
                let largest = candidates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = candidates.iter().map(|x| (x - largest).exp()).sum();
                total += largest + sum.ln() - positive;
                terms += 1;
            }
        }
        total / f64::from(terms.max(1))
    }
}
