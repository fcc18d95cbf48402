//! Computes confidence intervals of scores and significance of differences.
use std::collections::BTreeMap;

use mlqa_eval::{Interval, MeanInterval, PairedTest, Resampling, bootstrap, holm, paired_test};

use crate::collect::{PairRun, QuestionScores, ReportData};

/// The metrics, in the order of [`QuestionScores::values`](crate::collect::QuestionScores::values).
pub(crate) const METRICS: [&str; 2] = ["F1", "EM"];

/// Mean scores of a run over the pairs of languages of a set.
pub(crate) struct RunMean {
    pub set: String,
    pub run: usize,
    pub pairs: usize,
    pub questions: usize,
    pub unanswered: usize,
    /// Percentage of questions whose answer does not occur in the context; `None` for runs with
    /// only scores.
    pub percent_not_in_context: Option<f64>,
    /// Scores by metric, in the order of [`METRICS`].
    pub scores: [MeanScore; 2],
}

/// A mean over pairs of languages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MeanScore {
    pub mean: f64,
    /// `None` for runs with only scores.
    pub interval: Option<Interval>,
    /// Half width of the 95 % confidence interval over seeds.
    pub half_width: Option<f64>,
}

/// The difference between a run and the first run.
pub(crate) struct Difference {
    pub set: String,
    pub run: usize,
    /// The pair's label; `None` for the mean over pairs.
    pub pair: Option<String>,
    /// Index in [`METRICS`].
    pub metric: usize,
    pub questions: usize,
    /// Mean score of the first run.
    pub baseline: f64,
    /// Mean score of the run `run`.
    pub value: f64,
    pub test: PairedTest,
    /// p-value of the randomisation test after Holm's correction. If `pair` is set, the correction
    /// covers the differences of all runs on single language pairs; otherwise, it covers the
    /// differences of all runs' means.
    pub p_holm: f64,
}

/// Returns the indices of a set's pairs for which all `runs` have scores.
fn pairs_of(all: &ReportData, set: &str, runs: &[usize]) -> Vec<usize> {
    let has = |pair: usize| {
        let scores = &all.pairs[pair];
        scores.pair.set == set && runs.iter().all(|&run| scores.runs[run].is_some())
    };
    (0..all.pairs.len()).filter(|&pair| has(pair)).collect()
}

/// Sums a question's values over language pairs, so that they are resampled together. The values
/// are weighted so that each pair of `pairs` has the same weight in the mean over question ids.
/// Also returns the number of questions with a value, summed over pairs.
pub(crate) fn sum_by_id<const N: usize>(
    all: &ReportData,
    pairs: &[usize],
    value: impl Fn(&QuestionScores) -> Option<[f64; N]>,
) -> (Vec<[f64; N]>, usize) {
    let mut counts: BTreeMap<usize, usize> = pairs.iter().map(|&pair| (pair, 0)).collect();
    let mut scored_questions = Vec::new();
    for row in &all.question_scores {
        if let (Some(count), Some(values)) = (counts.get_mut(&row.pair), value(row)) {
            *count += 1;
            scored_questions.push((row, values));
        }
    }
    let mut sums: Vec<Option<[f64; N]>> = vec![None; all.id_count];
    for (row, values) in &scored_questions {
        let questions = counts[&row.pair] as f64;
        let sum = sums[row.id].get_or_insert([0.0; N]);
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / questions);
    }
    let sums: Vec<[f64; N]> = sums.into_iter().flatten().collect();
    let scale = sums.len() as f64 / pairs.len().max(1) as f64;
    (sums.into_iter().map(|sum| sum.map(|value| value * scale)).collect(), scored_questions.len())
}

/// Returns the percentage of questions whose answer does not occur in the context; `None` for runs
/// with only scores.
pub(crate) fn percent_not_in_context<'a>(runs: impl Iterator<Item = &'a PairRun>) -> Option<f64> {
    let add = |(count, questions), run: &PairRun| {
        (count + run.not_in_context, questions + run.boundary.questions())
    };
    let (count, questions) = runs.fold((0, 0), add);
    (questions > 0).then(|| 100.0 * count as f64 / questions as f64)
}

