//! Adapters that are trained instead of the encoder.
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use trainer::TrainConfig;
use xlmr_model::{
    BottleneckConfig, Config, Head, LoraConfig, LoraMixtureConfig, MixtureGate, Model, Role,
};

use crate::{Error, Result};

/// Name of the LoRA adapter in a model.
pub(crate) const LORA: &str = "lora";
/// Name of the mixture of LoRA modules in a model.
pub(crate) const MIXTURE: &str = "mixture";
/// Name of the bottleneck adapter in a model.
pub(crate) const BOTTLENECK: &str = "bottleneck";

/// Folder next to the model's folder in which the adapter is also stored separately.
pub(crate) const ADAPTER_DIR: &str = "adapter";

/// The section `[model.adapters]`: adapters that are added to the base model and trained together
/// with its heads, while the encoder is frozen. See
/// [`Trial::load_model`](crate::Trial::load_model) and
/// [`Trial::save`](crate::Trial::save).
///
/// ```
/// use experiment::BaseModel;
///
/// let text = "path = \"xlm-roberta-base\"\nadapters = { lora = { rank = 4 } }";
/// let model: BaseModel = toml::from_str(text).unwrap();
/// let lora = model.adapters.and_then(|adapters| adapters.lora);
/// assert_eq!(lora.map(|lora| (lora.rank, lora.alpha)), Some((4, 16.0)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adapters {
    /// The training stages in which the encoder is also trained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encoder_learns_in: Vec<String>,
    /// LoRA adapter; the default rank is 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// Mixture of LoRA modules; not together with `lora`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixture: Option<LoraMixtureConfig>,
    /// Bottleneck adapter. If the base model has an adapter of the same name and configuration, the
    /// training of that adapter continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<BottleneckConfig>,
}

impl Adapters {
    /// Validates the adapters for a model of this configuration.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the section `key` and the reason.
    pub fn validate(&self, key: &str, config: &Config) -> Result<()> {
        let invalid = |key: String, reason: String| Err(Error::setting(key, reason));
        if self.lora.is_none() && self.mixture.is_none() && self.bottleneck.is_none() {
            return invalid(
                key.to_owned(),
                "give lora.rank, mixture.languages or bottleneck.reduction".into(),
            );
        }
        if self.lora.is_some() && self.mixture.is_some() {
            return invalid(key.to_owned(), "give either lora or mixture".into());
        }
        let lora_error = self.lora.as_ref().and_then(|lora| lora.validate(config).err());
        let mixture_error =
            self.mixture.as_ref().and_then(|mixture| mixture.validate(config).err());
        if let Some(error) = lora_error.or(mixture_error) {
            return invalid(key.to_owned(), error.to_string());
        }
        match self.bottleneck {
            Some(BottleneckConfig { reduction, .. }) if reduction < 1 => invalid(
                format!("{key}.bottleneck.reduction = {reduction}"),
                "must be 1 or more".into(),
            ),
            _ => Ok(()),
        }
    }

    /// Whether the encoder is frozen in this stage.
    pub(crate) fn freezes_encoder_in(&self, stage: &str) -> bool {
        !self.encoder_learns_in.iter().any(|name| name == stage)
    }

    /// Adds the adapters to the model and activates them in addition to its active adapters.
    pub(crate) fn add_to(&self, model: &mut Model, seed: u64) -> Result<()> {
        let mut names = model.active_adapters().to_vec();
        if let Some(lora) = &self.lora {
            model.add_lora(LORA, lora, seed)?;
            names.push(LORA.into());
        }
        if let Some(mixture) = &self.mixture {
            model.add_lora_mixture(MIXTURE, mixture, seed)?;
            names.push(MIXTURE.into());
        }
        if let Some(bottleneck) = &self.bottleneck {
            if model.bottleneck_config(BOTTLENECK) != Some(bottleneck) {
                model.add_bottleneck(BOTTLENECK, bottleneck, seed)?;
            }
            names.retain(|name| name != BOTTLENECK);
            names.push(BOTTLENECK.into());
        }
        Ok(model.set_active_adapters(&names.iter().map(String::as_str).collect::<Vec<_>>())?)
    }

    /// Saves the LoRA or mixture and the head to `folder`, and merges it into the model, except a
    /// mixture with a gate for each language, which cannot be merged. Without a LoRA or mixture, saves
    /// the bottleneck and the head.
    pub(crate) fn save_and_merge(
        &self,
        model: &mut Model,
        folder: &Path,
        head: Head,
    ) -> Result<()> {
        let (name, is_merged) = match (&self.lora, &self.mixture) {
            (Some(_), _) => (LORA, true),
            (None, Some(mixture)) => (MIXTURE, mixture.gate == MixtureGate::Shared),
            (None, None) => (BOTTLENECK, false),
        };
        model.save_adapter(name, folder, head)?;
        if is_merged {
            model.merge(name)?;
        }
        Ok(())
    }
}

/// Freezes the encoder's parameters. Returns the configuration without the parameter groups that
/// contain only frozen parameters, and the parameters to train.
pub(crate) fn freeze_encoder(
    mut config: TrainConfig,
    parameters: Vec<(String, Tensor)>,
) -> Result<(TrainConfig, Vec<(String, Tensor)>)> {
    let (mut frozen, trained): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|(name, _)| Role::Encoder.matches(name));
    for (_, parameter) in &mut frozen {
        let _ = parameter.f_requires_grad_(false).map_err(trainer::Error::from)?;
    }
    let has_prefix = |prefix: &str, parameters: &[(String, Tensor)]| {
        parameters.iter().any(|(name, _)| name.starts_with(prefix))
    };
    for group in &mut config.groups {
        group
            .prefixes
            .retain(|prefix| has_prefix(prefix, &trained) || !has_prefix(prefix, &frozen));
    }
    config.groups.retain(|group| !group.prefixes.is_empty());
    Ok((config, trained))
}
