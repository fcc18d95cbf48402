//! Compares two runs question by question.
use serde::Serialize;

use crate::{
    Dataset, Error, MeanInterval, Normalization, PairedTest, Predictions, QuestionScore,
    Resampling, holm, paired_test, score,
};

/// Difference of two runs in one metric on one question file, in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDifference {
    /// Name of the question file; see the argument `data` of [`compare_runs`].
    pub data: String,
    /// `f1` or `em`.
    pub metric: &'static str,
    /// Number of questions.
    pub questions: usize,
    /// The first run's score, the mean over its seeds.
    pub baseline: f64,
    /// Half width of the 95 % confidence interval of `baseline` over seeds; `None` for a single
    /// seed.
    pub baseline_half_width: Option<f64>,
    /// The second run's score, the mean over its seeds.
    pub predictions: f64,
    /// Half width of the 95 % confidence interval of `predictions` over seeds; `None` for a single
    /// seed.
    pub predictions_half_width: Option<f64>,
    /// The second run's score minus the first run's score, averaged over questions.
    pub difference: f64,
    /// Lower end of the difference's bootstrap interval.
    pub low: f64,
    /// Upper end of the difference's bootstrap interval.
    pub high: f64,
    /// [`PairedTest::p_randomisation`].
    pub p_randomisation: f64,
    /// [`PairedTest::p_bootstrap`].
    pub p_bootstrap: f64,
    /// `p_randomisation` after correction by [`RunDifference::apply_holm`]; equal to
    /// `p_randomisation` before the correction.
    pub p_holm: f64,
}

/// Computes a metric of one question, in percent.
type MetricOf = fn(&QuestionScore) -> f64;

const METRICS: [(&str, MetricOf); 2] = [
    ("f1", |score| 100.0 * score.f1),
    ("em", |score| 100.0 * f64::from(u8::from(score.exact_match))),
];

impl RunDifference {
    /// Sets [`RunDifference::p_holm`] in the rows of several question files. [`holm`] is applied to
    /// F1 and exact match separately.
    pub fn apply_holm(rows: &mut [Self]) {
        for (metric, _) in METRICS {
            let mut selected: Vec<&mut Self> =
                rows.iter_mut().filter(|row| row.metric == metric).collect();
            let p: Vec<f64> = selected.iter().map(|row| row.p_randomisation).collect();
            selected.iter_mut().zip(holm(&p)).for_each(|(row, p)| row.p_holm = p);
        }
    }
}

/// Compares two runs, each with one or more seeds, on `dataset` by F1 and exact match.
///
/// `data` is the name of the question file in the result. Each question's value is the mean over
/// seeds.
///
/// ```
/// use mlqa_eval::{Dataset, Normalization, Predictions, Resampling, compare_runs};
///
/// let folder = "../testkit/fixtures/scorer/de";
/// let dataset = Dataset::read(format!("{folder}/dataset.json"))?;
/// let run = Predictions::read(format!("{folder}/predictions.json"))?;
/// let none = Predictions::default();
/// let (rules, config) = (Normalization::SquadEn, Resampling::default());
/// let [f1, em] = compare_runs("de", &dataset, [&[none], &[run]], rules, &config)?;
/// assert!(f1.low > 0.0 && f1.p_holm < 0.05 && em.baseline == 0.0);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::NoQuestions`]; [`Error::NoGold`]; the errors of [`paired_test`].
pub fn compare_runs(
    data: &str,
    dataset: &Dataset,
    runs: [&[Predictions]; 2],
    rules: Normalization,
    config: &Resampling,
) -> Result<[RunDifference; 2], Error> {
    dataset.check_scorable()?;
    let score_seeds = |seeds: &[Predictions]| -> Result<Vec<Vec<QuestionScore>>, Error> {
        seeds.iter().map(|seed| Ok(score(dataset, seed, rules)?.per_question)).collect()
    };
    let [first, second] = [score_seeds(runs[0])?, score_seeds(runs[1])?];
    let compare_metric =
        |(metric, value): (&'static str, MetricOf)| -> Result<RunDifference, Error> {
            // `by_question` averages each question's value over seeds. `by_seed` averages each seed's
            // values over questions.
            let by_question = |seeds: &[Vec<QuestionScore>]| -> Vec<f64> {
                let question_mean =
                    |k: usize| MeanInterval::of(seeds.iter().map(|seed| value(&seed[k]))).mean;
                (0..dataset.questions.len()).map(question_mean).collect()
            };
            let by_seed = |seeds: &[Vec<QuestionScore>]| {
                MeanInterval::of(
                    seeds.iter().map(|seed| MeanInterval::of(seed.iter().map(value)).mean),
                )
            };
            let pairs: Vec<(f64, f64)> =
                by_question(&first).into_iter().zip(by_question(&second)).collect();
            let PairedTest { difference, p_randomisation, p_bootstrap } =
                paired_test(&pairs, config)?;
            let [baseline, predictions] = [by_seed(&first), by_seed(&second)];
            Ok(RunDifference {
                data: data.to_owned(),
                metric,
                questions: pairs.len(),
                baseline: baseline.mean,
                baseline_half_width: baseline.half_width,
                predictions: predictions.mean,
                predictions_half_width: predictions.half_width,
                difference: difference.mean,
                low: difference.low,
                high: difference.high,
                p_randomisation,
                p_bootstrap,
                p_holm: p_randomisation,
            })
        };
    let [f1, em] = METRICS;
    Ok([compare_metric(f1)?, compare_metric(em)?])
}
