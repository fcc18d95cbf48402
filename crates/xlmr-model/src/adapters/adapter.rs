//! Kinds, parameters and tensors of adapters.
use std::collections::BTreeMap;

use tch::Tensor;

use crate::adapters::fusion;
use crate::adapters::mixture::MixtureGate;
use crate::layers::linear::{Parameter, find};
use crate::layers::lora::{Gate, Lora};
use crate::parameters::Spec;
use crate::{BottleneckConfig, Config, LoraConfig, LoraMixtureConfig, Result};

/// Prefix of the parameter names of all adapters.
pub(crate) const ADAPTER_PREFIX: &str = "adapters.";

/// Kind and configuration of an adapter.
#[derive(Clone, Debug)]
pub(crate) enum AdapterConfig {
    Lora(LoraConfig),
    Mixture(LoraMixtureConfig),
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
            Self::Mixture(mixture) => mixture.specs(&prefix, config, file),
            Self::Bottleneck(bottleneck) => bottleneck.specs(&prefix, name, config, file),
            Self::Fusion(_) => Ok(fusion::specs(name, config)),
        }
    }

    /// Returns whether the adapter changes linear layers, and inserts no module.
    pub(crate) fn changes_linear_layers(&self) -> bool {
        match self {
            Self::Lora(_) | Self::Mixture(_) => true,
            Self::Bottleneck(_) | Self::Fusion(_) => false,
        }
    }

    /// Returns the languages of a mixture with a gate for each language.
    pub(crate) fn gate_languages(&self) -> Option<&[String]> {
        match self {
            Self::Mixture(mixture) if mixture.gate == MixtureGate::PerLanguage => {
                Some(&mixture.languages)
            }
            _ => None,
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
    /// Returns the LoRA or mixture of the adapter `name` for the linear layer `linear_name`, if it
    /// has one.
    pub(crate) fn lora(&self, name: &str, linear_name: &str) -> Result<Option<Lora>> {
        let full_name =
            |matrix: &str| format!("{ADAPTER_PREFIX}{name}.{linear_name}.{matrix}.weight");
        let (lora, is_mixture) = match &self.config {
            AdapterConfig::Lora(lora) => (lora, false),
            AdapterConfig::Mixture(mixture) => (&mixture.lora, true),
            AdapterConfig::Bottleneck(_) | AdapterConfig::Fusion(_) => return Ok(None),
        };
        if !self.tensors.contains_key(&full_name("lora_A")) {
            return Ok(None);
        }
        let get = |name: &str| find(&self.tensors, name);
        let gate = |logits: Parameter| {
            let languages_of = self.config.gate_languages().map(|_| name.into());
            Gate { logits, languages_of }
        };
        let logits = is_mixture.then(|| Parameter::new(&get, &full_name("lora_gate")));
        Ok(Some(Lora {
            down: Parameter::new(&get, &full_name("lora_A"))?,
            up: Parameter::new(&get, &full_name("lora_B"))?,
            scale: lora.alpha / lora.rank as f64,
            dropout: lora.dropout,
            gate: logits.transpose()?.map(gate),
        }))
    }
}
