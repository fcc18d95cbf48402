use std::ops::Range;

use objectives::IGNORE_INDEX;
use objectives::masking::{
    Corruption, EntityPredictionConfig, MaskedExample, MaskingError, MlmMaskingConfig,
    PredictionUnit, TokenSelection, Unchanged, entity_prediction_masking,
};
use proptest::prelude::*;

use super::{MASK, assert_depends_only_on_example, example, vocab};

/// `<s>`, ten ordinary tokens, of which six are in a mention of [`SPANS`], and `</s>`.
const INPUT: [u32; 12] = [0, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 2];
/// Mentions of one, two and three tokens in [`INPUT`], not sorted by position.
const SPANS: [Range<usize>; 3] = [6..7, 1..3, 8..11];

/// Options of a masking policy of EntityCS: WEP, PEP_MRS, PEP_MS or PEP_M.
fn entity_config(
    unit: PredictionUnit,
    random: f64,
    unchanged: Unchanged,
) -> EntityPredictionConfig {
    let corruption = Corruption { mask: 0.8, random };
    EntityPredictionConfig { unit, corruption, unchanged, ..Default::default() }
}

fn wep() -> EntityPredictionConfig {
    entity_config(PredictionUnit::Mention, 0.0, Unchanged::Predicted)
}

fn pep_mrs() -> EntityPredictionConfig {
    entity_config(PredictionUnit::Token, 0.1, Unchanged::Predicted)
}

fn pep_m() -> EntityPredictionConfig {
    entity_config(PredictionUnit::Token, 0.0, Unchanged::Ignored)
}

fn with_mlm(config: EntityPredictionConfig) -> EntityPredictionConfig {
    let rest = MlmMaskingConfig { selection: TokenSelection::Independent, ..Default::default() };
    EntityPredictionConfig { probability: 0.5, rest: Some(rest), ..config }
}

fn mask_example(example: u64, config: &EntityPredictionConfig) -> MaskedExample {
    entity_prediction_masking(&INPUT, &SPANS, &vocab(), example, config).unwrap()
}

fn in_mention(position: usize) -> bool {
    SPANS.iter().any(|span| span.contains(&position))
}

/// The shares of masked, replaced and labelled tokens among the positions for which `is_included`
/// returns true, and the number of these positions.
fn shares(config: &EntityPredictionConfig, is_included: impl Fn(usize) -> bool) -> ([f64; 3], f64) {
    let (mut counts, mut total) = ([0.0; 3], 0.0);
    for example in 0..20_000 {
        let MaskedExample { input_ids, labels } = mask_example(example, config);
        for position in (1..11).filter(|&position| is_included(position)) {
            total += 1.0;
            let is_replaced = input_ids[position] != MASK && input_ids[position] != INPUT[position];
            let is_labelled = labels[position] != IGNORE_INDEX;
            for (count, condition) in
                counts.iter_mut().zip([input_ids[position] == MASK, is_replaced, is_labelled])
            {
                *count += f64::from(u8::from(condition));
            }
            assert!(!is_labelled || labels[position] == i64::from(INPUT[position]));
            assert!(is_labelled || input_ids[position] != MASK, "a masked token has no label");
        }
    }
    (counts.map(|count| count / total), total)
}

/// Asserts agreement within four standard errors. The variance is multiplied by 3, because up to
/// three tokens of a mention may share a draw.
fn assert_near(actual: [f64; 3], expected: [f64; 3], total: f64, name: &str) {
    for (actual, expected) in actual.into_iter().zip(expected) {
        let error = (expected * (1.0 - expected) * 3.0 / total).sqrt();
        assert!(
            (actual - expected).abs() <= 4.0 * error,
            "{name}: got {actual}, expected {expected}"
        );
    }
}

#[test]
fn every_policy_has_the_probabilities_of_the_paper() {
    type ConfigFn = fn() -> EntityPredictionConfig;
    let rows: [(&str, ConfigFn, [f64; 3]); 4] = [
        ("WEP", wep, [0.8, 0.0, 1.0]),
        ("PEP_MRS", pep_mrs, [0.8, 0.1, 1.0]),
        ("PEP_MS", EntityPredictionConfig::default, [0.8, 0.0, 1.0]),
        ("PEP_M", pep_m, [0.8, 0.0, 0.8]),
    ];
    for (name, config_fn, expected) in rows {
        let (actual, total) = shares(&config_fn(), in_mention);
        assert_near(actual, expected, total, name);
        let (shares_outside, _) = shares(&config_fn(), |position| !in_mention(position));
        assert_eq!(shares_outside, [0.0; 3], "{name}");
        // With `rest`, half of the units are candidates, and tokens outside mentions are masked.
        let mlm_config = with_mlm(config_fn());
        let (actual, total) = shares(&mlm_config, in_mention);
        assert_near(actual, expected.map(|share| share / 2.0), total, name);
        let (shares_outside, total) = shares(&mlm_config, |position| !in_mention(position));
        assert_near(shares_outside, [0.12, 0.015, 0.15], total, name);
    }
    let half_config =
        EntityPredictionConfig { unchanged: Unchanged::Half, ..EntityPredictionConfig::default() };
    let (actual, total) = shares(&half_config, in_mention);
    assert_near(actual, [0.8, 0.0, 0.9], total, "half");
}

