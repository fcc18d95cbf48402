//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use examples::folder::{self, RunRecipe};
use examples::machine::Machine;
use serde::{Deserialize, Serialize};
use trainer::TrainConfig;
use transfer_eval::ner::NerConfig;
use transfer_eval::{Protocol, Selection};
use xlmr_model::Config;

/// Everything that decides a run. Defaults are [`Protocol::ner`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// One run of all starts for each.
    pub seeds: Vec<u64>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// 0: one per core.
    pub threads: usize,
    /// `auto`, `highest`, `high` or `medium`.
    pub float32_matmul: String,
    /// Types of entities.
    pub types: Vec<String>,
    /// Development sets that choose the epoch.
    pub selection: Selection,
    /// Inputs in a batch of evaluation.
    pub evaluation_batch_size: usize,
    /// Hugging Face folders to start from, by the name of their rows in the table.
    pub models: BTreeMap<String, PathBuf>,
    pub data: Data,
    pub encoding: NerConfig,
    pub fine_tuning: TrainConfig,
}

/// Where the data lies; formats as [`transfer_eval::ner::NerFormat`] detects them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// What tables call the data set.
    pub name: String,
    /// English training sentences.
    pub train: PathBuf,
    /// Development files by language; not with `held_out`.
    pub dev: BTreeMap<String, PathBuf>,
    /// A part of `train` as the development set of `en`.
    pub held_out: Option<HeldOut>,
    /// Test files by language.
    pub test: BTreeMap<String, PathBuf>,
}

/// Documents that are kept from training.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeldOut {
    /// At least this share of the sentences, above 0 and below 1.
    pub share: f64,
    /// Chooses the documents; the same for all seeds of a run.
    pub seed: u64,
}

impl Default for HeldOut {
    fn default() -> Self {
        Self { share: 0.2, seed: 1234 }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self {
            name: "NER".into(),
            train: PathBuf::new(),
            dev: BTreeMap::new(),
            held_out: None,
            test: BTreeMap::new(),
        }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        let protocol = Protocol::ner();
        Self {
            seeds: protocol.seeds,
            device: "auto".into(),
            threads: 0,
            float32_matmul: "auto".into(),
            types: ["LOC", "MISC", "ORG", "PER"].map(String::from).into(),
            selection: protocol.selection,
            evaluation_batch_size: 64,
            models: BTreeMap::new(),
            data: Data::default(),
            encoding: NerConfig { max_length: protocol.max_length, ..NerConfig::default() },
            fine_tuning: TrainConfig {
                learning_rate: protocol.learning_rate,
                warmup_ratio: protocol.warmup_ratio,
                batch_size: protocol.batch_size,
                epochs: protocol.epochs,
                weight_decay: 0.0,
                ..TrainConfig::default()
            },
        }
    }
}

impl RunRecipe for Recipe {
    fn validate(&self) -> Result<()> {
        self.protocol().validate()?;
        self.fine_tuning.validate().context("fine_tuning")?;
        if self.fine_tuning.steps.is_some() {
            bail!("fine_tuning.steps: the best epoch is chosen, so set fine_tuning.epochs instead");
        }
        if self.evaluation_batch_size == 0 {
            bail!("evaluation_batch_size = 0: must be 1 or more");
        }
        if self.types.is_empty() {
            bail!("types = []: give the types of entities, such as [\"LOC\", \"ORG\", \"PER\"]");
        }
        self.validate_data()?;
        if self.models.is_empty() {
            bail!("models is empty: give a Hugging Face folder of XLM-R (--model DIR)");
        }
        for (name, path) in &self.models {
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
                bail!("models: {name:?} cannot name a folder");
            }
            let key = format!("models.{name}");
            exists(&key, path)?;
            let positions = Config::from_file(path.join("config.json"))?.max_length();
            let length = self.encoding.max_length;
            if i64::try_from(length).map_or(true, |length| length > positions) {
                bail!("encoding.max_length = {length}: {key} has {positions} positions");
            }
        }
        Ok(())
    }

    fn decisive(&self) -> Self {
        Self {
            seeds: Vec::new(),
            device: String::new(),
            threads: 0,
            fine_tuning: TrainConfig {
                checkpoint_steps: None,
                keep_checkpoints: 1,
                log_steps: 1,
                ..self.fine_tuning.clone()
            },
            ..self.clone()
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = vec![self.data.train.clone()];
        files.extend(self.data.dev.values().chain(self.data.test.values()).cloned());
        for path in self.models.values() {
            files.extend(folder::model_files(path)?);
        }
        Ok(files)
    }

    fn machine(&self) -> Result<Machine> {
        Machine::set_up(&self.device, self.threads, &self.float32_matmul)
    }
}

impl Recipe {
    fn validate_data(&self) -> Result<()> {
        let data = &self.data;
        exists("data.train", &data.train)?;
        for (part, files) in [("dev", &data.dev), ("test", &data.test)] {
            for (language, path) in files {
                exists(&format!("data.{part}.{language}"), path)?;
            }
        }
        if data.test.is_empty() {
            bail!("data.test is empty: give a file for each language, as data.test.de = \"PATH\"");
        }
        if data.test.contains_key("average") {
            bail!("data.test.average: this name is the table's own");
        }
        match &data.held_out {
            Some(_) if !data.dev.is_empty() => {
                bail!("data.held_out: development files are given too; leave one of the two out")
            }
            Some(HeldOut { share, .. }) if !(*share > 0.0 && *share < 1.0) => {
                bail!("data.held_out.share = {share}: must be above 0 and below 1")
            }
            None if data.dev.is_empty() => bail!(
                "data.dev is empty: give a file for each language, or data.held_out = {{ share = 0.2 }}"
            ),
            None if self.selection == Selection::EnglishOnly && !data.dev.contains_key("en") => {
                bail!("selection = \"english_only\": data.dev.en is needed")
            }
            _ => Ok(()),
        }
    }

    /// The recipe as the paper's protocol.
    pub fn protocol(&self) -> Protocol {
        Protocol {
            epochs: self.fine_tuning.epochs,
            learning_rate: self.fine_tuning.learning_rate,
            batch_size: self.fine_tuning.batch_size,
            max_length: self.encoding.max_length,
            warmup_ratio: self.fine_tuning.warmup_ratio,
            seeds: self.seeds.clone(),
            selection: self.selection,
        }
    }
}

fn exists(key: &str, path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() {
        bail!("{key} is not set: give a path, for instance with --set {key}=PATH");
    }
    if !path.exists() {
        bail!("{key} = {}: no such file or folder", path.display());
    }
    Ok(())
}