/// Computes the mean scores of every run on every set.
pub(crate) fn run_means(
    all: &ReportData,
    resampling: &Resampling,
) -> Result<Vec<RunMean>, mlqa_eval::Error> {
    let mut means = Vec::new();
    for set in all.sets() {
        for run in 0..all.names.len() {
            let pairs = pairs_of(all, set, &[run]);
            if pairs.is_empty() {
                continue;
            }
            let (values, _) = sum_by_id(all, &pairs, |row| row.values[run]);
            let run_scores = || pairs.iter().filter_map(|&pair| all.pairs[pair].runs[run].as_ref());
            let seeds = all.seed_counts[run];
            let score = |metric: usize| -> Result<MeanScore, mlqa_eval::Error> {
                let metric_values: Vec<f64> = values.iter().map(|value| value[metric]).collect();
                let interval = match metric_values.is_empty() {
                    true => None,
                    false => Some(bootstrap(&metric_values, resampling)?),
                };
                let pair_scores = run_scores()
                    .map(|scores| if metric == 0 { scores.cell.f1 } else { scores.cell.em });
                let mean = MeanInterval::of(pair_scores).mean;
                let seed_mean = |seed: usize| {
                    // Pairs with only scores have no values by seed.
                    let values =
                        run_scores().filter_map(|scores| Some(scores.by_seed.get(seed)?[metric]));
                    MeanInterval::of(values).mean
                };
                Ok(MeanScore {
                    mean,
                    interval,
                    half_width: MeanInterval::of((0..seeds).map(seed_mean)).half_width,
                })
            };
            means.push(RunMean {
                set: set.to_owned(),
                run,
                pairs: pairs.len(),
                questions: run_scores().map(|scores| scores.cell.questions).sum(),
                unanswered: run_scores().map(|scores| scores.unanswered).sum(),
                percent_not_in_context: percent_not_in_context(run_scores()),
                scores: [score(0)?, score(1)?],
            });
        }
    }
    Ok(means)
}

/// Compares every run except the first with the first run: on each pair, and in the mean over
/// pairs.
pub(crate) fn differences(
    all: &ReportData,
    resampling: &Resampling,
) -> Result<Vec<Difference>, mlqa_eval::Error> {
    let mut differences = Vec::new();
    for set in all.sets() {
        for run in 1..all.names.len() {
            let values_of_both_runs = |row: &QuestionScores| {
                let (first, second) = (row.values[0]?, row.values[run]?);
                Some([first[0], second[0], first[1], second[1]])
            };
            let mut pairs = pairs_of(all, set, &[0, run]);
            pairs.retain(|&pair| !sum_by_id(all, &[pair], values_of_both_runs).0.is_empty());
            let single_pairs = pairs.iter().map(std::slice::from_ref);
            let all_pairs = (pairs.len() > 1).then_some(pairs.as_slice());
            for pair_group in single_pairs.chain(all_pairs) {
                let (values, questions) = sum_by_id(all, pair_group, values_of_both_runs);
                let label = match pair_group {
                    [pair] => Some(all.pairs[*pair].pair.label()),
                    _ => None,
                };
                for metric in 0..METRICS.len() {
                    let metric_pair = |[f1, run_f1, em, run_em]: &[f64; 4]| match metric {
                        0 => (*f1, *run_f1),
                        _ => (*em, *run_em),
                    };
                    let metric_values: Vec<(f64, f64)> = values.iter().map(metric_pair).collect();
                    let test = paired_test(&metric_values, resampling)?;
                    let p_holm = test.p_randomisation;
                    let baseline =
                        MeanInterval::of(metric_values.iter().map(|(first, _)| *first)).mean;
                    let value =
                        MeanInterval::of(metric_values.iter().map(|(_, second)| *second)).mean;
                    let (set, pair) = (set.to_owned(), label.clone());
                    differences.push(Difference {
                        set,
                        run,
                        pair,
                        metric,
                        questions,
                        baseline,
                        value,
                        test,
                        p_holm,
                    });
                }
            }
        }
    }
    apply_holm(&mut differences);
    Ok(differences)
}

/// The overlap between the questions of the first run and the questions of another run, including
/// questions that a run does not answer.
pub(crate) struct QuestionOverlap {
    pub set: String,
    pub run: usize,
    /// Numbers of questions of the first run, of the run `run`, and of both runs.
    pub counts: [usize; 3],
}

/// Returns the overlap for each run whose questions differ from the questions of the first run.
/// Questions that a run does not answer are also questions of this run.
pub(crate) fn question_overlaps(all: &ReportData) -> Vec<QuestionOverlap> {
    let mut overlaps = Vec::new();
    for set in all.sets() {
        for run in 1..all.names.len() {
            let mut counts = [0; 3];
            let in_set = |pair: usize| all.pairs[pair].pair.set == set;
            for row in all.question_scores.iter().filter(|row| in_set(row.pair)) {
                let (first, second) = (row.values[0].is_some(), row.values[run].is_some());
                for (count, counted) in counts.iter_mut().zip([first, second, first && second]) {
                    *count += usize::from(counted);
                }
            }
            let [first, second, common] = counts;
            if first.min(second) > 0 && (first > common || second > common) {
                overlaps.push(QuestionOverlap { set: set.to_owned(), run, counts });
            }
        }
    }
    overlaps
}

/// Applies Holm's correction for each metric, separately to differences on single pairs and to
/// differences of means over pairs.
fn apply_holm(differences: &mut [Difference]) {
    for metric in 0..METRICS.len() {
        for over_means in [false, true] {
            let in_group = |difference: &&mut Difference| {
                difference.metric == metric && difference.pair.is_none() == over_means
            };
            let mut group: Vec<&mut Difference> =
                differences.iter_mut().filter(|difference| in_group(difference)).collect();
            let p: Vec<f64> =
                group.iter().map(|difference| difference.test.p_randomisation).collect();
            group.iter_mut().zip(holm(&p)).for_each(|(difference, p)| difference.p_holm = p);
        }
    }
}
