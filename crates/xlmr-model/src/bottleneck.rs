//! Bottleneck adapters after the feed-forward layer (Pfeiffer et al. 2021; AdapterHub's
//! `SeqBnConfig`).
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::adapter_fusion::AdapterFusion;
use crate::adapters::adapter_positions;
use crate::dropout::DropoutSeeds;
use crate::layers::{LayerNorm, Linear, Lookup};
use crate::parameters::{Init, Spec};
use crate::{Activation, Config, Error, Result};

/// A bottleneck adapter: `u + W_up f(W_down t + b_down) + b_up` replaces u.
///
/// u is the output of a layer's last linear layer, x its residual input, and `t = LN(u + x)` with
/// the layer's own LayerNorm, which is applied again after the adapter. Layers of ModernBERT and
/// EuroBERT have no LayerNorm there: t is u + x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BottleneckConfig {
    /// Reduction factor: the inner width is the model's width divided by it, rounded down, at least
    /// 1.
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
    /// Returns the parameters; weights are drawn from N(0, std), biases are zero. Their names start
    /// with `adapter`; `file` is used in error messages.
    pub(crate) fn specs(
        &self,
        adapter: &str,
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
                    let spec = Spec::new(format!("{adapter}{layer}.{part}.{leaf}"), shape, init);
                    specs.push(Spec { stored: Some(stored), ..spec });
                }
            }
        }
        Ok(specs)
    }
}

/// The bottleneck of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Bottleneck {
    down: Linear,
    up: Linear,
    activation: Activation,
}

impl Bottleneck {
    /// Uses the parameters named `name.…`.
    pub(crate) fn new(get: Lookup, name: &str, activation: Activation) -> Result<Self> {
        let linear = |part: &str| Linear::new(get, &format!("{name}.{part}"));
        Ok(Self { down: linear("adapter_down")?, up: linear("adapter_up")?, activation })
    }

    /// Computes the bottleneck's output for hidden states t, `[.., H]` each.
    pub(crate) fn apply(&self, t: &Tensor) -> Result<Tensor> {
        self.up.apply(&self.activation.apply(&self.down.apply(t)?)?)
    }

    fn linear(&mut self) -> [&mut Linear; 2] {
        [&mut self.down, &mut self.up]
    }
}

/// Module after the last linear layer of an encoder layer.
#[derive(Clone, Debug)]
pub(crate) enum OutputAdapter {
    Bottleneck(Bottleneck),
    Fusion(Vec<Bottleneck>, AdapterFusion),
}

impl OutputAdapter {
    /// Returns the tensor that replaces `u` in the sum with the residual `x`, `[.., H]` each; `u`
    /// itself without an adapter. `norm` is the norm of the sum, if any.
    pub(crate) fn apply(
        output_adapter: Option<&Self>,
        u: Tensor,
        x: &Tensor,
        norm: Option<&LayerNorm>,
        seeds: &DropoutSeeds,
    ) -> Result<Tensor> {
        let Some(output_adapter) = output_adapter else { return Ok(u) };
        let sum = u.f_add(x)?;
        let t = norm.map_or(Ok(sum.shallow_clone()), |norm| norm.apply_to_states(&sum))?;
        let output = match output_adapter {
            Self::Bottleneck(bottleneck) => bottleneck.apply(&t)?,
            Self::Fusion(bottlenecks, fusion) => fusion.apply(&t, bottlenecks, seeds)?,
        };
        Ok(output.f_add(&u)?)
    }

    pub(crate) fn linear(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::Bottleneck(bottleneck) => bottleneck.linear().into(),
            Self::Fusion(bottlenecks, AdapterFusion { query, key, value, .. }) => {
                let fusion = [query, key, value];
                bottlenecks.iter_mut().flat_map(Bottleneck::linear).chain(fusion).collect()
            }
        }
    }
}
