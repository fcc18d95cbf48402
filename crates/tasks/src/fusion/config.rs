//! Options of fusion with a second text.
use objectives::{SoftLabelConfig, SpanConfig};
use serde::{Deserialize, Serialize};
use xlmr_model::FusionConfig;

use crate::{Error, Result};

/// Pairing of the windows of a question with the windows of its translation.
///
/// Both texts are split by length, so the windows of a pair may contain different sections of the
/// passage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowPairing {
    /// Windows are paired by index. The last window of the shorter side is paired with the
    /// remaining windows of the longer side.
    #[default]
    ByNumber,
    /// All pairs of windows.
    AllPairs,
}

/// Second text that is encoded together with a text at inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairedText {
    /// The translation, which must be provided.
    #[default]
    Translation,
    /// The text itself. Attention over duplicated keys equals attention over the original keys, so
    /// the result equals the result of [`None`](Self::None) up to rounding, at twice the cost.
    #[serde(rename = "self")]
    SameText,
    /// No second text: the text is encoded separately.
    None,
}

impl PairedText {
    /// Returns the name used in tables and folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Translation => "translation",
            Self::SameText => "itself",
            Self::None => "alone",
        }
    }
}

/// Positions of the target half that have soft labels, in question answering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftPositions {
    /// All tokens, as in FILTER's released code.
    #[default]
    Tokens,
    /// Context tokens.
    Context,
}

/// Options for distillation from the teacher in phase two.
///
/// The target half's loss on labels has weight 1 - α; its divergence from the teacher's scores has
/// weight α.
///
/// # Example
/// ```
/// use tasks::fusion::SoftTeaching;
///
/// let soft: SoftTeaching = toml::from_str("alpha = 0.3\n[loss]\ntemperature = 2.0").unwrap();
/// assert!(soft.validate().is_ok());
/// assert!(SoftTeaching { alpha: 1.5, ..soft.clone() }.validate().is_err());
/// let mut zero_temperature = soft;
/// zero_temperature.loss.temperature = 0.0;
/// let error = zero_temperature.validate().unwrap_err().to_string();
/// assert_eq!(error, "soft.loss.temperature = 0: must be finite and above 0");
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftTeaching {
    /// α, from 0 to 1. FILTER's released scripts and code do not state a value; the default 0.5
    /// weights both losses equally.
    pub alpha: f64,
    /// Temperature and softmax scope.
    pub loss: SoftLabelConfig,
    /// Positions that have soft labels, in question answering.
    pub positions: SoftPositions,
}

impl Default for SoftTeaching {
    fn default() -> Self {
        let (loss, positions) = (SoftLabelConfig::default(), SoftPositions::default());
        Self { alpha: 0.5, loss, positions }
    }
}

impl SoftTeaching {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(Error::config("soft.alpha", self.alpha, "from 0 to 1"));
        }
        self.loss.validate().map_err(|error| Error::from_loss("soft.loss", error))
    }
}

/// Initial weights of the student in phase two; the paper does not specify which weights it uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StudentStart {
    /// The base model, from which the teacher was also trained.
    #[default]
    Base,
    /// The trained teacher.
    Teacher,
}

/// Options of [`FusedQaTask`](super::FusedQaTask).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FusedQaConfig {
    /// Layers that encode both texts together.
    pub fusion: FusionConfig,
    /// Pairing of windows.
    pub pairing: WindowPairing,
    /// Whether only context tokens may start or end an answer (and `<s>` in windows labelled as
    /// unanswerable). Otherwise every token except padding is allowed.
    pub context_only: bool,
    /// Options of the loss of each half.
    pub span_loss: SpanConfig,
    /// Options for distillation from the teacher in phase two.
    pub soft: SoftTeaching,
}
