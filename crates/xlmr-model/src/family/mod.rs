//! The architectures: a folder or a file per encoder family.
//!
//! A family implements [`Family`] and is listed in [`architectures!`]. No other code distinguishes
//! architectures.
pub(crate) mod bert;
pub(crate) mod deberta;
pub(crate) mod distilbert;
pub(crate) mod electra;
pub(crate) mod eurobert;
pub(crate) mod layer;
pub(crate) mod layout;
pub(crate) mod modernbert;
pub(crate) mod mpnet;
pub(crate) mod names;
pub(crate) mod positions;
pub(crate) mod post_norm;
pub(crate) mod rembert;
pub(crate) mod roberta;
pub(crate) mod xlm_roberta_xl;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::config::fields::Fields;
use crate::family::layout::Layout;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions, Rotary};
use crate::{Config, DebertaV2, DistilBert, Electra, EuroBert, ModernBert, MpNet, RemBert, Result};

/// The properties of an architecture.
///
/// No method has a default implementation, so that the compiler lists everything that a new
/// architecture must define.
pub(crate) trait Family {
    /// Returns the names of keys, parameters and classes.
    fn names(&self) -> Names;

    /// Returns the configuration of a `config.json` without keys: the defaults of the
    /// architecture's configuration class in transformers.
    fn default_config(&self) -> Config;

    /// Reads the architecture's own keys of a `config.json`, and removes them from `fields`. The
    /// shared keys are already in `config`, and are converted where the file's value has another
    /// meaning.
    fn read_options(&self, config: &mut Config, fields: &mut Fields) -> Result<Architecture>;

    /// Writes the architecture's own keys of a `config.json`. The shared keys are written from
    /// `config` afterwards.
    fn write_options(&self, config: &mut Config, json: &mut BTreeMap<String, Value>);

    /// Validates the architecture's options, and their combinations with other values. `file` is
    /// used in error messages.
    fn check(&self, config: &Config, file: &str) -> Result<()>;

    /// Returns E, the width of the token embeddings.
    fn embedding_size(&self, config: &Config) -> i64;

    /// Returns how the encoder represents positions.
    fn positions(&self) -> Positions<'_>;

    /// Returns which batches are computed without padding.
    fn packing(&self) -> PackingRule;

    /// Returns the architecture with the options that the tensors of a checkpoint determine, for
    /// options that `config.json` need not specify; `None` if there are no such options.
    /// `has_tensor` returns whether the checkpoint contains a tensor.
    fn of_checkpoint(&self, has_tensor: &dyn Fn(&str) -> bool) -> Option<Architecture>;

    /// Returns the parameters and modules of a model with this configuration.
    fn layout<'a>(&'a self, config: &'a Config) -> Box<dyn Layout + 'a>;
}

