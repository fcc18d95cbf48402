//! The keys of `recipe.toml`: models, and tasks with their data and protocols. Each combination of
//! a model and a task with data is an arm, `<task>.<model>`.
use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use experiment::{Adapters, ModelFolder, RunConfig};
use serde::{Deserialize, Serialize};
use tch::Device;
use xlmr_model::{Config, Head, LoadOptions, Pretrained};

use crate::benchmark::{self, Split};
use crate::suite::Tasks;

/// Name of the fine-tuning stage.
pub const STAGE: &str = "fine-tune";

/// All options that determine a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    /// Hugging Face folders by name. They become arms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelFolder>,
    /// Adapters that are added to every fine-tuned model. The adapters are trained, and the encoder
    /// is frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapters: Option<Adapters>,
    /// Benchmarks to evaluate. For each benchmark with data, every model becomes an arm.
    #[serde(skip_serializing_if = "Tasks::is_empty")]
    pub tasks: Tasks,
    /// The arms, each with one model and one task.
    pub arms: BTreeMap<String, Arm>,
    /// Names of the recipe's tasks that have no data.
    #[serde(skip)]
    pub skipped: Vec<String>,
}

/// One model and one task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    pub model: ModelFolder,
    pub tasks: Tasks,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "transfer-suite";
    const ABOUT: &'static str = "Evaluates models like the papers: fine-tuned on English and tested in \
        other languages on MLQA, named entities, XNLI, relations and open extraction, and probed for facts without \
        training.";
    const EXAMPLES: &'static str = "\
transfer-suite examples/transfer-suite/small.toml --model base=data/base --out runs/suite
transfer-suite examples/transfer-suite/small.toml --model base=data/base \\
    --model xlm-k=runs/xlm-k/seed-0/xlm-k/model --arms 'facts.*,xnli.*'
transfer-suite examples/transfer-suite/recipe.toml --model xlm-roberta-base \\
    --set tasks.xnli.data.train=multinli_1.0_train.txt --set tasks.xnli.data.dev=xnli.dev.tsv \\
    --set tasks.xnli.data.test=xnli.test.tsv";
    const MODEL: &'static str = "models.*";
    const EVALUATION_KEYS: &'static [&'static str] = &[
        "arms.*.tasks.*.data.name",
        "arms.*.tasks.*.data.test",
        "arms.*.tasks.mlqa.decoding",
        "arms.*.tasks.lama.data",
        "arms.*.tasks.facts.data",
    ];

    const STAGES: &'static [&'static str] = &[STAGE];
    experiment::recipe_fields!(Arm);

    fn adapters(&self) -> Option<&Adapters> {
        self.adapters.as_ref()
    }

    fn complete(&mut self) -> Result<()> {
        let models = std::mem::take(&mut self.models);
        for tasks in std::mem::take(&mut self.tasks).split() {
            // The recipe need not have all benchmarks.
            if tasks.is_empty() {
                continue;
            }
            let (row, task) = tasks.single().expect("a split has at most one task");
            if !task.info().has_data {
                self.skipped.push(row.name.to_owned());
                continue;
            }
            for (name, model) in &models {
                let arm = Arm { model: model.clone(), tasks: tasks.clone() };
                self.arms.entry(format!("{}.{name}", row.name)).or_insert(arm);
            }
        }
        let advice = "give --model NAME=DIR, and data for a task";
        ensure!(!self.arms.is_empty(), "nothing to run: {advice}");
        for arm in self.arms.values_mut() {
            if let Some(lama) = &mut arm.tasks.lama {
                lama.find_parts();
            }
        }
        Ok(())
    }

    fn validate(&self) -> Result<()> {
        for (name, arm) in &self.arms {
            arm.model.required(&format!("arms.{name}.model"), "a Hugging Face folder")?;
            let (row, task) = arm.tasks.single().with_context(|| format!("arms.{name}"))?;
            if let Some(adapters) = self.adapters.as_ref().filter(|_| row.fine_tunes) {
                adapters.validate("adapters", &Config::of_folder(&arm.model)?)?;
            }
            benchmark::validate(task).with_context(|| format!("tasks.{}", row.name))?;
        }
        Ok(())
    }

    /// Reads and encodes all training and test data, so that errors are found before training.
    fn check_inputs(&self) -> Result<()> {
        for name in self.run.selected_arms() {
            let arm = &self.arms[name];
            let (row, task) = arm.tasks.single()?;
            let head = task.head();
            let options = LoadOptions::default();
            let (model, report) = Pretrained::load(&arm.model, &[head], Device::Cpu, options)?;
            if head == Head::MaskedLm && !report.missing.is_empty() {
                bail!(
                    "{}: {} is missing, but {} needs the pre-trained head; exclude the model \
                     (--arms), or give a model with a masked-LM head",
                    arm.model.display(),
                    report.missing.join(", "),
                    row.name
                );
            }
            let encode = || -> Result<()> {
                if row.fine_tunes {
                    task.training_task(&model)?;
                    task.scorer(Split::Development, &model)?;
                }
                task.scorer(Split::Test, &model).map(drop)
            };
            encode().with_context(|| format!("{name}: tasks.{}", row.name))?;
        }
        Ok(())
    }
}

/// Returns the name of the model in the name of an arm.
pub fn model_of(arm: &str) -> &str {
    arm.split_once('.').map_or(arm, |(_, model)| model)
}

/// Returns the name of the task in the name of an arm.
pub fn task_of(arm: &str) -> &str {
    arm.split_once('.').map_or(arm, |(task, _)| task)
}
