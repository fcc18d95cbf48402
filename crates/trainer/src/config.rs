//! Every hyper-parameter of a training stage.
use serde::{Deserialize, Serialize};

use crate::{Result, TrainError, Updates};

/// What the learning rate does after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Down to zero at the last step.
    #[default]
    Linear,
    /// No change.
    Constant,
}

/// Parameters that train in their own way.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// The group holds the parameters whose names start with one of these; the first group that fits wins.
    pub prefixes: Vec<String>,
    /// Peak learning rate of the group; absent: the stage's.
    pub learning_rate: Option<f64>,
    /// Weight decay of the group; absent: the stage's.
    pub weight_decay: Option<f64>,
    /// Whether the group keeps its values.
    pub frozen: bool,
}

/// One stage of training. Defaults are the fine-tuning values of the literature's common practice: AdamW with decay
/// 0.01, linear decay, clipping at 1.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the steps with rising learning rate, from 0 to 1.
    pub warmup_ratio: f64,
    /// What follows warm-up.
    pub decay: Decay,
    /// Examples in a step.
    pub batch_size: usize,
    /// Passes over the examples, unless `steps` says otherwise.
    pub epochs: u64,
    /// Number of steps; takes the place of `epochs`.
    pub steps: Option<u64>,
    /// Decoupled weight decay; biases and LayerNorm weights have none.
    pub weight_decay: f64,
    /// Decay of the first and second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Gradients are scaled to this total norm at most; absent: no clipping.
    pub max_grad_norm: Option<f64>,
    /// Groups of parameters with their own rate, or frozen.
    pub groups: Vec<GroupConfig>,
    /// Batches are cut from runs of this many batches sorted by length, which saves padding; 1: no sorting.
    pub bucket_batches: usize,
    /// Steps between checkpoints; absent: at the end only.
    pub checkpoint_steps: Option<u64>,
    /// Checkpoints kept, newest first.
    pub keep_checkpoints: usize,
    /// Steps between two lines of metrics.
    pub log_steps: u64,
    /// Decides the order of examples, dropout and the task's own draws.
    pub seed: u64,
    /// When several tasks in turn change the parameters, see [`fit_tasks`](crate::fit_tasks).
    #[serde(skip_serializing_if = "is_default")]
    pub updates: Updates,
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
            bucket_batches: 50,
            checkpoint_steps: None,
            keep_checkpoints: 2,
            log_steps: 10,
            seed: 42,
            updates: Updates::Sequential,
        }
    }
}

/// Left out where it is written, as it says nothing about a single task.
fn is_default(updates: &Updates) -> bool {
    *updates == Updates::default()
}

impl TrainConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the first value out of range.
    pub fn validate(&self) -> Result<()> {
        let rule = |ok: bool, key: &str, value: String, rule: &str| {
            if ok {
                Ok(())
            } else {
                Err(TrainError::Config { key: key.into(), value, rule: rule.into() })
            }
        };
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        rule(
            positive(self.learning_rate),
            "learning_rate",
            self.learning_rate.to_string(),
            "must be above 0",
        )?;
        rule(
            (0.0..=1.0).contains(&self.warmup_ratio),
            "warmup_ratio",
            self.warmup_ratio.to_string(),
            "must be from 0 to 1",
        )?;
        rule(self.batch_size > 0, "batch_size", self.batch_size.to_string(), "must be 1 or more")?;
        rule(
            self.epochs > 0 || self.steps.is_some(),
            "epochs",
            self.epochs.to_string(),
            "must be 1 or more",
        )?;
        rule(self.steps != Some(0), "steps", "0".into(), "must be 1 or more")?;
        rule(
            not_negative(self.weight_decay),
            "weight_decay",
            self.weight_decay.to_string(),
            "must be 0 or more",
        )?;
        for beta in [self.betas.0, self.betas.1] {
            rule(
                (0.0..1.0).contains(&beta),
                "betas",
                beta.to_string(),
                "must be from 0 to below 1",
            )?;
        }
        rule(positive(self.eps), "eps", self.eps.to_string(), "must be above 0")?;
        if let Some(norm) = self.max_grad_norm {
            rule(positive(norm), "max_grad_norm", norm.to_string(), "must be above 0")?;
        }
        for group in &self.groups {
            rule(
                !group.prefixes.is_empty(),
                "groups.prefixes",
                "[]".into(),
                "must name at least one prefix",
            )?;
            if let Some(decay) = group.weight_decay {
                rule(
                    not_negative(decay),
                    "groups.weight_decay",
                    decay.to_string(),
                    "must be 0 or more",
                )?;
            }
            if let Some(rate) = group.learning_rate {
                rule(
                    not_negative(rate),
                    "groups.learning_rate",
                    rate.to_string(),
                    "must be 0 or more",
                )?;
            }
        }
        rule(self.bucket_batches > 0, "bucket_batches", "0".into(), "must be 1 or more")?;
        rule(self.keep_checkpoints > 0, "keep_checkpoints", "0".into(), "must be 1 or more")?;
        rule(self.log_steps > 0, "log_steps", "0".into(), "must be 1 or more")?;
        rule(self.checkpoint_steps != Some(0), "checkpoint_steps", "0".into(), "must be 1 or more")
    }

    /// The number of steps over this many examples.
    pub fn total_steps(&self, examples: usize) -> u64 {
        let batches = examples.div_ceil(self.batch_size.max(1)) as u64;
        self.steps.unwrap_or(batches * self.epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_written_only_where_they_say_something() {
        let plain = serde_json::to_string(&TrainConfig::default()).unwrap();
        assert!(!plain.contains("updates"), "{plain}");
        assert_eq!(serde_json::from_str::<TrainConfig>(&plain).unwrap(), TrainConfig::default());
        let summed = TrainConfig { updates: Updates::Summed, ..TrainConfig::default() };
        let json = serde_json::to_string(&summed).unwrap();
        assert!(json.contains("\"updates\":\"summed\""), "{json}");
        assert_eq!(serde_json::from_str::<TrainConfig>(&json).unwrap(), summed);
    }
}
