use crate::common::with_cases;
use objectives::masking::{MlmMaskingConfig, TokenSelection, mlm_masking};
use proptest::prelude::*;

use super::{
    ALL_MASKED, MASK, assert_depends_only_on_example, assert_eighty_ten_ten, assert_valid, example,
    vocab,
};

#[test]
fn tokens_are_masked_replaced_or_unchanged_at_80_10_10() {
    let input_ids = example(1_000, 24);
    for selection in [TokenSelection::Count, TokenSelection::Independent] {
        let config = MlmMaskingConfig { selection, ..Default::default() };
        assert_eighty_ten_ten((0..700).map(|number| {
            let masked = mlm_masking(&input_ids, &vocab(), number, &config).unwrap();
            assert_valid(&input_ids, &masked);
            masked
        }));
    }
}

#[test]
fn the_mean_count_is_exact_and_positions_are_equally_likely() {
    // 0.15 · 21 = 3.15, so 3 or 4 tokens are selected.
    let input_ids = example(21, 3);
    let examples = 40_000;
    let mut selection_counts = vec![0_u32; input_ids.len()];
    let mut counts = [0_u32; 22];
    for number in 0..examples {
        let masked = mlm_masking(&input_ids, &vocab(), number, &MlmMaskingConfig::default());
        let selected: Vec<usize> = masked.unwrap().selected().collect();
        counts[selected.len()] += 1;
        selected.into_iter().for_each(|position| selection_counts[position] += 1);
    }
    assert_eq!(counts[3] + counts[4], 40_000);
    assert!(counts[4].abs_diff(6_000) < 400, "{} of 40000 have 4", counts[4]);
    for (position, count) in selection_counts.into_iter().enumerate() {
        let expected = if (1..=21).contains(&position) { 6_000 } else { 0 };
        assert!(count.abs_diff(expected) < 400, "position {position}: {count}");
    }
}

#[test]
fn independent_draws_vary_in_count() {
    let input_ids = example(100, 0);
    let config = MlmMaskingConfig { selection: TokenSelection::Independent, ..Default::default() };
    let counts: Vec<f64> = (0..5_000)
        .map(|number| {
            let masked = mlm_masking(&input_ids, &vocab(), number, &config).unwrap();
            f64::from(u32::try_from(masked.selected().count()).unwrap())
        })
        .collect();
    let mean = counts.iter().sum::<f64>() / 5e3;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 5e3;
    // Binomial: mean 15, variance 100 · 0.15 · 0.85 = 12.75.
    assert!((mean - 15.0).abs() < 0.3 && (variance - 12.75).abs() < 1.5, "{mean} {variance}");
}

#[test]
fn selection_depends_only_on_seed_and_example() {
    let input_ids = example(60, 4);
    let mask = |seed, number| {
        let config = MlmMaskingConfig { seed, ..Default::default() };
        mlm_masking(&input_ids, &vocab(), number, &config).unwrap()
    };
    assert_depends_only_on_example(|number| mask(42, number));
    assert_ne!(mask(42, 0), mask(43, 0));
    // Seed and example number are not interchangeable.
    assert_ne!(mask(1, 2), mask(2, 1));
    // Pinned values: if they change, earlier masks can no longer be reproduced.
    assert_eq!(mask(42, 0).selected().collect::<Vec<_>>(), [1, 8, 24, 33, 36, 45, 46, 52, 56]);
}

proptest! {
    #![proptest_config(with_cases(128))]

    #[test]
    fn counts_and_labels_are_correct_for_any_example(
        input_ids in prop::collection::vec(prop_oneof![0_u32..4, 4_u32..MASK], 0..80),
        probability in prop_oneof![Just(0.0), Just(1.0), 0.0..1.0],
        number: u64,
    ) {
        let config = MlmMaskingConfig { probability, corruption: ALL_MASKED, ..Default::default() };
        let masked = mlm_masking(&input_ids, &vocab(), number, &config).unwrap();
        assert_valid(&input_ids, &masked);
        let ordinary_count = input_ids.iter().filter(|id| **id > 3).count();
        let (count, mean) = (masked.selected().count() as f64, probability * ordinary_count as f64);
        prop_assert!((count - mean).abs() < 1.0, "{count} selected, expected {mean}");
        prop_assert!(masked.selected().all(|position| masked.input_ids[position] == MASK));
    }
}
