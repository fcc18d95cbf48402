//! Named adapters of an encoder, several of which may be active.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::adapter_fusion::{self, ADAPTER_FUSION, AdapterFusion};
use crate::bottleneck::{Bottleneck, OutputAdapter};
use crate::encoder::Layer;
use crate::layers::{Linear, Lora, Parameter};
use crate::model::find;
use crate::parameters::{Init, Spec, encoder_specs};
use crate::{Architecture, BottleneckConfig, Config, Error, Model, Result};

/// Prefix of the parameter names of all adapters.
pub(crate) const ADAPTERS: &str = "adapters.";

/// A linear layer within an encoder layer, independent of the architecture's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraTarget {
    /// The query projection. ModernBERT has one projection for queries, keys and values, so all
    /// three must be given, or none.
    Query,
    /// The key projection.
    Key,
    /// The value projection.
    Value,
    /// The output projection of attention.
    AttentionOutput,
    /// The first linear layer of the feed-forward block, including EuroBERT's gate.
    Intermediate,
    /// The second linear layer of the feed-forward block.
    Output,
}

use LoraTarget::{AttentionOutput, Intermediate, Key, Output, Query, Value};

type LinearLayers = &'static [(&'static str, &'static [LoraTarget])];

pub(crate) const BERT_LINEAR: LinearLayers = &[
    ("attention.self.query", &[Query]),
    ("attention.self.key", &[Key]),
    ("attention.self.value", &[Value]),
    ("attention.output.dense", &[AttentionOutput]),
    ("intermediate.dense", &[Intermediate]),
    ("output.dense", &[Output]),
];
pub(crate) const DEBERTA_LINEAR: LinearLayers = &[
    ("attention.self.query_proj", &[Query]),
    ("attention.self.key_proj", &[Key]),
    ("attention.self.value_proj", &[Value]),
    ("attention.output.dense", &[AttentionOutput]),
    ("intermediate.dense", &[Intermediate]),
    ("output.dense", &[Output]),
];
pub(crate) const DISTIL_LINEAR: LinearLayers = &[
    ("attention.q_lin", &[Query]),
    ("attention.k_lin", &[Key]),
    ("attention.v_lin", &[Value]),
    ("attention.out_lin", &[AttentionOutput]),
    ("ffn.lin1", &[Intermediate]),
    ("ffn.lin2", &[Output]),
];
pub(crate) const MODERN_LINEAR: LinearLayers = &[
    ("attn.Wqkv", &[Query, Key, Value]),
    ("attn.Wo", &[AttentionOutput]),
    ("mlp.Wi", &[Intermediate]),
    ("mlp.Wo", &[Output]),
];
pub(crate) const EURO_LINEAR: LinearLayers = &[
    ("self_attn.q_proj", &[Query]),
    ("self_attn.k_proj", &[Key]),
    ("self_attn.v_proj", &[Value]),
    ("mlp.gate_proj", &[Intermediate]),
    ("mlp.up_proj", &[Intermediate]),
    ("self_attn.o_proj", &[AttentionOutput]),
    ("mlp.down_proj", &[Output]),
];

/// LoRA (Hu et al. 2022): `y = W x + b + (α / r) B A drop(x)` in selected linear layers of every
/// encoder layer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank r, from 1 to 65,536.
    pub rank: i64,
    /// Scale α, above 0.
    pub alpha: f64,
    /// Dropout of A's input during training, from 0 to below 1.
    pub dropout: f64,
    /// The adapted linear layers, in every encoder layer.
    pub targets: BTreeSet<LoraTarget>,
}

impl Default for LoraConfig {
    /// Returns a LoRA of rank 8.
    fn default() -> Self {
        Self::of_rank(8)
    }
}

impl LoraConfig {
    /// Creates a LoRA of queries, keys and values, without dropout, with α twice the rank.
    pub fn of_rank(rank: i64) -> Self {
        let targets = [LoraTarget::Query, LoraTarget::Key, LoraTarget::Value].into();
        Self { rank, alpha: 2.0 * rank as f64, dropout: 0.0, targets }
    }

