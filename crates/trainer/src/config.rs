//! Hyper-parameters of a training stage.
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Learning-rate decay after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Linear decay to zero at the last step.
    #[default]
    Linear,
    /// Constant learning rate.
    Constant,
}

/// Options of a parameter group.
///
/// ```
/// use trainer::{GroupConfig, TrainConfig};
///
/// let json = r#"{"groups": [{"roles": ["word_embeddings"], "frozen": true}]}"#;
/// let config: TrainConfig = serde_json::from_str(json)?;
/// assert!(config.groups[0].frozen && config.batch_size == 16);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Prefixes of the names of the group's parameters. A parameter belongs to the first matching
    /// group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Roles of the group's parameters, such as `word_embeddings` or `layers.0..4`, which
    /// [`TrainConfig::resolve_roles`] resolves to names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Peak learning rate of the group. Default: the stage's learning rate.
    pub learning_rate: Option<f64>,
    /// Weight decay of the group. Default: the stage's weight decay.
    pub weight_decay: Option<f64>,
    /// Whether the group is frozen.
    pub frozen: bool,
}

/// Options of a training stage.
///
/// Defaults are common values for fine-tuning: AdamW with weight decay 0.01, linear learning-rate
/// decay, and gradient clipping at norm 1.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Fraction of the steps used for linear warm-up, from 0 to 1.
    pub warmup_ratio: f64,
    /// Decay after warm-up.
    pub decay: Decay,
    /// Number of examples per step.
    pub batch_size: usize,
    /// Number of passes over the examples, unless `steps` is set; at most 1 million.
    pub epochs: u64,
    /// Number of steps, at most 10 billion; overrides `epochs`.
    pub steps: Option<u64>,
    /// Decoupled weight decay, at most 1000. It is not applied to vectors, such as biases, or to
    /// normalisation weights.
    pub weight_decay: f64,
    /// Decay rates of the first and second moment.
    pub betas: (f64, f64),
    /// Constant added to the square root of the second moment.
    pub eps: f64,
    /// Maximum total gradient norm, up to 1 million. `None` disables clipping.
    pub max_grad_norm: Option<f64>,
    /// Groups of parameters that are frozen, or have a separate learning rate or weight decay.
    pub groups: Vec<GroupConfig>,
    /// Maximum number of batches per bucket. The examples of a bucket are sorted by length, which
    /// reduces padding; 1 disables sorting. See [`Batches`](crate::Batches). Streamed examples
    /// remain in the stream's order.
    ///
    /// Default: 50, or 1 for a task that takes its negatives from the batch
    /// ([`Task::min_batch_size`](crate::Task::min_batch_size) above 1), because in sorted batches a
    /// query is compared only with keys of similar length.
    pub bucket_batches: Option<usize>,
    /// Number of steps between checkpoints. Default: a checkpoint at the end only.
    pub checkpoint_steps: Option<u64>,
    /// Number of newest checkpoints to retain.
    pub keep_checkpoints: usize,
    /// Whether to store the parameters of every checkpoint permanently, as
    /// `models/step-<step>.safetensors` in the stage's folder. The `experiment` crate converts each
    /// of these files to a model folder after a trial is trained.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_models: bool,
    /// Number of steps between two lines of metrics.
    pub log_steps: u64,
    /// Random seed of the order of examples, of dropout and of the task's random draws.
    pub seed: u64,
    /// Number of examples per forward pass, for batches that do not fit in memory. Gradients are
    /// accumulated, so results differ from results with the whole batch only by rounding and, on a
    /// GPU, by dropout. Default: the whole batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Number of steps between two evaluations of a task that scores its model, in addition to the
    /// evaluations after each epoch. Default: evaluations after epochs only. See
    /// [`BestEpoch`](crate::selection::BestEpoch).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation_steps: Option<u64>,
    /// Number of consecutive evaluations without a new best score after which training ends.
    /// Default: no early stopping. Early stopping does not change the learning-rate schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            learning_rate: 3e-5,
            warmup_ratio: 0.0,
            decay: Decay::Linear,
            batch_size: 16,
            epochs: 2,
            steps: None,
            weight_decay: 0.01,
            betas: (0.9, 0.999),
            eps: 1e-8,
            max_grad_norm: Some(1.0),
            groups: Vec::new(),
            bucket_batches: None,
            checkpoint_steps: None,
            keep_checkpoints: 2,
            keep_models: false,
            log_steps: 10,
            seed: 42,
            micro_batch: None,
            evaluation_steps: None,
            patience: None,
        }
    }
}

