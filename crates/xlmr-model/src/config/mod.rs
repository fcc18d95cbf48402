//! The configuration of a model: `config.json` of Hugging Face.
pub(crate) mod fields;
pub(crate) mod json_file;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use serde_json::{Map, Value, json};
use torch_ext::to_i64;

use crate::config::fields::{BOOLEAN, Fields, INTEGER, Keys, NUMBER, shorten};
use crate::config::json_file::{read_json, write_json};
use crate::family::layout::Layout;
use crate::family::names::TranslatedKeys;
use crate::folder::quantize;
use crate::{Activation, Architecture, Error, Head, Result};

/// Configuration of a model; fields have the names of XLM-R's and BERT's `config.json`.
///
/// The options of an [`Architecture`], such as [`DistilBert`](crate::DistilBert), document how its
/// keys map to these fields.
///
/// Absent keys have the default values of the architecture's class in transformers, such as
/// `XLMRobertaConfig`. Keys that this crate does not use stay in [`Config::extra`] and are written
/// back.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Encoder architecture.
    pub architecture: Architecture,
    /// V, the number of token embeddings.
    pub vocab_size: i64,
    /// H, width of a hidden state.
    pub hidden_size: i64,
    /// Number of encoder layers.
    pub num_hidden_layers: i64,
    /// Number of attention heads; divides `hidden_size`.
    pub num_attention_heads: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Activation of the feed-forward layer.
    pub hidden_act: Activation,
    /// Dropout after embeddings and projections, in `[0, 1]`.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights, in `[0, 1]`.
    pub attention_probs_dropout_prob: f64,
    /// Dropout in the classification heads; `hidden_dropout_prob` if absent.
    pub classifier_dropout: Option<f64>,
    /// Number of position embeddings. XLM-R and RoBERTa do not use the first `pad_token_id + 1` of
    /// them for tokens. In models without position embeddings, this field is the maximum input
    /// length.
    pub max_position_embeddings: i64,
    /// Number of token types; 1 without token type embeddings.
    pub type_vocab_size: i64,
    /// Standard deviation of new weights.
    pub initializer_range: f64,
    /// ε of every norm.
    pub layer_norm_eps: f64,
    /// Id of the padding token. Position ids of XLM-R and RoBERTa start at `pad_token_id + 1`.
    pub pad_token_id: i64,
    /// Id of the token before a text, if specified.
    pub bos_token_id: Option<i64>,
    /// Id of the token after a text, if specified.
    pub eos_token_id: Option<i64>,
    /// Whether the token embeddings are also the weight of the masked-LM decoder.
    pub tie_word_embeddings: bool,
    /// Names of the transformers classes for which the weights were saved.
    pub architectures: Vec<String>,
    /// Label names by id, for the classification heads; two unnamed labels if absent.
    pub id2label: Option<BTreeMap<i64, String>>,
    /// All other keys, unchanged.
    pub extra: BTreeMap<String, Value>,
}

