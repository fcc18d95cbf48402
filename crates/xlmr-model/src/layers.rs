//! The two layers everything is made of.
use tch::{Device, Tensor};

use crate::Result;
use crate::dropout::Draws;

/// Where the parts of a model take their parameters from: a shallow clone by full name.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Result<Tensor>;

/// `x Wᵀ + b`, or without b.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(get: Lookup, name: &str) -> Result<Self> {
        Self::with_bias(get, name, true)
    }

    pub(crate) fn with_bias(get: Lookup, name: &str, bias: bool) -> Result<Self> {
        let weight = get(&format!("{name}.weight"))?;
        let bias = bias.then(|| get(&format!("{name}.bias"))).transpose()?;
        Ok(Self { weight, bias })
    }

    /// Another handle to the same parameters.
    pub(crate) fn share(&self) -> Self {
        let bias = self.bias.as_ref().map(Tensor::shallow_clone);
        Self { weight: self.weight.shallow_clone(), bias }
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(torch_ext::linear(x, &self.weight, self.bias.as_ref())?)
    }
}

/// LayerNorm over the last dimension.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    width: [i64; 1],
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn new(get: Lookup, name: &str, width: i64, eps: f64) -> Result<Self> {
        Self::with_bias(get, name, width, eps, true)
    }

    pub(crate) fn with_bias(
        get: Lookup,
        name: &str,
        width: i64,
        eps: f64,
        bias: bool,
    ) -> Result<Self> {
        let weight = get(&format!("{name}.weight"))?;
        let bias = bias.then(|| get(&format!("{name}.bias"))).transpose()?;
        Ok(Self { weight, bias, width: [width], eps })
    }

    /// Another handle to the same parameters.
    pub(crate) fn share(&self) -> Self {
        let (weight, bias) =
            (self.weight.shallow_clone(), self.bias.as_ref().map(Tensor::shallow_clone));
        Self { weight, bias, ..*self }
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm(self.width, Some(&self.weight), self.bias.as_ref(), self.eps, true)?)
    }

    /// Of `x`, after dropout, plus `residual`: `[N, H]` each, while training.
    pub(crate) fn apply_to_sum(
        &self,
        x: &Tensor,
        residual: &Tensor,
        draws: &Draws,
        p: f64,
    ) -> Result<Tensor> {
        let weight = &self.weight;
        match &self.bias {
            Some(bias) if x.device() == Device::Cpu => {
                let (places, eps) = (&draws.places, self.eps);
                Ok(torch_ext::dropout_add_norm(x, residual, weight, bias, places, eps, p)?)
            }
            _ => self.apply(&draws.dropout(x.shallow_clone(), p)?.f_add(residual)?),
        }
    }
}