    /// Rejects options that do not fit a model of this configuration.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key as in PEFT.
    pub fn validate(&self, config: &Config) -> Result<()> {
        self.adapted_layers(&config.architecture, "lora").map(|_| ())
    }

    /// Returns the adapted linear layers, named without the encoder layer's prefix. Error messages
    /// contain `file` and PEFT's keys.
    pub(crate) fn adapted_layers(
        &self,
        architecture: &Architecture,
        file: &str,
    ) -> Result<Vec<&'static str>> {
        let refuse =
            |key: &str, expected: &str, got: String| Err(Error::config(file, key, expected, got));
        if !(1..=1 << 16).contains(&self.rank) {
            return refuse("r", "an integer from 1 to 65536", self.rank.to_string());
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return refuse("lora_alpha", "a number above 0", self.alpha.to_string());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refuse("lora_dropout", "from 0 to below 1", self.dropout.to_string());
        }
        let mut adapted = Vec::new();
        for (linear_name, targets) in architecture.names().linear_layers {
            let selected_count =
                targets.iter().filter(|target| self.targets.contains(target)).count();
            if selected_count == targets.len() {
                adapted.push(*linear_name);
            } else if selected_count > 0 {
                let expected =
                    format!("all of {targets:?} or none: they share one matrix, {linear_name}");
                return refuse("target_modules", &expected, format!("{:?}", self.targets));
            }
        }
        match adapted.is_empty() {
            true => refuse("target_modules", "at least one", "none".into()),
            false => Ok(adapted),
        }
    }

    /// Returns A and B of every adapted linear layer; their names start with `adapter`.
    fn specs(&self, adapter: &str, config: &Config, file: &str) -> Result<Vec<Spec>> {
        let adapted = self.adapted_layers(&config.architecture, file)?;
        let mut specs = Vec::new();
        for spec in encoder_specs(config) {
            let Some(linear_name) = spec.name.strip_suffix(".weight") else { continue };
            let Some(inner) = config.architecture.names().within_layer(linear_name) else {
                continue;
            };
            let &[outputs, inputs] = spec.shape.as_slice() else { continue };
            if !adapted.contains(&inner) {
                continue;
            }
            // kaiming_uniform with a = √5, as in PEFT.
            let uniform_init = Init::Uniform((inputs.max(1) as f64).sqrt().recip());
            for (part, shape, init) in [
                ("lora_A", [self.rank, inputs], uniform_init),
                ("lora_B", [outputs, self.rank], Init::Zeros),
            ] {
                let name = format!("{linear_name}.{part}.weight");
                let spec = Spec::new(format!("{adapter}{name}"), &shape, init);
                specs.push(Spec { stored: Some(name), ..spec });
            }
        }
        Ok(specs)
    }
}

/// Returns the name of each encoder layer and AdapterHub's name for the position after the last
/// linear layer.
pub(crate) fn adapter_positions(config: &Config) -> impl Iterator<Item = (String, &'static str)> {
    let names = config.architecture.names();
    // AdapterHub does not support ModernBERT and EuroBERT. Its name for layers without a final norm
    // is used for them.
    let position = match &config.architecture {
        Architecture::ModernBert(_) | Architecture::EuroBert(_) | Architecture::DistilBert(_) => {
            "output_adapters"
        }
        _ => "output",
    };
    (0..config.num_hidden_layers).map(move |index| (names.layer(index), position))
}

/// Kind and configuration of an adapter.
#[derive(Clone, Debug)]
pub(crate) enum AdapterConfig {
    Lora(LoraConfig),
    Bottleneck(BottleneckConfig),
    /// AdapterFusion of these bottlenecks. The fusion's name is their names, joined by commas.
    Fusion(Vec<String>),
}

