//! Comparisons of hard learning with a loop over the candidates.
use anyhow::Result;
use objectives::{HardLearningConfig, HardLearningWeighting, hard_learning, span_log_probs};
use tch::{Device, Kind, Reduction, Tensor};

use crate::answer_contrast::random_spans;
use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec};

/// Returns the comparisons of `hard_learning`.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    [("mml", HardLearningWeighting::Mml), ("learned", HardLearningWeighting::Learned)]
        .map(move |(name, weighting)| {
            let size = format!("{name},B=32,L=384,K=20");
            Spec::new("hard_learning", size, move || case(weighting, device))
        })
        .into()
}

fn case(weighting: HardLearningWeighting, device: Device) -> Result<Case> {
    let step = share_inputs(Inputs::random(32, 384, 20, weighting, device)?);
    Ok(Case::new(
        step("at once", Inputs::at_once),
        vec![step("loop over candidates", Inputs::loop_over_candidates)],
    ))
}

/// Random logits and K candidates per row; the first candidate is gold.
struct Inputs {
    logits: [Tensor; 2],
    spans: [Tensor; 2],
    valid: Tensor,
    theta: Tensor,
    weighting: HardLearningWeighting,
}

impl Inputs {
    fn random(
        batch: i64,
        length: i64,
        candidates: i64,
        weighting: HardLearningWeighting,
        device: Device,
    ) -> Result<Self> {
        tch::manual_seed(SEED);
        let random_leaf = |size: &[i64]| -> Result<Tensor> {
            Ok(Tensor::f_randn(size, (Kind::Float, device))?.set_requires_grad(true))
        };
        Ok(Self {
            logits: [random_leaf(&[batch, length])?, random_leaf(&[batch, length])?],
            spans: random_spans(batch, length, candidates, device)?,
            valid: Tensor::f_ones([batch, candidates], (Kind::Bool, device))?,
            theta: random_leaf(&[candidates])?,
            weighting,
        })
    }

    /// This project's formulation computes one softmax and gathers the probabilities of all
    /// candidates from it. Runs the forward and backward passes, and returns the loss.
    fn at_once(&self) -> Result<f64> {
        let ([start, end], [starts, ends]) = (&self.logits, &self.spans);
        let log_probs = span_log_probs(start, end, starts, ends, None)?;
        let config = HardLearningConfig { weighting: self.weighting, ..Default::default() };
        self.backward(hard_learning(&log_probs, &self.valid, None, Some(&self.theta), &config)?)
    }

    /// Computes two cross-entropies per candidate, which are combined at the end.
    fn loop_over_candidates(&self) -> Result<f64> {
        let ([start, end], [starts, ends]) = (&self.logits, &self.spans);
        let (_, count) = starts.size2()?;
        let mut columns = Vec::new();
        for k in 0..count {
            let loss = |logits: &Tensor, positions: &Tensor| {
                let target = positions.f_select(1, k)?;
                logits.f_cross_entropy_loss::<Tensor>(&target, None, Reduction::None, -100, 0.0)
            };
            columns.push(loss(start, starts)?.f_add(&loss(end, ends)?)?.f_neg()?);
        }
        let log_probs = Tensor::f_stack(&columns, 1)?;
        let loss = if self.weighting == HardLearningWeighting::Mml {
            log_probs.f_logsumexp(1, false)?
        } else {
            let weights = self.theta.f_softmax(0, None)?;
            log_probs.f_mul(&weights)?.f_sum_dim_intlist(1, false, None::<Kind>)?
        };
        self.backward(loss.f_neg()?.f_mean(None::<Kind>)?)
    }

    fn backward(&self, loss: Tensor) -> Result<f64> {
        let [start, end] = &self.logits;
        let leaves: &[&Tensor] = if self.weighting == HardLearningWeighting::Learned {
            &[start, end, &self.theta]
        } else {
            &[start, end]
        };
        backward(loss, leaves)
    }
}
