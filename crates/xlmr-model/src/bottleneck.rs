//! Bottleneck adapters behind the feed-forward layer (Pfeiffer et al. 2021, as AdapterHub's
//! `SeqBnConfig` has them).
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::layers::{LayerNorm, Linear, Lookup};
use crate::parameters::{Init, Spec};
use crate::{Activation, Architecture, Config, Error, Result};

/// `u + W_up f(W_down t + b_down) + b_up` in the place of u, what a layer's last product adds to
/// its states x, with `t = LN(u + x)`: the layer's own LayerNorm, which comes after the adapter
/// again. Layers of ModernBERT and EuroBERT have none there: t is u + x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BottleneckConfig {
    /// The inner width is the model's divided by this, rounded down and at least 1.
    pub reduction: i64,
    /// f
    pub activation: Activation,
}

impl Default for BottleneckConfig {
    /// A sixteenth of the width, ReLU.
    fn default() -> Self {
        Self { reduction: 16, activation: Activation::Relu }
    }
}

impl BottleneckConfig {
    /// The parameters, each weight drawn from N(0, std) and each bias zero. `adapter` begins their
    /// names here; `file` is for messages.
    pub(crate) fn specs(
        &self,
        adapter: &str,
        name: &str,
        config: &Config,
        file: &str,
    ) -> Result<Vec<Spec>> {
        if self.reduction < 1 {
            let expected = "an integer from 1 on";
            return Err(Error::config(file, "reduction_factor", expected, self.reduction));
        }
        let hidden = config.hidden_size;
        let inner = (hidden / self.reduction).max(1);
        // AdapterHub has no ModernBERT and no EuroBERT: as it names those of its other layers
        // without a norm at the end.
        let place = match &config.architecture {
            Architecture::XlmRoberta | Architecture::Bert | Architecture::DebertaV2(_) => "output",
            Architecture::ModernBert(_) | Architecture::EuroBert(_) => "output_adapters",
        };
        let mut specs = Vec::new();
        for index in 0..config.num_hidden_layers {
            let layer = config.architecture.names().layer(index);
            for (part, file_part, outputs, inputs) in [
                ("adapter_down", "adapter_down.0", inner, hidden),
                ("adapter_up", "adapter_up", hidden, inner),
            ] {
                for (leaf, shape, init) in [
                    ("weight", &[outputs, inputs][..], Init::Normal),
                    ("bias", &[outputs], Init::Zeros),
                ] {
                    let stored = format!("{layer}.{place}.adapters.{name}.{file_part}.{leaf}");
                    let spec = Spec::new(format!("{adapter}{layer}.{part}.{leaf}"), shape, init);
                    specs.push(Spec { stored: Some(stored), ..spec });
                }
            }
        }
        Ok(specs)
    }
}

/// One layer's.
#[derive(Clone, Debug)]
pub(crate) struct Bottleneck {
    pub(crate) down: Linear,
    pub(crate) up: Linear,
    activation: Activation,
}

impl Bottleneck {
    /// With parameters under `name.`.
    pub(crate) fn new(get: Lookup, name: &str, activation: Activation) -> Result<Self> {
        let linear = |part: &str| Linear::new(get, &format!("{name}.{part}"));
        Ok(Self { down: linear("adapter_down")?, up: linear("adapter_up")?, activation })
    }

    /// What to add to the states `x` in the place of `u`, `[.., H]` each: `u` itself without an
    /// adapter. `norm` is that of the sum, where there is one.
    pub(crate) fn apply(
        adapter: Option<&Self>,
        u: Tensor,
        x: &Tensor,
        norm: Option<&LayerNorm>,
    ) -> Result<Tensor> {
        let Some(Self { down, up, activation }) = adapter else { return Ok(u) };
        let sum = u.f_add(x)?;
        let t = norm.map_or(Ok(sum.shallow_clone()), |norm| norm.apply_to_states(&sum))?;
        Ok(up.apply(&activation.apply(&down.apply(&t)?)?)?.f_add(&u)?)
    }
}
