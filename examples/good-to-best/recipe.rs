//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use examples::cloze_questions::ClozeQuestions;
use examples::folder::{self, RunRecipe};
use examples::machine::Machine;
use mlqa_eval::{Language, UnanswerableWindow, WindowConfig};
use objectives::{HardLearningWeighting, NegativeSelection};
use serde::{Deserialize, Serialize};
use tasks::question_answering::{QaConfig, QuestionFile, ScoreConfig, question_file};
use tasks::two_stage::{BoundaryConfig, BoundaryTerms, CandidateConfig, WEIGHTS};
use trainer::{GroupConfig, TrainConfig};
use xlmr_model::{Config, Segments};

/// Everything that decides a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// One run of all arms for each.
    pub seeds: Vec<u64>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// 0: one per core.
    pub threads: usize,
    /// `auto`, `highest`, `high` or `medium`.
    pub float32_matmul: String,
    /// Languages of the evaluation.
    pub languages: Vec<String>,
    /// Arms to run, in this order.
    pub run_arms: Vec<String>,
    /// Where the second stage starts.
    pub start: StageTwoStart,
    pub model: Start,
    pub data: Data,
    pub arms: BTreeMap<String, Arm>,
    pub sweeps: Sweeps,
    pub windows: WindowConfig,
    pub qa: QaConfig,
    pub stage_one: TrainConfig,
    pub candidates: CandidateConfig,
    pub boundary: BoundaryConfig,
    pub stage_two: TrainConfig,
    pub evaluation: ScoreConfig,
}

/// Where the second stage starts. The paper does not say it in words; its learning curves start from bad predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageTwoStart {
    /// From the base, as the first stage does.
    #[default]
    Base,
    /// From the reader of the first stage.
    StageOne,
}

/// The checkpoint a run starts from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// Hugging Face folder.
    pub path: PathBuf,
    /// Segment embeddings.
    pub segments: Segments,
}

/// Where the data lies.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// SQuAD-style training files: English alone for zero-shot, with the translations for translate-train.
    pub train: Vec<PathBuf>,
    /// Folder with MLQA's question files.
    pub mlqa: PathBuf,
    /// The split in MLQA's file names, and of the questions made from passages: `dev` or `test`.
    pub split: String,
    /// Folder with `xquad.<lang>.json`; empty: XQuAD is not evaluated.
    pub xquad: PathBuf,
    /// Makes training and evaluation questions from passages; not with the files above.
    pub cloze: Option<ClozeQuestions>,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            train: Vec::new(),
            mlqa: PathBuf::new(),
            split: "test".into(),
            xquad: PathBuf::new(),
            cloze: None,
        }
    }
}

/// One arm of the second stage. Absent keys are those of the recipe.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// What tables call it; absent: its name.
    pub title: Option<String>,
    /// Weights of the candidates.
    pub weighting: Option<HardLearningWeighting>,
    /// α of Eq. 9.
    pub alpha: Option<f64>,
    /// τ of Eq. 8.
    pub temperature: Option<f64>,
    /// |Z|.
    pub candidates: Option<usize>,
    /// λ of the gold term.
    pub gold_loss_weight: Option<f64>,
    /// Which answers are the hard negatives.
    pub negatives: Option<NegativeSelection>,
    /// Losses.
    pub terms: BoundaryTerms,
}

/// Values that `--ablate` runs through.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sweeps {
    /// Weights of the candidates.
    pub weighting: Vec<HardLearningWeighting>,
    /// α.
    pub alpha: Vec<f64>,
    /// τ.
    pub temperature: Vec<f64>,
    /// |Z|.
    pub z: Vec<usize>,
}

impl Default for Sweeps {
    fn default() -> Self {
        use HardLearningWeighting::{HardEm, Learned, Mml, Uniform};
        Self {
            weighting: vec![Learned, HardEm, Mml, Uniform],
            alpha: vec![0.1, 0.3, 0.5, 0.7, 0.9],
            temperature: vec![1.0, 2.0, 4.0, 8.0, 10.0, 12.0, 20.0],
            z: vec![1, 5, 10, 20, 50],
        }
    }
}

/// Which values are run through.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Sweep {
    /// Learned weights, hard EM, MML, uniform
    Weighting,
    /// The share of the contrastive loss
    Alpha,
    /// The temperature of the contrastive loss
    Temperature,
    /// The number of candidates
    Z,
}

