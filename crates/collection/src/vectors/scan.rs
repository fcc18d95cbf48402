//! An exact scan of 8-bit rows by several threads.
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::atomic::{self, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use super::dot::DotProducts;
use super::file::quantise;
use super::{PartView, cosine};

/// Number of passages of the 8-bit scan whose float32 vectors are compared. With this number, the
/// best 50 were always those of a complete float32 scan in measurements with 1,000,000 vectors.
const RERANKED: usize = 100;

/// Number of rows that a thread scans at a time.
const BLOCK_ROWS: usize = 1024;

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

/// The best passages found so far.
struct Best {
    limit: usize,
    heap: BinaryHeap<Reverse<Scored>>,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new() }
    }

    /// Returns the score below which a passage is not among the best.
    fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(Reverse(last)) if self.heap.len() == self.limit => last.score,
            _ => f32::NEG_INFINITY,
        }
    }

    fn add(&mut self, scored: Scored) {
        self.heap.push(Reverse(scored));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }
}

/// A search for the passages that are most similar to a vector of norm 1.
///
/// Any number of threads call [`run`](Self::run). The result does not depend on their number.
pub(crate) struct Scan<'a> {
    parts: &'a [PartView],
    query: &'a [f32],
    products: DotProducts,
    scale: f32,
    limit: usize,
    /// Blocks of rows: the index of the file and of the first row.
    blocks: Vec<(usize, usize)>,
    next_block: AtomicUsize,
    best: Mutex<Best>,
}

impl<'a> Scan<'a> {
    pub fn new(parts: &'a [PartView], query: &'a [f32], limit: usize) -> Self {
        let (codes, scale) = quantise(query);
        let blocks_of = |(index, part): (usize, &PartView)| {
            (0..part.file.rows()).step_by(BLOCK_ROWS).map(move |row| (index, row))
        };
        Self {
            parts,
            query,
            products: DotProducts::new(codes),
            scale,
            limit,
            blocks: parts.iter().enumerate().flat_map(blocks_of).collect(),
            next_block: AtomicUsize::new(0),
            best: Mutex::new(Best::new(limit.max(RERANKED))),
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.file.rows()).sum()
    }

    /// Scans blocks until all blocks are scanned or taken by other threads.
    pub fn run(&self) {
        let mut best = Best::new(self.limit.max(RERANKED));
        let mut products = Vec::new();
        loop {
            let block = self.next_block.fetch_add(1, atomic::Ordering::Relaxed);
            let Some(&(index, first)) = self.blocks.get(block) else { break };
            self.scan_block(index, first, &mut products, &mut best);
        }
        let mut all = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        for Reverse(scored) in best.heap {
            all.add(scored);
        }
    }

    fn scan_block(&self, index: usize, first: usize, products: &mut Vec<i32>, best: &mut Best) {
        let part = &self.parts[index];
        let rows = first..part.file.rows().min(first + BLOCK_ROWS);
        self.products.compute(part.file.code_rows(rows.clone()), products);
        let mut threshold = best.threshold();
        for (row, &product) in rows.zip(&*products) {
            let score = self.scale * part.file.scale(row) * to_f32(product);
            if score >= threshold && part.is_alive(row) {
                let number = Reverse(part.file.number(row));
                best.add(Scored { score, number, row: (index, row) });
                threshold = best.threshold();
            }
        }
    }

    /// Returns the numbers and cosine similarities of the best passages, best first. Passages with
    /// equal similarities are in the order of their numbers.
    pub fn finish(self) -> Vec<(u64, f32)> {
        let rescore = |Reverse(Scored { row: (part, row), number, .. })| {
            let score = cosine(self.query, self.parts[part].file.vector(row));
            Scored { score, number, row: (part, row) }
        };
        let best = self.best.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut hits: Vec<Scored> = best.heap.into_iter().map(rescore).collect();
        hits.sort_by(|a, b| b.cmp(a));
        hits.truncate(self.limit);
        hits.into_iter().map(|hit| (hit.number.0, hit.score)).collect()
    }
}

/// Converts a dot product of codes, which is below 2^24 for vectors of up to 1,040 elements; larger
/// ones are rounded.
#[expect(clippy::cast_precision_loss)]
fn to_f32(dot: i32) -> f32 {
    dot as f32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{VectorFile, file_name, write};
    use super::*;

    /// A vector of norm 1 with elements that repeat, so that there are equal similarities.
    fn vector(number: u64) -> Vec<f32> {
        let angle = (number % 701) as f32 * 0.01;
        vec![angle.cos(), angle.sin()]
    }

    #[test]
    fn the_result_does_not_depend_on_the_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let part = |file: u64, numbers: std::ops::Range<u64>| {
            let rows: Vec<(u64, Vec<f32>)> =
                numbers.map(|number| (number, vector(number))).collect();
            let count = write(folder.path(), file, &rows).unwrap();
            let path = folder.path().join(file_name(file));
            Arc::new(VectorFile::open(&path, count, 2).unwrap())
        };
        let files = [part(0, 0..3000), part(1, 3000..8000)];
        // Passages with these numbers were removed.
        let alive: Vec<u64> = (0..8000).filter(|number| number % 13 != 4).collect();
        let parts = files.map(|file| PartView::new(file, &alive));
        let query = vector(350);
        let mut expected: Vec<(u64, f32)> = alive
            .iter()
            .map(|&number| (number, cosine(&query, vector(number).into_iter())))
            .collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for (limit, n_threads) in [(1, 1), (20, 1), (20, 2), (20, 7)] {
            let scan = Scan::new(&parts, &query, limit);
            assert_eq!(scan.rows(), 8000);
            std::thread::scope(|scope| {
                (0..n_threads).for_each(|_| drop(scope.spawn(|| scan.run())));
            });
            assert_eq!(scan.finish(), expected[..limit], "{limit} {n_threads}");
        }
    }
}
