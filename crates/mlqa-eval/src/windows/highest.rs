//! Selects the highest values of a list.
use std::cmp::Ordering;

/// Maximum `n` for which the highest values are collected in sorted order in one pass.
const MAX_SORTED: usize = 64;

/// Returns the `n` highest values (`n` ≥ 1) with their positions, in decreasing order.
/// `outranks(later, earlier)` compares two values, of which `earlier` has the lower position in
/// `values`. It returns whether `later` comes first in the result, so it also determines the order
/// of equal values.
pub(crate) fn select_top(
    values: &[f32],
    n: usize,
    outranks: impl Fn(f32, f32) -> bool,
) -> Vec<(usize, f32)> {
    let with_positions = || values.iter().copied().enumerate();
    if n > MAX_SORTED {
        return select_by_sorting(with_positions().collect(), n, outranks);
    }
    let bound = lower_bound(values, n);
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(n);
    for (at, value) in with_positions().filter(|&(_, value)| value >= bound) {
        if best.len() == n {
            if best.last().is_none_or(|&(_, lowest)| !outranks(value, lowest)) {
                continue;
            }
            best.pop();
        }
        let before = best.iter().rposition(|&(_, other)| !outranks(value, other));
        best.insert(before.map_or(0, |before| before + 1), (at, value));
    }
    best
}

/// Returns a lower bound for the `n`-th highest value. The values are divided into `MAX_SORTED`
/// groups, and the bound is the `n`-th highest of the groups' maxima. If there are many values,
/// only slightly more than `n` of them reach the bound.
fn lower_bound(values: &[f32], n: usize) -> f32 {
    let mut maxima = [f32::NEG_INFINITY; MAX_SORTED];
    for chunk in values.as_chunks::<MAX_SORTED>().0 {
        for (highest, &value) in maxima.iter_mut().zip(chunk) {
            *highest = if value > *highest { value } else { *highest };
        }
    }
    let order = |a: &f32, b: &f32| b.total_cmp(a);
    *maxima.select_nth_unstable_by(n.clamp(1, MAX_SORTED) - 1, order).1
}

/// Selects the same values as [`select_top`]. `all` has (position, value) pairs in any order.
fn select_by_sorting(
    mut all: Vec<(usize, f32)>,
    n: usize,
    outranks: impl Fn(f32, f32) -> bool,
) -> Vec<(usize, f32)> {
    // No two pairs compare equal, so an unstable sort is deterministic.
    let order = |a: &(usize, f32), b: &(usize, f32)| match a.0.cmp(&b.0) {
        Ordering::Greater if outranks(a.1, b.1) => Ordering::Less,
        Ordering::Less if outranks(b.1, a.1) => Ordering::Greater,
        other => other,
    };
    if all.len() > n {
        all.select_nth_unstable_by(n.saturating_sub(1), order);
        all.truncate(n);
    }
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::case_count(256)) })]

        #[test]
        fn the_top_values_equal_the_start_of_a_stable_sort(values in prop::collection::vec(-9..9_i8, 0..400), n in 1_usize..100) {
            let logits: Vec<f32> = values.into_iter().map(f32::from).collect();
            let values: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
            let mut expected = values.clone();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1));
            expected.truncate(n);
            prop_assert_eq!(select_top(&logits, n, |new, old| new > old), &*expected);
            prop_assert_eq!(select_by_sorting(values.clone(), n, |new, old| new > old), expected);
            let mut expected: Vec<(usize, f32)> = values.iter().rev().copied().collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1));
            expected.truncate(n);
            prop_assert_eq!(select_top(&logits, n, |new, old| new >= old), &*expected);
            prop_assert_eq!(select_by_sorting(values, n, |new, old| new >= old), expected);
        }
    }
}
