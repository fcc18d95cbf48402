//! The decision between "no answer" and the best answer, fitted on questions with paragraphs that
//! do not answer them.
use serde::{Deserialize, Serialize};

/// Maximum F1, in percentage points, that the threshold may cost on questions with answers.
const MAX_LOST_F1: f64 = 1.0;

/// Minimum number of questions with answers, and of questions without, for a fit.
pub(crate) const MIN_QUESTIONS: usize = 20;

/// Fits of "no answer" on mismatched pairs, that is, questions with paragraphs of other articles.
///
/// Readers have lower scores over texts in other languages than the question, so these texts have
/// a separate fit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoAnswer {
    /// Fit for texts in the question's language; `None` if there were too few pairs.
    pub same_language: Option<NoAnswerFit>,
    /// Fit for texts in other languages; `None` if there were too few pairs. Then a text in another
    /// language never has "no answer".
    pub other_language: Option<NoAnswerFit>,
}

impl NoAnswer {
    /// Returns the fit for texts in the question's language or in other languages.
    pub fn of(&self, is_other_language: bool) -> Option<&NoAnswerFit> {
        let Self { same_language, other_language } = self;
        if is_other_language { other_language.as_ref() } else { same_language.as_ref() }
    }

    pub(crate) fn fits(&self) -> impl Iterator<Item = &NoAnswerFit> {
        self.same_language.iter().chain(&self.other_language)
    }
}

/// Threshold and probability of "no answer" for one passage, as functions of the null odds: the
/// null score minus the best answer's score.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoAnswerFit {
    /// A passage has no answer if its null odds exceed this value: the lowest value that costs at
    /// most one percentage point of F1 on the questions with answers.
    pub null_threshold: f64,
    /// Slope of the logistic regression (Platt 1999) of "no answer" on the null odds.
    pub slope: f64,
    /// Intercept of the logistic regression. Questions with and without answers have equal weights
    /// in total, so a passage without evidence has no answer with a probability of one half.
    pub intercept: f64,
    /// Number of mismatched pairs.
    pub mismatched: usize,
    /// Number of questions with answers.
    pub answerable: usize,
    /// Area under the ROC curve: the probability that a mismatched pair has higher null odds than a
    /// question with an answer.
    pub auroc: f64,
    /// Percentage of mismatched pairs that exceed the threshold.
    pub rejected: f64,
    /// F1 in percentage points that the threshold costs on the questions with answers.
    pub lost_f1: f64,
}

/// Null odds and F1 (0 to 1) of the best answer to a question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoredOdds {
    pub odds: f64,
    pub f1: f64,
}

impl NoAnswerFit {
    /// Fits threshold and probability on questions with answers, and on the null odds of questions
    /// without answers. Returns `None` if there are too few of either, or if the reader's F1 is so
    /// low that no threshold is too expensive.
    pub(crate) fn fit(mut answerable: Vec<ScoredOdds>, mut unanswerable: Vec<f64>) -> Option<Self> {
        if answerable.len().min(unanswerable.len()) < MIN_QUESTIONS {
            return None;
        }
        answerable.sort_by(|a, b| b.odds.total_cmp(&a.odds));
        unanswerable.sort_by(f64::total_cmp);
        let max_lost = MAX_LOST_F1 / 100.0 * answerable.len() as f64;
        // Questions with equal odds are rejected together, or not at all.
        let mut lost = 0.0;
        let (mut rejected_f1, mut threshold) = (0.0, None);
        for group in answerable.chunk_by(|a, b| a.odds == b.odds) {
            lost += group.iter().map(|one| one.f1).sum::<f64>();
            if lost > max_lost {
                threshold = Some(group[0].odds);
                break;
            }
            rejected_f1 = lost;
        }
        let null_threshold = threshold?;
        let odds: Vec<f64> = answerable.iter().map(|one| one.odds).collect();
        let [slope, intercept] = logistic_regression(&unanswerable, &odds);
        let at_most = unanswerable.partition_point(|&odds| odds <= null_threshold);
        let share = |count: usize| 100.0 * count as f64 / unanswerable.len() as f64;
        Some(Self {
            null_threshold,
            slope,
            intercept,
            mismatched: unanswerable.len(),
            answerable: answerable.len(),
            auroc: auroc(&unanswerable, &odds),
            rejected: share(unanswerable.len() - at_most),
            lost_f1: 100.0 * rejected_f1 / answerable.len() as f64,
        })
    }

