//! Configuration and parameters of LoRA (Hu et al. 2022).
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::layers::names::LoraTarget;
use crate::parameters::{Init, Spec, encoder_specs};
use crate::{Architecture, Config, Error, Result};

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
    /// Linear layers of every encoder layer to which the LoRA is added.
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

    /// Returns an error if the options do not fit a model with the configuration `config`.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key as in PEFT.
    pub fn validate(&self, config: &Config) -> Result<()> {
        self.adapted_layers(&config.architecture, "lora").map(|_| ())
    }

    /// Returns the names of the adapted linear layers, without the encoder layer's prefix. `file`
    /// is used in error messages, which name PEFT's keys.
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
        let mut layer_names = Vec::new();
        for (linear_name, targets) in architecture.names().linear_layers {
            let selected_count =
                targets.iter().filter(|target| self.targets.contains(target)).count();
            if selected_count == targets.len() {
                layer_names.push(*linear_name);
            } else if selected_count > 0 {
                let expected =
                    format!("all of {targets:?} or none: they share one matrix, {linear_name}");
                return refuse("target_modules", &expected, format!("{:?}", self.targets));
            }
        }
        match layer_names.is_empty() {
            true => refuse("target_modules", "at least one", "none".into()),
            false => Ok(layer_names),
        }
    }

    /// Returns the parameters A and B of every adapted linear layer. Their names start with
    /// `prefix`.
    pub(crate) fn specs(&self, prefix: &str, config: &Config, file: &str) -> Result<Vec<Spec>> {
        let layer_names = self.adapted_layers(&config.architecture, file)?;
        let mut specs = Vec::new();
        for spec in encoder_specs(config) {
            let Some(linear_name) = spec.name.strip_suffix(".weight") else { continue };
            let Some(name_in_layer) = config.architecture.names().name_in_layer(linear_name) else {
                continue;
            };
            let &[outputs, inputs] = spec.shape.as_slice() else { continue };
            if !layer_names.contains(&name_in_layer) {
                continue;
            }
            // PEFT uses kaiming_uniform with a = √5, whose bound is 1 / √inputs.
            let uniform_init = Init::Uniform((inputs.max(1) as f64).sqrt().recip());
            for (matrix, shape, init) in [
                ("lora_A", [self.rank, inputs], uniform_init),
                ("lora_B", [outputs, self.rank], Init::Zeros),
            ] {
                let name = format!("{linear_name}.{matrix}.weight");
                let spec = Spec::new(format!("{prefix}{name}"), &shape, init);
                specs.push(Spec { stored_name: Some(name), ..spec });
            }
        }
        Ok(specs)
    }
}
