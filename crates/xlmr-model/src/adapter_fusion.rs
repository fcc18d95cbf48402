//! AdapterFusion (Pfeiffer et al. 2021): attention over the outputs of several bottlenecks.
//!
//! FILTER's fusion of texts is [`fused`](crate::fused).
use std::path::Path;

use tch::{Kind, Tensor};

use crate::adapters::{AdapterConfig, adapter_positions};
use crate::bottleneck::Bottleneck;
use crate::dropout::DropoutSeeds;
use crate::layers::{Linear, Lookup};
use crate::parameters::{Init, Spec};
use crate::{Config, Error, Head, Model, Result};

/// Prefix of the parameter names of all fusions.
pub(crate) const ADAPTER_FUSION: &str = "adapter_fusion.";

/// Returns the parameters of the fusion `name`, which is the comma-separated names of its
/// bottlenecks.
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
            let dimensions = if part.ends_with("bias") { 1 } else { 2 };
            let shape = vec![config.hidden_size; dimensions];
            let stored = format!("{layer}.{position}.adapter_fusion_layer.{name}.{part}");
            let spec = Spec::new(format!("{ADAPTER_FUSION}{name}.{layer}.{part}"), &shape, init);
            specs.push(Spec { stored: Some(stored), ..spec });
        }
    }
    specs
}

/// The fusion of one layer.
#[derive(Clone, Debug)]
pub(crate) struct AdapterFusion {
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Dropout of the scores in training.
    dropout: f64,
}

impl AdapterFusion {
    /// Uses the parameters named `name.…`.
    pub(crate) fn new(get: Lookup, name: &str, dropout: f64) -> Result<Self> {
        let linear = |part: &str, bias| Linear::with_bias(get, &format!("{name}.{part}"), bias);
        let (query, key) = (linear("query", true)?, linear("key", true)?);
        Ok(Self { query, key, value: linear("value", false)?, dropout })
    }

    /// Computes the combined output of the bottlenecks for hidden states t, `[.., H]` each.
    pub(crate) fn apply(
        &self,
        t: &Tensor,
        bottlenecks: &[Bottleneck],
        seeds: &DropoutSeeds,
    ) -> Result<Tensor> {
        let outputs = bottlenecks.iter().map(|bottleneck| bottleneck.apply(t));
        let outputs = Tensor::f_stack(&outputs.collect::<Result<Vec<_>>>()?, -2)?; // [.., n, H]
        let query = self.query.apply(t)?;
        // q · (K a + b) = (q K) · a + q · b, and Σ w V a = V Σ w a: one matmul for all a.
        let mut scores = query.f_matmul(&self.key.weight)?.f_unsqueeze(-1)?; // [.., H, 1]
        scores = outputs.f_matmul(&scores)?.f_squeeze_dim(-1)?; // [.., n]
        if let Some(bias) = &self.key.bias {
            scores = scores.f_add(&query.f_matmul(bias)?.f_unsqueeze(-1)?)?;
        }
        let weights = seeds.dropout(scores, self.dropout)?.f_softmax(-1, None::<Kind>)?;
        let mixed = weights.f_unsqueeze(-2)?.f_matmul(&outputs)?; // [.., 1, H]
        self.value.apply(&mixed.f_squeeze_dim(-2)?)
    }
}

impl Model {
    /// Adds an AdapterFusion (Pfeiffer et al. 2021) of two or more bottlenecks. It is not yet
    /// [active](Self::set_fused).
    ///
    /// In each layer, with t, u and x of [`BottleneckConfig`] and the output of the n-th bottleneck
    /// `a_n = W_up f(W_down t + b_down) + b_up`,
    ///
    /// ```text
    /// w = softmax over n of (Q t + b_Q) · (K a_n + b_K)
    /// c = u + Σ_n w_n V a_n
    /// ```
    ///
    /// and c replaces u: AdapterHub's default ("dynamic"). The scores are not scaled; in training
    /// the attention dropout is applied before the softmax. As in AdapterHub's code, an adapter's
    /// output excludes the residual; u is added once, after the attention.
    ///
    /// Q, K and V are `[H, H]`. Q and K are drawn from N(0, 0.02), depending on `seed` and each
    /// parameter's name; their biases are zero. V is the identity with 1e-6 off the diagonal.
    /// AdapterHub's trainer adds `0.01 ‖I - V‖²` of each layer to the loss; this crate does not.
    /// The parameters are `adapter_fusion.NAME,NAME.….query.weight` and so on, with the
    /// [role](crate::Role) `adapter_fusion`.
    ///
    /// # Errors
    /// [`Error::Input`] for fewer than two names, a duplicate name, a name that is not a
    /// bottleneck's, or a fusion that exists already; [`Error::Torch`].
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
    /// model.set_fused(&["ep", "tp"])?;
    /// assert_eq!(model.active_adapters(), ["ep,tp"]);
    /// model.encode(&Inputs::from_rows(&[&[0, 7, 8, 2]], 1)?, false)?;
    /// # Ok::<(), xlmr_model::Error>(())
    /// ```
    ///
    /// [`BottleneckConfig`]: crate::BottleneckConfig
    pub fn add_adapter_fusion(&mut self, names: &[&str], seed: u64) -> Result<()> {
        let (name, config) = self.new_fusion(names)?;
        self.add_drawn(&name, config, seed)
    }

    /// Activates the fusion of these bottlenecks, and deactivates all other adapters.
    ///
    /// Equivalent to [`set_active`](Self::set_active) with the names joined by commas, `"ep,tp"`,
    /// which also accepts LoRAs.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no fusion of these bottlenecks in this order; then nothing
    /// changes.
    pub fn set_fused(&mut self, names: &[&str]) -> Result<()> {
        self.set_active(&[&names.join(",")])
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

    /// Loads a fusion from a folder and returns the names of its bottlenecks. It is not yet
    /// [active](Self::set_fused).
    ///
    /// Folders of [`save_adapter_fusion`](Self::save_adapter_fusion) and of AdapterHub with
    /// `use_safetensors` are supported. The model must already contain the bottlenecks under the
    /// names stored in the folder.
    ///
    /// # Errors
    /// As [`load_adapter`](Self::load_adapter); [`Error::Config`] naming `adapter_names` if
    /// [`add_adapter_fusion`](Self::add_adapter_fusion) would reject them. The model does not
    /// change then.
    pub fn load_adapter_fusion(&mut self, folder: impl AsRef<Path>) -> Result<Vec<String>> {
        let (name, config, tensors) = self.read_fusion(folder.as_ref())?;
        self.insert_adapter(&name, config, tensors)?;
        Ok(name.split(',').map(str::to_owned).collect())
    }

    /// Returns the name and configuration of a new fusion.
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
