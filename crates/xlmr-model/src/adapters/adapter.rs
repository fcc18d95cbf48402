//! Kinds, parameters and tensors of adapters.
use std::collections::BTreeMap;

use tch::Tensor;

use crate::adapters::fusion;
use crate::layers::linear::{Lora, Parameter, find};
use crate::parameters::Spec;
use crate::{BottleneckConfig, Config, LoraConfig, Result};

/// Prefix of the parameter names of all adapters.
pub(crate) const ADAPTER_PREFIX: &str = "adapters.";

/// Kind and configuration of an adapter.
#[derive(Clone, Debug)]
pub(crate) enum AdapterConfig {
    Lora(LoraConfig),
    Bottleneck(BottleneckConfig),
    /// AdapterFusion of the bottlenecks with these names. The fusion's name consists of these
    /// names, joined by commas.
    Fusion(Vec<String>),
}

impl AdapterConfig {
    /// Returns the parameters of the adapter `name`; `file` is used in error messages.
    pub(crate) fn specs(&self, name: &str, config: &Config, file: &str) -> Result<Vec<Spec>> {
        let prefix = format!("{ADAPTER_PREFIX}{name}.");
        match self {
            Self::Lora(lora) => lora.specs(&prefix, config, file),
            Self::Bottleneck(bottleneck) => bottleneck.specs(&prefix, name, config, file),
            Self::Fusion(_) => Ok(fusion::specs(name, config)),
        }
    }
}

/// An adapter of a model.
#[derive(Debug)]
pub(crate) struct Adapter {
    pub(crate) config: AdapterConfig,
    /// Parameters by their names in the model.
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Adapter {
    /// Returns the LoRA of the adapter `name` for the linear layer `linear_name`, if it has one.
    pub(crate) fn lora(&self, name: &str, linear_name: &str) -> Result<Option<Lora>> {
        let full_name =
            |matrix: &str| format!("{ADAPTER_PREFIX}{name}.{linear_name}.{matrix}.weight");
        let AdapterConfig::Lora(lora) = &self.config else { return Ok(None) };
        if !self.tensors.contains_key(&full_name("lora_A")) {
            return Ok(None);
        }
        let get = |name: &str| find(&self.tensors, name);
        Ok(Some(Lora {
            down: Parameter::new(&get, &full_name("lora_A"))?,
            up: Parameter::new(&get, &full_name("lora_B"))?,
            scale: lora.alpha / lora.rank as f64,
            dropout: lora.dropout,
        }))
    }
}
