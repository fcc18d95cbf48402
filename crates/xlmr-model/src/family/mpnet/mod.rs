//! MPNet (Song et al. 2020): BERT's layout with position biases of attention scores.
pub(crate) mod attention;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::fields::{Fields, INTEGER, Keys};
use crate::family::Family;
use crate::family::layout::Layout;
use crate::family::mpnet::attention::N_BUCKETS;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions};
use crate::family::post_norm::{AttentionKind, PostNorm};
use crate::family::roberta;
use crate::family::roberta::roberta_layout;
use crate::layers::names::LoraTarget::{self, AttentionOutput, Intermediate, Key, Output, Query};
use crate::{Architecture, Config, Error, Result};

/// Id of `<pad>`, which transformers' `MPNetModel` does not take from the configuration.
const PAD_ID: i64 = 1;

/// MPNet-specific options, which complement [`Config`](crate::Config).
///
/// [`Config::pad_token_id`] is always 1. There are no segments and no `classifier_dropout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpNet {
    /// Number of rows of the table of position biases, at least 32. As in transformers, distances
    /// have 32 buckets, and further rows are not used.
    pub relative_attention_num_buckets: i64,
}

impl Default for MpNet {
    /// Returns the defaults of transformers' `MPNetConfig`.
    fn default() -> Self {
        Self { relative_attention_num_buckets: N_BUCKETS }
    }
}

impl MpNet {
    fn visit_keys(&mut self, keys: &mut impl Keys) {
        let buckets = &mut self.relative_attention_num_buckets;
        keys.visit("relative_attention_num_buckets", INTEGER, buckets);
    }
}

impl Family for MpNet {
    fn names(&self) -> Names {
        Names {
            model_type: "mpnet",
            class_prefix: "MPNet",
            keys: &[("classifier_dropout", None), ("type_vocab_size", None)],
            prefix: "mpnet.",
            unused_prefixes: &["mpnet.pooler."],
            word_embeddings: "mpnet.embeddings.word_embeddings.weight",
            token_type_embeddings: None,
            layer_prefix: "mpnet.encoder.layer.",
            linear_layers: &[
                ("attention.attn.q", &[Query]),
                ("attention.attn.k", &[Key]),
                ("attention.attn.v", &[LoraTarget::Value]),
                ("attention.attn.o", &[AttentionOutput]),
                ("intermediate.dense", &[Intermediate]),
                ("output.dense", &[Output]),
            ],
            adapter_position: "output_adapters",
            ..roberta::NAMES
        }
    }

    fn default_config(&self) -> Config {
        Config {
            architecture: Architecture::MpNet(self.clone()),
            vocab_size: 30_527,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
            ..Config::base()
        }
    }

    fn read_options(&self, _: &mut Config, fields: &mut Fields) -> Result<Architecture> {
        let mut options = self.clone();
        options.visit_keys(fields);
        Ok(Architecture::MpNet(options))
    }

    fn write_options(&self, _: &mut Config, json: &mut BTreeMap<String, Value>) {
        self.clone().visit_keys(json);
    }

    fn check(&self, config: &Config, file: &str) -> Result<()> {
        let (key, buckets) =
            ("relative_attention_num_buckets", self.relative_attention_num_buckets);
        if !(N_BUCKETS..=1 << 20).contains(&buckets) {
            let expected = format!("an integer from {N_BUCKETS} to 1048576");
            return Err(Error::config(file, key, expected, buckets));
        }
        if config.pad_token_id != PAD_ID {
            let expected = format!("{PAD_ID}; MPNet counts position ids from this id");
            return Err(Error::config(file, "pad_token_id", expected, config.pad_token_id));
        }
        if let Some(dropout) = config.classifier_dropout {
            let expected = "no value; MPNet's heads have the dropout `hidden_dropout_prob`";
            return Err(Error::config(file, "classifier_dropout", expected, dropout));
        }
        Ok(())
    }

    fn embedding_size(&self, config: &Config) -> i64 {
        config.hidden_size
    }

    fn positions(&self) -> Positions<'_> {
        Positions::AfterPadWithBias
    }

    fn packing(&self) -> PackingRule {
        PackingRule::Training
    }

    fn of_checkpoint(&self, _: &dyn Fn(&str) -> bool) -> Option<Architecture> {
        None
    }

    fn layout<'a>(&'a self, config: &'a Config) -> Box<dyn Layout + 'a> {
        Box::new(PostNorm {
            attention: AttentionKind::Biased(self),
            norms: ["attention.LayerNorm", "output.LayerNorm"],
            ..roberta_layout(config, self.names())
        })
    }
}
