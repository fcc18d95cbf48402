//! Activation functions of the feed-forward layer.
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::Result;

/// Activation functions supported as `hidden_act` in `config.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Exact GELU (error function).
    #[default]
    Gelu,
    /// Equal to [`Self::GeluPytorchTanh`], under transformers' older name.
    GeluNew,
    /// GELU with the tanh approximation.
    GeluPytorchTanh,
    /// `max(0, x)`.
    Relu,
    /// `x sigmoid(x)`.
    Silu,
}

impl Activation {
    /// Supported values of `hidden_act`, for error messages.
    pub(crate) const EXPECTED: &str = "one of gelu, gelu_new, gelu_pytorch_tanh, relu, silu";

    /// Returns the name used in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluNew => "gelu_new",
            Self::GeluPytorchTanh => "gelu_pytorch_tanh",
            Self::Relu => "relu",
            Self::Silu => "silu",
        }
    }

    /// Applies the function to each element of a tensor of any shape.
    pub(crate) fn apply(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Gelu => x.f_gelu("none")?,
            Self::GeluNew | Self::GeluPytorchTanh => x.f_gelu("tanh")?,
            Self::Relu => x.f_relu()?,
            Self::Silu => x.f_silu()?,
        })
    }
}
