//! Adapters that are trained instead of the encoder.
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use trainer::TrainConfig;
use xlmr_model::{BottleneckConfig, Config, Head, LoraConfig, Model, Role};

use crate::{Error, Result};

/// Name of the LoRA adapter in a model.
pub(crate) const LORA: &str = "lora";
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
        if self.lora.is_none() && self.bottleneck.is_none() {
            return invalid(key.to_owned(), "give lora.rank, bottleneck.reduction or both".into());
        }
        if let Some(error) = self.lora.as_ref().and_then(|lora| lora.validate(config).err()) {
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
        if let Some(bottleneck) = &self.bottleneck {
            if model.bottleneck_config(BOTTLENECK) != Some(bottleneck) {
                model.add_bottleneck(BOTTLENECK, bottleneck, seed)?;
            }
            names.retain(|name| name != BOTTLENECK);
            names.push(BOTTLENECK.into());
        }
        Ok(model.set_active_adapters(&names.iter().map(String::as_str).collect::<Vec<_>>())?)
    }

    /// Saves the LoRA and the head to `folder`, and merges the LoRA into the model. Without a LoRA,
    /// saves the bottleneck and the head.
    pub(crate) fn save_and_merge(
        &self,
        model: &mut Model,
        folder: &Path,
        head: Head,
    ) -> Result<()> {
        let Some(_) = self.lora else {
            return Ok(model.save_adapter(BOTTLENECK, folder, head)?);
        };
        model.save_adapter(LORA, folder, head)?;
        Ok(model.merge(LORA)?)
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