impl AdapterConfig {
    /// Returns the parameters of the adapter `name`; `file` is used in error messages.
    pub(crate) fn specs(&self, name: &str, config: &Config, file: &str) -> Result<Vec<Spec>> {
        let prefix = format!("{ADAPTERS}{name}.");
        match self {
            Self::Lora(lora) => lora.specs(&prefix, config, file),
            Self::Bottleneck(bottleneck) => bottleneck.specs(&prefix, name, config, file),
            Self::Fusion(_) => Ok(adapter_fusion::specs(name, config)),
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

/// Standard deviation of new weights in bottlenecks and fusions, as in AdapterHub ("bert").
const HUB_STD: f64 = 0.02;

impl Adapter {
    /// Returns the LoRA of the adapter `name` for the linear layer `linear_name`, if it has one.
    fn lora(&self, name: &str, linear_name: &str) -> Result<Option<Lora>> {
        let part = |part: &str| format!("{ADAPTERS}{name}.{linear_name}.{part}.weight");
        let AdapterConfig::Lora(lora) = &self.config else { return Ok(None) };
        if !self.tensors.contains_key(&part("lora_A")) {
            return Ok(None);
        }
        let get = |name: &str| find(&self.tensors, name);
        Ok(Some(Lora {
            down: Parameter::new(&get, &part("lora_A"))?,
            up: Parameter::new(&get, &part("lora_B"))?,
            scale: lora.alpha / lora.rank as f64,
            dropout: lora.dropout,
        }))
    }
}

/// Returns the modules that the adapter `name` inserts after a layer.
fn output_adapter(
    adapters: &BTreeMap<String, Adapter>,
    name: &str,
    layer: &str,
    config: &Config,
) -> Result<Option<OutputAdapter>> {
    let Some(Adapter { config: kind, tensors }) = adapters.get(name) else { return Ok(None) };
    let get = |name: &str| find(tensors, name);
    Ok(Some(match kind {
        AdapterConfig::Lora(_) => return Ok(None),
        AdapterConfig::Bottleneck(bottleneck) => {
            let prefix = format!("{ADAPTERS}{name}.{layer}");
            OutputAdapter::Bottleneck(Bottleneck::new(&get, &prefix, bottleneck.activation)?)
        }
        AdapterConfig::Fusion(names) => {
            let mut bottlenecks = Vec::new();
            for name in names {
                if let Some(OutputAdapter::Bottleneck(bottleneck)) =
                    output_adapter(adapters, name, layer, config)?
                {
                    bottlenecks.push(bottleneck);
                }
            }
            let dropout = config.attention_probs_dropout_prob;
            let prefix = format!("{ADAPTER_FUSION}{name}.{layer}");
            OutputAdapter::Fusion(bottlenecks, AdapterFusion::new(&get, &prefix, dropout)?)
        }
    }))
}

impl Model {
    /// Adds a LoRA. It is not yet [active](Self::set_active).
    ///
    /// A is drawn uniformly from ±`1 / √inputs`, as in PEFT, depending on `seed` and each
    /// parameter's name. B is zero, so that outputs do not change before training.
    ///
    /// Its parameters, `adapters.NAME.….lora_A.weight` and `….lora_B.weight`, are among
    /// [`named_parameters`](Self::named_parameters). To train only them, freeze the
    /// [roles](crate::Role) `encoder` and `head`.
    ///
    /// # Errors
    /// [`Error::Input`] if the name is in use or is not made of ASCII letters, digits, `-` and `_`;
    /// [`Error::Config`] if `config` does not fit the model; [`Error::Torch`].
    ///
    /// # Example
    /// ```
    /// use xlmr_model::{Config, Inputs, LoraConfig, Model};
    ///
    /// let mut model = Model::new(&Config::tiny(50), &[], tch::Device::Cpu, 1)?;
    /// let inputs = Inputs::from_rows(&[&[0, 7, 8, 2]], 1)?;
    /// let plain = model.encode(&inputs, false)?;
    /// model.add_lora("german", &LoraConfig::default(), 1)?;
    /// model.set_active(&["german"])?;
    /// assert_eq!(model.encode(&inputs, false)?, plain);
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn add_lora(&mut self, name: &str, config: &LoraConfig, seed: u64) -> Result<()> {
        self.add_adapter(name, AdapterConfig::Lora(config.clone()), seed)
    }

    /// Adds a bottleneck adapter. It is not yet [active](Self::set_active).
    ///
    /// Weights are drawn from N(0, 0.02), depending on `seed` and each parameter's name; biases are
    /// zero.
    ///
    /// Its parameters are `adapters.NAME.….adapter_down.weight`, `….adapter_down.bias` and the
    /// corresponding ones of `adapter_up`; otherwise as [`add_lora`](Self::add_lora).
    ///
    /// # Errors
    /// As [`add_lora`](Self::add_lora).
    pub fn add_bottleneck(
        &mut self,
        name: &str,
        config: &BottleneckConfig,
        seed: u64,
    ) -> Result<()> {
        self.add_adapter(name, AdapterConfig::Bottleneck(*config), seed)
    }

    fn add_adapter(&mut self, name: &str, config: AdapterConfig, seed: u64) -> Result<()> {
        self.check_new_adapter(name)?;
        self.add_drawn(name, config, seed)
    }

    pub(crate) fn add_drawn(&mut self, name: &str, config: AdapterConfig, seed: u64) -> Result<()> {
        let mut tensors = BTreeMap::new();
        for spec in config.specs(name, self.config(), "adapter")? {
            let tensor = spec.initial_tensor(HUB_STD, seed, self.device())?;
            tensors.insert(spec.name, tensor);
        }
        self.insert_adapter(name, config, tensors)
    }

    pub(crate) fn check_new_adapter(&self, name: &str) -> Result<()> {
        check_name(name)?;
        match self.adapters.contains_key(name) {
            true => Err(Error::input("adapter", "a new name", name)),
            false => Ok(()),
        }
    }

    pub(crate) fn insert_adapter(
        &mut self,
        name: &str,
        config: AdapterConfig,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<()> {
        let kind = self.kind()?;
        for tensor in tensors.values_mut() {
            *tensor = tensor.f_to_kind(kind)?.f_set_requires_grad(true)?;
        }
        self.adapters.insert(name.to_owned(), Adapter { config, tensors });
        Ok(())
    }

    /// Returns the names of all adapters, sorted. The name of a [fusion](Self::add_adapter_fusion)
    /// consists of the names of its bottlenecks, joined by commas.
    pub fn adapters(&self) -> impl Iterator<Item = &str> {
        self.adapters.keys().map(String::as_str)
    }

    /// Returns the configuration of the bottleneck with this name.
    pub fn bottleneck(&self, name: &str) -> Option<&BottleneckConfig> {
        match &self.adapters.get(name)?.config {
            AdapterConfig::Bottleneck(bottleneck) => Some(bottleneck),
            _ => None,
        }
    }

    /// Returns the names of the active adapters.
    pub fn active_adapters(&self) -> &[String] {
        &self.active
    }

    /// Activates these adapters and deactivates all others.
    ///
    /// Any number of LoRAs (their sum is added) and at most one bottleneck or
    /// [fusion](Self::set_fused) can be active. Without active adapters the outputs equal the
    /// model's own, bit by bit.
    ///
    /// # Errors
    /// [`Error::Input`] if a name is unknown or duplicated, or if two are bottlenecks or fusions;
    /// then nothing changes.
    pub fn set_active(&mut self, names: &[&str]) -> Result<()> {
        let mut active_output = None;
        for (index, name) in names.iter().enumerate() {
            if !matches!(self.adapter(name)?.config, AdapterConfig::Lora(_))
                && let Some(other) = active_output.replace(name)
            {
                let got = format!("{other} and {name}");
                let expected = "at most one bottleneck or fusion";
                return Err(Error::input("adapter", expected, got));
            }
            if names.iter().take(index).any(|earlier| earlier == name) {
                return Err(Error::input("adapter", "each name once", *name));
            }
        }
        self.active = names.iter().map(|&name| name.to_owned()).collect();
        self.attach_adapters()
    }

    pub(crate) fn adapter(&self, name: &str) -> Result<&Adapter> {
        let names = || self.adapters().collect::<Vec<_>>().join(", ");
        let unknown = || Error::input("adapter", format!("one of [{}]", names()), name);
        self.adapters.get(name).ok_or_else(unknown)
    }

    /// Inserts the active adapters into the layers.
    pub(crate) fn attach_adapters(&mut self) -> Result<()> {
        let (adapters, active) = (&self.adapters, &self.active);
        for_each_linear(&mut self.layers, &self.config.architecture, |linear, linear_name| {
            linear.loras.clear();
            for name in active {
                let adapter = adapters.get(name);
                let lora = adapter.map(|adapter| adapter.lora(name, linear_name)).transpose()?;
                linear.loras.extend(lora.flatten());
            }
            Ok(())
        })?;
        for (index, layer) in (0..).zip(&mut self.layers) {
            let layer_name = self.config.architecture.names().layer(index);
            let modules =
                active.iter().map(|name| output_adapter(adapters, name, &layer_name, &self.config));
            *layer.parts().output_adapter =
                modules.collect::<Result<Vec<_>>>()?.into_iter().flatten().next();
        }
        Ok(())
    }

    /// Merges a LoRA into the weights and removes it.
    ///
    /// It need not be active. Outputs are equal up to rounding, and [`save`](Self::save) writes a
    /// plain model.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no adapter of that name, or if it is a bottleneck or a fusion,
    /// which cannot be merged into weights; [`Error::Torch`].
    pub fn merge(&mut self, name: &str) -> Result<()> {
        if !matches!(self.adapter(name)?.config, AdapterConfig::Lora(_)) {
            let got = format!("{name}, a bottleneck or fusion");
            return Err(Error::input("adapter", "a LoRA", got));
        }
        let Some(adapter) = self.adapters.remove(name) else { return Ok(()) };
        for_each_linear(&mut self.layers, &self.config.architecture, |linear, linear_name| {
            let lora = adapter.lora(name, linear_name)?;
            lora.map_or(Ok(()), |lora| lora.merge_into(&linear.weight))
        })?;
        self.active.retain(|active| active != name);
        self.attach_adapters()
    }

    /// Removes an adapter with its parameters, and the fusions that contain it.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no adapter of that name.
    pub fn remove_adapter(&mut self, name: &str) -> Result<()> {
        self.adapter(name)?;
        self.adapters.retain(|key, adapter| match &adapter.config {
            AdapterConfig::Fusion(names) => key != name && !names.iter().any(|fused| fused == name),
            _ => key != name,
        });
        self.active.retain(|active| self.adapters.contains_key(active));
        self.attach_adapters()
    }
}

/// Validates an adapter's name, which is also used as a folder name and in parameter names.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !name.is_empty() && name.chars().all(is_allowed) {
        true => Ok(()),
        false => Err(Error::input("adapter", "ASCII letters, digits, - and _", name)),
    }
}

/// Calls `change` for every linear layer that adapters may change, with its full name.
fn for_each_linear(
    layers: &mut [Layer],
    architecture: &Architecture,
    mut change: impl FnMut(&mut Linear, &str) -> Result<()>,
) -> Result<()> {
    for (index, layer) in (0..).zip(layers) {
        let layer_name = architecture.names().layer(index);
        let parts = layer.parts();
        let joined = parts.joined.into_iter().flat_map(|joined| joined.layers);
        let linear = joined.chain(parts.linear);
        for (linear, (linear_name, _)) in linear.zip(architecture.names().linear_layers) {
            change(linear, &format!("{layer_name}.{linear_name}"))?;
        }
    }
    Ok(())
}