/// Returns whether a value is the default. Keys with default values are not serialised, so adding a
/// key does not change the fingerprints of earlier runs.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TrainConfig {
    /// Replaces [`GroupConfig::roles`] with parameter names. `has_role` returns whether a name has
    /// a role, or an error for an invalid role.
    ///
    /// # Errors
    /// [`Error::Config`] naming a role that is unknown or that no parameter has.
    ///
    /// ```
    /// use trainer::{GroupConfig, TrainConfig};
    ///
    /// let group = GroupConfig { roles: vec!["head".into()], ..GroupConfig::default() };
    /// let config = TrainConfig { groups: vec![group], ..TrainConfig::default() };
    /// let names = ["encoder.weight", "head.weight", "head.bias"];
    /// let has_role = |role: &str, name: &str| Ok::<bool, String>(name.starts_with(role));
    /// let resolved = config.resolve_roles(names, has_role)?;
    /// assert_eq!(resolved.groups[0].prefixes, ["head.weight", "head.bias"]);
    /// # Ok::<(), trainer::Error>(())
    /// ```
    pub fn resolve_roles<'a, E: std::fmt::Display>(
        &self,
        names: impl IntoIterator<Item = &'a str> + Clone,
        has_role: impl Fn(&str, &str) -> std::result::Result<bool, E>,
    ) -> Result<Self> {
        let mut resolved = self.clone();
        for group in &mut resolved.groups {
            for role in std::mem::take(&mut group.roles) {
                let key = "groups.roles";
                let value = format!("{role:?}");
                let prefixes_before = group.prefixes.len();
                for name in names.clone() {
                    match has_role(&role, name) {
                        Ok(true) => group.prefixes.push(name.to_owned()),
                        Ok(false) => {}
                        Err(error) => {
                            let rule = error.to_string();
                            return Err(Error::Config { key: key.into(), value, rule });
                        }
                    }
                }
                let has_match = group.prefixes.len() > prefixes_before;
                expect(has_match, key, value, "must be the role of a parameter of this stage")?;
            }
        }
        Ok(resolved)
    }

    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value out of range.
    ///
    /// ```
    /// use trainer::TrainConfig;
    ///
    /// assert!(TrainConfig::default().validate().is_ok());
    /// let error = TrainConfig { warmup_ratio: 2.0, ..TrainConfig::default() }.validate();
    /// assert_eq!(error.unwrap_err().to_string(), "warmup_ratio = 2: must be from 0 to 1");
    /// ```
    pub fn validate(&self) -> Result<()> {
        self.validate_schedule()?;
        self.validate_optimizer()?;
        for group in &self.groups {
            group.validate()?;
        }
        expect(self.bucket_batches != Some(0), "bucket_batches", 0, AT_LEAST_ONE)?;
        expect(self.keep_checkpoints > 0, "keep_checkpoints", 0, AT_LEAST_ONE)?;
        expect(self.evaluation_steps != Some(0), "evaluation_steps", 0, AT_LEAST_ONE)?;
        expect(self.patience != Some(0), "patience", 0, AT_LEAST_ONE)?;
        expect(self.log_steps > 0, "log_steps", 0, AT_LEAST_ONE)?;
        expect(self.checkpoint_steps != Some(0), "checkpoint_steps", 0, AT_LEAST_ONE)
    }

    fn validate_schedule(&self) -> Result<()> {
        let Self { learning_rate, warmup_ratio, batch_size, epochs, .. } = *self;
        expect_rate(is_positive(learning_rate), "learning_rate", learning_rate, ABOVE_ZERO)?;
        let is_fraction = (0.0..=1.0).contains(&warmup_ratio);
        expect(is_fraction, "warmup_ratio", warmup_ratio, "must be from 0 to 1")?;
        expect(batch_size > 0, "batch_size", batch_size, AT_LEAST_ONE)?;
        // Without this limit, a large batch from an endless stream would fill the memory.
        expect(batch_size <= 1_000_000, "batch_size", batch_size, "must be 1 million or less")?;
        expect(self.micro_batch != Some(0), "micro_batch", 0, AT_LEAST_ONE)?;
        expect(epochs > 0, "epochs", epochs, AT_LEAST_ONE)?;
        expect(epochs <= 1_000_000, "epochs", epochs, "must be 1 million or less")?;
        let steps = self.steps.unwrap_or(1);
        expect(steps > 0, "steps", steps, AT_LEAST_ONE)?;
        // 10 billion steps take four months at 1,000 steps per second.
        expect(steps <= 10_000_000_000, "steps", steps, "must be 10 billion or less")
    }

    fn validate_optimizer(&self) -> Result<()> {
        expect_decay("weight_decay", self.weight_decay)?;
        for beta in [self.betas.0, self.betas.1] {
            expect((0.0..1.0).contains(&beta), "betas", beta, "must be from 0 to below 1")?;
        }
        let is_valid_eps = is_positive(self.eps) && self.eps <= 1.0;
        expect(is_valid_eps, "eps", self.eps, "must be above 0 and at most 1")?;
        match self.max_grad_norm {
            Some(norm) => {
                let is_valid_norm = is_positive(norm) && norm <= 1e6;
                expect(
                    is_valid_norm,
                    "max_grad_norm",
                    norm,
                    "must be above 0 and at most 1 million",
                )
            }
            None => Ok(()),
        }
    }

    /// Returns the configuration without keys that do not affect the result, such as logging and
    /// checkpoint intervals.
    ///
    /// ```
    /// use trainer::TrainConfig;
    ///
    /// let frequent_logs =
    ///     TrainConfig { checkpoint_steps: Some(5), log_steps: 2, ..Default::default() };
    /// assert_eq!(frequent_logs.identity(), TrainConfig::default().identity());
    /// let with_models = TrainConfig { keep_models: true, ..Default::default() };
    /// assert_eq!(with_models.identity(), TrainConfig::default().identity());
    /// let three_epochs = TrainConfig { epochs: 3, ..Default::default() };
    /// assert_ne!(three_epochs.identity(), TrainConfig::default().identity());
    /// ```
    #[must_use]
    pub fn identity(&self) -> Self {
        let (checkpoint_steps, keep_checkpoints, keep_models, log_steps) = (None, 1, false, 1);
        Self { checkpoint_steps, keep_checkpoints, keep_models, log_steps, ..self.clone() }
    }

    /// Returns the number of steps of a stage with this number of examples.
    ///
    /// ```
    /// use trainer::TrainConfig;
    ///
    /// let config = TrainConfig { batch_size: 16, epochs: 2, ..TrainConfig::default() };
    /// assert_eq!(config.total_steps(100), 14);
    /// ```
    pub fn total_steps(&self, examples: usize) -> u64 {
        let batches = examples.div_ceil(self.batch_size.max(1)) as u64;
        self.steps.unwrap_or(batches * self.epochs)
    }

    /// Returns the configuration for [`Alternating`](crate::Alternating) tasks, with `steps`
    /// computed from the batches of some tasks only.
    ///
    /// The counted tasks together have as many batches as [`total_steps`](Self::total_steps)
    /// returns for `examples`, rounded up to complete rounds. A round has `counted` batches of the
    /// counted tasks and `uncounted` batches of the remaining tasks. `evaluation_steps` also counts
    /// only batches of the counted tasks, and is rounded up to complete rounds.
    ///
    /// Stages with different numbers of tasks thus have the same number of counted batches and of
    /// evaluations.
    ///
    /// ```
    /// use trainer::TrainConfig;
    ///
    /// let config = TrainConfig { batch_size: 16, epochs: 2, ..TrainConfig::default() };
    /// // 14 batches in two epochs: 14 of one task, or 7 of each of two tasks. A third task that is
    /// // not counted adds 7 batches.
    /// let steps = |counted, uncounted| config.for_counted_tasks(100, counted, uncounted).steps;
    /// assert_eq!([steps(1, 0), steps(2, 0), steps(2, 1)], [Some(14), Some(14), Some(21)]);
    /// ```
    #[must_use]
    pub fn for_counted_tasks(&self, examples: usize, counted: u32, uncounted: u32) -> Self {
        let steps_for = |batches: u64| {
            let rounds = batches.div_ceil(u64::from(counted.max(1)));
            rounds * (u64::from(counted) + u64::from(uncounted))
        };
        let steps = Some(steps_for(self.total_steps(examples)));
        Self { steps, evaluation_steps: self.evaluation_steps.map(steps_for), ..self.clone() }
    }
}

