//! Tests of the masking policies: selection, replacement, and dependence on (seed, example) only.

mod entity;
mod mlm;
mod ngram;
mod phrase;
mod prediction;

use std::fmt::Debug;

use objectives::IGNORE_INDEX;
use objectives::masking::{
    Corruption, MaskedExample, MaskingError, MaskingVocab, MlmMaskingConfig, NgramMaskingConfig,
    PhraseMaskingConfig, mlm_masking, ngram_masking, phrase_masking,
};
use rayon::prelude::*;

/// Id of the mask token. The test vocabulary has the layout of XLM-R's vocabulary, with fewer
/// tokens: special tokens 0 to 3 come first, and the mask token is last.
pub const MASK: u32 = 50_000;

/// A vocabulary with the layout of [`MASK`].
pub fn vocab() -> MaskingVocab {
    MaskingVocab::new([0, 1, 2, 3], MASK, 0..MASK + 1).unwrap()
}

/// `<s>`, `text` tokens with ascending ids, `</s>`, and `padding` tokens `<pad>`.
pub fn example(text: usize, padding: usize) -> Vec<u32> {
    let text = 10..10 + u32::try_from(text).unwrap();
    [0].into_iter().chain(text).chain([2]).chain(vec![1; padding]).collect()
}

/// Every selected token is replaced by the mask token.
pub const ALL_MASKED: Corruption = Corruption { mask: 1.0, random: 0.0 };

/// Asserts that labels are the original tokens, that unselected tokens are unchanged, and that no
/// special token is selected or drawn.
#[track_caller]
pub fn assert_valid(input_ids: &[u32], masked: &MaskedExample) {
    let vocab = vocab();
    assert_eq!(masked.input_ids.len(), input_ids.len());
    assert_eq!(masked.labels.len(), input_ids.len());
    for ((original, id), label) in input_ids.iter().zip(&masked.input_ids).zip(&masked.labels) {
        if *label == IGNORE_INDEX {
            assert_eq!(id, original, "a token that is not selected has changed");
        } else {
            assert_eq!(*label, i64::from(*original));
            assert!(!vocab.is_special(*original), "a special token is selected");
            assert!(*id == MASK || (4..MASK).contains(id), "{id} is not an ordinary token");
        }
    }
}

/// Asserts that there are at least 10⁵ selected tokens, of which 80 % are masked, 10 % random and
/// 10 % unchanged, each within 1 percentage point.
#[track_caller]
pub fn assert_eighty_ten_ten(masked: impl IntoIterator<Item = MaskedExample>) {
    let (mut mask_count, mut random_count, mut unchanged_count) = (0.0, 0.0, 0.0);
    for masked in masked {
        for position in masked.selected() {
            let count = match masked.input_ids[position] {
                MASK => &mut mask_count,
                id if i64::from(id) == masked.labels[position] => &mut unchanged_count,
                _ => &mut random_count,
            };
            *count += 1.0;
        }
    }
    let total: f64 = mask_count + random_count + unchanged_count;
    assert!(total >= 1e5, "{total} selected tokens, expected at least 1e5");
    for (count, share) in [(mask_count, 0.8), (random_count, 0.1), (unchanged_count, 0.1)] {
        assert!((count / total - share).abs() < 0.01, "{count} of {total}, expected {share}");
    }
}

/// Asserts that the result of an example does not depend on other examples, their order or the
/// number of threads, and that different examples have different results.
#[track_caller]
pub fn assert_depends_only_on_example<T: PartialEq + Debug + Send>(
    mask: impl Fn(u64) -> T + Send + Sync,
) {
    let in_order: Vec<T> = (0..200).map(&mask).collect();
    let mut in_reverse: Vec<T> = (0..200).rev().map(&mask).collect();
    in_reverse.reverse();
    assert_eq!(in_order, in_reverse);
    assert_eq!(mask(117), in_order[117]);
    for threads in [1, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let concurrent: Vec<T> = pool.install(|| (0..200).into_par_iter().map(&mask).collect());
        assert_eq!(in_order, concurrent);
    }
    let equal_count = in_order.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(equal_count < 10, "{equal_count} of 199 consecutive examples have equal results");
}

