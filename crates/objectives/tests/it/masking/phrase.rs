use crate::common::with_cases;
use std::collections::BTreeSet;
use std::ops::Range;

use objectives::masking::{MaskingError, PhraseMaskingConfig, phrase_masking};
use proptest::prelude::*;

use super::{assert_depends_only_on_example, assert_eighty_ten_ten, assert_valid, example, vocab};

fn select(text: usize, phrases: &[Range<usize>], config: &PhraseMaskingConfig) -> Vec<usize> {
    let input_ids = example(text, 3);
    let masked = phrase_masking(&input_ids, phrases, &vocab(), 5, config).unwrap();
    assert_valid(&input_ids, &masked);
    masked.selected().collect()
}

fn capped_config(cap: f64) -> PhraseMaskingConfig {
    PhraseMaskingConfig { cap: Some(cap), ..Default::default() }
}

#[test]
fn all_phrase_tokens_and_random_other_tokens_are_selected() {
    let config = PhraseMaskingConfig::default();
    // The symbols are those in the documentation of `phrase_masking`: m = 40 tokens, of which K = 3
    // are in phrases; the budget is T = 6.
    let selected = select(40, &[4..6, 20..21], &config);
    assert_eq!(selected.len(), 6);
    assert!([4, 5, 20].iter().all(|position| selected.contains(position)), "{selected:?}");
    // K = 9 > T: only phrase tokens are selected.
    assert_eq!(select(40, &[4..9, 20..24], &config), [4, 5, 6, 7, 8, 20, 21, 22, 23]);
    // Overlapping, nested, repeated and adjacent phrases: each position counts once.
    let selected = select(40, &[10..13, 12..15, 11..12, 10..13, 15..17], &config);
    assert_eq!(selected, [10, 11, 12, 13, 14, 15, 16]);
    // One phrase covers the whole text.
    assert_eq!(select(12, std::slice::from_ref(&(1..13)), &config), Vec::from_iter(1..13));
}

#[test]
fn the_budget_is_rounded_to_the_nearest_integer() {
    // The budgets before rounding are 0, 0.45, 0.6, 1.35, 1.5 and 3.
    for (text, expected) in [(0, 0), (3, 0), (4, 1), (9, 1), (10, 2), (20, 3)] {
        assert_eq!(select(text, &[], &PhraseMaskingConfig::default()).len(), expected);
    }
    for (probability, expected) in [(0.0, 0), (1.0, 10)] {
        let config = PhraseMaskingConfig { probability, ..Default::default() };
        assert_eq!(select(10, &[], &config).len(), expected);
    }
}

#[test]
fn tokens_are_masked_replaced_or_unchanged_at_80_10_10() {
    let input_ids = example(1_000, 24);
    let phrases: Vec<Range<usize>> =
        (0..40).map(|position| 20 * position + 1..20 * position + 4).collect();
    let mut drawn_outside = BTreeSet::new();
    assert_eighty_ten_ten((0..700).map(|number| {
        let config = PhraseMaskingConfig::default();
        let masked = phrase_masking(&input_ids, &phrases, &vocab(), number, &config);
        let masked = masked.unwrap();
        assert_valid(&input_ids, &masked);
        let selected: BTreeSet<usize> = masked.selected().collect();
        assert_eq!(selected.len(), 150);
        assert!(
            phrases
                .iter()
                .all(|phrase| phrase.clone().all(|position| selected.contains(&position)))
        );
        drawn_outside.extend(
            selected.into_iter().filter(|position| !phrases.iter().any(|p| p.contains(position))),
        );
        masked
    }));
    assert_eq!(drawn_outside.len(), 880, "every token outside phrases is selected in some example");
}