const ABOVE_ZERO: &str = "must be above 0";
const NOT_NEGATIVE: &str = "must be 0 or more";
const AT_LEAST_ONE: &str = "must be 1 or more";

fn is_positive(x: f64) -> bool {
    x.is_finite() && x > 0.0
}

fn is_not_negative(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

/// Maximum learning rate. AdamW changes every weight by about the learning rate in each step.
const MAX_LEARNING_RATE: f64 = 1000.0;

/// Validates a learning rate.
fn expect_rate(is_valid: bool, key: &str, rate: f64, rule: &str) -> Result<()> {
    expect(is_valid, key, rate, rule)?;
    expect(rate <= MAX_LEARNING_RATE, key, rate, &format!("must be at most {MAX_LEARNING_RATE}"))
}

/// Validates a weight decay. With a learning rate of 0.001, a decay of 1000 sets a weight to zero
/// in one step.
fn expect_decay(key: &str, decay: f64) -> Result<()> {
    expect((0.0..=1000.0).contains(&decay), key, decay, "must be from 0 to 1000")
}

/// Returns an error with key, value and rule unless the value is valid.
fn expect(is_valid: bool, key: &str, value: impl std::fmt::Display, rule: &str) -> Result<()> {
    if is_valid {
        return Ok(());
    }
    Err(Error::Config { key: key.into(), value: value.to_string(), rule: rule.into() })
}

impl GroupConfig {
    fn validate(&self) -> Result<()> {
        let has_members = !self.prefixes.is_empty() || !self.roles.is_empty();
        expect(has_members, "groups", "{}", "every group must have at least one role or prefix")?;
        if let Some(decay) = self.weight_decay {
            expect_decay("groups.weight_decay", decay)?;
        }
        if let Some(rate) = self.learning_rate {
            expect_rate(is_not_negative(rate), "groups.learning_rate", rate, NOT_NEGATIVE)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_the_same_number_of_counted_batches() {
        for (epochs, steps) in [(5, None), (1, Some(35))] {
            let config = TrainConfig { epochs, steps, ..TrainConfig::default() };
            for (counted, uncounted) in [(1u32, 0u32), (1, 1), (2, 0), (2, 1), (3, 2)] {
                let stage = config.for_counted_tasks(100, counted, uncounted);
                let steps = stage.steps.unwrap();
                let round_steps = u64::from(counted + uncounted);
                assert!(steps.is_multiple_of(round_steps), "{counted} {uncounted}");
                // There are 7 batches per epoch, 35 in total; the last round is complete.
                let batches = steps / round_steps * u64::from(counted);
                assert!((35..35 + u64::from(counted)).contains(&batches), "{batches}");
                assert_eq!(TrainConfig { steps: config.steps, ..stage }, config);
            }
        }
    }

    #[test]
    fn evaluation_intervals_have_the_same_number_of_counted_batches() {
        let config =
            TrainConfig { evaluation_steps: Some(6), steps: Some(60), ..TrainConfig::default() };
        let evaluation_steps_for =
            |counted, uncounted| config.for_counted_tasks(100, counted, uncounted).evaluation_steps;
        assert_eq!(
            [evaluation_steps_for(1, 0), evaluation_steps_for(2, 0), evaluation_steps_for(2, 1)],
            [Some(6), Some(6), Some(9)]
        );
        assert_eq!(evaluation_steps_for(4, 0), Some(8), "the end of a round");
    }

    #[test]
    fn errors_of_values_out_of_range_name_the_key() {
        let (million, billions) = ("must be 1 million or less", "must be 10 billion or less");
        type Case = (fn(&mut TrainConfig), &'static str, &'static str);
        let cases: [Case; 11] = [
            (|config| config.learning_rate = 1e30, "learning_rate = 1", ""),
            (|config| config.eps = 1e30, "eps = 1", "above 0 and at most 1"),
            (|config| config.weight_decay = 1e30, "weight_decay = 1", "from 0 to 1000"),
            (|config| config.max_grad_norm = Some(1e30), "max_grad_norm = 1", "at most 1 million"),
            (|config| config.batch_size = 1_000_000_000, "batch_size = 1000000000: ", million),
            // `epochs` is validated even if `steps` is set.
            (|config| config.epochs = 0, "epochs = 0: ", "must be 1 or more"),
            (|config| config.epochs = 1_000_000_000, "epochs = 1000000000: ", million),
            (|config| config.epochs = u64::MAX >> 1, "epochs = 9223372036854775807: ", million),
            (|config| config.steps = Some(1 << 40), "steps = 1099511627776: ", billions),
            (
                |config| config.steps = Some(u64::MAX >> 1),
                "steps = 9223372036854775807: ",
                billions,
            ),
            (
                |config| config.groups = vec![group_with_large_rate()],
                "groups.learning_rate = 1",
                "",
            ),
        ];
        for (change, key, rule) in cases {
            let mut config = TrainConfig { steps: Some(3), ..TrainConfig::default() };
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(key) && message.ends_with(rule), "{message}");
        }
    }

    fn group_with_large_rate() -> GroupConfig {
        let prefixes = vec!["roberta".into()];
        GroupConfig { prefixes, learning_rate: Some(1e30), ..Default::default() }
    }

    #[test]
    fn rare_settings_are_serialized_only_if_they_differ_from_the_default() {
        let json = serde_json::to_string(&TrainConfig::default()).unwrap();
        for key in ["micro_batch", "evaluation_steps", "patience"] {
            assert!(!json.contains(key), "{json}");
        }
        assert_eq!(serde_json::from_str::<TrainConfig>(&json).unwrap(), TrainConfig::default());
    }
}
