//! DeBERTa-specific configuration.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::fields::{BOOLEAN, Fields, INTEGER, Keys, NUMBER, check_probability, shorten};
use crate::{Activation, Config, Error, Result};

/// DeBERTa-specific options: relative positions, embeddings and heads.
///
/// They complement [`Config`](crate::Config). Sources: DeBERTa v2 and v3 (He et al. 2021, sections
/// 3 and 4), mDeBERTa (He et al. 2023).
///
/// In `config.json`, `classifier_dropout` of [`Config`](crate::Config) is called `cls_dropout`. It
/// applies only to the sequence classification head. If `type_vocab_size` is 0 in `config.json`, it
/// is 1 in [`Config`](crate::Config), and [`has_token_types`](Self::has_token_types) is false.
#[derive(Clone, Debug, PartialEq)]
pub struct DebertaV2 {
    /// Whether attention scores depend on relative positions.
    pub relative_attention: bool,
    /// Whether attention scores have a term that combines the query's content and the key's
    /// relative position (`pos_att_type`: "c2p").
    pub content_to_position: bool,
    /// Whether attention scores have a term that combines the query's relative position and the
    /// key's content (`pos_att_type`: "p2c").
    pub position_to_content: bool,
    /// Number of position buckets for keys before a query. Keys after a query have the same number
    /// of buckets. Each small distance has a bucket; large distances share buckets of growing size.
    /// If the number is below 1, there are no buckets, and each distance up to
    /// `max_relative_positions` has an embedding.
    pub position_buckets: i64,
    /// Maximum relative distance, to which larger distances are clipped. If it is below 1,
    /// `max_position_embeddings` is used instead.
    pub max_relative_positions: i64,
    /// Whether relative positions are projected by each layer's query and key projections instead
    /// of by separate projections.
    pub share_att_key: bool,
    /// Whether the embeddings of relative positions are normalised (`norm_rel_ebd`: "layer_norm").
    pub norm_rel_ebd: bool,
    /// Whether absolute positions are added to the token embeddings.
    pub position_biased_input: bool,
    /// Whether there are token type embeddings.
    pub has_token_types: bool,
    /// Dropout before the dense layer of the sequence classification head.
    pub pooler_dropout: f64,
    /// Activation after the dense layer of the sequence classification head.
    pub pooler_hidden_act: Activation,
    /// Whether the masked-LM head is BERT's head (`cls.predictions`), which is transformers'
    /// default. If false, it is the head of the published models (`lm_predictions.lm_head`).
    pub legacy: bool,
}

impl Default for DebertaV2 {
    /// Returns the defaults of transformers' `DebertaV2Config`.
    fn default() -> Self {
        Self {
            relative_attention: false,
            content_to_position: false,
            position_to_content: false,
            position_buckets: -1,
            max_relative_positions: -1,
            share_att_key: false,
            norm_rel_ebd: false,
            position_biased_input: true,
            has_token_types: false,
            pooler_dropout: 0.0,
            pooler_hidden_act: Activation::Gelu,
            legacy: true,
        }
    }
}

/// Keys whose values are lists of options, and the supported options.
const SCORE_TERMS: (&str, [&str; 2]) = ("pos_att_type", ["c2p", "p2c"]);
const EMBEDDING_NORM: (&str, [&str; 1]) = ("norm_rel_ebd", ["layer_norm"]);

impl DebertaV2 {
    /// Returns the options of DeBERTa v3 and mDeBERTa.
    pub fn v3() -> Self {
        Self {
            relative_attention: true,
            content_to_position: true,
            position_to_content: true,
            position_buckets: 256,
            share_att_key: true,
            norm_rel_ebd: true,
            position_biased_input: false,
            legacy: false,
            ..Self::default()
        }
    }

    /// Reads the keys of a `config.json` and removes them.
    pub(crate) fn read(&mut self, fields: &mut Fields) -> Result<()> {
        self.visit_keys(fields);
        [self.content_to_position, self.position_to_content] = parse_options(fields, SCORE_TERMS)?;
        [self.norm_rel_ebd] = parse_options(fields, EMBEDDING_NORM)?;
        Ok(())
    }

    /// Reads or writes, depending on `keys`, each key that corresponds to exactly one field.
    fn visit_keys(&mut self, keys: &mut impl Keys) {
        keys.visit("relative_attention", BOOLEAN, &mut self.relative_attention);
        keys.visit("position_buckets", INTEGER, &mut self.position_buckets);
        keys.visit("max_relative_positions", INTEGER, &mut self.max_relative_positions);
        keys.visit("share_att_key", BOOLEAN, &mut self.share_att_key);
        keys.visit("position_biased_input", BOOLEAN, &mut self.position_biased_input);
        keys.visit("pooler_dropout", NUMBER, &mut self.pooler_dropout);
        keys.visit("pooler_hidden_act", Activation::EXPECTED, &mut self.pooler_hidden_act);
        keys.visit("legacy", BOOLEAN, &mut self.legacy);
    }

