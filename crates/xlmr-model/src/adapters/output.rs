//! Adapters after the last linear layer of an encoder layer.
use std::collections::BTreeMap;

use tch::Tensor;

use crate::adapters::adapter::{ADAPTER_PREFIX, Adapter, AdapterConfig};
use crate::adapters::bottleneck::Bottleneck;
use crate::adapters::fusion::{AdapterFusion, FUSION_PREFIX};
use crate::batch::dropout::DropoutSeeds;
use crate::layers::linear::{LayerNorm, Linear, find};
use crate::{Config, Result};

/// Module after the last linear layer of an encoder layer.
#[derive(Clone, Debug)]
pub(crate) enum OutputAdapter {
    Bottleneck(Bottleneck),
    Fusion(Vec<Bottleneck>, AdapterFusion),
}

impl OutputAdapter {
    /// Creates the module that the adapter `name` inserts into the encoder layer `layer`; returns
    /// `None` for a LoRA or a mixture, which inserts no module.
    pub(crate) fn new(
        adapters: &BTreeMap<String, Adapter>,
        name: &str,
        layer: &str,
        config: &Config,
    ) -> Result<Option<Self>> {
        let adapter = &adapters[name];
        let get = |name: &str| find(&adapter.tensors, name);
        Ok(Some(match &adapter.config {
            AdapterConfig::Lora(_) | AdapterConfig::Mixture(_) => return Ok(None),
            AdapterConfig::Bottleneck(bottleneck) => {
                let prefix = format!("{ADAPTER_PREFIX}{name}.{layer}");
                Self::Bottleneck(Bottleneck::new(&get, &prefix, bottleneck.activation)?)
            }
            AdapterConfig::Fusion(names) => {
                let mut bottlenecks = Vec::new();
                for name in names {
                    let bottleneck = Self::new(adapters, name, layer, config)?;
                    let Some(Self::Bottleneck(bottleneck)) = bottleneck else {
                        unreachable!("a fusion consists of bottlenecks");
                    };
                    bottlenecks.push(bottleneck);
                }
                let dropout = config.attention_probs_dropout_prob;
                let prefix = format!("{FUSION_PREFIX}{name}.{layer}");
                Self::Fusion(bottlenecks, AdapterFusion::new(&get, &prefix, dropout)?)
            }
        }))
    }

    /// Returns the tensor that replaces `u` in the sum of `u` and the residual `x`; this tensor is
    /// `u` if there is no adapter. All tensors are `[.., H]`. `norm` is the norm after the sum, if
    /// the layer has one.
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

    pub(crate) fn linear_layers(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::Bottleneck(bottleneck) => bottleneck.linear_layers().into(),
            Self::Fusion(bottlenecks, AdapterFusion { query, key, value, .. }) => {
                let layers = [query, key, value];
                bottlenecks.iter_mut().flat_map(Bottleneck::linear_layers).chain(layers).collect()
            }
        }
    }
}
