//! Comparisons of `listwise` with libtorch's cross-entropy and pairwise distance.
use anyhow::Result;
use objectives::{ListwiseConfig, listwise};
use tch::{Device, Kind, Tensor};

use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec};

/// Returns the comparisons of `listwise`, with one list of xMEN's 64 candidates and a batch of
/// lists.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    [(1, 64), (64, 64)]
        .map(move |(lists, candidates)| {
            let size = format!("B={lists},K={candidates}");
            Spec::new("listwise", size, move || {
                let step = share_inputs(Inputs::random(lists, candidates, device)?);
                let baselines = vec![step("cross_entropy, pairwise_distance", Inputs::composed)];
                Ok(Case::new(step("checked", Inputs::checked), baselines))
            })
        })
        .into()
}

/// Random scores and gold candidates.
struct Inputs {
    logits: Tensor,
    prior: Tensor,
    gold: Tensor,
}

impl Inputs {
    fn random(lists: i64, candidates: i64, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let options = (Kind::Float, device);
        Ok(Self {
            logits: Tensor::f_randn([lists, candidates], options)?.f_set_requires_grad(true)?,
            prior: Tensor::f_rand([lists, candidates], options)?,
            gold: Tensor::f_randint(candidates, [lists], (Kind::Int64, device))?,
        })
    }

    /// This project's formulation. Runs the forward and backward passes, and returns the loss.
    fn checked(&self) -> Result<f64> {
        let config = ListwiseConfig::default();
        let loss = listwise(&self.logits, &self.prior, &self.gold, None, &config)?;
        backward(loss, &[&self.logits])
    }

    /// The formulation of xMEN's code, without checks.
    fn composed(&self) -> Result<f64> {
        let cross_entropy = self.logits.f_cross_entropy_loss::<Tensor>(
            &self.gold,
            None,
            tch::Reduction::Mean,
            -100,
            0.0,
        )?;
        let distances = Tensor::f_pairwise_distance(&self.logits, &self.prior, 2.0, 1e-6, false)?;
        backward(cross_entropy.f_add(&distances.f_mean(None::<Kind>)?)?, &[&self.logits])
    }
}
