//! Vectors of passages: files that never change, an exact scan of 8-bit rows, and float32 rows for
//! the scores of the best passages.
mod dot;
mod file;
mod scan;

pub(crate) use file::{VectorFile, file_name, is_vector_file, merge, write};
pub(crate) use scan::Scan;

use std::sync::Arc;

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

/// Returns the cosine similarity of a passage's vector, if it has one.
pub(crate) fn similarity(parts: &[PartView], query: &[f32], number: u64) -> Option<f32> {
    let find = |part: &PartView| {
        let row = part.file.find(number)?;
        Some(cosine(query, part.file.vector(row)))
    };
    parts.iter().find_map(find)
}

/// Returns the cosine similarities of all passages with a vector, in ascending order of their
/// numbers.
pub(crate) fn similarities(parts: &[PartView], query: &[f32]) -> Vec<(u64, f32)> {
    let of_part = |part: &PartView| {
        let rows = (0..part.file.rows()).filter(|&row| part.is_alive(row));
        let similarity = |row| (part.file.number(row), cosine(query, part.file.vector(row)));
        rows.map(similarity).collect::<Vec<_>>()
    };
    let mut all: Vec<(u64, f32)> = parts.iter().flat_map(of_part).collect();
    all.sort_unstable_by_key(|&(number, _)| number);
    all
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
