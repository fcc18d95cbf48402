//! XLM-R XL and XXL (Goyal et al. 2021): XLM-R with norms before attention and feed-forward layers.
pub(crate) mod layer;
pub(crate) mod layout;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::fields::Fields;
use crate::family::Family;
use crate::family::layout::Layout;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions};
use crate::family::roberta;
use crate::family::xlm_roberta_xl::layout::XlLayout;
use crate::{Architecture, Config, Result};

#[derive(Debug)]
pub(crate) struct XlmRobertaXl;

pub(crate) static XLM_ROBERTA_XL: XlmRobertaXl = XlmRobertaXl;

impl Family for XlmRobertaXl {
    fn names(&self) -> Names {
        Names {
            model_type: "xlm-roberta-xl",
            class_prefix: "XLMRobertaXL",
            adapter_position: "output_adapters",
            ..roberta::NAMES
        }
    }

    fn default_config(&self) -> Config {
        Config::xlm_roberta_xl()
    }

    fn read_options(&self, _: &mut Config, _: &mut Fields) -> Result<Architecture> {
        Ok(Architecture::XlmRobertaXl)
    }

    fn write_options(&self, _: &mut Config, _: &mut BTreeMap<String, Value>) {}

    fn check(&self, _: &Config, _: &str) -> Result<()> {
        Ok(())
    }

    fn embedding_size(&self, config: &Config) -> i64 {
        config.hidden_size
    }

    fn positions(&self) -> Positions<'_> {
        Positions::AfterPad
    }

    fn packing(&self) -> PackingRule {
        PackingRule::TrainingAndCpu
    }

    fn of_checkpoint(&self, _: &dyn Fn(&str) -> bool) -> Option<Architecture> {
        None
    }

    fn layout<'a>(&'a self, config: &'a Config) -> Box<dyn Layout + 'a> {
        Box::new(XlLayout::new(config))
    }
}

impl Config {
    /// Returns the configuration of `facebook/xlm-roberta-xl`: 36 layers, hidden size 2560,
    /// vocabulary of 250,880.
    pub fn xlm_roberta_xl() -> Self {
        Self {
            architecture: Architecture::XlmRobertaXl,
            vocab_size: 250_880,
            hidden_size: 2560,
            num_hidden_layers: 36,
            num_attention_heads: 32,
            intermediate_size: 10_240,
            ..Self::base()
        }
    }
}
