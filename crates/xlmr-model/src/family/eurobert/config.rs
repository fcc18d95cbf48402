//! EuroBERT-specific configuration.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::fields::{BOOLEAN, Fields, Keys, NUMBER, read_theta};
use crate::{Error, Result};

/// EuroBERT-specific options (Boizard et al. 2025, section 2), which complement
/// [`Config`](crate::Config).
///
/// In `config.json`, `layer_norm_eps` of [`Config`](crate::Config) is `rms_norm_eps`, and
/// `attention_probs_dropout_prob` is `attention_dropout`. EuroBERT's layers have no other dropout.
#[derive(Clone, Debug, PartialEq)]
pub struct EuroBert {
    /// Number of key and value heads (grouped-query attention); if absent, one per query head.
    pub num_key_value_heads: Option<i64>,
    /// θ of the rotary positions.
    pub rope_theta: f64,
    /// Whether the linear layers of attention have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward layers and the masked-LM decoder have biases.
    pub mlp_bias: bool,
    /// Pooling of the sequence classification head.
    pub classifier_pooling: EuroPooling,
}

/// Pooling of EuroBERT's sequence classification head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EuroPooling {
    /// The first token's hidden state.
    Bos,
    /// The mean of all tokens' hidden states.
    Mean,
    /// The mean of the logits of all tokens.
    #[default]
    Late,
}

impl Default for EuroBert {
    /// Returns the options of the published models.
    fn default() -> Self {
        Self {
            num_key_value_heads: None,
            rope_theta: 250_000.0,
            attention_bias: false,
            mlp_bias: false,
            classifier_pooling: EuroPooling::Late,
        }
    }
}

impl EuroBert {
    /// Reads the keys of a `config.json` and removes them. Without a key for θ, θ is
    /// [`DEFAULT_THETA`]. Also supports keys such as
    /// `clf_pooling`, which transformers does not use. They are used by the Python code in the
    /// model folders published in 2025.
    pub(crate) fn read(fields: &mut Fields) -> Result<Self> {
        let mut options = Self::default();
        fields.visit("clf_pooling", POOLING_VALUES, &mut options.classifier_pooling);
        options.visit_keys(fields);
        let default_theta = fields.take("rope_theta", NUMBER, DEFAULT_THETA)?;
        let rotary: Option<Value> = fields.take("rope_parameters", "an object", None)?;
        options.rope_theta = read_theta(fields, "rope_parameters", rotary.as_ref(), default_theta)?;
        let scaling: Option<Value> = fields.take("rope_scaling", "null", None)?;
        match scaling {
            None => Ok(options),
            Some(scaling) => Err(fields.error("rope_scaling", "null", scaling.to_string())),
        }
    }

    /// Reads or writes, depending on `keys`, each key that corresponds to exactly one field.
    fn visit_keys(&mut self, keys: &mut impl Keys) {
        let key_value_heads = &mut self.num_key_value_heads;
        keys.visit("num_key_value_heads", "an integer or null", key_value_heads);
        keys.visit("attention_bias", BOOLEAN, &mut self.attention_bias);
        keys.visit("mlp_bias", BOOLEAN, &mut self.mlp_bias);
        keys.visit("classifier_pooling", POOLING_VALUES, &mut self.classifier_pooling);
    }

    /// Returns the number of key and value heads for `heads` query heads.
    pub(crate) fn key_value_heads(&self, heads: i64) -> i64 {
        self.num_key_value_heads.unwrap_or(heads)
    }

    /// Validates the values for `heads` query heads.
    pub(crate) fn validate(&self, file: &str, heads: i64) -> Result<()> {
        let key_value_heads = self.key_value_heads(heads);
        if key_value_heads < 1 || heads % key_value_heads != 0 {
            let expected = format!("a divisor of num_attention_heads = {heads}");
            return Err(Error::config(file, "num_key_value_heads", expected, key_value_heads));
        }
        if !(self.rope_theta > 0.0 && self.rope_theta.is_finite()) {
            let expected = "a number above 0";
            return Err(Error::config(file, "rope_theta", expected, self.rope_theta));
        }
        Ok(())
    }

    /// Writes the keys of `config.json`. θ is written twice: under the key of transformers 4 and
    /// under the key of transformers 5.
    pub(crate) fn write(&mut self, json: &mut BTreeMap<String, Value>) {
        self.visit_keys(json);
        let theta = self.rope_theta;
        json.insert("rope_theta".into(), json!(theta));
        let rotary = json!({"rope_type": "default", "rope_theta": theta});
        json.insert("rope_parameters".into(), rotary);
    }
}

/// θ of a `config.json` without a key for θ, the default of transformers' `EuroBertConfig`. The
/// published models have the key, with the value 250,000.
const DEFAULT_THETA: f64 = 10_000.0;

const POOLING_VALUES: &str = "\"bos\", \"mean\" or \"late\"";
