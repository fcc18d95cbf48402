//! ModernBERT (Warner et al. 2024), also mmBERT (Marone et al. 2025).
pub(crate) mod config;
pub(crate) mod layer;
pub(crate) mod layout;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::fields::Fields;
use crate::family::Family;
use crate::family::layout::Layout;
use crate::family::modernbert::layout::ModernLayout;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions, Rotary};
use crate::layers::names::LoraTarget::{self, AttentionOutput, Intermediate, Key, Output, Query};
use crate::{Architecture, Config, ModernBert, Result};

impl Family for ModernBert {
    fn names(&self) -> Names {
        Names {
            model_type: "modernbert",
            class_prefix: "ModernBert",
            keys: &[
                ("hidden_act", Some("hidden_activation")),
                ("hidden_dropout_prob", Some("mlp_dropout")),
                ("attention_probs_dropout_prob", Some("attention_dropout")),
                ("type_vocab_size", None),
                ("layer_norm_eps", Some("norm_eps")),
            ],
            prefix: "model.",
            modules: &["embeddings.", "layers.", "final_norm."],
            unused_prefixes: &[],
            word_embeddings: "model.embeddings.tok_embeddings.weight",
            token_type_embeddings: None,
            layer_prefix: "model.layers.",
            linear_layers: &[
                ("attn.Wqkv", &[Query, Key, LoraTarget::Value]),
                ("attn.Wo", &[AttentionOutput]),
                ("mlp.Wi", &[Intermediate]),
                ("mlp.Wo", &[Output]),
            ],
            decoder: "decoder.weight",
            lm_bias: "decoder.bias",
            decoder_bias: "decoder.bias",
            vocabulary_prefixes: &[],
            adapter_position: "output_adapters",
            replaces_tokenizer_class: false,
        }
    }

    fn default_config(&self) -> Config {
        Config {
            architecture: Architecture::ModernBert(self.clone()),
            vocab_size: 50_368,
            pad_token_id: 50_283,
            bos_token_id: Some(50_281),
            eos_token_id: Some(50_282),
            ..Config::mmbert_base()
        }
    }

    fn read_options(&self, config: &mut Config, fields: &mut Fields) -> Result<Architecture> {
        Ok(Architecture::ModernBert(Self::read(fields, config.num_hidden_layers)?))
    }

    fn write_options(&self, config: &mut Config, json: &mut BTreeMap<String, Value>) {
        config.classifier_dropout.get_or_insert(0.0);
        self.clone().write(json);
        // ModernBERT's keys for the tokens before and after a text.
        for (key, id) in
            [("cls_token_id", config.bos_token_id), ("sep_token_id", config.eos_token_id)]
        {
            json.entry(key.into()).or_insert(json!(id));
        }
    }

    fn check(&self, config: &Config, file: &str) -> Result<()> {
        self.validate(file, config.num_hidden_layers)
    }

    fn embedding_size(&self, config: &Config) -> i64 {
        config.hidden_size
    }

    fn positions(&self) -> Positions<'_> {
        Positions::Rotary(Rotary {
            theta: self.global_rope_theta,
            local: Some((self.local_rope_theta, self.local_attention / 2)),
        })
    }

    fn packing(&self) -> PackingRule {
        PackingRule::RightPadding
    }

    fn of_checkpoint(&self, _: &dyn Fn(&str) -> bool) -> Option<Architecture> {
        None
    }

    fn layout<'a>(&'a self, config: &'a Config) -> Box<dyn Layout + 'a> {
        Box::new(ModernLayout { config, modern: self })
    }
}

impl Config {
    /// Returns the configuration of mmBERT base (Marone et al. 2025): ModernBERT's architecture, 22
    /// layers, hidden size 768, vocabulary of 256,000.
    pub fn mmbert_base() -> Self {
        let modern = ModernBert { local_rope_theta: 160_000.0, ..ModernBert::new(22) };
        Self {
            architecture: Architecture::ModernBert(modern),
            vocab_size: 256_000,
            num_hidden_layers: 22,
            intermediate_size: 1152,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            classifier_dropout: Some(0.0),
            max_position_embeddings: 8192,
            pad_token_id: 0,
            bos_token_id: Some(2),
            eos_token_id: Some(1),
            ..Self::base()
        }
    }
}
