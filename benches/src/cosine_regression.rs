//! Comparisons of `cosine_regression` with the mean squared error of inner products of normalised
//! vectors.
use anyhow::Result;
use objectives::cosine_regression;
use tch::{Device, Kind, Reduction, Tensor};

use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec};

/// Returns the comparisons of `cosine_regression`, with batch sizes and widths of small and base
/// encoders.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    [(64, 384), (256, 768)]
        .map(move |(batch, width)| {
            let size = format!("B={batch},D={width}");
            Spec::new("cosine_regression", size, move || {
                let step = share_inputs(Inputs::random(batch, width, device)?);
                let baselines = vec![step("normalize, mse_loss", Inputs::normalized)];
                Ok(Case::new(step("checked", Inputs::checked), baselines))
            })
        })
        .into()
}

/// Random vectors and similarities.
struct Inputs {
    first: Tensor,
    second: Tensor,
    similarities: Tensor,
}

impl Inputs {
    fn random(batch: i64, width: i64, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let options = (Kind::Float, device);
        let leaf = || -> Result<Tensor> {
            Ok(Tensor::f_randn([batch, width], options)?.f_set_requires_grad(true)?)
        };
        Ok(Self {
            first: leaf()?,
            second: leaf()?,
            similarities: Tensor::f_rand([batch], options)?,
        })
    }

    /// This project's formulation. Runs the forward and backward passes, and returns the loss.
    fn checked(&self) -> Result<f64> {
        let loss = cosine_regression(&self.first, &self.second, &self.similarities)?;
        backward(loss, &[&self.first, &self.second])
    }

    /// Computes `mse_loss` of the inner products of `normalize`d vectors, without checks.
    fn normalized(&self) -> Result<f64> {
        let normalize = |vectors: &Tensor| -> Result<Tensor> {
            let norm = vectors.f_norm_scalaropt_dim(2.0, [1i64], true)?.f_clamp_min(1e-12)?;
            Ok(vectors.f_div(&norm)?)
        };
        let products = normalize(&self.first)?.f_mul(&normalize(&self.second)?)?;
        let cosines = products.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
        let loss = cosines.f_mse_loss(&self.similarities, Reduction::Mean)?;
        backward(loss, &[&self.first, &self.second])
    }
}
