//! Scores by length and position.
use crate::collect::{Collected, FEATURES, Row};

/// One run on the questions of one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct BinScore {
    pub questions: usize,
    /// F1 and exact match in percent.
    pub scores: [f64; 2],
    /// Standard errors of F1 and exact match.
    pub errors: [f64; 2],
}

/// The bins of one feature.
pub(crate) struct Effect {
    pub name: &'static str,
    pub bins: Vec<&'static str>,
    /// By run, then bin.
    pub runs: Vec<Vec<BinScore>>,
}

const FIFTHS: [&str; 5] = ["shortest fifth", "2nd", "3rd", "4th", "longest fifth"];
const TOKENS: [&str; 5] = ["1 word", "2", "3–4", "5–8", "9 and more"];
const PLACES: [&str; 5] = ["first fifth", "2nd", "3rd", "4th", "last fifth"];

/// The bin of a share, from 0 to 1, in fifths.
fn fifth(share: f64) -> usize {
    [0.2, 0.4, 0.6, 0.8].iter().filter(|&&end| share >= end).count()
}

/// The bin of a number of tokens.
fn of_tokens(tokens: f64) -> usize {
    [2.0, 3.0, 5.0, 9.0].iter().filter(|&&begin| tokens >= begin).count()
}

/// The bin of each row by its rank among the rows of its pair: lengths of different languages are
/// not comparable.
fn by_rank(all: &Collected, feature: usize) -> Vec<usize> {
    let value = |row: &Row| row.features.get(feature).copied().unwrap_or_default();
    let mut of_pairs: Vec<Vec<f64>> = vec![Vec::new(); all.pairs.len()];
    for row in &all.rows {
        if let Some(values) = of_pairs.get_mut(row.pair) {
            values.push(value(row));
        }
    }
    of_pairs.iter_mut().for_each(|values| values.sort_by(f64::total_cmp));
    let bin = |row: &Row| {
        let Some(values) = of_pairs.get(row.pair) else { return 0 };
        let below = values.partition_point(|&other| other < value(row));
        let not_above = values.partition_point(|&other| other <= value(row));
        // The middle rank of the rows with an equal value.
        fifth((below + not_above) as f64 / 2.0 / values.len().max(1) as f64)
    };
    all.rows.iter().map(bin).collect()
}

/// The scores of all runs by [`FEATURES`].
pub(crate) fn effects(all: &Collected) -> Vec<Effect> {
    let feature = |row: &Row, at: usize| row.features.get(at).copied().unwrap_or_default();
    let fixed = |at: usize, bin: fn(f64) -> usize| -> Vec<usize> {
        all.rows.iter().map(|row| bin(feature(row, at))).collect()
    };
    let bins = [
        (FIFTHS, by_rank(all, 0)),
        (FIFTHS, by_rank(all, 1)),
        (TOKENS, fixed(2, of_tokens)),
        (PLACES, fixed(3, fifth)),
    ];
    let named = FEATURES.into_iter().zip(bins);
    let effect = |(name, (labels, bins)): (&'static str, ([&'static str; 5], Vec<usize>))| {
        // Bins without questions are excluded.
        let used: Vec<usize> = (0..labels.len()).filter(|bin| bins.contains(bin)).collect();
        let of_run = |run: usize| used.iter().map(|&bin| score(all, &bins, bin, run)).collect();
        let runs = (0..all.names.len()).map(of_run).collect();
        let bins = used.iter().filter_map(|&bin| labels.get(bin).copied()).collect();
        Effect { name, bins, runs }
    };
    named.map(effect).collect()
}

fn score(all: &Collected, bins: &[usize], bin: usize, run: usize) -> BinScore {
    let own = all.rows.iter().zip(bins).filter(|(_, own)| **own == bin);
    let values: Vec<[f64; 2]> =
        own.filter_map(|(row, _)| row.values.get(run).copied().flatten()).collect();
    let count = values.len() as f64;
    if values.is_empty() {
        return BinScore::default();
    }
    let mean = |metric: usize| {
        let own = || values.iter().filter_map(move |value| value.get(metric).copied());
        let mean = own().sum::<f64>() / count;
        let squares: f64 = own().map(|value| (value - mean).powi(2)).sum();
        (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
    };
    let ((f1, f1_error), (em, em_error)) = (mean(0), mean(1));
    BinScore { questions: values.len(), scores: [f1, em], errors: [f1_error, em_error] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_meet_without_gaps() {
        assert_eq!([0.0, 0.199, 0.2, 0.6, 0.99, 1.0].map(fifth), [0, 0, 1, 3, 4, 4]);
        assert_eq!(
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 9.0, 80.0].map(of_tokens),
            [0, 0, 1, 2, 2, 3, 3, 4, 4]
        );
    }
}