/// Defines [`Architecture`], [`Architecture::all`] and [`Architecture::family`] from one list. The
/// family of an architecture with options is the type of the options.
macro_rules! architectures {
    (
        without_options { $($(#[$doc:meta])* $plain:ident => $family:path;)+ }
        with_options { $($(#[$options_doc:meta])* $options:ident;)+ }
    ) => {
        /// Encoder architecture, given by `model_type` in `config.json`.
        ///
        /// Every architecture supports all heads of [`Head`](crate::Head). Architectures differ in
        /// layers, positions and parameter names.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub enum Architecture {
            $($(#[$doc])* $plain,)+
            $($(#[$options_doc])* $options($options),)+
        }

        impl Architecture {
            /// Returns every architecture, with default options.
            pub(crate) fn all() -> Vec<Self> {
                vec![$(Self::$plain,)+ $(Self::$options($options::default()),)+]
            }

            pub(crate) fn family(&self) -> &dyn Family {
                match self {
                    $(Self::$plain => &$family,)+
                    $(Self::$options(options) => options,)+
                }
            }
        }
    };
}

architectures! {
    without_options {
        /// XLM-R (Conneau et al. 2020): `model_type` "xlm-roberta", position ids that start after
        /// the id of `<pad>`.
        #[default]
        XlmRoberta => roberta::XLM_ROBERTA;
        /// RoBERTa (Liu et al. 2019): `model_type` "roberta", XLM-R's layers and positions.
        Roberta => roberta::ROBERTA;
        /// CamemBERT (Martin et al. 2020): `model_type` "camembert", otherwise like RoBERTa.
        Camembert => roberta::CAMEMBERT;
        /// data2vec for text (Baevski et al. 2022): `model_type` "data2vec-text", otherwise like
        /// RoBERTa.
        Data2VecText => roberta::DATA2VEC_TEXT;
        /// BERT (Devlin et al. 2019), also multilingual: `model_type` "bert", two segments,
        /// positions from 0.
        Bert => bert::BERT;
        /// XLM-R XL and XXL (Goyal et al. 2021): `model_type` "xlm-roberta-xl", XLM-R with norms
        /// before attention and feed-forward layers.
        XlmRobertaXl => xlm_roberta_xl::XLM_ROBERTA_XL;
    }
    with_options {
        /// ModernBERT (Warner et al. 2024), also mmBERT (Marone et al. 2025): `model_type`
        /// "modernbert".
        ModernBert;
        /// EuroBERT (Boizard et al. 2025): `model_type` "eurobert".
        EuroBert;
        /// DeBERTa v2 and v3 (He et al. 2021), also mDeBERTa: `model_type` "deberta-v2".
        DebertaV2;
        /// DistilBERT (Sanh et al. 2019): `model_type` "distilbert", BERT without segments.
        DistilBert;
        /// ELECTRA (Clark et al. 2020), discriminators and generators: `model_type` "electra", BERT
        /// with other heads and, in some sizes, narrower embeddings.
        Electra;
        /// RemBERT (Chung et al. 2021): `model_type` "rembert", BERT with narrow input embeddings
        /// and wide output embeddings.
        RemBert;
        /// MPNet (Song et al. 2020): `model_type` "mpnet", BERT without segments, with XLM-R's
        /// positions and position biases of attention scores.
        MpNet;
    }
}

impl Architecture {
    /// Returns the value of `model_type` in `config.json`.
    ///
    /// ```
    /// use xlmr_model::Architecture;
    ///
    /// assert_eq!(Architecture::default().model_type(), "xlm-roberta");
    /// assert_eq!(Architecture::Bert.model_type(), "bert");
    /// ```
    pub fn model_type(&self) -> &'static str {
        self.names().model_type
    }

    /// Returns the prefix of the names of the encoder's parameters, including the dot.
    ///
    /// ```
    /// use xlmr_model::Architecture;
    ///
    /// assert_eq!(Architecture::XlmRoberta.parameter_prefix(), "roberta.");
    /// ```
    pub fn parameter_prefix(&self) -> &'static str {
        self.names().prefix
    }

    /// Returns whether positions start after `pad_token_id`: in XLM-R, XLM-R XL, RoBERTa,
    /// CamemBERT, data2vec and MPNet.
    pub fn is_roberta(&self) -> bool {
        match self.family().positions() {
            Positions::AfterPad | Positions::AfterPadWithBias => true,
            Positions::FromZero | Positions::Rotary(_) | Positions::Relative(_) => false,
        }
    }

    /// Returns the constants of rotary positions, if the architecture has rotary positions.
    pub(crate) fn rotary(&self) -> Option<Rotary> {
        match self.family().positions() {
            Positions::Rotary(rotary) => Some(rotary),
            Positions::FromZero
            | Positions::AfterPad
            | Positions::AfterPadWithBias
            | Positions::Relative(_) => None,
        }
    }

    pub(crate) fn names(&self) -> Names {
        self.family().names()
    }

    /// Returns the names of every architecture with default options.
    pub(crate) fn all_names() -> &'static [Names] {
        static NAMES: LazyLock<Vec<Names>> =
            LazyLock::new(|| Architecture::all().iter().map(Architecture::names).collect());
        &NAMES
    }
}
