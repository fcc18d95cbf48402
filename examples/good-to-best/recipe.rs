//! The keys of `recipe.toml` and their meaning.
use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use examples::numbers::Item;
use experiment::{BaseModel, RunConfig, Sweeps};
use mlqa_eval::{Language, WindowConfig};
use objectives::{HardLearningWeighting, NegativeSelection};
use serde::{Deserialize, Serialize};
use tasks::question_answering::{DevSelection, QaConfig, ScoreConfig};
use tasks::two_stage::{BoundaryConfig, BoundaryTerms, MiningConfig};
use trainer::TrainConfig;

use crate::questions::QuestionSources;
use crate::report::{READER, STAGE_ONE};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Initial model of the second stage.
    pub start: StageTwoStart,
    /// Languages of the evaluation.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    pub run: RunConfig,
    pub model: BaseModel,
    pub data: QuestionSources,
    pub arms: BTreeMap<String, Arm>,
    /// Lists of values; each value becomes an arm.
    pub sweeps: Sweeps,
    pub windows: WindowConfig,
    pub qa: QaConfig,
    pub stage_one: TrainConfig,
    pub candidates: MiningConfig,
    pub boundary: BoundaryConfig,
    pub stage_two: TrainConfig,
    /// Selection of each stage's model.
    #[serde(skip_serializing_if = "DevSelection::is_default")]
    pub selection: DevSelection,
    pub evaluation: ScoreConfig,
    /// Unit that the bootstrap resamples.
    #[serde(skip_serializing_if = "Item::is_default")]
    pub bootstrap_unit: Item,
}

/// Initial model of the second stage. The paper does not specify this model. The default is the
/// base model: the paper's learning curves start with bad predictions, whereas the reader of the
/// first stage would start with good predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageTwoStart {
    /// The base model, as in the first stage.
    #[default]
    Base,
    /// The reader of the first stage.
    StageOne,
}

/// One arm of the second stage. A key that is not set has the recipe's value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables; absent: the arm's name.
    pub title: Option<String>,
    /// Weights of the candidates.
    pub weighting: Option<HardLearningWeighting>,
    /// α of Eq. 9, the weight of the contrastive loss; the weight of hard learning is 1 − α.
    pub alpha: Option<f64>,
    /// τ of Eq. 8.
    pub temperature: Option<f64>,
    /// Number of candidates, |Z|; `z` in sweeps.
    #[serde(alias = "z")]
    pub candidates: Option<usize>,
    /// λ of the gold term.
    pub gold_loss_weight: Option<f64>,
    /// Selection of the hard negatives.
    pub negatives: Option<NegativeSelection>,
    /// Losses of the second stage.
    pub terms: BoundaryTerms,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "good-to-best";
    const ABOUT: &'static str = "Trains a reader, uses its best spans as candidates, and trains again \
        with hard learning and answer-aware contrast (From Good to Best)";
    const EXAMPLES: &'static str = "\
good-to-best examples/good-to-best/small.toml --seeds 3
good-to-best examples/good-to-best/small.toml --arms 'weighting-*'
good-to-best examples/good-to-best/recipe.toml --model xlm-roberta-base \
--set 'data.train=[\"train-v1.1.json\"]' \
--set 'data.dev=[\"MLQA_V1/dev/dev-context-en-question-en.json\"]' \
--set data.mlqa=MLQA_V1/test --set data.xquad=xquad";
    const EVALUATION_KEYS: &'static [&'static str] = &[
        "languages",
        "data.name",
        "data.mlqa",
        "data.split",
        "data.xquad",
        "evaluation.top_k",
        "evaluation.decoding",
        "arms.*.title",
        "bootstrap_unit",
    ];
    experiment::recipe_fields!(Arm, stages: ["train"]);

    fn complete(&mut self) -> Result<()> {
        Ok(self.sweeps.add_to(&mut self.arms)?)
    }

    fn trials_are_independent(&self) -> bool {
        // Arms with hard learning compute or read the same candidates in the folder of stage one.
        let arms = self.run.selected_arms().iter().map(|name| &self.arms[name]);
        arms.filter(|arm| arm.terms.hard_learning).count() <= 1
    }

    fn validate(&self) -> Result<()> {
        self.data.validate(&self.languages)?;
        let limits = self.model.limits()?;
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        self.stage_one.validate().context("stage_one")?;
        self.stage_two.validate().context("stage_two")?;
        self.selection.validate()?;
        self.evaluation.validate()?;
        for (name, arm) in &self.arms {
            if [READER, STAGE_ONE].contains(&name.as_str()) {
                bail!("arms.{name}: this name is reserved for the first stage; rename the arm");
            }
            let (boundary, candidates) = self.boundary(arm);
            boundary.validate().with_context(|| format!("arms.{name}"))?;
            candidates.validate().with_context(|| format!("arms.{name}"))?;
        }
        Ok(())
    }
}

impl Recipe {
    /// Returns the second-stage options of an arm: losses and candidates.
    pub fn boundary(&self, arm: &Arm) -> (BoundaryConfig, MiningConfig) {
        let (mut boundary, mut candidates) = (self.boundary.clone(), self.candidates.clone());
        boundary.alpha = arm.alpha.unwrap_or(boundary.alpha);
        let (hard, contrast) = (&mut boundary.hard, &mut boundary.contrast);
        hard.weighting = arm.weighting.unwrap_or(hard.weighting);
        hard.gold_loss_weight = arm.gold_loss_weight.unwrap_or(hard.gold_loss_weight);
        contrast.temperature = arm.temperature.unwrap_or(contrast.temperature);
        contrast.selection = arm.negatives.unwrap_or(contrast.selection);
        candidates.count = arm.candidates.unwrap_or(candidates.count);
        (boundary, candidates)
    }
}
