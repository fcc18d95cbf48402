//! Mean and interval over several seeds.
use std::collections::BTreeMap;

use crate::{MeanInterval, ScoreMeans};

/// A value that can be summarised over seeds: a number, or a map of such values.
///
/// If the value of a seed is itself a mean with an interval, such as a mean over languages, only
/// the mean is used; its interval is ignored.
pub trait OverSeeds {
    /// The type of the summary.
    type Summary;

    /// Summarises `seeds`, one value per seed; see [`over_seeds`].
    fn summarize(seeds: &[&Self]) -> Self::Summary;
}

/// Summarises the values of several seeds. Maps are summarised by key; keys that a seed lacks are
/// excluded.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use results::{MeanInterval, over_seeds};
///
/// let [one, two] = [20.0, 30.0].map(|de| BTreeMap::from([("f1", BTreeMap::from([("de", de)]))]));
/// assert_eq!(over_seeds([&one, &two])["f1"]["de"], MeanInterval::of([20.0, 30.0]));
/// ```
pub fn over_seeds<'a, T: OverSeeds + 'a>(seeds: impl IntoIterator<Item = &'a T>) -> T::Summary {
    T::summarize(&seeds.into_iter().collect::<Vec<_>>())
}

impl OverSeeds for f64 {
    type Summary = MeanInterval;

    fn summarize(seeds: &[&Self]) -> MeanInterval {
        MeanInterval::of(seeds.iter().copied().copied())
    }
}

impl OverSeeds for MeanInterval {
    type Summary = Self;

    fn summarize(seeds: &[&Self]) -> Self {
        Self::of(seeds.iter().map(|seed| seed.mean))
    }
}

impl OverSeeds for ScoreMeans {
    type Summary = Self;

    fn summarize(seeds: &[&Self]) -> Self {
        Self::of(seeds.iter().map(|seed| (seed.f1, seed.em)))
    }
}

impl<K: Clone + Ord, V: OverSeeds> OverSeeds for BTreeMap<K, V> {
    type Summary = BTreeMap<K, V::Summary>;

    fn summarize(seeds: &[&Self]) -> Self::Summary {
        let keys = seeds.first().into_iter().flat_map(|first| first.keys());
        let values = keys.filter_map(|key| {
            let values: Option<Vec<&V>> = seeds.iter().map(|seed| seed.get(key)).collect();
            Some((key.clone(), V::summarize(&values?)))
        });
        values.collect()
    }
}
