//! ModernBERT-specific configuration.
use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use torch_ext::to_i64;

use crate::config::fields::{
    BOOLEAN, Fields, INTEGER, Keys, NUMBER, check_probability, read_theta,
};
use crate::{Activation, Error, Result};

/// ModernBERT-specific options (Warner et al. 2024, section 2), which complement
/// [`Config`](crate::Config).
///
/// In `config.json`, `hidden_act` of [`Config`](crate::Config) is `hidden_activation`,
/// `layer_norm_eps` is `norm_eps`, `hidden_dropout_prob` is `mlp_dropout` and
/// `attention_probs_dropout_prob` is `attention_dropout`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModernBert {
    /// Attention type of each layer.
    pub layer_types: Vec<LayerType>,
    /// Window size of local layers: a token attends to half a window on either side.
    pub local_attention: i64,
    /// θ of the rotary positions in global layers.
    pub global_rope_theta: f64,
    /// θ of the rotary positions in local layers.
    pub local_rope_theta: f64,
    /// Dropout after the embeddings, in `[0, 1]`.
    pub embedding_dropout: f64,
    /// Whether the linear layers of attention have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
    /// Whether the LayerNorms have biases.
    pub norm_bias: bool,
    /// Whether the dense layer of the heads has a bias.
    pub classifier_bias: bool,
    /// Whether the decoder of the masked-LM head has a bias.
    pub decoder_bias: bool,
    /// Activation of the heads.
    pub classifier_activation: Activation,
    /// Pooling of the sequence classification head.
    pub classifier_pooling: Pooling,
    /// Number of standard deviations at which the distribution of new weights is truncated.
    pub initializer_cutoff_factor: f64,
}

/// Attention type of a ModernBERT layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum LayerType {
    /// Attention to every token of the row.
    #[serde(rename = "full_attention")]
    Global,
    /// Attention to tokens up to half a window away.
    #[serde(rename = "sliding_attention")]
    Local,
}

/// Pooling of a sequence classification head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The first token's hidden state.
    #[default]
    Cls,
    /// The mean of all tokens' hidden states.
    Mean,
}

impl LayerType {
    fn name(self) -> &'static str {
        match self {
            Self::Global => "full_attention",
            Self::Local => "sliding_attention",
        }
    }

    /// Creates a pattern with global attention in the first layer and in every `period`-th layer
    /// after it, and local attention in all other layers.
    ///
    /// ```
    /// use xlmr_model::LayerType::{self, Global, Local};
    ///
    /// assert_eq!(LayerType::pattern(5, 3), [Global, Local, Local, Global, Local]);
    /// ```
    pub fn pattern(layers: i64, period: i64) -> Vec<Self> {
        let layer_type = |i: i64| if i % period.max(1) == 0 { Self::Global } else { Self::Local };
        (0..layers).map(layer_type).collect()
    }
}

impl Default for ModernBert {
    /// Returns the options of ModernBERT base, which has 22 layers.
    fn default() -> Self {
        Self::new(22)
    }
}

impl ModernBert {
    /// Returns the options of ModernBERT and mmBERT: global attention in every third layer, windows
    /// of 128.
    pub fn new(layers: i64) -> Self {
        Self {
            layer_types: LayerType::pattern(layers, 3),
            local_attention: 128,
            global_rope_theta: 160_000.0,
            local_rope_theta: 10_000.0,
            embedding_dropout: 0.0,
            attention_bias: false,
            mlp_bias: false,
            norm_bias: false,
            classifier_bias: false,
            decoder_bias: true,
            classifier_activation: Activation::Gelu,
            classifier_pooling: Pooling::Cls,
            initializer_cutoff_factor: 2.0,
        }
    }

    /// Returns the maximum distance to an attended token before or after a token in a local layer;
    /// `None` for a global layer.
    pub(crate) fn window_radius(&self, layer: usize) -> Option<i64> {
        match self.layer_types[layer] {
            LayerType::Global => None,
            LayerType::Local => Some(self.local_attention / 2),
        }
    }

