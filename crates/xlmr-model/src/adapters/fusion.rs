//! AdapterFusion (Pfeiffer et al. 2021): attention over the outputs of several bottlenecks.
//!
//! For FILTER's fusion of two texts, see [`encode_fused`](crate::encode_fused).
use tch::{Kind, Tensor};

use crate::adapters::bottleneck::{Bottleneck, adapter_positions};
use crate::batch::dropout::DropoutSeeds;
use crate::layers::linear::{Linear, Lookup};
use crate::parameters::{Init, Spec};
use crate::{Config, Result};

/// Prefix of the parameter names of all fusions.
pub(crate) const FUSION_PREFIX: &str = "adapter_fusion.";

/// Returns the parameters of a fusion; `name` consists of the names of its bottlenecks, separated
/// by commas.
pub(crate) fn specs(name: &str, config: &Config) -> Vec<Spec> {
    let mut specs = Vec::new();
    for (layer, position) in adapter_positions(config) {
        // AdapterHub's initialisation.
        for (part, init) in [
            ("query.weight", Init::Normal),
            ("query.bias", Init::Zeros),
            ("key.weight", Init::Normal),
            ("key.bias", Init::Zeros),
            ("value.weight", Init::Identity { off_diagonal: 1e-6 }),
        ] {
            let n_dimensions = if part.ends_with("bias") { 1 } else { 2 };
            let shape = vec![config.hidden_size; n_dimensions];
            let stored = format!("{layer}.{position}.adapter_fusion_layer.{name}.{part}");
            let spec = Spec::new(format!("{FUSION_PREFIX}{name}.{layer}.{part}"), &shape, init);
            specs.push(Spec { stored_name: Some(stored), ..spec });
        }
    }
    specs
}

/// AdapterFusion in one encoder layer.
#[derive(Clone, Debug)]
pub(crate) struct AdapterFusion {
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Dropout of the scores in training.
    dropout: f64,
}

impl AdapterFusion {
    /// Creates the fusion from the parameters named `name.…`.
    pub(crate) fn new(get: Lookup, name: &str, dropout: f64) -> Result<Self> {
        let linear = |layer: &str, bias| Linear::with_bias(get, &format!("{name}.{layer}"), bias);
        let (query, key) = (linear("query", true)?, linear("key", true)?);
        Ok(Self { query, key, value: linear("value", false)?, dropout })
    }

    /// Computes the combined output of the bottlenecks, `[.., H]`, for hidden states t, `[.., H]`.
    pub(crate) fn apply(
        &self,
        t: &Tensor,
        bottlenecks: &[Bottleneck],
        seeds: &DropoutSeeds,
    ) -> Result<Tensor> {
        let outputs = bottlenecks.iter().map(|bottleneck| bottleneck.apply(t));
        let outputs = Tensor::f_stack(&outputs.collect::<Result<Vec<_>>>()?, -2)?; // [.., n, H]
        let query = self.query.apply(t)?;
        // q · (K a + b) = (q K) · a + q · b, and Σ w V a = V Σ w a, so one matmul with K and one
        // with V suffice for the outputs a of all bottlenecks.
        let mut scores = query.f_matmul(&self.key.weight)?.f_unsqueeze(-1)?; // [.., H, 1]
        scores = outputs.f_matmul(&scores)?.f_squeeze_dim(-1)?; // [.., n]
        if let Some(bias) = &self.key.bias {
            scores = scores.f_add(&query.f_matmul(bias)?.f_unsqueeze(-1)?)?;
        }
        let weights = seeds.dropout(scores, self.dropout)?.f_softmax(-1, None::<Kind>)?;
        let weighted_sum = weights.f_unsqueeze(-2)?.f_matmul(&outputs)?; // [.., 1, H]
        self.value.apply(&weighted_sum.f_squeeze_dim(-2)?)
    }
}
