//! Fusion of a ranking by words and a ranking by vectors.
use std::collections::BTreeMap;

/// The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
const FUSION_CONSTANT: u32 = 60;

/// Computes the reciprocal rank fusion of two rankings of passage numbers, best first.
///
/// Passages for which `is_foreign` is true are not in the ranking by words and have their rank by
/// vectors in place of it. Passages with equal sums are in the order of their numbers.
///
/// ```
/// // The sums are 1/61 + 1/62 for passages 4 and 7, and 1/63 for passages 2 and 9.
/// assert_eq!(collection::fuse(&[7, 4, 9], &[4, 7, 2], &|_| false), [4, 7, 2, 9]);
/// ```
pub fn fuse(words: &[u64], vectors: &[u64], is_foreign: &dyn Fn(u64) -> bool) -> Vec<u64> {
    let mut scores: BTreeMap<u64, f32> = BTreeMap::new();
    let native_words = words.iter().filter(|&&number| !is_foreign(number));
    for (rank, &number) in (FUSION_CONSTANT + 1..).zip(native_words) {
        *scores.entry(number).or_insert(0.0) += 1.0 / to_f32(rank);
    }
    for (rank, &number) in (FUSION_CONSTANT + 1..).zip(vectors) {
        let weight = if is_foreign(number) { 2.0 } else { 1.0 };
        *scores.entry(number).or_insert(0.0) += weight / to_f32(rank);
    }
    let mut ranking: Vec<(u64, f32)> = scores.into_iter().collect();
    ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranking.into_iter().map(|(number, _)| number).collect()
}

/// Converts a rank to a float; ranks above 2^24 are rounded.
#[expect(clippy::cast_precision_loss)]
fn to_f32(rank: u32) -> f32 {
    rank as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fusion_adds_reciprocal_ranks() {
        assert_eq!(fuse(&[7, 4, 9], &[4, 7, 2], &|_| false), [4, 7, 2, 9]);
        assert_eq!(fuse(&[], &[3, 1], &|_| false), [3, 1]);
        // Passages appended to both rankings do not change the order of the other passages.
        assert_eq!(fuse(&[5, 0, 3, 1], &[1, 3, 4, 0], &|_| false), [1, 3, 0, 5, 4]);
        let extended = fuse(&[5, 0, 3, 1, 10, 11], &[1, 3, 4, 0, 11, 12, 10], &|_| false);
        assert_eq!(extended, [1, 3, 0, 11, 10, 5, 4, 12]);
        // Passage 8 is in another language, so it has 2/61 in place of 1/61 and its rank by words.
        assert_eq!(fuse(&[8, 7, 4], &[8, 4, 7], &|number| number == 8), [8, 7, 4]);
    }
}