    /// Returns the maximum relative distance, to which larger distances are clipped.
    pub(crate) fn max_distance(&self, max_position_embeddings: i64) -> i64 {
        match self.max_relative_positions {
            ..1 => max_position_embeddings,
            limit => limit,
        }
    }

    /// Returns the number of distance embeddings for keys before a query. Keys after a query have
    /// the same number of embeddings, so the table has twice as many rows.
    pub(crate) fn distances_per_side(&self, max_position_embeddings: i64) -> i64 {
        match self.position_buckets {
            ..1 => self.max_distance(max_position_embeddings),
            limit => limit,
        }
    }

    /// Validates the values for a model with the configuration `config`.
    pub(crate) fn validate(&self, config: &Config, file: &str) -> Result<()> {
        check_probability(file, "pooler_dropout", self.pooler_dropout)?;
        let (hidden, extra) = (config.hidden_size, &config.extra);
        let head_size = hidden / config.num_attention_heads;
        let refuse =
            |key: &str, expected: &str, got: String| Err(Error::config(file, key, expected, got));
        for (key, required) in [
            ("embedding_size", hidden),
            ("pooler_hidden_size", hidden),
            ("attention_head_size", head_size),
        ] {
            if let Some(value) = extra.get(key).filter(|&value| *value != json!(required)) {
                let expected = format!("{required}, as determined by hidden_size");
                return refuse(key, &expected, shorten(value));
            }
        }
        let convolution = extra.get("conv_kernel_size").filter(|&value| *value != json!(0));
        if let Some(value) = convolution.filter(|value| !value.is_null()) {
            let expected = "0; the convolution of DeBERTa v2's largest models is not supported";
            return refuse("conv_kernel_size", expected, shorten(value));
        }
        let max_distance = self.max_distance(config.max_position_embeddings);
        if max_distance > 1 << 24 {
            let expected = "an integer up to 16777216";
            return refuse("max_relative_positions", expected, max_distance.to_string());
        }
        let buckets = self.position_buckets;
        if buckets > 0 && !(4..=1 << 20).contains(&buckets) {
            let expected = "an integer from 4 to 1048576, or -1 for none";
            return refuse("position_buckets", expected, buckets.to_string());
        }
        if buckets > 0 && max_distance <= buckets / 2 + 1 {
            let expected = format!("more than position_buckets / 2 + 1 = {}", buckets / 2 + 1);
            return refuse("max_relative_positions", &expected, max_distance.to_string());
        }
        if !self.legacy && !config.tie_word_embeddings {
            let expected = "true; the masked-LM head of \"legacy\": false has no separate decoder";
            return refuse("tie_word_embeddings", expected, "false".into());
        }
        Ok(())
    }

    /// Writes the keys of `config.json`.
    pub(crate) fn write(&mut self, json: &mut BTreeMap<String, Value>) {
        self.visit_keys(json);
        let (key, [content, position]) = SCORE_TERMS;
        let mut terms = Vec::new();
        terms.extend(self.content_to_position.then_some(content));
        terms.extend(self.position_to_content.then_some(position));
        json.insert(key.into(), json!(terms));
        let (key, [norm]) = EMBEDDING_NORM;
        json.insert(key.into(), json!(if self.norm_rel_ebd { norm } else { "none" }));
    }
}

/// Returns which of the `supported` options the value of `key` contains; the value is a list, or
/// one string with vertical bars as separators.
fn parse_options<const N: usize>(
    fields: &mut Fields,
    (key, supported): (&str, [&str; N]),
) -> Result<[bool; N]> {
    let names = supported.join(" and ");
    let expected = format!("a list of {names}, one text with | separators, or null");
    let value: Value = fields.take(key, &expected, Value::Null)?;
    let refuse = || fields.error(key, &expected, shorten(&value));
    let text = match &value {
        Value::Null => String::new(),
        Value::String(text) => text.to_lowercase(),
        Value::Array(list) => {
            let terms: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            terms.ok_or_else(refuse)?.join("|").to_lowercase()
        }
        _ => return Err(refuse()),
    };
    let terms: Vec<&str> = text.split('|').map(str::trim).collect();
    match terms.iter().all(|term| ["", "none"].contains(term) || supported.contains(term)) {
        true => Ok(supported.map(|name| terms.contains(&name))),
        false => Err(refuse()),
    }
}
