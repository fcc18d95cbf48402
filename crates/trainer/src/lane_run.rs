//! One task of a stage while it trains.
use torch_ext::TensorMap;

use crate::lane::{label, lane_seed};
use crate::seed::{rng_for, seed_for};
use crate::{
    Batches, Epoch, Lane, Result, Stage, Step, StepLosses, TaskError, TrainConfig, TrainError,
};

pub(crate) struct LaneRun<'l, 'a> {
    lane: &'l mut Lane<'a>,
    batches: Batches,
    seed: u64,
    epoch: Option<(u64, Epoch)>,
    /// Batches in the stage.
    pub(crate) total: u64,
    /// The lane's name and `/` where there are others.
    prefix: String,
    label: String,
}

/// What a batch left beside its gradients.
pub(crate) struct BatchLosses {
    pub(crate) loss: f64,
    pub(crate) parts: Vec<(String, f64)>,
    pub(crate) tokens: u64,
}

impl<'l, 'a> LaneRun<'l, 'a> {
    /// `lanes` is the number of lanes in the stage.
    pub(crate) fn new(
        stage: &Stage,
        config: &TrainConfig,
        lane: &'l mut Lane<'a>,
        lanes: usize,
    ) -> Self {
        let seed = lane_seed(config, lanes, &lane.name);
        let size = lane.batch_size.unwrap_or(config.batch_size);
        let batches = Batches::new(lane.task.lengths(), size, config.bucket_batches, seed);
        let prefix = if lanes == 1 { String::new() } else { format!("{}/", lane.name) };
        let label = label(&stage.name, lanes, &lane.name);
        Self { lane, batches, seed, epoch: None, total: 0, prefix, label }
    }

    pub(crate) fn per_epoch(&self) -> u64 {
        self.batches.per_epoch().max(1)
    }

    /// Adds the gradients of the lane's batch `number` to the parameters'; `step` is for errors.
    pub(crate) fn backward(&mut self, step: u64, number: u64) -> Result<BatchLosses> {
        let (epoch, place) = (number / self.per_epoch(), number % self.per_epoch());
        if self.epoch.as_ref().is_none_or(|(own, _)| *own != epoch) {
            self.epoch = Some((epoch, self.batches.epoch(epoch)));
        }
        let all = self.epoch.as_ref().map(|(_, batches)| batches.as_slice()).unwrap_or_default();
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let batch = all.get(place).map(Vec::as_slice).unwrap_or_default();
        tch::manual_seed(seed_for(self.seed, "torch", number));
        let rng = rng_for(self.seed, "task", number);
        let mut context = Step { batch, number, total: self.total, rng };
        let losses = self.lane.task.losses(&mut context).map_err(|source| TrainError::Task {
            stage: self.label.clone(),
            step,
            source,
        })?;
        let tokens = losses.tokens.unwrap_or_else(|| self.batches.tokens(batch));
        let parts = self.parts(step, &losses)?;
        let loss = self.finite(step, "loss", losses.total.f_double_value(&[])?)?;
        if !losses.accumulated {
            losses.total.f_backward()?;
        }
        Ok(BatchLosses { loss, parts, tokens })
    }

    fn parts(&self, step: u64, losses: &StepLosses) -> Result<Vec<(String, f64)>> {
        let mut parts = Vec::with_capacity(losses.parts.len());
        for (name, part) in &losses.parts {
            let name = format!("loss/{}{name}", self.prefix);
            let value = self.finite(step, &name, part.f_double_value(&[])?)?;
            parts.push((name, value));
        }
        Ok(parts)
    }

    fn finite(&self, step: u64, what: &str, value: f64) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        Err(TrainError::NotFinite { stage: self.label.clone(), step, what: what.to_owned(), value })
    }

    /// What the task keeps, under the lane's name where there are others.
    pub(crate) fn state(&self, step: u64) -> Result<Vec<(String, tch::Tensor)>> {
        let state = self.lane.task.state().map_err(|source| TrainError::Task {
            stage: self.label.clone(),
            step,
            source,
        })?;
        let named =
            state.into_iter().map(|(name, tensor)| (format!("{}{name}", self.prefix), tensor));
        Ok(named.collect())
    }

    /// Gives the task its part of what all lanes kept.
    pub(crate) fn restore(&mut self, state: &TensorMap) -> std::result::Result<(), TaskError> {
        let own: TensorMap = state
            .iter()
            .filter_map(|(name, tensor)| {
                let name = name.strip_prefix(self.prefix.as_str())?;
                Some((name.to_owned(), tensor.shallow_clone()))
            })
            .collect();
        self.lane.task.restore(&own)
    }
}