#[test]
fn mentions_are_masked_completely_or_not_at_all() {
    let mut mask_counts = [0; 3];
    for example in 0..2_000 {
        let config = EntityPredictionConfig { probability: 0.5, ..wep() };
        let masked = mask_example(example, &config);
        for (count, span) in mask_counts.iter_mut().zip(SPANS) {
            let all_or_none = |condition: &dyn Fn(usize) -> bool| {
                let count = span.clone().filter(|&position| condition(position)).count();
                assert!(count == 0 || count == span.len());
                count > 0
            };
            *count += usize::from(all_or_none(&|position| masked.input_ids[position] == MASK));
            all_or_none(&|position| masked.labels[position] != IGNORE_INDEX);
        }
    }
    mask_counts.iter().for_each(|&count| assert!(count.abs_diff(800) < 100, "{mask_counts:?}"));
}

#[test]
fn the_default_is_partial_prediction_and_configurable_in_toml() {
    let parsed: EntityPredictionConfig = toml::from_str("unit = \"token\"").unwrap();
    assert_eq!(parsed, EntityPredictionConfig::default());
    let toml = "probability = 0.5\nrest = { selection = \"independent\" }";
    let parsed: EntityPredictionConfig = toml::from_str(toml).unwrap();
    assert_eq!(parsed, with_mlm(EntityPredictionConfig::default()));
    let parsed: EntityPredictionConfig =
        toml::from_str("unchanged = \"half\"\nprobability = 1.0").unwrap();
    assert_eq!((parsed.unchanged, parsed.probability), (Unchanged::Half, 1.0));
    assert!(toml::from_str::<EntityPredictionConfig>("unchanged = \"all\"").is_err());
}

#[test]
fn invalid_spans_are_rejected() {
    let error_of = |spans: &[Range<usize>], config: &EntityPredictionConfig| {
        entity_prediction_masking(&INPUT, spans, &vocab(), 0, config).unwrap_err()
    };
    let wep = wep();
    let past_end = Range { start: 4, end: 13 };
    assert!(matches!(error_of(&[past_end], &wep), MaskingError::Span { span: 0, .. }));
    assert!(matches!(error_of(&[1..4, 3..5], &wep), MaskingError::Overlap { .. }));
    let special = Range { start: 0, end: 2 };
    assert!(matches!(error_of(&[special], &wep), MaskingError::SpecialInSpan { .. }));
    let out_of_range = EntityPredictionConfig { probability: 1.5, ..wep.clone() };
    assert!(matches!(
        error_of(&[], &out_of_range),
        MaskingError::Domain { option: "probability", .. }
    ));
    let rest = MlmMaskingConfig { probability: f64::NAN, ..Default::default() };
    let invalid_rest = EntityPredictionConfig { rest: Some(rest), ..wep };
    assert!(matches!(error_of(&[], &invalid_rest), MaskingError::Domain { .. }));
}

proptest! {
    #[test]
    fn labels_are_original_tokens_and_other_positions_are_unchanged(
        seed: u64,
        example: u64,
        probability in 0.0..=1.0,
        with_rest: bool,
    ) {
        let mut config = EntityPredictionConfig { seed, ..pep_mrs() };
        if with_rest {
            config = with_mlm(config);
        }
        config.probability = probability;
        let MaskedExample { input_ids, labels } = mask_example(example, &config);
        prop_assert_eq!((input_ids.len(), labels.len()), (INPUT.len(), INPUT.len()));
        for (position, &id) in INPUT.iter().enumerate() {
            if labels[position] == IGNORE_INDEX {
                prop_assert_eq!(input_ids[position], id);
            } else {
                prop_assert_eq!(labels[position], i64::from(id));
                prop_assert!(with_rest || in_mention(position));
            }
        }
        prop_assert_eq!((labels[0], labels[11]), (IGNORE_INDEX, IGNORE_INDEX));
    }
}

#[test]
fn draws_depend_only_on_the_example() {
    let (config, input_ids) = (with_mlm(EntityPredictionConfig::default()), example(80, 3));
    let spans: Vec<Range<usize>> = (0..16).map(|k| 5 * k + 2..5 * k + 5).collect();
    assert_depends_only_on_example(|number| {
        entity_prediction_masking(&input_ids, &spans, &vocab(), number, &config).unwrap()
    });
}
