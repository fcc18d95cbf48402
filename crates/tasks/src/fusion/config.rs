//! Options of reading with a second text.
use objectives::{SoftLabelConfig, SpanConfig};
use serde::{Deserialize, Serialize};
use xlmr_model::FusionConfig;

use crate::{Error, Result};

/// Which windows of a question and of its translation are read together. Both are cut by length,
/// not by content, so a pair may hold different parts of the passage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowPairing {
    /// The first with the first and so on; the last of the shorter side goes with what is left of
    /// the longer one.
    #[default]
    ByNumber,
    /// Each with each.
    AllPairs,
}

/// What is read beside a text when a trained model answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairedText {
    /// Its translation, which has to be given.
    #[default]
    Translation,
    /// The text itself. Attention over keys that all stand twice is attention over them once, so
    /// this is [`None`](Self::None) up to rounding, at twice the work.
    #[serde(rename = "self")]
    Own,
    /// Nothing: the plain encoder.
    None,
}

impl PairedText {
    /// What tables and folders call a reading with it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Translation => "translation",
            Self::Own => "itself",
            Self::None => "alone",
        }
    }
}

/// Which positions of the target half a question's soft labels are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftPositions {
    /// All tokens, as FILTER's released code has it.
    #[default]
    Tokens,
    /// The context's.
    Context,
}

/// Learning from a first model in phase two: the target half's own loss counts 1 - α, the
/// divergence from the first model's scores α.
///
/// # Example
/// ```
/// use tasks::fusion::SoftTeaching;
///
/// let soft: SoftTeaching = toml::from_str("alpha = 0.3\n[loss]\ntemperature = 2.0").unwrap();
/// assert!(soft.validate().is_ok());
/// assert!(SoftTeaching { alpha: 1.5, ..soft.clone() }.validate().is_err());
/// let mut cold = soft;
/// cold.loss.temperature = 0.0;
/// let error = cold.validate().unwrap_err().to_string();
/// assert_eq!(error, "soft.loss.temperature = 0: must be finite and above 0");
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftTeaching {
    /// α, from 0 to 1. Neither FILTER's released scripts nor its code hold a value; 0.5 weighs both
    /// alike.
    pub alpha: f64,
    /// Temperature, and what shares one softmax.
    pub loss: SoftLabelConfig,
    /// On which positions, for questions.
    pub positions: SoftPositions,
}

impl Default for SoftTeaching {
    fn default() -> Self {
        let (loss, positions) = (SoftLabelConfig::default(), SoftPositions::default());
        Self { alpha: 0.5, loss, positions }
    }
}

impl SoftTeaching {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(Error::config("soft.alpha", self.alpha, "from 0 to 1"));
        }
        self.loss.validate().map_err(|error| Error::of_option("soft.loss", error))
    }
}

/// Where the second model starts; the paper does not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StudentStart {
    /// As the first model did.
    #[default]
    Base,
    /// The first model goes on.
    Teacher,
}

/// Options of [`FusedQaTask`](super::FusedQaTask).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FusedQaConfig {
    /// Which layers read both texts.
    pub fusion: FusionConfig,
    /// Which windows meet.
    pub pairing: WindowPairing,
    /// Only context tokens may start or end an answer, and `<s>` in a window that is labelled as
    /// having none; off: every token but padding.
    pub context_only: bool,
    /// Options of the loss of either half.
    pub span_loss: SpanConfig,
    /// Phase two.
    pub soft: SoftTeaching,
}
