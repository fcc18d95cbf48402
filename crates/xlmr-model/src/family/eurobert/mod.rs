//! EuroBERT (Boizard et al. 2025).
pub(crate) mod config;
pub(crate) mod layer;
pub(crate) mod layout;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::fields::Fields;
use crate::family::Family;
use crate::family::eurobert::layout::EuroLayout;
use crate::family::layout::Layout;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions, Rotary};
use crate::layers::names::LoraTarget::{self, AttentionOutput, Intermediate, Key, Output, Query};
use crate::{Activation, Architecture, Config, EuroBert, Result};

/// The id of `<|mask|>` in the published models' vocabulary.
const MASK_TOKEN_ID: i64 = 128_002;

impl Family for EuroBert {
    fn names(&self) -> Names {
        Names {
            model_type: "eurobert",
            class_prefix: "EuroBert",
            keys: &[
                ("hidden_dropout_prob", None),
                ("attention_probs_dropout_prob", Some("attention_dropout")),
                ("classifier_dropout", None),
                ("type_vocab_size", None),
                ("layer_norm_eps", Some("rms_norm_eps")),
            ],
            prefix: "model.",
            modules: &["embed_tokens.", "layers.", "norm."],
            unused_prefixes: &[],
            word_embeddings: "model.embed_tokens.weight",
            token_type_embeddings: None,
            layer_prefix: "model.layers.",
            linear_layers: &[
                ("self_attn.q_proj", &[Query]),
                ("self_attn.k_proj", &[Key]),
                ("self_attn.v_proj", &[LoraTarget::Value]),
                ("mlp.gate_proj", &[Intermediate]),
                ("mlp.up_proj", &[Intermediate]),
                ("self_attn.o_proj", &[AttentionOutput]),
                ("mlp.down_proj", &[Output]),
            ],
            decoder: "lm_head.weight",
            lm_bias: "lm_head.bias",
            decoder_bias: "lm_head.bias",
            vocabulary_prefixes: &[],
            adapter_position: "output_adapters",
            replaces_tokenizer_class: false,
        }
    }

    fn default_config(&self) -> Config {
        Config { architecture: Architecture::EuroBert(self.clone()), ..Config::eurobert_210m() }
    }

    fn read_options(&self, _: &mut Config, fields: &mut Fields) -> Result<Architecture> {
        Ok(Architecture::EuroBert(Self::read(fields)?))
    }

    fn write_options(&self, config: &mut Config, json: &mut BTreeMap<String, Value>) {
        self.clone().write(json);
        // transformers' default is the id in the published models, which is out of range in a
        // smaller vocabulary. Any valid id suffices, because this crate does not use the value.
        if config.vocab_size <= MASK_TOKEN_ID {
            json.entry("mask_token_id".into()).or_insert(json!(config.pad_token_id));
        }
    }

    fn check(&self, config: &Config, file: &str) -> Result<()> {
        self.validate(file, config.num_attention_heads)
    }

    fn embedding_size(&self, config: &Config) -> i64 {
        config.hidden_size
    }

    fn positions(&self) -> Positions<'_> {
        Positions::Rotary(Rotary { theta: self.rope_theta, local: None })
    }

    fn packing(&self) -> PackingRule {
        PackingRule::Training
    }

    fn of_checkpoint(&self, _: &dyn Fn(&str) -> bool) -> Option<Architecture> {
        None
    }

    fn layout<'a>(&'a self, config: &'a Config) -> Box<dyn Layout + 'a> {
        Box::new(EuroLayout { config, euro: self })
    }
}

impl Config {
    /// Returns the configuration of EuroBERT 210m (Boizard et al. 2025): 12 layers, hidden size
    /// 768, vocabulary of 128,256.
    pub fn eurobert_210m() -> Self {
        Self {
            architecture: Architecture::EuroBert(EuroBert::default()),
            vocab_size: 128_256,
            hidden_act: Activation::Silu,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            max_position_embeddings: 8192,
            pad_token_id: 128_001,
            bos_token_id: Some(128_000),
            eos_token_id: Some(128_001),
            tie_word_embeddings: false,
            ..Self::base()
        }
    }
}
