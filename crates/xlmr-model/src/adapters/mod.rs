//! Named adapters of an encoder, several of which may be active.
pub(crate) mod adapter;
pub(crate) mod bottleneck;
pub(crate) mod folder;
pub(crate) mod fusion;
pub(crate) mod hub;
pub(crate) mod lora;
pub(crate) mod mixture;
pub(crate) mod output;
pub(crate) mod peft;
pub(crate) mod peft_config;
pub(crate) mod peft_merge;
pub(crate) mod saved;

use std::collections::BTreeMap;
use std::path::Path;

use tch::Tensor;

use crate::adapters::adapter::{Adapter, AdapterConfig};
use crate::adapters::mixture::MixtureGate;
use crate::adapters::output::OutputAdapter;
use crate::family::layer::Layer;
use crate::layers::linear::Linear;
use crate::{
    Architecture, BottleneckConfig, Error, Head, LoraConfig, LoraMixtureConfig, Model, Result,
};

/// Standard deviation of new weights in bottlenecks and fusions, as in AdapterHub (`init_weights`:
/// "bert").
const ADAPTER_STD: f64 = 0.02;

impl Model {
    /// Adds a LoRA, which is not [active](Self::set_active_adapters) yet.
    ///
    /// The matrix A of [`LoraConfig`] is drawn from a uniform distribution between `-1 / √inputs`
    /// and `1 / √inputs`, as in PEFT, and depends only on `seed` and each parameter's name. B is
    /// zero, so outputs do not change before training.
    ///
    /// [`named_parameters`](Self::named_parameters) includes the parameters of the LoRA,
    /// `adapters.NAME.….lora_A.weight` and `….lora_B.weight`. To train only these, freeze the
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
    /// let without_adapter = model.encode(&inputs, false)?;
    /// model.add_lora("german", &LoraConfig::default(), 1)?;
    /// model.set_active_adapters(&["german"])?;
    /// assert_eq!(model.encode(&inputs, false)?, without_adapter);
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn add_lora(&mut self, name: &str, config: &LoraConfig, seed: u64) -> Result<()> {
        self.add_adapter(name, AdapterConfig::Lora(config.clone()), seed)
    }

    /// Adds a mixture of LoRA modules, which is not [active](Self::set_active_adapters) yet.
    ///
    /// Each module starts as a LoRA of [`add_lora`](Self::add_lora), and all modules have the weight
    /// `1 / modules`. The parameters are `adapters.NAME.….lora_A.weight`, `[modules * r, inputs]`,
    /// `….lora_B.weight`, `[outputs, modules * r]`, and `….lora_gate.weight`, `[gates, modules]`.
    ///
    /// # Errors
    /// As [`add_lora`](Self::add_lora).
    ///
    /// # Example
    /// ```
    /// use xlmr_model::{Config, Inputs, LoraMixtureConfig, Model};
    ///
    /// let mut model = Model::new(&Config::tiny(50), &[], tch::Device::Cpu, 1)?;
    /// let languages = ["en", "de"].map(String::from).to_vec();
    /// let config = LoraMixtureConfig { languages, ..LoraMixtureConfig::default() };
    /// model.add_lora_mixture("mixture", &config, 1)?;
    /// model.set_active_adapters(&["mixture"])?;
    /// let inputs = Inputs::from_rows(&[&[0, 7, 8, 2], &[0, 9, 2]], 1)?;
    /// let states = model.encode(&inputs.with_languages(["en", "de"]), false)?;
    /// assert_eq!(states.size(), [2, 4, 128]);
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn add_lora_mixture(
        &mut self,
        name: &str,
        config: &LoraMixtureConfig,
        seed: u64,
    ) -> Result<()> {
        self.add_adapter(name, AdapterConfig::Mixture(config.clone()), seed)
    }

