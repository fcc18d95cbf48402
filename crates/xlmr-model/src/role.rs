//! Roles of parameters, independent of the architecture's names.
use std::ops::Range;
use std::str::FromStr;

use crate::adapters::adapter::ADAPTER_PREFIX;
use crate::adapters::fusion::FUSION_PREFIX;
use crate::family::names::Names;
use crate::{Architecture, Error, Result};

/// Role of parameters, for architecture-independent learning rates and frozen parts.
///
/// | text | parameters |
/// |---|---|
/// | `word_embeddings` | the token embeddings, which a tied decoder shares |
/// | `embeddings` | all embeddings with their norm |
/// | `layers` | every layer |
/// | `layers.3` | one layer, counted from 0 |
/// | `layers.0..4` | the layers 0, 1, 2, 3; either end may be omitted |
/// | `encoder` | embeddings with their projection, layers and the norm after the last layer |
/// | `adapters` | all adapters, active or not (parameter names start with `adapters.NAME.`) |
/// | `adapter_fusion` | all [fusions](crate::Model::add_adapter_fusion), active or not |
/// | `head` | all other parameters: heads, and parameters that a task adds to the model |
///
/// ```
/// use xlmr_model::Role;
///
/// let role: Role = "layers.0..4".parse()?;
/// assert!(role.matches("roberta.encoder.layer.3.output.dense.weight"));
/// assert!(role.matches("model.layers.0.mlp.Wi.weight"));
/// assert!(!role.matches("bert.encoder.layer.4.x"));
/// # Ok::<(), xlmr_model::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `word_embeddings`
    WordEmbeddings,
    /// `embeddings`
    Embeddings,
    /// `layers`, `layers.3`, `layers.0..4`
    Layers(Range<usize>),
    /// `encoder`
    Encoder,
    /// `adapters`
    Adapters,
    /// `adapter_fusion`
    AdapterFusion,
    /// `head`
    Head,
}

impl FromStr for Role {
    type Err = Error;

    /// # Errors
    /// [`Error::Input`] naming the valid roles.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let expected = "word_embeddings, embeddings, layers, layers.3, layers.0..4, encoder, \
                            adapters, adapter_fusion or head";
            Error::input("role", expected, format!("{text:?}"))
        };
        let number = |text: &str| text.parse::<usize>().map_err(|_| refuse());
        match text {
            "word_embeddings" => return Ok(Self::WordEmbeddings),
            "embeddings" => return Ok(Self::Embeddings),
            "layers" => return Ok(Self::Layers(0..usize::MAX)),
            "encoder" => return Ok(Self::Encoder),
            "adapters" => return Ok(Self::Adapters),
            "adapter_fusion" => return Ok(Self::AdapterFusion),
            "head" => return Ok(Self::Head),
            _ => {}
        }
        let layers = text.strip_prefix("layers.").ok_or_else(refuse)?;
        let range = match layers.split_once("..") {
            None => {
                let layer = number(layers)?;
                layer..layer.checked_add(1).ok_or_else(refuse)?
            }
            Some((start, end)) => {
                let start = if start.is_empty() { 0 } else { number(start)? };
                start..if end.is_empty() { usize::MAX } else { number(end)? }
            }
        };
        if range.is_empty() { Err(refuse()) } else { Ok(Self::Layers(range)) }
    }
}

impl Role {
    /// Returns whether a parameter of any architecture has this role.
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with(ADAPTER_PREFIX) {
            return *self == Self::Adapters;
        }
        if name.starts_with(FUSION_PREFIX) {
            return *self == Self::AdapterFusion;
        }
        let mut architectures =
            Architecture::all_names().iter().filter(|names| name.starts_with(names.prefix));
        let has_prefix = |names: &&Names, prefix: &str| {
            name.strip_prefix(names.prefix).is_some_and(|name| name.starts_with(prefix))
        };
        // Several architectures can match, because the prefixes of ModernBERT and EuroBERT are
        // equal.
        let encoder = architectures
            .find(|names| names.modules.iter().any(|module| has_prefix(names, module)));
        let Some(names) = encoder else { return *self == Self::Head };
        match self {
            Self::WordEmbeddings => name == names.word_embeddings,
            Self::Embeddings => {
                names.modules.first().is_some_and(|module| has_prefix(&names, module))
            }
            Self::Layers(layers) => name
                .strip_prefix(names.layer_prefix)
                .and_then(|suffix| suffix.split('.').next()?.parse().ok())
                .is_some_and(|layer| layers.contains(&layer)),
            Self::Encoder => true,
            Self::Adapters | Self::AdapterFusion | Self::Head => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{encoder_specs, head_specs};
    use crate::{Config, Head};

    #[test]
    fn every_parameter_of_every_architecture_has_its_roles() {
        let presets = [Config::mmbert_base(), Config::eurobert_210m(), Config::mdeberta_v3_base()];
        let architectures = Architecture::all();
        let defaults = architectures.iter().map(|known| known.family().default_config());
        for config in defaults.chain(presets) {
            let layers = usize::try_from(config.num_hidden_layers).unwrap();
            let encoder: Vec<String> =
                encoder_specs(&config).into_iter().map(|spec| spec.name).collect();
            let heads = [
                Head::MaskedLm,
                Head::Span,
                Head::TokenClassification { labels: 3 },
                Head::SequenceClassification { labels: 3 },
            ];
            let heads: Vec<String> = heads
                .into_iter()
                .flat_map(|head| head_specs(&config, head))
                .map(|spec| spec.name)
                .collect();
            let count = |role: &str, names: &[String]| {
                let role: Role = role.parse().unwrap();
                names.iter().filter(|name| role.matches(name)).count()
            };
            assert_eq!(count("word_embeddings", &encoder), 1);
            assert_eq!(count("encoder", &encoder), encoder.len());
            assert_eq!((count("head", &encoder), count("head", &heads)), (0, heads.len()));
            for role in ["word_embeddings", "embeddings", "layers", "encoder"] {
                assert_eq!(count(role, &heads), 0, "{role}");
            }
            let layer_sum: usize =
                (0..layers).map(|k| count(&format!("layers.{k}"), &encoder)).sum();
            assert_eq!(layer_sum, count("layers", &encoder));
            assert_eq!(count("layers.0..4", &encoder) + count("layers.4..", &encoder), layer_sum);
            assert_eq!(count("layers...4", &encoder), count("layers.0..4", &encoder));
        }
        assert!(Role::Head.matches("knowledge.relations.weight"));
        let adapter = "adapters.ep.roberta.encoder.layer.0.attention.self.query.lora_A.weight";
        let fusion = "adapter_fusion.ep,tp.roberta.encoder.layer.0.query.weight";
        for role in ["adapters", "adapter_fusion", "word_embeddings", "layers", "encoder", "head"] {
            let role: Role = role.parse().unwrap();
            assert_eq!(role.matches(adapter), role == Role::Adapters);
            assert_eq!(role.matches(fusion), role == Role::AdapterFusion);
        }
    }

    #[test]
    fn unknown_roles_are_rejected() {
        for text in ["", "layer", "layers.", "layers.x", "layers.4..2", "layers.-1", "heads"] {
            let error = text.parse::<Role>().unwrap_err().to_string();
            assert!(error.contains("layers.0..4") && error.contains(text), "{error}");
        }
    }
}
