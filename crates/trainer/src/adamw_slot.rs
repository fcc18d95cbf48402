//! AdamW's per-parameter state: moments of all elements, or of one rank's elements.
use tch::Tensor;
use torch_ext::{AdamWStep, Gradient, ProcessGroup, TouchedRows};

use crate::Result;
use crate::sharding::OptimizerShards;

/// A trained parameter with its moments and, for several ranks, its gradient.
pub(crate) struct Slot {
    pub(crate) parameter: Tensor,
    pub(crate) group: usize,
    pub(crate) exp_avg: Option<Tensor>,
    pub(crate) exp_avg_sq: Option<Tensor>,
    /// Rows that have had a gradient, while gradients are sparse; `None` after a dense gradient.
    pub(crate) live_rows: Option<TouchedRows>,
    pub(crate) updates: u64,
    /// With several ranks: the summed gradient of this rank's elements, split as by
    /// [`OptimizerShards::local`].
    pub(crate) share: Option<Vec<Tensor>>,
    /// Whether the moments contain only this rank's elements, `[n]`.
    pub(crate) split: bool,
    /// Whether all ranks store all moments, because sparse gradients are complete on every rank.
    pub(crate) replicated: bool,
}

impl Slot {
    /// Creates missing moments, and shards them unless this rank updates all elements.
    pub(crate) fn make_moments(&mut self, group: Option<&ProcessGroup>) -> Result<()> {
        let split = self.share.is_some() && !self.replicated;
        let parts = group.filter(|_| split).map(OptimizerShards::new);
        for moment in [&mut self.exp_avg, &mut self.exp_avg_sq] {
            *moment = Some(match (&parts, moment.take()) {
                (Some(parts), Some(moment)) if !self.split => parts.local_copy(&moment)?,
                (_, Some(moment)) => moment,
                (Some(parts), None) => parts.local_copy(&self.parameter)?.f_zeros_like()?,
                (None, None) => self.parameter.f_detach()?.f_zeros_like()?,
            });
        }
        self.split = split;
        Ok(())
    }

    /// Gathers the moments of all ranks, and stores all of them from now on.
    pub(crate) fn replicate(&mut self, parts: &OptimizerShards<'_>) -> Result<()> {
        if self.split {
            for moment in [&mut self.exp_avg, &mut self.exp_avg_sq].into_iter().flatten() {
                *moment = parts.whole(&self.parameter, moment)?;
            }
        }
        (self.split, self.replicated) = (false, true);
        Ok(())
    }

    /// The gradients of this step: of this rank's elements, or of all if this rank updates all.
    pub(crate) fn grads(&self) -> Result<Vec<Gradient>> {
        match &self.share {
            Some(share) if !self.replicated => {
                share.iter().map(|sum| Ok(Gradient::new(sum.shallow_clone())?)).collect()
            }
            _ => {
                let grad = self.parameter.f_grad()?;
                grad.defined().then(|| Ok(Gradient::new(grad)?)).into_iter().collect()
            }
        }
    }

    /// Parameter and moments, split like the gradients of [`grads`](Self::grads).
    pub(crate) fn cut(&self, group: Option<&ProcessGroup>) -> Result<Vec<[Tensor; 3]>> {
        let (Some(exp_avg), Some(exp_avg_sq)) = (&self.exp_avg, &self.exp_avg_sq) else {
            return Ok(Vec::new());
        };
        let Some(group) = group.filter(|_| self.split) else {
            let whole = [&self.parameter, exp_avg, exp_avg_sq].map(Tensor::shallow_clone);
            return Ok(vec![whole]);
        };
        let mut first = 0;
        let cut = |part: Tensor| {
            let length = i64::try_from(part.numel()).unwrap_or(i64::MAX);
            let [exp_avg, exp_avg_sq] =
                [exp_avg, exp_avg_sq].map(|moment| moment.f_narrow(0, first, length));
            first += length;
            Ok([part, exp_avg?, exp_avg_sq?])
        };
        OptimizerShards::new(group).local(&self.parameter)?.into_iter().map(cut).collect()
    }

    /// Updates the parameter by a sparse gradient. Rows that never had a gradient only decay.
    pub(crate) fn step_rows(
        &mut self,
        grad: &Gradient,
        count: &Tensor,
        step: &AdamWStep,
    ) -> Result<()> {
        let (Some(exp_avg), Some(exp_avg_sq)) = (&self.exp_avg, &self.exp_avg_sq) else {
            return Ok(());
        };
        let live = match self.live_rows.take() {
            Some(live) => live,
            None => TouchedRows::of(exp_avg, exp_avg_sq)?,
        };
        let live = self.live_rows.insert(live);
        Ok(live.step(&self.parameter, grad, [exp_avg, exp_avg_sq], count, step)?)
    }
}