#[test]
fn a_cap_selects_complete_phrases_within_its_budget() {
    // m = 40, so the cap of 0.15 allows 6 tokens: one or two phrases, never all.
    let phrases = [1..4, 10..13, 11..14, 20..23, 30..39];
    let merged = [1..4, 10..14, 20..23, 30..39];
    let input_ids = example(40, 0);
    let mut counts = [0; 4];
    for number in 0..1_000 {
        let masked = phrase_masking(&input_ids, &phrases, &vocab(), number, &capped_config(0.15));
        let selected: Vec<usize> = masked.unwrap().selected().collect();
        assert_eq!(selected.len(), 6, "the number of selected tokens differs from the budget");
        for (count, phrase) in counts.iter_mut().zip(&merged) {
            let overlap = phrase.clone().filter(|position| selected.contains(position)).count();
            assert!(
                overlap == 0 || overlap == phrase.len(),
                "{selected:?} contains part of {phrase:?}"
            );
            *count += usize::from(overlap > 0);
        }
    }
    assert_eq!(counts[3], 0, "a phrase of nine tokens exceeds the cap");
    assert!(counts[..3].iter().all(|count| *count > 200), "{counts:?}");

    // The phrases exceed the cap, so tokens are added until half of all tokens are selected.
    let config = PhraseMaskingConfig { probability: 0.5, ..capped_config(0.15) };
    assert_eq!(select(40, &phrases, &config).len(), 20);
    // No phrase fits and there is no other token: the budget is filled from the phrase.
    assert_eq!(select(20, std::slice::from_ref(&(1..21)), &capped_config(0.15)).len(), 3);
    // A cap of 1 has no effect. With a cap of 0, phrase tokens are drawn only if no other token
    // remains.
    assert_eq!(select(10, std::slice::from_ref(&(1..11)), &capped_config(1.0)).len(), 10);
    let selected = select(40, std::slice::from_ref(&(1..30)), &capped_config(0.0));
    assert!(selected.len() == 6 && selected.iter().all(|position| *position >= 30), "{selected:?}");
}

#[test]
fn invalid_phrases_are_reported() {
    let input_ids = example(5, 0);
    let error_of = |phrase: Range<usize>| {
        let config = PhraseMaskingConfig::default();
        phrase_masking(&input_ids, &[1..2, phrase], &vocab(), 0, &config).unwrap_err()
    };
    assert_eq!(error_of(3..9), MaskingError::Span { span: 1, start: 3, end: 9, length: 7 });
    assert_eq!(error_of(3..3), MaskingError::Span { span: 1, start: 3, end: 3, length: 7 });
    assert_eq!(error_of(0..3), MaskingError::SpecialInSpan { span: 1, position: 0, id: 0 });
}

#[test]
fn selection_depends_only_on_seed_and_example() {
    let input_ids = example(60, 4);
    let phrases = [3..5, 4..8, 20..22, 40..44];
    for config in [PhraseMaskingConfig::default(), capped_config(0.1)] {
        assert_depends_only_on_example(|number| {
            phrase_masking(&input_ids, &phrases, &vocab(), number, &config).unwrap()
        });
        // The order of the phrases does not matter.
        let mut reversed = phrases.clone();
        reversed.reverse();
        let mask = |phrases: &[Range<usize>]| {
            phrase_masking(&input_ids, phrases, &vocab(), 1, &config).unwrap()
        };
        assert_eq!(mask(&phrases), mask(&reversed));
    }
}

proptest! {
    #![proptest_config(with_cases(128))]

    /// max(K, T) tokens are selected, including all phrase tokens.
    #[test]
    fn the_selected_count_equals_the_papers_count(
        text in 1_usize..70,
        phrases in prop::collection::vec((0.0..1.0, 1_usize..6), 0..8),
        probability in 0.0..1.0,
        number: u64,
    ) {
        let input_ids = example(text, 2);
        let phrases: Vec<Range<usize>> = phrases.into_iter().map(|(position, length)| {
            let start = 1 + (position * text as f64) as usize;
            start..(start + length).min(text + 1)
        }).collect();
        let in_phrases: BTreeSet<usize> = phrases.iter().cloned().flatten().collect();
        let config = PhraseMaskingConfig { probability, ..Default::default() };
        let masked =
            phrase_masking(&input_ids, &phrases, &vocab(), number, &config).unwrap();
        assert_valid(&input_ids, &masked);
        let selected: BTreeSet<usize> = masked.selected().collect();
        let budget = (probability * text as f64).round() as usize;
        prop_assert_eq!(selected.len(), budget.max(in_phrases.len()));
        prop_assert!(selected.is_superset(&in_phrases));
    }
}