/// The results of the policies for masked language modelling, phrases (without a phrase) and
/// n-grams (of one token).
fn mask_single_tokens(
    input_ids: &[u32],
    number: u64,
    probability: f64,
    corruption: Corruption,
) -> [Result<MaskedExample, MaskingError>; 3] {
    let mlm = MlmMaskingConfig { probability, corruption, ..Default::default() };
    let phrase = PhraseMaskingConfig { probability, corruption, ..Default::default() };
    let ngram = NgramMaskingConfig { probability, max_tokens: 1, corruption, ..Default::default() };
    [
        mlm_masking(input_ids, &vocab(), number, &mlm),
        phrase_masking(input_ids, &[], &vocab(), number, &phrase),
        ngram_masking(input_ids, &vocab(), number, &ngram),
    ]
}

#[test]
fn policies_with_one_seed_draw_independently() {
    let input_ids = example(40, 0);
    // Each policy selects 20 single tokens at random and masks all of them.
    let equal_count = (0..50).filter(|number| {
        let masked = mask_single_tokens(&input_ids, *number, 0.5, ALL_MASKED);
        let [mlm, phrase, ngram] = masked.map(Result::unwrap);
        assert_eq!(mlm.selected().count(), 20);
        mlm == phrase || mlm == ngram || phrase == ngram
    });
    assert_eq!(equal_count.count(), 0);
}

#[test]
fn inputs_without_ordinary_tokens_do_not_change() {
    for input_ids in [vec![], vec![0, 2], vec![0, 2, 1, 1, MASK]] {
        for masked in mask_single_tokens(&input_ids, 0, 1.0, Corruption::default()) {
            let masked = masked.unwrap();
            assert_eq!(masked.input_ids, input_ids);
            assert_eq!(masked.selected().count(), 0);
        }
    }
}

#[test]
#[allow(clippy::reversed_empty_ranges)] // one of the ranges to reject
fn random_tokens_are_drawn_from_the_range_without_special_tokens() {
    // The replacements are 11 and 14 to 18: the range without the special ids 10, 12, 13 and 19.
    let vocab = MaskingVocab::new([19, 13, 12, 13, 0], 10, 10..20).unwrap();
    let corruption = Corruption { mask: 0.0, random: 1.0 };
    let config = MlmMaskingConfig { probability: 1.0, corruption, ..Default::default() };
    let masked = mlm_masking(&vec![50; 60_000], &vocab, 0, &config).unwrap();
    let count = |id| masked.input_ids.iter().filter(|drawn| **drawn == id).count();
    for id in [11, 14, 15, 16, 17, 18] {
        assert!(count(id).abs_diff(10_000) < 500, "{id} was drawn {} times", count(id));
    }
    assert_eq!([11, 14, 15, 16, 17, 18].map(count).iter().sum::<usize>(), 60_000);

    for (special, range) in [(vec![1, 2], 1..4), (vec![], 5..5), (vec![], u32::MAX..0)] {
        let mask = 3;
        let error = MaskingVocab::new(special, mask, range.clone()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("random_ids = {range:?}")), "{error}");
    }
}

#[test]
fn invalid_probabilities_are_reported() {
    let (input_ids, vocab) = (example(5, 0), vocab());
    for invalid in [-0.1, 1.5, f64::NAN, f64::INFINITY] {
        let expected = |option: &str| format!("{option} = {invalid}: must be from 0 to 1");
        for result in mask_single_tokens(&input_ids, 0, invalid, Corruption::default()) {
            assert_eq!(result.unwrap_err().to_string(), expected("probability"));
        }
        let config = PhraseMaskingConfig { cap: Some(invalid), ..Default::default() };
        let error = phrase_masking(&input_ids, &[], &vocab, 0, &config).unwrap_err();
        assert_eq!(error.to_string(), expected("cap"));
    }
    for (mask, random, option_name) in
        [(1.1, 0.0, "mask"), (0.5, -0.1, "random"), (0.9, 0.2, "mask + random")]
    {
        let config =
            MlmMaskingConfig { corruption: Corruption { mask, random }, ..Default::default() };
        let error = mlm_masking(&input_ids, &vocab, 0, &config).unwrap_err().to_string();
        assert!(error.starts_with(&format!("corruption.{option_name} = ")), "{error}");
    }
    let config = NgramMaskingConfig { max_tokens: 0, ..Default::default() };
    let error = ngram_masking(&input_ids, &vocab, 0, &config).unwrap_err().to_string();
    assert_eq!(error, "max_tokens = 0: must be at least 1");
}
