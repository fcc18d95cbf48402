use crate::common::with_cases;
use objectives::masking::{NgramMaskingConfig, ngram_masking};
use proptest::prelude::*;

use super::{
    MASK, assert_depends_only_on_example, assert_eighty_ten_ten, assert_valid, example, vocab,
};

#[test]
fn tokens_are_masked_replaced_or_unchanged_at_80_10_10() {
    let input_ids = example(500, 12);
    assert_eighty_ten_ten((0..1_400).map(|number| {
        let config = NgramMaskingConfig::default();
        let masked = ngram_masking(&input_ids, &vocab(), number, &config).unwrap();
        assert_valid(&input_ids, &masked);
        assert_eq!(masked.selected().count(), 75);
        masked
    }));
}

#[test]
fn tokens_are_selected_in_runs() {
    // The budget is 4 tokens of a long text.
    let input_ids = example(400, 0);
    let mut run_counts = [0_u32; 5];
    for number in 0..4_000 {
        let config = NgramMaskingConfig { probability: 0.01, ..Default::default() };
        let masked = ngram_masking(&input_ids, &vocab(), number, &config).unwrap();
        let selected: Vec<usize> = masked.selected().collect();
        assert_eq!(selected.len(), 4);
        let runs = 1 + selected.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        run_counts[runs] += 1;
    }
    // Lengths 1 to 4 are equally likely, and limited to the remaining budget. The probability of
    // one run (4) is 1/4, of two runs (3 + 1, 2 + 2, 1 + 3) 1/4 + 3/16 + 1/8, of three runs (2 + 1
    // + 1, 1 + 2 + 1, 1 + 1 + 2) 1/16 + 1/16 + 3/64, and of four runs 1/64. In about 1 of 100
    // examples, two spans are adjacent and count as one run.
    for (runs, expected) in [(1, 1_000), (2, 2_250), (3, 687), (4, 62)] {
        assert!(run_counts[runs].abs_diff(expected) < 120, "{run_counts:?}");
    }

    let config = NgramMaskingConfig { probability: 0.01, max_tokens: 1, ..Default::default() };
    let without_adjacent = (0..500).filter(|number| {
        let masked = ngram_masking(&input_ids, &vocab(), *number, &config).unwrap();
        let selected: Vec<usize> = masked.selected().collect();
        selected.windows(2).all(|pair| pair[1] > pair[0] + 1)
    });
    assert!(without_adjacent.count() > 450, "most examples have no adjacent selected tokens");
}

#[test]
fn every_position_is_selected_and_no_span_crosses_a_special_token() {
    // Two texts: the </s></s> between them is never selected, for any span length.
    let input_ids = [0, 10, 11, 12, 2, 2, 13, 14, 15, 2, 1];
    let config = NgramMaskingConfig { probability: 0.5, max_tokens: 6, ..Default::default() };
    let mut counts = [0; 11];
    for number in 0..1_000 {
        let masked = ngram_masking(&input_ids, &vocab(), number, &config).unwrap();
        assert_valid(&input_ids, &masked);
        assert_eq!(masked.selected().count(), 3);
        masked.selected().for_each(|position| counts[position] += 1);
    }
    assert!([1, 2, 3, 6, 7, 8].iter().all(|position| counts[*position] > 300), "{counts:?}");
}

#[test]
fn selection_depends_only_on_seed_and_example() {
    let input_ids = example(60, 4);
    let config = NgramMaskingConfig::default();
    assert_depends_only_on_example(|number| {
        ngram_masking(&input_ids, &vocab(), number, &config).unwrap()
    });
}

proptest! {
    #![proptest_config(with_cases(128))]

    #[test]
    fn the_whole_budget_is_used(
        input_ids in prop::collection::vec(prop_oneof![1 => 0_u32..4, 3 => 4_u32..MASK], 0..80),
        probability in prop_oneof![Just(0.0), Just(1.0), 0.0..1.0],
        max_tokens in prop_oneof![1_usize..9, Just(usize::MAX)],
        number: u64,
    ) {
        let config = NgramMaskingConfig { probability, max_tokens, ..Default::default() };
        let masked = ngram_masking(&input_ids, &vocab(), number, &config).unwrap();
        assert_valid(&input_ids, &masked);
        let ordinary_count = input_ids.iter().filter(|id| **id > 3).count();
        let count = (probability * ordinary_count as f64).round() as usize;
        prop_assert_eq!(masked.selected().count(), count);
    }
}
