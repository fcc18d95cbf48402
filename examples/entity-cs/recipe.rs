//! The keys of `recipe.toml` and their meaning.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use examples::sentences;
use experiment::{BaseModel, InputPath, RunConfig, ShardPaths, TsvFolder};
use kg_triples::Language;
use kg_triples::jsonl::JsonlReader;
use kg_triples::phrases::PhrasePassage;
use kg_triples::switch::LabelPair;
use serde::{Deserialize, Serialize};
use tasks::masked_lm::{LanguageShares, PassageMasking, PhraseTaskConfig};
use trainer::{ShuffleConfig, TrainConfig};

/// All options that determine a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    /// Maximum sentence length in tokens, including special tokens; longer sentences are truncated.
    pub max_length: usize,
    pub pretraining: TrainConfig,
    pub task: PhraseTaskConfig,
    pub languages: LanguageShares,
    #[serde(skip_serializing_if = "ShuffleConfig::is_default")]
    pub shuffle: ShuffleConfig,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Switched texts and their English sources, in a folder that `kg-triples switch` wrote. The
    /// model with the lowest perplexity on the folder's validation texts is selected; without
    /// validation texts, the last model is used. The labels in the subfolder `probe` are the
    /// queries of label retrieval.
    pub switched: ShardPaths,
    /// Folder with `<lang>.tsv`: sentences without switched entities, on which the masked-LM loss
    /// of each model is computed.
    #[serde(skip_serializing_if = "InputPath::is_unset")]
    pub sentences: TsvFolder,
}

/// Training sentences of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceText {
    /// Switched sentences. Their English sources are used as an additional language.
    Switched,
    /// Only the English sources, without switched entities.
    Source,
}

/// One arm. Without `text`, nothing is trained.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<SourceText>,
    /// Folder that replaces `data.switched` in training. The evaluation always uses the probe in
    /// `data.switched`.
    #[serde(skip_serializing_if = "ShardPaths::is_unset")]
    pub switched: ShardPaths,
    /// Replaces `task.masking`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masking: Option<PassageMasking>,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "entity-cs";
    const ABOUT: &'static str = "Continues to train XLM-R on English sentences whose entities are \
        switched to other languages, with masks on entities.";
    const EXAMPLES: &'static str = "\
entity-cs examples/entity-cs/small.toml --prepare --seeds 3
entity-cs examples/entity-cs/recipe.toml --model xlm-roberta-base \\
    --set data.switched=switched --out runs/entity-cs";
    const EVALUATION_KEYS: &'static [&'static str] = &["data.sentences", "arms.*.title"];
    experiment::recipe_fields!(Arm, stages: ["pretrain"]);

    fn validate(&self) -> Result<()> {
        let unset = InputPath::default();
        let switched = self.data.switched.first().unwrap_or(&unset);
        switched
            .required("data.switched", "an output folder of `kg-triples switch --with-source`")?;
        self.task.masking.validate().map_err(|error| anyhow!("task.{error}"))?;
        for (name, arm) in &self.arms {
            let masking = arm.masking.iter().try_for_each(PassageMasking::validate);
            masking.map_err(|error| anyhow!("arms.{name}.{error}"))?;
        }
        self.model.limits()?.check_length("max_length", self.max_length)?;
        self.pretraining.validate().context("pretraining")?;
        self.languages.validate().context("languages")?;
        Ok(())
    }
}

/// Labels of entities that were switched in training, and labels of entities that were not
/// switched.
pub type LabelGroups = [Vec<LabelPair>; 2];

impl Data {
    /// Returns the query labels of each language; empty if the folder has no probe.
    pub fn labels(&self) -> Result<BTreeMap<Language, LabelGroups>> {
        let mut groups: BTreeMap<Language, LabelGroups> = BTreeMap::new();
        for folder in self.switched.iter() {
            for (index, name) in ["switched", "held-out"].into_iter().enumerate() {
                let path = folder.join(format!("probe/{name}.jsonl.gz"));
                let pairs = path.exists().then(|| JsonlReader::<LabelPair>::open(&path));
                for pair in pairs.transpose()?.into_iter().flatten() {
                    let pair = pair?;
                    let groups_of_language = groups.entry(pair.language).or_default();
                    groups_of_language.get_mut(index).context("two groups")?.push(pair);
                }
            }
        }
        Ok(groups)
    }

    /// Returns sentences without switched entities as passages; empty if no folder is set.
    pub fn unswitched_sentences(
        &self,
        languages: &BTreeSet<Language>,
    ) -> Result<BTreeMap<Language, Vec<PhrasePassage>>> {
        let languages = languages.iter().filter(|_| self.sentences.is_set());
        sentences::read(&self.sentences, languages, usize::MAX)
    }
}

impl Recipe {
    /// Returns the masking options of an arm.
    pub fn task_config(&self, arm: &Arm) -> PhraseTaskConfig {
        let masking = arm.masking.clone().unwrap_or_else(|| self.task.masking.clone());
        PhraseTaskConfig { masking, ..self.task.clone() }
    }

    /// Returns the options for scoring sentences: plain masked language modelling.
    pub fn scoring_config(&self) -> PhraseTaskConfig {
        PhraseTaskConfig { segment: self.task.segment, ..PhraseTaskConfig::default() }
    }
}
