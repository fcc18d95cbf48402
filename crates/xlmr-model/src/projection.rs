//! The projection heads of contrastive tasks.
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use crate::parameters::{Init, Spec};
use crate::{Error, Result};

/// The layers of a [`Projection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionKind {
    /// `W₂ ReLU(W₁ x)`, as *XLM-K* prints it (Eq. 1 to 4).
    #[default]
    Plain,
    /// With batch norm after each linear layer, the second without scale and shift, as XLM-K's released code has it.
    BatchNorm,
}

/// Two linear layers without biases and a ReLU between them: `[B, H]` to `[B, H]`.
///
/// Batch norm runs in float32 and, while training, sees every row of the batch; elsewhere it uses its running statistics.
#[derive(Debug)]
pub struct Projection {
    /// `[d_p, H]`
    first: Tensor,
    /// `[H, d_p]`
    second: Tensor,
    norms: Option<(BatchNorm, BatchNorm)>,
}

/// Batch norm over the rows, with running statistics.
#[derive(Debug)]
struct BatchNorm {
    affine: Option<(Tensor, Tensor)>,
    mean: Tensor,
    variance: Tensor,
}

/// Of the running statistics; torch's default.
const MOMENTUM: f64 = 0.1;
/// As in the released code.
const EPS: f64 = 1e-12;

impl BatchNorm {
    fn apply(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let kind = x.f_kind()?;
        let x = if kind == Kind::Double { x.shallow_clone() } else { x.f_to_kind(Kind::Float)? };
        if train && x.size().first().is_some_and(|&rows| rows < 2) {
            return Err(Error::input("x", "at least 2 rows for batch norm in training", "1"));
        }
        let (weight, bias) = match &self.affine {
            Some((weight, bias)) => (Some(weight), Some(bias)),
            None => (None, None),
        };
        let (mean, variance) = (Some(&self.mean), Some(&self.variance));
        let out = x.f_batch_norm(weight, bias, mean, variance, train, MOMENTUM, EPS, false)?;
        Ok(out.f_to_kind(kind)?)
    }
}

impl Projection {
    /// The parameters and buffers under `name.`: name, shape, first value, whether it trains.
    pub(crate) fn specs(
        name: &str,
        hidden: i64,
        inner: i64,
        kind: ProjectionKind,
    ) -> Vec<(Spec, bool)> {
        let spec = |part: &str, shape: &[i64], init, trains| {
            (Spec { name: format!("{name}.{part}"), shape: shape.to_vec(), init }, trains)
        };
        let mut specs = vec![
            spec("0.weight", &[inner, hidden], Init::Normal, true),
            spec("1.weight", &[hidden, inner], Init::Normal, true),
        ];
        if kind == ProjectionKind::BatchNorm {
            specs.extend([
                spec("norm_0.weight", &[inner], Init::Ones, true),
                spec("norm_0.bias", &[inner], Init::Zeros, true),
                spec("norm_0.running_mean", &[inner], Init::Zeros, false),
                spec("norm_0.running_var", &[inner], Init::Ones, false),
                spec("norm_1.running_mean", &[hidden], Init::Zeros, false),
                spec("norm_1.running_var", &[hidden], Init::Ones, false),
            ]);
        }
        specs
    }

    pub(crate) fn new(
        name: &str,
        kind: ProjectionKind,
        get: &dyn Fn(&str) -> Result<Tensor>,
    ) -> Result<Self> {
        let get = |part: &str| get(&format!("{name}.{part}"));
        let norm = |index: usize, affine: bool| -> Result<BatchNorm> {
            let get = |part: &str| get(&format!("norm_{index}.{part}"));
            Ok(BatchNorm {
                affine: if affine { Some((get("weight")?, get("bias")?)) } else { None },
                mean: get("running_mean")?,
                variance: get("running_var")?,
            })
        };
        Ok(Self {
            first: get("0.weight")?,
            second: get("1.weight")?,
            norms: match kind {
                ProjectionKind::Plain => None,
                ProjectionKind::BatchNorm => Some((norm(0, true)?, norm(1, false)?)),
            },
        })
    }

    /// The projected rows.
    ///
    /// # Shapes
    /// - `x`: `[B, H]` float; returns the same
    ///
    /// # Errors
    /// [`Error::Input`] if `x` is not `[B, H]`, or is a single row for batch norm in training; [`Error::Torch`].
    pub fn apply(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let width = self.first.size().get(1).copied().unwrap_or(0);
        if x.dim() != 2 || x.size().last() != Some(&width) {
            return Err(Error::input("x", format!("[B, {width}]"), format!("{:?}", x.size())));
        }
        let inner = x.f_linear(&self.first, None::<&Tensor>)?;
        let Some((first, second)) = &self.norms else {
            return Ok(inner.f_relu()?.f_linear(&self.second, None::<&Tensor>)?);
        };
        let inner = first.apply(&inner, train)?.f_relu()?;
        second.apply(&inner.f_linear(&self.second, None::<&Tensor>)?, train)
    }
}

/// Copies `from` into `to` without a graph.
pub(crate) fn copy_into(to: &Tensor, from: &Tensor) -> Result<()> {
    let mut to = to.shallow_clone();
    no_grad(|| to.f_copy_(from))?;
    Ok(())
}
