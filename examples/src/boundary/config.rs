//! Options of the second stage.
use anyhow::{Result, ensure};
use objectives::{AnswerContrastConfig, GoldSlot, HardLearningConfig, InitialWeights, TopKConfig};
use serde::{Deserialize, Serialize};

/// How the candidates Z of a window are chosen.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CandidateConfig {
    /// |Z|, the gold span included.
    pub count: usize,
    /// Longest candidate in tokens.
    pub max_answer_len: usize,
    /// Where the gold span stands.
    pub gold_slot: GoldSlot,
    /// Leaves out candidates with the gold span's tokens at another position. The paper compares by position, so false.
    pub drop_text_equal: bool,
}

impl Default for CandidateConfig {
    fn default() -> Self {
        Self {
            count: 20,
            max_answer_len: 30,
            gold_slot: GoldSlot::default(),
            drop_text_equal: false,
        }
    }
}

/// Which losses an arm trains on.
///
/// Reading of the ablations (Table 7): without hard learning Eq. 9 would train no span, so the span loss (Eq. 3) takes its place;
/// without contrast the span side stands alone with weight 1. Without both, the span loss is all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoundaryTerms {
    /// L_hard (Eq. 5) over the candidates.
    pub hard_learning: bool,
    /// L_con (Eq. 8) over the model's present answers.
    pub answer_contrast: bool,
}

impl Default for BoundaryTerms {
    fn default() -> Self {
        Self { hard_learning: true, answer_contrast: true }
    }
}

/// Options of [`BoundaryTask`](super::BoundaryTask).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoundaryConfig {
    /// α of Eq. 9, the share of the contrastive loss.
    pub alpha: f64,
    /// Learns in sequence: hard learning alone for this share of the steps, the contrastive loss with the span loss (Eq. 3)
    /// after that. Absent: both at once, as Eq. 9 has it.
    pub hard_share: Option<f64>,
    /// Where the learned weights start.
    pub initial_weights: InitialWeights,
    /// Peak learning rate of the learned weights; absent: the stage's. At 3e-5 they hardly move from their start.
    pub weights_learning_rate: Option<f64>,
    /// Under `hard_em`: steps over which it takes over from maximum marginal likelihood; absent: from the start.
    pub anneal_steps: Option<u64>,
    /// Leaves out answers with the gold span's tokens at another position from the wrong ones.
    pub drop_text_equal: bool,
    /// Weights of the candidates, and λ of an added gold term, which lies inside the hard-learning loss and so counts 1 − α.
    pub hard: HardLearningConfig,
    /// Temperature, negatives and vectors of the contrastive loss.
    pub contrast: AnswerContrastConfig,
    /// A, the model's present answers among which the negatives are: 50 of them.
    pub answers: TopKConfig,
}

impl Default for BoundaryConfig {
    fn default() -> Self {
        Self {
            alpha: 0.5,
            hard_share: None,
            initial_weights: InitialWeights::default(),
            weights_learning_rate: None,
            anneal_steps: None,
            drop_text_equal: false,
            hard: HardLearningConfig::default(),
            contrast: AnswerContrastConfig::default(),
            answers: TopKConfig { k: 50, ..Default::default() },
        }
    }
}

impl CandidateConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [("count", self.count), ("max_answer_len", self.max_answer_len)] {
            ensure!(value > 0, "candidates.{key} = 0: must be 1 or more");
        }
        Ok(())
    }
}

impl BoundaryConfig {
    /// Checks what the losses themselves would find only in training.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> Result<()> {
        let alpha = self.alpha;
        ensure!((0.0..=1.0).contains(&alpha), "boundary.alpha = {alpha}: must be from 0 to 1");
        if let Some(share) = self.hard_share {
            ensure!(
                (0.0..=1.0).contains(&share),
                "boundary.hard_share = {share}: must be from 0 to 1"
            );
        }
        if let Some(rate) = self.weights_learning_rate {
            ensure!(
                rate.is_finite() && rate >= 0.0,
                "boundary.weights_learning_rate = {rate}: must be 0 or more"
            );
        }
        let gold = self.hard.gold_loss_weight;
        ensure!(
            gold.is_finite() && gold >= 0.0,
            "boundary.hard.gold_loss_weight = {gold}: must be 0 or more"
        );
        let temperature = self.contrast.temperature;
        ensure!(
            temperature.is_finite() && temperature > 0.0,
            "boundary.contrast.temperature = {temperature}: must be above 0"
        );
        ensure!(self.answers.k > 0, "boundary.answers.k = 0: must be 1 or more");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_paper() {
        let config: BoundaryConfig = toml::from_str("").unwrap();
        assert_eq!(config, BoundaryConfig::default());
        assert_eq!((config.alpha, config.contrast.temperature), (0.5, 10.0));
        assert_eq!((config.answers.k, config.hard.gold_loss_weight), (50, 0.0));
        assert_eq!(toml::from_str::<CandidateConfig>("").unwrap(), CandidateConfig::default());
        assert_eq!(CandidateConfig::default().count, 20);
        assert_eq!(toml::from_str::<BoundaryTerms>("").unwrap(), BoundaryTerms::default());
        assert!(toml::from_str::<BoundaryConfig>("beta = 1").is_err());
    }

    #[test]
    fn wrong_values_are_named() {
        let refuse = |config: BoundaryConfig| config.validate().unwrap_err().to_string();
        let with = |alpha| BoundaryConfig { alpha, ..Default::default() };
        assert!(refuse(with(1.5)).contains("boundary.alpha = 1.5"));
        assert!(refuse(with(f64::NAN)).contains("boundary.alpha"));
        let mut cold = with(0.5);
        cold.contrast.temperature = 0.0;
        assert!(refuse(cold).contains("boundary.contrast.temperature = 0"));
        let none = CandidateConfig { count: 0, ..Default::default() };
        assert!(none.validate().unwrap_err().to_string().contains("candidates.count"));
    }
}
