//! The two layers everything is made of.
use tch::{Device, Tensor};

use crate::Result;
use crate::dropout::Draws;

/// Where the parts of a model take their parameters from: a shallow clone by full name.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Result<Tensor>;

/// `x Wᵀ + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(get: Lookup, name: &str) -> Result<Self> {
        Ok(Self { weight: get(&format!("{name}.weight"))?, bias: get(&format!("{name}.bias"))? })
    }

    /// Another handle to the same parameters.
    pub(crate) fn share(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// LayerNorm over the last dimension.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    width: [i64; 1],
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn new(get: Lookup, name: &str, width: i64, eps: f64) -> Result<Self> {
        let (weight, bias) = (get(&format!("{name}.weight"))?, get(&format!("{name}.bias"))?);
        Ok(Self { weight, bias, width: [width], eps })
    }

    /// Another handle to the same parameters.
    pub(crate) fn share(&self) -> Self {
        let (weight, bias) = (self.weight.shallow_clone(), self.bias.shallow_clone());
        Self { weight, bias, ..*self }
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm(self.width, Some(&self.weight), Some(&self.bias), self.eps, true)?)
    }

    /// Of `x`, after dropout, plus `residual`: `[N, H]` each, while training.
    pub(crate) fn apply_to_sum(
        &self,
        x: &Tensor,
        residual: &Tensor,
        draws: &Draws,
        p: f64,
    ) -> Result<Tensor> {
        if x.device() != Device::Cpu {
            return self.apply(&draws.dropout(x.shallow_clone(), p)?.f_add(residual)?);
        }
        let (weight, bias) = (&self.weight, &self.bias);
        Ok(torch_ext::dropout_add_norm(x, residual, weight, bias, &draws.places, self.eps, p)?)
    }
}
