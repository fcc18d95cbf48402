//! Mean and interval over several seeds.
use std::collections::BTreeMap;

use crate::{ScoreSpread, Spread};

/// A value that can be summarised over seeds: a number, or a map of such values.
///
/// If the value of a seed is itself a mean with an interval, such as a mean over languages, only
/// the mean is used; its interval is ignored.
pub trait OverSeeds {
    /// The type of the summary.
    type Spread;

    /// Summarises `seeds`, one value per seed; see [`over_seeds`].
    fn spread(seeds: &[&Self]) -> Self::Spread;
}

/// Summarises the values of several seeds. Maps are summarised by key; keys that a seed lacks are
/// excluded.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use results::{Spread, over_seeds};
///
/// let [one, two] = [20.0, 30.0].map(|de| BTreeMap::from([("f1", BTreeMap::from([("de", de)]))]));
/// assert_eq!(over_seeds([&one, &two])["f1"]["de"], Spread::of([20.0, 30.0]));
/// ```
pub fn over_seeds<'a, T: OverSeeds + 'a>(seeds: impl IntoIterator<Item = &'a T>) -> T::Spread {
    T::spread(&seeds.into_iter().collect::<Vec<_>>())
}

impl OverSeeds for f64 {
    type Spread = Spread;

    fn spread(seeds: &[&Self]) -> Spread {
        Spread::of(seeds.iter().copied().copied())
    }
}

impl OverSeeds for Spread {
    type Spread = Self;

    fn spread(seeds: &[&Self]) -> Self {
        Self::of(seeds.iter().map(|seed| seed.mean))
    }
}

impl OverSeeds for ScoreSpread {
    type Spread = Self;

    fn spread(seeds: &[&Self]) -> Self {
        Self::of(seeds.iter().map(|seed| (seed.f1, seed.em)))
    }
}

impl<K: Clone + Ord, V: OverSeeds> OverSeeds for BTreeMap<K, V> {
    type Spread = BTreeMap<K, V::Spread>;

    fn spread(seeds: &[&Self]) -> Self::Spread {
        let keys = seeds.first().into_iter().flat_map(|first| first.keys());
        let values = keys.filter_map(|key| {
            let values: Option<Vec<&V>> = seeds.iter().map(|seed| seed.get(key)).collect();
            Some((key.clone(), V::spread(&values?)))
        });
        values.collect()
    }
}