    /// Returns the log-odds of "no answer" for a passage with these null odds.
    pub(crate) fn logit(&self, null_odds: f64) -> f64 {
        self.slope * null_odds + self.intercept
    }

    /// Returns the name and value of a parameter that is not a finite number.
    pub(crate) fn invalid_parameter(&self) -> Option<(&'static str, f64)> {
        let Self { null_threshold, slope, intercept, .. } = *self;
        let parameters =
            [("null_threshold", null_threshold), ("slope", slope), ("intercept", intercept)];
        parameters.into_iter().find(|(_, value)| !value.is_finite())
    }
}

/// Computes the probability that a positive value exceeds a negative one; ties count as one half.
/// `positives` must be sorted.
fn auroc(positives: &[f64], negatives: &[f64]) -> f64 {
    let higher = |negative: &f64| {
        let lower = positives.partition_point(|positive| positive < negative);
        let at_most = positives.partition_point(|positive| positive <= negative);
        (positives.len() - at_most) as f64 + (at_most - lower) as f64 / 2.0
    };
    let pairs = positives.len() as f64 * negatives.len() as f64;
    negatives.iter().map(higher).sum::<f64>() / pairs
}

/// Maximum number of Newton steps; about ten suffice.
const MAX_STEPS: usize = 100;

/// Fits slope and intercept of the probability of the first class as a logistic function of a
/// value. Both classes have the same total weight. Targets are smoothed as by Platt (1999), so the
/// parameters are finite for separable classes. Newton's method with backtracking, as by Lin, Lin
/// and Weng (2007).
fn logistic_regression(first: &[f64], second: &[f64]) -> [f64; 2] {
    let target = |count: usize| (count as f64 + 1.0) / (count as f64 + 2.0);
    let class = |values: &[f64], target: f64| -> Vec<[f64; 3]> {
        let weight = 0.5 / values.len() as f64;
        values.iter().map(|&value| [value, target, weight]).collect()
    };
    // The values are centred, so that slope and intercept are nearly independent.
    let mean = (mean(first) + mean(second)) / 2.0;
    let mut points = class(first, target(first.len()));
    points.extend(class(second, 1.0 - target(second.len())));
    points.iter_mut().for_each(|point| point[0] -= mean);
    let loss = |[slope, intercept]: [f64; 2]| -> f64 {
        let point = |&[value, target, weight]: &[f64; 3]| {
            let logit = slope * value + intercept;
            // ln(1 + exp(logit)) - target · logit
            weight * (logit.max(0.0) + (-logit.abs()).exp().ln_1p() - target * logit)
        };
        points.iter().map(point).sum()
    };
    let mut parameters = [0.0, 0.0];
    let mut lowest = loss(parameters);
    for _ in 0..MAX_STEPS {
        // The ridge keeps the Hessian invertible if all values are equal.
        let (mut gradient, mut hessian) = ([0.0; 2], [1e-12, 0.0, 1e-12]);
        for &[value, target, weight] in &points {
            let probability = 1.0 / (1.0 + (-parameters[0] * value - parameters[1]).exp());
            let error = weight * (probability - target);
            let curvature = weight * probability * (1.0 - probability);
            gradient[0] += error * value;
            gradient[1] += error;
            hessian[0] += curvature * value * value;
            hessian[1] += curvature * value;
            hessian[2] += curvature;
        }
        let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
        let step = [
            (hessian[2] * gradient[0] - hessian[1] * gradient[1]) / determinant,
            (hessian[0] * gradient[1] - hessian[1] * gradient[0]) / determinant,
        ];
        let lower = (0..30).find_map(|halvings| {
            let scale = 0.5f64.powi(halvings);
            let candidate = [parameters[0] - scale * step[0], parameters[1] - scale * step[1]];
            let candidate_loss = loss(candidate);
            (candidate_loss < lowest).then_some((candidate, candidate_loss))
        });
        let Some((candidate, candidate_loss)) = lower else { break };
        (parameters, lowest) = (candidate, candidate_loss);
    }
    let [slope, intercept] = parameters;
    [slope, intercept - slope * mean]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `count` values around `center`, 0.1 apart.
    fn around(center: f64, count: usize) -> Vec<f64> {
        (0..count).map(|k| center + 0.1 * (k as f64 - (count - 1) as f64 / 2.0)).collect()
    }

    fn scored(odds: &[f64], f1: f64) -> Vec<ScoredOdds> {
        odds.iter().map(|&odds| ScoredOdds { odds, f1 }).collect()
    }

    #[test]
    fn the_threshold_costs_at_most_one_point_of_f1() {
        // F1 is 50. The two questions with the highest odds cost 0.5 points each.
        let answerable = around(-8.0, 100);
        let fit = NoAnswerFit::fit(scored(&answerable, 0.5), around(0.0, 50)).unwrap();
        assert_eq!((fit.null_threshold, fit.lost_f1), (answerable[97], 1.0));
        // The pairs from -2.45 on are above -3.25.
        assert_eq!((fit.rejected, fit.mismatched, fit.answerable), (100.0, 50, 100));
        // Wrong answers cost nothing.
        let mut wrong_at_the_end = scored(&answerable, 0.5);
        wrong_at_the_end[60..].iter_mut().for_each(|one| one.f1 = 0.0);
        let fit = NoAnswerFit::fit(wrong_at_the_end, around(-8.0, 40)).unwrap();
        assert_eq!(fit.null_threshold, answerable[57]);
        assert!(fit.rejected < 50.0 && fit.lost_f1 == 1.0, "{fit:?}");
        // Equal odds are rejected together, or not at all.
        let fit = NoAnswerFit::fit(scored(&[-3.0; 30], 1.0), vec![-3.0; 30]).unwrap();
        assert_eq!((fit.null_threshold, fit.rejected, fit.lost_f1), (-3.0, 0.0, 0.0));
        assert_eq!((fit.auroc, fit.logit(-3.0).abs() < 1e-9), (0.5, true));
        // Too few questions, and a reader without correct answers.
        assert_eq!(NoAnswerFit::fit(scored(&around(0.0, 19), 1.0), around(0.0, 50)), None);
        assert_eq!(NoAnswerFit::fit(scored(&around(0.0, 50), 0.0), around(0.0, 50)), None);
    }

    #[test]
    fn the_area_under_the_curve_counts_pairs() {
        // 3 > 1, 3 > 2, 2 > 1, and a tie.
        assert_eq!(auroc(&[2.0, 3.0], &[1.0, 2.0]), 3.5 / 4.0);
        assert_eq!(auroc(&[1.0, 1.0], &[2.0]), 0.0);
    }

    #[test]
    fn logistic_regression_finds_the_parameters_of_its_data() {
        // Values on a grid, each as often in a class as its probability: logit = 2 (x + 1).
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for k in -30..=30 {
            let value = f64::from(k) / 10.0 - 1.0;
            let count = (2000.0 / (1.0 + (-2.0 * (value + 1.0)).exp())).round() as usize;
            first.extend(vec![value; count]);
            second.extend(vec![value; 2000 - count]);
        }
        let [slope, intercept] = logistic_regression(&first, &second);
        assert!(
            (slope - 2.0).abs() < 0.01 && (intercept - 2.0).abs() < 0.01,
            "{slope} {intercept}"
        );
        // The weights of the classes are equal, whatever their sizes.
        let doubled: Vec<f64> = first.iter().chain(&first).copied().collect();
        let [again, _] = logistic_regression(&doubled, &second);
        assert!((again - slope).abs() < 1e-3, "{again}");
        // Separable classes have finite parameters, and equal values a slope of 0.
        let [slope, intercept] = logistic_regression(&around(5.0, 30), &around(-5.0, 30));
        assert!(slope > 0.1 && slope < 10.0 && intercept.abs() < 1e-6, "{slope} {intercept}");
        let probability = 1.0 / (1.0 + (-slope * 5.0 - intercept).exp());
        assert!(probability > 0.95, "{probability}");
        assert_eq!(logistic_regression(&[1.0; 5], &[1.0; 5])[0], 0.0);
    }
}
