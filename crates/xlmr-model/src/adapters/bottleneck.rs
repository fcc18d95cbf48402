//! Bottleneck adapters after the feed-forward layer (Pfeiffer et al. 2021; AdapterHub's
//! `SeqBnConfig`).
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::layers::linear::{Linear, Lookup};
use crate::parameters::{Init, Spec};
use crate::{Activation, Config, Error, Result};

/// A bottleneck adapter: `u + W_up f(W_down t + b_down) + b_up` replaces u.
///
/// u is the output of an encoder layer's last linear layer, and x is the residual that is added to
/// u. `t = LN(u + x)`, where LN is the encoder layer's last LayerNorm, which is applied again after
/// the adapter. ModernBERT and EuroBERT have no LayerNorm after the sum, so t is u + x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BottleneckConfig {
    /// Reduction factor r; the inner width is H / r, rounded down, but at least 1.
    pub reduction: i64,
    /// Activation f.
    pub activation: Activation,
}

impl Default for BottleneckConfig {
    /// Reduction factor 16 and ReLU.
    fn default() -> Self {
        Self { reduction: 16, activation: Activation::Relu }
    }
}

impl BottleneckConfig {
    /// Returns the parameters. Their names in the model start with `prefix`, and their names in a
    /// file contain the adapter's `name`. New weights are drawn from a normal distribution, and new
    /// biases are zero. `file` is used in error messages.
    pub(crate) fn specs(
        &self,
        prefix: &str,
        name: &str,
        config: &Config,
        file: &str,
    ) -> Result<Vec<Spec>> {
        if self.reduction < 1 {
            let expected = "an integer of at least 1";
            return Err(Error::config(file, "reduction_factor", expected, self.reduction));
        }
        let hidden = config.hidden_size;
        let inner = (hidden / self.reduction).max(1);
        let mut specs = Vec::new();
        for (layer, position) in adapter_positions(config) {
            for (part, file_part, outputs, inputs) in [
                ("adapter_down", "adapter_down.0", inner, hidden),
                ("adapter_up", "adapter_up", hidden, inner),
            ] {
                for (leaf, shape, init) in [
                    ("weight", &[outputs, inputs][..], Init::Normal),
                    ("bias", &[outputs], Init::Zeros),
                ] {
                    let stored = format!("{layer}.{position}.adapters.{name}.{file_part}.{leaf}");
                    let spec = Spec::new(format!("{prefix}{layer}.{part}.{leaf}"), shape, init);
                    specs.push(Spec { stored_name: Some(stored), ..spec });
                }
            }
        }
        Ok(specs)
    }
}

/// Returns, for each encoder layer, the layer's name and AdapterHub's name for the position after
/// the layer's last linear layer.
pub(crate) fn adapter_positions(config: &Config) -> impl Iterator<Item = (String, &'static str)> {
    let names = config.architecture.names();
    (0..config.num_hidden_layers)
        .map(move |index| (names.layer_name(index), names.adapter_position))
}

/// The bottleneck of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Bottleneck {
    down: Linear,
    up: Linear,
    activation: Activation,
}

impl Bottleneck {
    /// Creates the bottleneck from the parameters named `name.…`.
    pub(crate) fn new(get: Lookup, name: &str, activation: Activation) -> Result<Self> {
        let linear = |part: &str| Linear::new(get, &format!("{name}.{part}"));
        Ok(Self { down: linear("adapter_down")?, up: linear("adapter_up")?, activation })
    }

    /// Computes the bottleneck's output, `[.., H]`, for hidden states t, `[.., H]`.
    pub(crate) fn apply(&self, t: &Tensor) -> Result<Tensor> {
        self.up.apply(&self.activation.apply(&self.down.apply(t)?)?)
    }

    pub(crate) fn linear_layers(&mut self) -> [&mut Linear; 2] {
        [&mut self.down, &mut self.up]
    }
}
