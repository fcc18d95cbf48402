use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::MentionExample;
use crate::{Language, seed};

/// Resamples to p ∝ n^α per language (Conneau et al. 2020, §3.1; α = `smoothing`), then per entity
/// inside a language (α = `entity_smoothing`); both exponents are from 0, all alike, to 1, as they
/// come.
///
/// Returns about as many examples as it takes, shuffled: each group's number is rounded. What has
/// to be repeated is repeated as evenly as possible. The result is a function of the examples and
/// the seed.
///
/// ```
/// use kg_triples::Language;
/// use kg_triples::knowledge::{MentionExample, TokenSpan, resample};
///
/// let example = |number: u64, code: &str| -> Result<_, kg_triples::KgError> {
///     Ok(MentionExample {
///         passage: number,
///         id: number.to_string(),
///         language: Language::new(code)?,
///         input_ids: vec![0, 7, 2],
///         mention: TokenSpan { start: 1, end: 2 },
///         entity: "Q39".into(),
///         description_language: Language::new("fr")?,
///         description_ids: vec![0, 9, 2],
///     })
/// };
/// let many = (0..81).map(|number| example(number, "en"));
/// let examples = many.chain([example(81, "sw")]).collect::<Result<Vec<_>, _>>()?;
/// let resampled = resample(examples, 0.5, 1.0, 1);
/// let swahili = resampled.iter().filter(|example| example.language == "sw").count();
/// assert_eq!((resampled.len(), swahili), (82, 8)); // 1 / (1 + 81^0.5) of 82
/// # Ok::<(), kg_triples::KgError>(())
/// ```
pub fn resample(
    examples: Vec<MentionExample>,
    smoothing: f64,
    entity_smoothing: f64,
    seed: u64,
) -> Vec<MentionExample> {
    let total = examples.len();
    let mut groups: BTreeMap<Language, BTreeMap<String, Vec<MentionExample>>> = BTreeMap::new();
    for example in examples {
        let entities = groups.entry(example.language).or_default();
        entities.entry(example.entity.clone()).or_default().push(example);
    }
    let sizes: Vec<usize> =
        groups.values().map(|entities| entities.values().map(Vec::len).sum()).collect();
    let mut resampled = Vec::with_capacity(total);
    for ((language, entities), quota) in groups.into_iter().zip(quotas(total, &sizes, smoothing)) {
        let sizes: Vec<usize> = entities.values().map(Vec::len).collect();
        let mut rng = seed::stream_rng(seed, language.as_str(), 0);
        let entity_quotas = quotas(quota, &sizes, entity_smoothing);
        for (mut examples, quota) in entities.into_values().zip(entity_quotas) {
            examples.shuffle(&mut rng);
            resampled.extend(examples.iter().cycle().take(quota).cloned());
        }
    }
    // A trainer that drops the last incomplete batch then drops no entity in particular.
    resampled.shuffle(&mut seed::stream_rng(seed, "balanced", 0));
    resampled
}

/// `total` divided in proportion to the sizes to the power of `smoothing`, each part rounded.
fn quotas(total: usize, sizes: &[usize], smoothing: f64) -> Vec<usize> {
    let weight = |count: usize| (count as f64).powf(smoothing);
    let sum: f64 = sizes.iter().map(|&count| weight(count)).sum();
    sizes.iter().map(|&count| (total as f64 * weight(count) / sum).round() as usize).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::quotas;

    #[test]
    fn quotas_follow_the_power_of_the_sizes() {
        assert_eq!(quotas(100, &[1, 99], 1.0), [1, 99]);
        assert_eq!(quotas(100, &[1, 99], 0.0), [50, 50]);
        assert_eq!(quotas(100, &[1, 81], 0.5), [10, 90]);
        assert!(quotas(100, &[], 0.3).is_empty());
    }

    proptest! {
        #[test]
        fn quotas_add_up_to_the_total_but_for_rounding(
            total in 0usize..10_000,
            sizes in prop::collection::vec(1usize..5_000, 1..30),
            smoothing in 0.0f64..=1.0,
        ) {
            let parts = quotas(total, &sizes, smoothing);
            prop_assert_eq!(parts.len(), sizes.len());
            prop_assert!(parts.iter().sum::<usize>().abs_diff(total) <= sizes.len().div_ceil(2));
            for (a, size_a) in parts.iter().zip(&sizes) {
                for (b, size_b) in parts.iter().zip(&sizes) {
                    prop_assert!(size_a < size_b || a >= b);
                }
            }
        }
    }
}
