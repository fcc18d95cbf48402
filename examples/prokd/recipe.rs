//! The keys of `recipe.toml` and their meaning.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use experiment::{BaseModel, InputPath, RunConfig};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::token_classification::{
    AlignmentConfig, EncodedSentences, HeldOut, SelfTrainingConfig, head,
};
use trainer::TrainConfig;
use transfer_eval::ner::{Labels, NerConfig, Sentence, read_ner};
use xlmr_model::{Head, Pretrained};

/// All options that determine a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    /// Entity types.
    pub types: Vec<String>,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub encoding: NerConfig,
    /// Inputs per batch of predictions.
    pub evaluation_batch_size: usize,
    pub teacher: TrainConfig,
    pub student: TrainConfig,
    pub alignment: AlignmentConfig,
    pub self_training: SelfTrainingConfig,
}

/// Paths of the data; formats are detected by [`transfer_eval::ner::NerFormat`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Tagged training sentences.
    pub train: InputPath,
    /// Tagged sentences of each target language. The documents of `untagged` are used for training,
    /// without their tags; the others are the test sentences.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub target: BTreeMap<Language, InputPath>,
    /// The documents of `target` that are used for training.
    pub untagged: HeldOut,
    /// Further test sentences by language, of which nothing is used for training.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub test: BTreeMap<Language, InputPath>,
}

/// Training of a teacher, which the arms share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Teacher {
    /// On the tagged sentences only.
    Plain,
    /// With aligned prototypes of the target languages.
    Aligned,
}

/// Targets of a student.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// The teacher's probabilities.
    Teacher,
    /// The teacher's probabilities, corrected by prototypes.
    Prototypes,
}

/// One arm: a teacher, and a student unless the teacher is evaluated.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teacher>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub student: Option<Targets>,
}

/// Name of the stage that trains a teacher.
pub const TEACHER: &str = "teacher";
/// Name of the stage that trains a student.
pub const STUDENT: &str = "student";

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "prokd";
    const ABOUT: &'static str = "Trains taggers of named entities for languages without tags, on the \
        predictions of a teacher and with prototypes of the classes.";
    const EXAMPLES: &'static str = "\
prokd examples/prokd/small.toml --seeds 3
prokd examples/prokd/recipe.toml --model xlm-roberta-base \\
    --set data.train=eng.train --set data.target.de=deu.train --out runs/prokd";
    const EVALUATION_KEYS: &'static [&'static str] = &["data.test", "arms.*.title"];
    experiment::recipe_fields!(Arm, stages: ["teacher", "student"]);

    fn validate(&self) -> Result<()> {
        ensure!(!self.types.is_empty(), "types = []: give types, such as [\"LOC\", \"PER\"]");
        self.data.train.required("data.train", "tagged sentences")?;
        ensure!(
            !self.data.target.is_empty(),
            "data.target is empty: give a file, such as data.target.de"
        );
        for path in self.data.target.values().chain(self.data.test.values()) {
            path.required("data.target.*, data.test.*", "tagged sentences of a language")?;
        }
        for (name, arm) in &self.arms {
            ensure!(arm.teacher.is_some(), "arms.{name}.teacher: is not set");
        }
        self.model.limits()?.check_length("encoding.max_length", self.encoding.max_length)?;
        for (key, config) in [(TEACHER, &self.teacher), (STUDENT, &self.student)] {
            config.validate().context(key)?;
            ensure!(
                config.steps.is_some(),
                "{key}.steps: is not set; epochs differ between languages"
            );
        }
        self.alignment.validate()?;
        Ok(self.self_training.validate()?)
    }
}

/// Sentences that are not encoded yet.
pub struct Sentences {
    pub train: Vec<Sentence>,
    /// Sentences of the target languages for training, with the tag `O` only.
    pub untagged: BTreeMap<Language, Vec<Sentence>>,
    pub test: BTreeMap<Language, Vec<Sentence>>,
}

impl Recipe {
    pub fn labels(&self) -> Labels {
        Labels::iob2(&self.types)
    }

    pub fn head(&self) -> Head {
        head(&self.labels())
    }

    /// Reads all files. Tags of the sentences for training in the target languages are removed.
    pub fn sentences(&self) -> Result<Sentences> {
        let (mut untagged, mut test) = (BTreeMap::new(), BTreeMap::new());
        for (&language, path) in &self.data.target {
            let split = self.data.untagged.split(read_ner(path, None)?);
            let (test_part, training_part) = split.context("data.untagged")?;
            let without_tags = |sentence: Sentence| {
                let tags = sentence.tags.iter().map(|_| "O".to_owned()).collect();
                Sentence { tags, ..sentence }
            };
            untagged.insert(language, training_part.into_iter().map(without_tags).collect());
            test.insert(language, test_part);
        }
        for (&language, path) in &self.data.test {
            ensure!(
                test.insert(language, read_ner(path, None)?).is_none(),
                "data.test.{language}: is in data.target, too"
            );
        }
        Ok(Sentences { train: read_ner(&self.data.train, None)?, untagged, test })
    }

    pub fn encode(&self, sentences: &[Sentence], model: &Pretrained) -> Result<EncodedSentences> {
        let labels = self.labels();
        Ok(EncodedSentences::new(sentences.to_vec(), &model.tokenizer, &labels, &self.encoding)?)
    }
}
