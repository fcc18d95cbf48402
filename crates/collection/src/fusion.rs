//! Fusion of a ranking by words and a ranking by vectors.
use std::collections::{BTreeMap, BTreeSet};

/// The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
const FUSION_CONSTANT: u16 = 60;

/// Computes the reciprocal rank fusion of two rankings of passage numbers, best first. Passages of
/// `foreign` are not in the ranking by words and have their rank by vectors in place of it. Passages
/// with equal sums are in the order of their numbers.
pub(crate) fn fuse(words: &[u64], vectors: &[u64], foreign: &BTreeSet<u64>) -> Vec<u64> {
    let mut scores: BTreeMap<u64, f32> = BTreeMap::new();
    let native_words = words.iter().filter(|number| !foreign.contains(number));
    for (rank, &number) in (FUSION_CONSTANT + 1..).zip(native_words) {
        *scores.entry(number).or_insert(0.0) += 1.0 / f32::from(rank);
    }
    for (rank, &number) in (FUSION_CONSTANT + 1..).zip(vectors) {
        let weight = if foreign.contains(&number) { 2.0 } else { 1.0 };
        *scores.entry(number).or_insert(0.0) += weight / f32::from(rank);
    }
    let mut ranking: Vec<(u64, f32)> = scores.into_iter().collect();
    ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranking.into_iter().map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fusion_adds_reciprocal_ranks() {
        let none = BTreeSet::new();
        // The scores are 1/61 + 1/62 for passages 4 and 7, and 1/63 for passages 2 and 9.
        assert_eq!(fuse(&[7, 4, 9], &[4, 7, 2], &none), [4, 7, 2, 9]);
        assert_eq!(fuse(&[], &[3, 1], &none), [3, 1]);
        assert_eq!(fuse(&[5, 0, 3, 1], &[1, 3, 4, 0], &none), [1, 3, 0, 5, 4]);
        // Passage 8 is in another language, so it has 2/61 in place of 1/61 and its rank by words.
        assert_eq!(fuse(&[8, 7, 4], &[8, 4, 7], &BTreeSet::from([8])), [8, 7, 4]);
    }
}