    /// Adds a bottleneck adapter, which is not [active](Self::set_active_adapters) yet.
    ///
    /// Weights are drawn from N(0, 0.02), depending on `seed` and each parameter's name; biases are
    /// zero.
    ///
    /// The adapter's parameters are the weights and biases of `adapters.NAME.….adapter_down` and
    /// `….adapter_up`. [`add_lora`](Self::add_lora) describes how to train only an adapter's
    /// parameters.
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
        self.add_unchecked(name, config, seed)
    }

    /// Adds an adapter with new weights. The caller has checked `name`.
    pub(crate) fn add_unchecked(
        &mut self,
        name: &str,
        config: AdapterConfig,
        seed: u64,
    ) -> Result<()> {
        let mut tensors = BTreeMap::new();
        for spec in config.specs(name, self.config(), "adapter")? {
            let tensor = spec.initial_tensor(ADAPTER_STD, seed, self.device())?;
            tensors.insert(spec.name, tensor);
        }
        self.insert_adapter(name, config, tensors)
    }

    /// Returns an error if `name` is invalid or is the name of an adapter.
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
    pub fn bottleneck_config(&self, name: &str) -> Option<&BottleneckConfig> {
        match &self.adapters.get(name)?.config {
            AdapterConfig::Bottleneck(bottleneck) => Some(bottleneck),
            _ => None,
        }
    }

    /// Returns the names of the active adapters.
    pub fn active_adapters(&self) -> &[String] {
        &self.active_adapters
    }

    /// Activates the adapters `names` and deactivates all other adapters.
    ///
    /// Any number of LoRAs and mixtures with a shared gate, whose updates are summed, at most one
    /// mixture with a gate for each language, and at most one bottleneck or
    /// [fusion](Self::set_active_fusion) can be active. If no adapter is active, the outputs are
    /// bit-identical to the outputs of a model without adapters.
    ///
    /// # Errors
    /// [`Error::Input`] if a name is unknown or duplicated, or if more than one of the adapters is
    /// a bottleneck or fusion, or a mixture with a gate for each language. On error, the active
    /// adapters do not change.
    pub fn set_active_adapters(&mut self, names: &[&str]) -> Result<()> {
        let (mut output_adapter_name, mut mixture_name) = (None, None);
        for (index, name) in names.iter().enumerate() {
            let config = &self.adapter(name)?.config;
            if config.gate_languages().is_some()
                && let Some(earlier) = mixture_name.replace(name)
                && earlier != name
            {
                let expected = "at most one mixture with a gate for each language";
                return Err(Error::input("adapter", expected, format!("{earlier} and {name}")));
            }
            if !config.changes_linear_layers()
                && let Some(earlier) = output_adapter_name.replace(name)
            {
                let got = format!("{earlier} and {name}");
                let expected = "at most one bottleneck or fusion";
                return Err(Error::input("adapter", expected, got));
            }
            if names.iter().take(index).any(|earlier| earlier == name) {
                return Err(Error::input("adapter", "each name once", *name));
            }
        }
        self.active_adapters = names.iter().map(|&name| name.to_owned()).collect();
        self.attach_adapters()
    }

    pub(crate) fn adapter(&self, name: &str) -> Result<&Adapter> {
        let names = || self.adapters().collect::<Vec<_>>().join(", ");
        let unknown_adapter = || Error::input("adapter", format!("one of [{}]", names()), name);
        self.adapters.get(name).ok_or_else(unknown_adapter)
    }

    /// Inserts the active adapters into the layers.
    pub(crate) fn attach_adapters(&mut self) -> Result<()> {
        let (adapters, active) = (&self.adapters, &self.active_adapters);
        for_each_linear(&mut self.layers, &self.config.architecture, |linear, linear_name| {
            linear.loras.clear();
            for name in active {
                linear.loras.extend(adapters[name].lora(name, linear_name)?);
            }
            Ok(())
        })?;
        for (index, layer) in (0..).zip(&mut self.layers) {
            let layer_name = self.config.architecture.names().layer_name(index);
            let output_adapters = active
                .iter()
                .map(|name| OutputAdapter::new(adapters, name, &layer_name, &self.config));
            *layer.parameters().output_adapter =
                output_adapters.collect::<Result<Vec<_>>>()?.into_iter().flatten().next();
        }
        Ok(())
    }

    /// Returns whether a mixture with a gate for each language is active.
    pub(crate) fn has_language_gates(&self) -> bool {
        let config = |name: &String| &self.adapters[name].config;
        self.active_adapters.iter().any(|name| config(name).gate_languages().is_some())
    }

    /// Returns the name of the active mixture with a gate for each language, and the row of the gate
    /// of each name in `languages`, one for each row of the inputs.
    ///
    /// # Errors
    /// [`Error::Input`] if a language has no gate, or if there are no languages.
    pub(crate) fn gate_rows(
        &self,
        languages: Option<&[String]>,
    ) -> Result<Option<(&str, Vec<i64>)>> {
        let active =
            self.active_adapters.iter().find_map(|name| match &self.adapters[name].config {
                AdapterConfig::Mixture(mixture) if mixture.gate == MixtureGate::PerLanguage => {
                    Some((name, mixture))
                }
                _ => None,
            });
        let Some((name, mixture)) = active else { return Ok(None) };
        let Some(languages) = languages else {
            let known = mixture.languages.join(", ");
            let expected = format!(
                "one of [{known}] for each row, because the active adapter `{name}` has a gate for \
                 each language"
            );
            return Err(Error::input("languages", expected, "none"));
        };
        let rows = languages.iter().map(|language| mixture.gate_row(language));
        Ok(Some((name, rows.collect::<Result<_>>()?)))
    }

    /// Merges a LoRA, or a mixture with a shared gate, into the weights and removes it.
    ///
    /// The LoRA need not be active. The merged model's outputs equal the outputs with the active
    /// LoRA up to rounding, and [`save`](Self::save) writes no folder for the LoRA.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such adapter, or if the adapter is a bottleneck or a fusion,
    /// which cannot be merged into weights, or a mixture with a gate for each language;
    /// [`Error::Torch`].
    pub fn merge(&mut self, name: &str) -> Result<()> {
        if let Some(languages) = self.adapter(name)?.config.gate_languages() {
            let got = format!("{name}, with a gate for each of [{}]", languages.join(", "));
            return Err(Error::input("adapter", "a shared gate, or use merge_language", got));
        }
        self.merge_row(name, 0)
    }

    /// Merges a mixture with the gate of one language into the weights and removes it, for a model
    /// of inputs in this language only.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such adapter, the adapter is not a mixture with a gate for
    /// each language, or the language has no gate; [`Error::Torch`].
    pub fn merge_language(&mut self, name: &str, language: &str) -> Result<()> {
        let AdapterConfig::Mixture(mixture) = &self.adapter(name)?.config else {
            return Err(Error::input("adapter", "a mixture of LoRA modules", name));
        };
        let row = mixture.gate_row(language)?;
        self.merge_row(name, row)
    }

    /// Merges a LoRA or a mixture; `row` is the row of the gate.
    #[expect(clippy::expect_used, reason = "the name is checked first")]
    fn merge_row(&mut self, name: &str, row: i64) -> Result<()> {
        if !self.adapter(name)?.config.changes_linear_layers() {
            let got = format!("{name}, a bottleneck or fusion");
            return Err(Error::input("adapter", "a LoRA", got));
        }
        let adapter = self.adapters.remove(name).expect("the adapter exists");
        for_each_linear(&mut self.layers, &self.config.architecture, |linear, linear_name| {
            let lora = adapter.lora(name, linear_name)?;
            lora.map_or(Ok(()), |lora| lora.merge_into(&linear.weight, row))
        })?;
        self.active_adapters.retain(|active| active != name);
        self.attach_adapters()
    }

    /// Adds an AdapterFusion (Pfeiffer et al. 2021) of two or more bottlenecks, which is not
    /// [active](Self::set_active_fusion) yet.
    ///
    /// Let t and u be defined as in [`BottleneckConfig`], and let the output of the n-th bottleneck be
    /// `a_n = W_up f(W_down t + b_down) + b_up`. Each layer computes
    ///
    /// ```text
    /// w = softmax over n of (Q t + b_Q) · (K a_n + b_K)
    /// c = u + Σ_n w_n V a_n
    /// ```
    ///
    /// and c replaces u. This is AdapterHub's default configuration ("dynamic"). The scores are not
    /// scaled; in training the attention dropout is applied before the softmax. As in AdapterHub's
    /// code, the output a_n of an adapter does not include u, which is added only once, after the
    /// attention.
    ///
    /// Q, K and V are `[H, H]`. Q and K are drawn from N(0, 0.02), depending on `seed` and each
    /// parameter's name; their biases are zero. V is the identity with 1e-6 off the diagonal.
    /// AdapterHub's trainer adds `0.01 ‖I - V‖²` of each layer to the loss; this crate does not add
    /// this term. The parameters are `adapter_fusion.NAME,NAME.….query.weight` and so on, with the
    /// [role](crate::Role) `adapter_fusion`.
    ///
    /// # Errors
    /// [`Error::Input`] for fewer than two names, a duplicate name, the name of an adapter that is
    /// not a bottleneck, or bottlenecks whose fusion already exists; [`Error::Torch`].
    ///
    /// # Example
    /// ```
    /// use xlmr_model::{BottleneckConfig, Config, Inputs, Model};
    ///
    /// let mut model = Model::new(&Config::tiny(50), &[], tch::Device::Cpu, 1)?;
    /// for name in ["ep", "tp"] {
    ///     model.add_bottleneck(name, &BottleneckConfig::default(), 1)?;
    /// }
    /// model.add_adapter_fusion(&["ep", "tp"], 1)?;
    /// model.set_active_fusion(&["ep", "tp"])?;
    /// assert_eq!(model.active_adapters(), ["ep,tp"]);
    /// model.encode(&Inputs::from_rows(&[&[0, 7, 8, 2]], 1)?, false)?;
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    pub fn add_adapter_fusion(&mut self, names: &[&str], seed: u64) -> Result<()> {
        let (name, config) = self.new_fusion(names)?;
        self.add_unchecked(&name, config, seed)
    }

    /// Activates the fusion of these bottlenecks, and deactivates all other adapters.
    ///
    /// Equivalent to [`set_active_adapters`](Self::set_active_adapters) with the fusion's name, such as `"ep,tp"`. To
    /// activate LoRAs as well, use [`set_active_adapters`](Self::set_active_adapters).
    ///
    /// # Errors
    /// [`Error::Input`] if there is no fusion of these bottlenecks in this order. On error, the
    /// active adapters do not change.
    pub fn set_active_fusion(&mut self, names: &[&str]) -> Result<()> {
        self.set_active_adapters(&[&names.join(",")])
    }

    /// Saves a fusion in the format of AdapterHub's `save_adapter_fusion` with `use_safetensors`,
    /// in float32: `adapter_fusion_config.json` and `model_adapter_fusion.safetensors`. Bottlenecks
    /// are [saved separately](Self::save_adapter).
    ///
    /// # Errors
    /// [`Error::Input`] if there is no fusion of these bottlenecks in this order; [`Error::Io`];
    /// [`Error::TorchExt`]; [`Error::Torch`].
    pub fn save_adapter_fusion(&self, names: &[&str], folder: impl AsRef<Path>) -> Result<()> {
        self.write_adapter(&names.join(","), folder.as_ref(), Head::MaskedLm)
    }

    /// Loads a fusion from a folder and returns the names of its bottlenecks. The fusion is not
    /// [active](Self::set_active_fusion) yet.
    ///
    /// Supports folders written by [`save_adapter_fusion`](Self::save_adapter_fusion) and by
    /// AdapterHub with `use_safetensors`. The model must already contain the bottlenecks under the
    /// names stored in the folder.
    ///
    /// # Errors
    /// As [`load_adapter`](Self::load_adapter); [`Error::Config`] naming `adapter_names` if
    /// [`add_adapter_fusion`](Self::add_adapter_fusion) would reject these names. On error, the
    /// model does not change.
    pub fn load_adapter_fusion(&mut self, folder: impl AsRef<Path>) -> Result<Vec<String>> {
        let (name, config, tensors) = self.read_fusion(folder.as_ref())?;
        self.insert_adapter(&name, config, tensors)?;
        Ok(name.split(',').map(str::to_owned).collect())
    }

    /// Checks the names of a new fusion's bottlenecks. Returns the fusion's name and configuration.
    pub(crate) fn new_fusion(&self, names: &[&str]) -> Result<(String, AdapterConfig)> {
        for (index, name) in names.iter().enumerate() {
            if !matches!(self.adapter(name)?.config, AdapterConfig::Bottleneck(_)) {
                return Err(Error::input("adapter", "a bottleneck", *name));
            }
            if names.iter().take(index).any(|earlier| earlier == name) {
                return Err(Error::input("adapter", "each name once", *name));
            }
        }
        let name = names.join(",");
        if names.len() < 2 {
            return Err(Error::input("adapter", "two bottlenecks or more", name));
        }
        match self.adapters.contains_key(&name) {
            true => Err(Error::input("adapter", "a new fusion", name)),
            false => {
                let names = names.iter().map(|&name| name.to_owned()).collect();
                Ok((name, AdapterConfig::Fusion(names)))
            }
        }
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

/// Calls `change` with every linear layer that a LoRA may change, and with the layer's full name.
#[expect(clippy::expect_used, reason = "an invariant of the families' layers")]
fn for_each_linear(
    layers: &mut [Layer],
    architecture: &Architecture,
    mut change: impl FnMut(&mut Linear, &str) -> Result<()>,
) -> Result<()> {
    for (index, layer) in (0..).zip(layers) {
        let layer_name = architecture.names().layer_name(index);
        let parameters = layer.parameters();
        let joined = parameters.joined.into_iter().flat_map(|joined| joined.layers);
        let mut linear_layers = joined.chain(parameters.linear);
        for (linear_name, _) in architecture.names().linear_layers {
            let linear = linear_layers.next().expect("every named linear layer exists");
            change(linear, &format!("{layer_name}.{linear_name}"))?;
        }
    }
    Ok(())
}
