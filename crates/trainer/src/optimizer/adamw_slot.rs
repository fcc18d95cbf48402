//! AdamW's per-parameter state: moments of all elements, or of one rank's elements.
use tch::Tensor;
use torch_ext::{AdamWStep, Gradient, ProcessGroup, TouchedRows, to_i64};

use crate::Result;
use crate::optimizer::sharding::OptimizerShards;

/// A trained parameter with its moments and, for several ranks, its gradient.
pub(crate) struct Slot {
    pub(crate) parameter: Tensor,
    pub(crate) group_index: usize,
    pub(crate) exp_avg: Option<Tensor>,
    pub(crate) exp_avg_sq: Option<Tensor>,
    /// Rows that have had a gradient; `None` if any gradient was dense.
    pub(crate) touched_rows: Option<TouchedRows>,
    pub(crate) update_count: u64,
    /// With several ranks: the summed gradient of this rank's elements, split as by
    /// [`OptimizerShards::local_views`].
    pub(crate) local_grads: Option<Vec<Tensor>>,
    /// Whether the moments contain only this rank's elements, `[n]`.
    pub(crate) sharded: bool,
    /// Whether all ranks store all moments, because sparse gradients are complete on every rank.
    pub(crate) replicated: bool,
}

impl Slot {
    /// Creates missing moments. Moments are sharded unless this rank updates all elements.
    pub(crate) fn create_moments(&mut self, group: Option<&ProcessGroup>) -> Result<()> {
        let sharded = self.local_grads.is_some() && !self.replicated;
        let shards = group.filter(|_| sharded).map(OptimizerShards::new);
        for moment in [&mut self.exp_avg, &mut self.exp_avg_sq] {
            *moment = Some(match (&shards, moment.take()) {
                (Some(shards), Some(moment)) if !self.sharded => shards.local_copy(&moment)?,
                (_, Some(moment)) => moment,
                (Some(shards), None) => shards.local_copy(&self.parameter)?.f_zeros_like()?,
                (None, None) => self.parameter.f_detach()?.f_zeros_like()?,
            });
        }
        self.sharded = sharded;
        Ok(())
    }

    /// Gathers the moments of all ranks. Afterwards, this rank stores all moments.
    pub(crate) fn replicate(&mut self, shards: &OptimizerShards<'_>) -> Result<()> {
        if self.sharded {
            for moment in [&mut self.exp_avg, &mut self.exp_avg_sq].into_iter().flatten() {
                *moment = shards.gather(&self.parameter, moment)?;
            }
        }
        (self.sharded, self.replicated) = (false, true);
        Ok(())
    }

    /// Returns the gradients of the elements that this rank updates: its shard, or all elements.
    pub(crate) fn grads(&self) -> Result<Vec<Gradient>> {
        match &self.local_grads {
            Some(local_grads) if !self.replicated => {
                local_grads.iter().map(|sum| Ok(Gradient::new(sum.shallow_clone())?)).collect()
            }
            _ => {
                let grad = self.parameter.f_grad()?;
                grad.defined().then(|| Ok(Gradient::new(grad)?)).into_iter().collect()
            }
        }
    }

    /// Returns parameter and moments, split like the gradients of [`grads`](Self::grads).
    pub(crate) fn updated_tensors(&self, group: Option<&ProcessGroup>) -> Result<Vec<[Tensor; 3]>> {
        let [exp_avg, exp_avg_sq] = self.moments();
        let Some(group) = group.filter(|_| self.sharded) else {
            let tensors = [&self.parameter, exp_avg, exp_avg_sq].map(Tensor::shallow_clone);
            return Ok(vec![tensors]);
        };
        let mut offset = 0;
        let tensors_of_part = |part: Tensor| {
            let length = to_i64(part.numel());
            let [exp_avg, exp_avg_sq] =
                [exp_avg, exp_avg_sq].map(|moment| moment.f_narrow(0, offset, length));
            offset += length;
            Ok([part, exp_avg?, exp_avg_sq?])
        };
        OptimizerShards::new(group)
            .local_views(&self.parameter)?
            .into_iter()
            .map(tensors_of_part)
            .collect()
    }

    /// Updates the parameter by a sparse gradient. Rows that never had a gradient are updated by
    /// weight decay only.
    pub(crate) fn step_rows(
        &mut self,
        grad: &Gradient,
        update_count: &Tensor,
        step: &AdamWStep,
    ) -> Result<()> {
        let [exp_avg, exp_avg_sq] = self.moments().map(Tensor::shallow_clone);
        let rows = match self.touched_rows.take() {
            Some(rows) => rows,
            None => TouchedRows::from_moments(&exp_avg, &exp_avg_sq)?,
        };
        let rows = self.touched_rows.insert(rows);
        Ok(rows.step(&self.parameter, grad, [&exp_avg, &exp_avg_sq], update_count, step)?)
    }

    /// Returns the moments of a parameter that is being updated.
    fn moments(&self) -> [&Tensor; 2] {
        [&self.exp_avg, &self.exp_avg_sq]
            .map(|moment| moment.as_ref().expect("moments are created before an update"))
    }
}