    /// Reads the keys of a `config.json` and removes them. The older keys of ModernBERT's first
    /// release (2024), such as `global_attn_every_n_layers`, are supported as well as the current
    /// keys.
    pub(crate) fn read(fields: &mut Fields, layers: i64) -> Result<Self> {
        let period: i64 = fields.take("global_attn_every_n_layers", INTEGER, 3)?;
        if period < 1 {
            let got = period.to_string();
            return Err(fields.error("global_attn_every_n_layers", "1 or more", got));
        }
        // An invalid number of layers is rejected later. It is clamped here, so that it cannot
        // exhaust memory.
        let default_types = LayerType::pattern(layers.clamp(0, 1 << 12), period);
        let expected = "a list of \"full_attention\" and \"sliding_attention\"";
        let layer_types: Option<Vec<LayerType>> = fields.take("layer_types", expected, None)?;
        let mut options =
            Self { layer_types: layer_types.unwrap_or(default_types), ..Self::new(0) };
        options.visit_keys(fields);
        let global_theta = fields.take("global_rope_theta", NUMBER, options.global_rope_theta)?;
        let default_theta = Some(options.local_rope_theta);
        let local_theta = fields.take("local_rope_theta", "a number or null", default_theta)?;
        let local_theta = local_theta.unwrap_or(global_theta);
        let rotary: Option<Map<String, Value>> =
            fields.take("rope_parameters", "an object by layer type", None)?;
        let rotary: Map<String, Value> = rotary.into_iter().flatten().collect();
        let supported = [LayerType::Global, LayerType::Local].map(LayerType::name);
        if let Some((key, value)) =
            rotary.iter().find(|(key, _)| !supported.contains(&key.as_str()))
        {
            let expected = format!("only {}", supported.join(" and "));
            return Err(fields.error("rope_parameters", &expected, format!("{key:?}: {value}")));
        }
        let scaling: Option<Value> = fields.take("rope_scaling", "null", None)?;
        if let Some(scaling) = scaling {
            return Err(fields.error("rope_scaling", "null", scaling.to_string()));
        }
        // `sliding_window` is half a window, as in transformers.
        let half_window: Option<i64> = fields.take("sliding_window", "an integer or null", None)?;
        options.local_attention =
            half_window.map_or(options.local_attention, |half| half.saturating_mul(2));
        let theta = |kind: LayerType, default| {
            let key = format!("rope_parameters.{}", kind.name());
            read_theta(fields, &key, rotary.get(kind.name()), default)
        };
        options.global_rope_theta = theta(LayerType::Global, global_theta)?;
        options.local_rope_theta = theta(LayerType::Local, local_theta)?;
        let cutoff: Option<f64> = fields.take("initializer_cutoff_factor", NUMBER, Some(2.0))?;
        options.initializer_cutoff_factor = cutoff.unwrap_or(3.0);
        Ok(options)
    }

    /// Reads or writes, depending on `keys`, each key that corresponds to exactly one field.
    fn visit_keys(&mut self, keys: &mut impl Keys) {
        keys.visit("local_attention", INTEGER, &mut self.local_attention);
        keys.visit("embedding_dropout", NUMBER, &mut self.embedding_dropout);
        keys.visit("attention_bias", BOOLEAN, &mut self.attention_bias);
        keys.visit("mlp_bias", BOOLEAN, &mut self.mlp_bias);
        keys.visit("norm_bias", BOOLEAN, &mut self.norm_bias);
        keys.visit("classifier_bias", BOOLEAN, &mut self.classifier_bias);
        keys.visit("decoder_bias", BOOLEAN, &mut self.decoder_bias);
        let activation = &mut self.classifier_activation;
        keys.visit("classifier_activation", Activation::EXPECTED, activation);
        keys.visit("classifier_pooling", "\"cls\" or \"mean\"", &mut self.classifier_pooling);
    }

    /// Validates the values for a model of `layers` layers.
    pub(crate) fn validate(&self, file: &str, layers: i64) -> Result<()> {
        let refuse = |key: &str, expected: &str, got: &dyn Display| {
            Err(Error::config(file, key, expected, got))
        };
        let n_types = to_i64(self.layer_types.len());
        if n_types != layers {
            let expected = format!("as many as num_hidden_layers = {layers}");
            return refuse("layer_types", &expected, &n_types);
        }
        if !(2..=1 << 24).contains(&self.local_attention) {
            return refuse("local_attention", "an integer of at least 2", &self.local_attention);
        }
        for (key, theta) in [
            ("rope_parameters.full_attention.rope_theta", self.global_rope_theta),
            ("rope_parameters.sliding_attention.rope_theta", self.local_rope_theta),
        ] {
            if !(theta > 0.0 && theta.is_finite()) {
                return refuse(key, "a number above 0", &theta);
            }
        }
        check_probability(file, "embedding_dropout", self.embedding_dropout)?;
        let cutoff = self.initializer_cutoff_factor;
        if !(cutoff > 0.1 && cutoff.is_finite()) {
            return refuse("initializer_cutoff_factor", "a number above 0.1", &cutoff);
        }
        Ok(())
    }

    /// Writes the keys of `config.json`, including the older keys that ModernBERT's first release
    /// (2024) used, such as `global_rope_theta`. transformers 4 and inference servers read only the
    /// older keys, and would use default values without them.
    pub(crate) fn write(&mut self, json: &mut BTreeMap<String, Value>) {
        self.visit_keys(json);
        let rotary = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
        let rotary = json!({
            LayerType::Global.name(): rotary(self.global_rope_theta),
            LayerType::Local.name(): rotary(self.local_rope_theta),
        });
        json.insert("layer_types".into(), json!(self.layer_types));
        json.insert("rope_parameters".into(), rotary);
        json.insert("global_rope_theta".into(), json!(self.global_rope_theta));
        json.insert("local_rope_theta".into(), json!(self.local_rope_theta));
        let layers = to_i64(self.layer_types.len());
        let has_period = |period: &i64| LayerType::pattern(layers, *period) == self.layer_types;
        if let Some(period) = (1..=layers).find(has_period) {
            json.insert("global_attn_every_n_layers".into(), json!(period));
        }
        json.insert("initializer_cutoff_factor".into(), json!(self.initializer_cutoff_factor));
    }
}