impl Config {
    /// Reads and validates a `config.json` of at most 16 MiB.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`], or [`Error::Config`] naming file and key: an unsupported
    /// `model_type`, a value of the wrong type, or a value that [`Config::validate`] rejects.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let value = read_json(path, "; a model folder needs a config.json next to its weights")?;
        Self::from_json(value, &path.display().to_string())
    }

    /// Converts a parsed `config.json`. `file` is used in error messages.
    ///
    /// # Errors
    /// [`Error::Config`] as for [`Config::from_file`].
    pub fn from_json(value: Value, file: &str) -> Result<Self> {
        let mut fields = Fields::new(value, file)?;
        let architectures = Architecture::all();
        let supported: Vec<String> =
            architectures.iter().map(|known| format!("{:?}", known.model_type())).collect();
        let supported = format!("one of {}", supported.join(", "));
        let model_type: Option<String> = fields.take("model_type", &supported, None)?;
        let is_match = |known: &Architecture| model_type.as_deref() == Some(known.model_type());
        let Some(architecture) = architectures.into_iter().find(is_match) else {
            let got = model_type.map_or("none".to_owned(), |name| format!("{name:?}"));
            return Err(fields.error("model_type", &supported, got));
        };
        let family = architecture.family();
        let mut config = family.default_config();
        config.visit_keys(&mut fields);
        config.architecture = family.read_options(&mut config, &mut fields)?;
        // null stands for no class names.
        let class_names: Option<Vec<String>> =
            fields.take("architectures", "a list of class names", None)?;
        config.architectures = class_names.into_iter().flatten().collect();
        config.id2label = fields.take_labels()?;
        config.extra = fields.remaining()?;
        // This key is removed, because quantised weights are converted to floats on loading and
        // saved as floats.
        config
            .extra
            .retain(|key, value| key != quantize::CONFIG_KEY || !quantize::is_quantized(value));
        config.check(file)?;
        Ok(config)
    }

    /// Reads or writes, depending on `keys`, each key that corresponds to exactly one field.
    fn visit_keys(&mut self, keys: &mut impl Keys) {
        let keys = &mut TranslatedKeys(keys, self.architecture.names());
        keys.visit("vocab_size", INTEGER, &mut self.vocab_size);
        keys.visit("hidden_size", INTEGER, &mut self.hidden_size);
        keys.visit("num_hidden_layers", INTEGER, &mut self.num_hidden_layers);
        keys.visit("num_attention_heads", INTEGER, &mut self.num_attention_heads);
        keys.visit("intermediate_size", INTEGER, &mut self.intermediate_size);
        keys.visit("hidden_act", Activation::EXPECTED, &mut self.hidden_act);
        keys.visit("hidden_dropout_prob", NUMBER, &mut self.hidden_dropout_prob);
        let dropout = &mut self.attention_probs_dropout_prob;
        keys.visit("attention_probs_dropout_prob", NUMBER, dropout);
        // If transformers' default is a number, null is not valid.
        match &mut self.classifier_dropout {
            Some(dropout) => keys.visit("classifier_dropout", NUMBER, dropout),
            dropout @ None => keys.visit("classifier_dropout", "a number or null", dropout),
        }
        keys.visit("max_position_embeddings", INTEGER, &mut self.max_position_embeddings);
        keys.visit("type_vocab_size", INTEGER, &mut self.type_vocab_size);
        keys.visit("initializer_range", NUMBER, &mut self.initializer_range);
        keys.visit("layer_norm_eps", NUMBER, &mut self.layer_norm_eps);
        let mut pad = Some(self.pad_token_id);
        keys.visit("pad_token_id", "an integer or null", &mut pad);
        self.pad_token_id = pad.unwrap_or(self.pad_token_id);
        keys.visit("bos_token_id", "an integer or null", &mut self.bos_token_id);
        keys.visit("eos_token_id", "an integer or null", &mut self.eos_token_id);
        keys.visit("tie_word_embeddings", BOOLEAN, &mut self.tie_word_embeddings);
    }

    /// Validates every value, and combinations of values.
    ///
    /// # Errors
    /// [`Error::Config`] with the first invalid key, the expected and the actual value.
    pub fn validate(&self) -> Result<()> {
        self.check("config")
    }

    fn check(&self, file: &str) -> Result<()> {
        let names = self.architecture.names();
        let refuse = |key: &str, expected: &str, got: &dyn Display| {
            Err(Error::config(file, names.key_name(key), expected, got))
        };
        // These bounds prevent damaged files from exhausting memory and products from overflowing
        // i64.
        for (key, value, max) in [
            ("vocab_size", self.vocab_size, 1 << 26),
            ("hidden_size", self.hidden_size, 1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 12),
            ("num_attention_heads", self.num_attention_heads, 1 << 20),
            ("intermediate_size", self.intermediate_size, 1 << 22),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 24),
            ("type_vocab_size", self.type_vocab_size, 1 << 20),
            ("embedding_size", self.embedding_size(), 1 << 20),
        ] {
            if value < 1 || value > max {
                let expected = format!("an integer from 1 to {max}");
                return refuse(key, &expected, &value);
            }
        }
        if self.hidden_size % self.num_attention_heads != 0 {
            let key = names.key_name("hidden_size");
            let expected = format!("a divisor of {key} = {}", self.hidden_size);
            return refuse("num_attention_heads", &expected, &self.num_attention_heads);
        }
        for (key, value) in [
            ("hidden_dropout_prob", Some(self.hidden_dropout_prob)),
            ("attention_probs_dropout_prob", Some(self.attention_probs_dropout_prob)),
            ("classifier_dropout", self.classifier_dropout),
        ] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return refuse(key, "a probability from 0 to 1", &value);
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps <= 1.0) {
            let expected = "a number above 0 and at most 1";
            return refuse("layer_norm_eps", expected, &self.layer_norm_eps);
        }
        if names.translate_key("layer_norm_eps").is_none() && self.layer_norm_eps != 1e-12 {
            let expected = "1e-12, the fixed value of this architecture";
            return refuse("layer_norm_eps", expected, &self.layer_norm_eps);
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            return refuse("initializer_range", "a number of at least 0", &self.initializer_range);
        }
        for (key, id) in [
            ("pad_token_id", Some(self.pad_token_id)),
            ("bos_token_id", self.bos_token_id),
            ("eos_token_id", self.eos_token_id),
        ] {
            if let Some(id) = id.filter(|id| !(0..self.vocab_size).contains(id)) {
                let expected = format!("an id below vocab_size = {}", self.vocab_size);
                return refuse(key, &expected, &id);
            }
        }
        if self.architecture.is_roberta() && self.max_position_embeddings <= self.pad_token_id + 1 {
            let expected = format!("more than pad_token_id + 1 = {}", self.pad_token_id + 1);
            return refuse("max_position_embeddings", &expected, &self.max_position_embeddings);
        }
        if names.token_type_embeddings.is_none() && self.type_vocab_size != 1 {
            let expected = "1; this architecture has no segments";
            return refuse("type_vocab_size", expected, &self.type_vocab_size);
        }
        self.architecture.family().check(self, file)?;
        let head_size = self.hidden_size / self.num_attention_heads;
        if self.architecture.rotary().is_some() {
            if head_size % 2 != 0 {
                let expected = "heads of even size, for rotary positions";
                return refuse("num_attention_heads", expected, &format!("heads of {head_size}"));
            }
            if let Some(value) =
                self.extra_value("head_dim").filter(|&value| value != &json!(head_size))
            {
                let expected = format!("hidden_size / num_attention_heads = {head_size}");
                return refuse("head_dim", &expected, &shorten(value));
            }
        }
        if let (Some(labels), Some(value)) = (&self.id2label, self.extra_value("num_labels"))
            && value != &json!(labels.len())
        {
            let expected = format!("{}, the number of labels in id2label", labels.len());
            return refuse("num_labels", &expected, &shorten(value));
        }
        if let Some(value) = self.extra_value("num_labels").filter(|value| !value.is_i64()) {
            return refuse("num_labels", "an integer", &shorten(value));
        }
        if let Some(value) = self.extra_value(quantize::CONFIG_KEY) {
            let expected = "null, or the value written by `xlmr-model quantize`; save the model \
                            without quantisation first";
            return refuse(quantize::CONFIG_KEY, expected, &shorten(value));
        }
        for (key, supported) in [("is_decoder", false), ("add_cross_attention", false)] {
            if let Some(value) = self.extra.get(key).filter(|&value| value != &json!(supported)) {
                return refuse(key, "false; only encoders are supported", &shorten(value));
            }
        }
        // With rotary positions, `position_embedding_type` has no effect, so any value is accepted,
        // such as mmBERT's "sans_pos".
        let has_absolute_positions = self.architecture.rotary().is_none();
        if let Some(value) = self.extra_value("position_embedding_type")
            && has_absolute_positions
            && value != "absolute"
        {
            return refuse("position_embedding_type", "\"absolute\"", &value);
        }
        Ok(())
    }

    /// Returns the value of a key in `extra`, unless it is absent or null.
    fn extra_value(&self, key: &str) -> Option<&Value> {
        self.extra.get(key).filter(|value| !value.is_null())
    }

    /// Returns the maximum input length, in tokens without padding.
    pub fn max_length(&self) -> i64 {
        match self.architecture.is_roberta() {
            true => self.max_position_embeddings - self.pad_token_id - 1,
            false => self.max_position_embeddings,
        }
    }

    /// Returns [`Model::pair_segments`](crate::Model::pair_segments) of the architecture's own
    /// tokenizer: `Some(0)` for BERT, ELECTRA and DeBERTa with several segments, else `None`.
    pub fn default_pair_segments(&self) -> Option<usize> {
        (self.type_vocab_size > 1 && !self.architecture.is_roberta()).then_some(0)
    }

    /// Returns E, the width of the token embeddings: H, except in RemBERT and in some sizes of
    /// ELECTRA.
    pub fn embedding_size(&self) -> i64 {
        self.architecture.family().embedding_size(self)
    }

    /// Returns the parameters and modules of a model with this configuration.
    pub(crate) fn layout(&self) -> Box<dyn Layout + '_> {
        self.architecture.family().layout(self)
    }

    /// Returns the dropout of the classification heads.
    pub(crate) fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// Returns the number of labels of the classification heads: the number of label names. Without
    /// label names it is `num_labels`, or 2 if `num_labels` is absent too, as in transformers.
    pub fn num_labels(&self) -> i64 {
        match &self.id2label {
            Some(labels) => to_i64(labels.len()),
            None => self.extra.get("num_labels").and_then(Value::as_i64).unwrap_or(2),
        }
    }

    /// Returns the head of the first class in `architectures`; [`Head::None`] for the bare encoder
    /// or an empty list.
    ///
    /// # Errors
    /// [`Error::Config`] if this crate does not support the class.
    pub fn head(&self) -> Result<Head> {
        match self.architectures.first() {
            None => Ok(Head::None),
            Some(name) => {
                let heads = Head::kinds(self.num_labels());
                let class = |head: &Head| head.class(&self.architecture);
                let head = heads.into_iter().find(|head| class(head) == *name);
                head.ok_or_else(|| {
                    let expected = format!("one of {}", heads.each_ref().map(class).join(", "));
                    Error::config("config.json", "architectures", expected, format!("{name:?}"))
                })
            }
        }
    }

    /// Returns a copy for a model that is saved with `head`. The copy has the class of `head`, the
    /// number of labels of `head` and the dtype float32.
    pub(crate) fn for_head(&self, head: Head) -> Self {
        let mut config = self.clone();
        config.architectures = vec![head.class(&self.architecture)];
        // transformers' span classes have one output per label and require two labels.
        let labels = if head == Head::Span { Some(2) } else { head.labels() };
        if let Some(labels) = labels
            && labels != config.num_labels()
        {
            config.id2label = Some((0..labels).map(|id| (id, format!("LABEL_{id}"))).collect());
            config.extra.remove("num_labels");
        }
        config.extra.remove("torch_dtype");
        config.extra.insert("dtype".into(), json!("float32"));
        config
    }

    /// Converts the configuration to the JSON object of `config.json`.
    pub fn to_json(&self) -> Value {
        let mut json: BTreeMap<String, Value> = self.extra.clone();
        if let Some(labels) = &self.id2label {
            let names_by_id: Map<String, Value> =
                labels.iter().map(|(id, name)| (id.to_string(), json!(name))).collect();
            let ids_by_name: Map<String, Value> =
                labels.iter().map(|(id, name)| (name.clone(), json!(id))).collect();
            json.insert("id2label".into(), Value::Object(names_by_id));
            json.insert("label2id".into(), Value::Object(ids_by_name));
        }
        json.insert("model_type".into(), json!(self.architecture.model_type()));
        json.insert("architectures".into(), json!(self.architectures));
        let mut config = self.clone();
        self.architecture.family().write_options(&mut config, &mut json);
        config.visit_keys(&mut json);
        Value::Object(json.into_iter().collect())
    }

    /// Writes a `config.json`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_json(path.as_ref(), &self.to_json())
    }
}
