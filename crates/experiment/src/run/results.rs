//! Results of trials, in the order of seeds, arms and variants.
use std::ops::Deref;

use results::MeanInterval;

/// The result of one trial.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialResult<T, E> {
    /// The seed.
    pub seed: u64,
    /// The arm's name.
    pub arm: String,
    /// The variant's name, if the arm has variants.
    pub variant: Option<String>,
    /// The return value of training.
    pub trained: T,
    /// The return value of evaluation.
    pub evaluated: E,
    /// Tokens seen in training, without padding.
    pub tokens: u64,
    /// Seconds of training and evaluation, including earlier parts of a resumed run.
    pub seconds: f64,
}

/// The results of all trials, sorted by seed, arm and variant, each in the recipe's order.
///
/// ```
/// use experiment::{TrialResult, Results};
///
/// let result = |seed, arm: &str, f1| TrialResult {
///     seed,
///     arm: arm.into(),
///     variant: None,
///     trained: (),
///     evaluated: f1,
///     tokens: 0,
///     seconds: 1.5,
/// };
/// let results = Results::from(vec![
///     result(0, "base", 20.0),
///     result(0, "injected", 30.0),
///     result(1, "base", 22.0),
///     result(1, "injected", 31.0),
/// ]);
/// let of_base: Vec<f64> = results.of_arm("base").map(|result| result.evaluated).collect();
/// assert_eq!(of_base, [20.0, 22.0]);
/// assert_eq!(results.of_trial(1, "injected").count(), 1);
/// assert_eq!(results.seconds(), 6.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Results<T, E>(Vec<TrialResult<T, E>>);

impl<T, E> Results<T, E> {
    /// The results of one arm.
    pub fn of_arm<'a>(&'a self, arm: &'a str) -> impl Iterator<Item = &'a TrialResult<T, E>> {
        self.iter().filter(move |result| result.arm == arm)
    }

    /// The results of one seed and arm: one result, or one per variant.
    pub fn of_trial<'a>(
        &'a self,
        seed: u64,
        arm: &'a str,
    ) -> impl Iterator<Item = &'a TrialResult<T, E>> {
        self.of_arm(arm).filter(move |result| result.seed == seed)
    }

    /// The mean of `value` over the seeds of an arm, with its confidence interval. The values of an
    /// arm's variants are summed per seed.
    ///
    /// ```
    /// # use experiment::{TrialResult, Results};
    /// # let result = |seed, variant: &str, seconds| TrialResult {
    /// #     seed,
    /// #     arm: "injected".into(),
    /// #     variant: Some(variant.into()),
    /// #     trained: (),
    /// #     evaluated: (),
    /// #     tokens: 0,
    /// #     seconds,
    /// # };
    /// let results = Results::from(vec![
    ///     result(0, "en-de", 2.0),
    ///     result(0, "en-zh", 3.0),
    ///     result(1, "en-de", 4.0),
    ///     result(1, "en-zh", 5.0),
    /// ]);
    /// assert_eq!(results.over_seeds("injected", |trial| trial.seconds).mean, 7.0);
    /// ```
    pub fn over_seeds(&self, arm: &str, value: impl Fn(&TrialResult<T, E>) -> f64) -> MeanInterval {
        let trials: Vec<&TrialResult<T, E>> = self.of_arm(arm).collect();
        let seeds = trials.chunk_by(|result, next_result| result.seed == next_result.seed);
        MeanInterval::of(seeds.map(|trials| trials.iter().map(|trial| value(trial)).sum()))
    }

    /// Seconds of all trials.
    pub fn seconds(&self) -> f64 {
        self.iter().map(|result| result.seconds).sum()
    }
}

impl<T, E> From<Vec<TrialResult<T, E>>> for Results<T, E> {
    fn from(results: Vec<TrialResult<T, E>>) -> Self {
        Self(results)
    }
}

impl<T, E> Deref for Results<T, E> {
    type Target = [TrialResult<T, E>];

    fn deref(&self) -> &[TrialResult<T, E>] {
        &self.0
    }
}