impl Recipe {
    /// Adds the arms of all sweeps, so that a run folder may hold any of them.
    pub fn add_sweeps(&mut self) -> Result<()> {
        for sweep in Sweep::value_variants() {
            self.arms.extend(self.sweep_arms(*sweep)?);
        }
        Ok(())
    }

    /// Puts the arms of a sweep in place of `run_arms`.
    pub fn run_sweep(&mut self, sweep: Sweep) -> Result<()> {
        self.run_arms = self.sweep_arms(sweep)?.into_iter().map(|(name, _)| name).collect();
        if self.run_arms.is_empty() {
            bail!("sweeps: no value to run through");
        }
        Ok(())
    }

    fn sweep_arms(&self, sweep: Sweep) -> Result<Vec<(String, Arm)>> {
        let Sweeps { weighting, alpha, temperature, z } = &self.sweeps;
        let arm = Arm::default;
        Ok(match sweep {
            Sweep::Weighting => weighting
                .iter()
                .map(|&value| {
                    let name = toml::Value::try_from(value)?;
                    let name = name.as_str().unwrap_or_default().replace('_', "-");
                    Ok((format!("weighting-{name}"), Arm { weighting: Some(value), ..arm() }))
                })
                .collect::<Result<_>>()?,
            Sweep::Alpha => alpha
                .iter()
                .map(|&value| (format!("alpha-{value}"), Arm { alpha: Some(value), ..arm() }))
                .collect(),
            Sweep::Temperature => temperature
                .iter()
                .map(|&value| {
                    (format!("temperature-{value}"), Arm { temperature: Some(value), ..arm() })
                })
                .collect(),
            Sweep::Z => z
                .iter()
                .map(|&value| (format!("z-{value}"), Arm { candidates: Some(value), ..arm() }))
                .collect(),
        })
    }

    /// The second stage of an arm: options of its losses and of its candidates.
    pub fn boundary(&self, arm: &Arm) -> (BoundaryConfig, CandidateConfig) {
        let (mut boundary, mut candidates) = (self.boundary.clone(), self.candidates.clone());
        boundary.alpha = arm.alpha.unwrap_or(boundary.alpha);
        boundary.hard.weighting = arm.weighting.unwrap_or(boundary.hard.weighting);
        boundary.hard.gold_loss_weight =
            arm.gold_loss_weight.unwrap_or(boundary.hard.gold_loss_weight);
        boundary.contrast.temperature = arm.temperature.unwrap_or(boundary.contrast.temperature);
        boundary.contrast.selection = arm.negatives.unwrap_or(boundary.contrast.selection);
        candidates.count = arm.candidates.unwrap_or(candidates.count);
        (boundary, candidates)
    }

    /// The optimiser of the second stage; `learned`: the candidates' weights are among its parameters.
    pub fn stage_two(&self, seed: u64, learned: bool) -> TrainConfig {
        let mut config = TrainConfig { seed, ..self.stage_two.clone() };
        if learned {
            let weights = GroupConfig {
                prefixes: vec![WEIGHTS.into()],
                learning_rate: self.boundary.weights_learning_rate,
                weight_decay: Some(0.0),
                frozen: false,
            };
            config.groups.insert(0, weights);
        }
        config
    }

    /// Windows of the second stage: those that hold their gold span.
    pub fn gold_windows(&self) -> WindowConfig {
        WindowConfig { unanswerable_window: UnanswerableWindow::Drop, ..self.windows.clone() }
    }

    /// Training files; `made`: the folder with questions made from passages.
    pub fn train_files(&self, made: &Path) -> Vec<PathBuf> {
        match self.data.cloze {
            Some(_) => vec![made.join("train.json")],
            None => self.data.train.clone(),
        }
    }

    /// Evaluation files by the name of their set.
    pub fn evaluation_files(&self, made: &Path) -> Result<BTreeMap<String, Vec<QuestionFile>>> {
        let mut sets = BTreeMap::new();
        let (name, folder) = match self.data.cloze {
            Some(_) => ("cloze", made),
            None => ("mlqa", self.data.mlqa.as_path()),
        };
        let files = |of: &dyn Fn(Language) -> PathBuf, squad_rules: bool| {
            let own = self.languages.iter().map(|language| {
                let context: Language = language.parse()?;
                Ok(QuestionFile { context, question: context, path: of(context), squad_rules })
            });
            own.collect::<Result<Vec<_>>>()
        };
        let split = &self.data.split;
        let own = files(&|own| question_file(folder, split, own, own), false)?;
        sets.insert(name.to_owned(), own);
        if !self.data.xquad.as_os_str().is_empty() {
            let xquad = &self.data.xquad;
            let own = files(&|own| xquad.join(format!("xquad.{own}.json")), true)?;
            sets.insert("xquad".to_owned(), own);
        }
        Ok(sets)
    }

    fn validate_data(&self) -> Result<()> {
        let mut required =
            vec![("model.path", &self.model.path, "a Hugging Face folder of XLM-R (--model DIR)")];
        if let Some(cloze) = &self.data.cloze {
            cloze.validate().context("data")?;
            if let Some(language) = self.languages.iter().find(|own| !cloze.languages.contains(own))
            {
                bail!("languages: {language} is not among data.cloze.languages");
            }
        } else {
            if self.data.train.is_empty() {
                bail!(
                    "data.train is not set: give SQuAD-style training files, for instance with --set \
                     'data.train=[\"train-v1.1.json\"]'"
                );
            }
            let what = "a SQuAD-style training file";
            required.extend(self.data.train.iter().map(|path| ("data.train", path, what)));
            required.push(("data.mlqa", &self.data.mlqa, "a folder with MLQA's question files"));
        }
        for (key, value, what) in required {
            if value.as_os_str().is_empty() {
                bail!("{key} is not set: give {what}, for instance with --set {key}=PATH");
            }
            if !value.exists() {
                bail!("{key} = {}: no such file or folder", value.display());
            }
        }
        let split = &self.data.split;
        if !["dev", "test"].contains(&split.as_str()) {
            bail!("data.split = {split:?}: must be \"dev\" or \"test\"");
        }
        for (set, files) in self.evaluation_files(Path::new(""))? {
            for QuestionFile { path, .. } in files {
                if set != "cloze" && !path.exists() {
                    bail!(
                        "{}: no such file; data.{set} must hold its question files",
                        path.display()
                    );
                }
            }
        }
        Ok(())
    }
}

impl RunRecipe for Recipe {
    fn validate(&self) -> Result<()> {
        if self.languages.is_empty() {
            bail!("languages = []: give at least one");
        }
        self.validate_data()?;
        let positions = Config::from_file(self.model.path.join("config.json"))?.max_length();
        let length = self.windows.max_length;
        if i64::try_from(length).map_or(true, |length| length > positions) {
            bail!("windows.max_length = {length}: the model has {positions} positions");
        }
        self.stage_one.validate().context("stage_one")?;
        self.stage_two.validate().context("stage_two")?;
        self.evaluation.validate()?;
        if self.seeds.is_empty() {
            bail!("seeds = []: give at least one");
        }
        if let Some(name) = self.run_arms.iter().find(|name| !self.arms.contains_key(*name)) {
            let known: Vec<&str> = self.arms.keys().map(String::as_str).collect();
            bail!("run_arms: no arm is called {name:?} (arms: {})", known.join(", "));
        }
        for (name, arm) in &self.arms {
            if ["before", "stage-one"].contains(&name.as_str()) {
                bail!("arms.{name}: this name is the first stage's; give the arm another");
            }
            let (boundary, candidates) = self.boundary(arm);
            boundary.validate().with_context(|| format!("arms.{name}"))?;
            candidates.validate().with_context(|| format!("arms.{name}"))?;
        }
        Ok(())
    }

    fn decisive(&self) -> Self {
        let plain = |config: &TrainConfig| TrainConfig {
            checkpoint_steps: None,
            keep_checkpoints: 1,
            log_steps: 1,
            ..config.clone()
        };
        Self {
            seeds: Vec::new(),
            run_arms: Vec::new(),
            device: String::new(),
            threads: 0,
            stage_one: plain(&self.stage_one),
            stage_two: plain(&self.stage_two),
            ..self.clone()
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = folder::model_files(&self.model.path)?;
        match &self.data.cloze {
            Some(cloze) => {
                let corpus = &cloze.corpus;
                files
                    .extend(folder::files(&corpus.extracts, |name| name.starts_with("entities."))?);
                let text = |name: &str| name.ends_with(".tsv") || name.starts_with("vi-vtb.");
                files.extend(folder::files(&corpus.sentences, text)?);
                files.extend(folder::files(&corpus.paragraphs, |name| name.starts_with("xquad."))?);
            }
            None => {
                files.extend(self.data.train.iter().cloned());
                let sets = self.evaluation_files(Path::new(""))?;
                files.extend(sets.into_values().flatten().map(|file| file.path));
            }
        }
        Ok(files)
    }

    fn machine(&self) -> Result<Machine> {
        Machine::set_up(&self.device, self.threads, &self.float32_matmul)
    }
}
