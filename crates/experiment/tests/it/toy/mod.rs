//! A recipe that trains one parameter towards the mean of some numbers. The evaluation measures the
//! parameter's mean distance from other numbers.
#![allow(dead_code, missing_docs)] // each program uses a part of the module
#![allow(clippy::unwrap_used)] // helpers of tests

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use experiment::{Experiment, InputPath, Recipe, Results, RunConfig, Trial, read_json, write_json};
use results::{MeanInterval, Table, cell};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError, TrainConfig};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Toy {
    pub run: RunConfig,
    pub data: Data,
    pub arms: BTreeMap<String, Arm>,
    pub training: TrainConfig,
    pub evaluation: Evaluation,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    pub train: InputPath,
    pub evaluation: InputPath,
    pub start: InputPath,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    pub shift: f64,
    /// The name of another arm whose shift is added.
    pub like: Option<String>,
    pub languages: Vec<String>,
    pub title: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    pub scale: f64,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { scale: 1.0 }
    }
}

thread_local! {
    /// Calls of the recipe's functions, in order.
    pub static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Returns the calls since the last call of this function.
pub fn take_calls() -> Vec<String> {
    CALLS.take()
}

fn record_call(call: String) {
    CALLS.with_borrow_mut(|calls| calls.push(call));
}

impl Recipe for Toy {
    const NAME: &'static str = "toy";
    const ABOUT: &'static str = "Finds the mean of numbers.";
    const MODEL: &'static str = "data.start";
    const EXAMPLES: &'static str = "toy toy.toml --seeds 3\ntoy toy.toml --arms 'a*'";
    const EVALUATION_KEYS: &'static [&'static str] =
        &["evaluation", "data.evaluation", "arms.*.title"];
    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        self.data.train.required("data.train", "a file of numbers")?;
        self.training.validate().context("training")
    }

    fn check_inputs(&self) -> Result<()> {
        record_call("check".into());
        read_numbers(&self.data.train).map(drop)
    }

    fn trials_are_independent(&self) -> bool {
        let mut arms = self.run.selected_arms().iter().map(|name| &self.arms[name]);
        arms.all(|arm| arm.like.is_none())
    }

    fn variants(&self, arm: &str) -> Vec<String> {
        self.arms[arm].languages.clone()
    }
}

/// Reads a list of numbers, which must not be empty, from a JSON file.
pub fn read_numbers(path: &Path) -> Result<Vec<f64>> {
    let numbers: Vec<f64> = read_json(path)?;
    if numbers.is_empty() {
        bail!("{}: no number", path.display());
    }
    Ok(numbers)
}

struct Distance {
    parameter: Tensor,
    numbers: Vec<f64>,
    lengths: Vec<usize>,
}

impl Task for Distance {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("numbers", &self.numbers);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        // Tests set `TOY_SIGTERM` to the step in which SIGTERM is raised.
        if std::env::var("TOY_SIGTERM")
            .is_ok_and(|sigterm_step| sigterm_step == step.batch_index.to_string())
        {
            signal_hook::low_level::raise(signal_hook::consts::SIGTERM)?;
        }
        let batch: Vec<f32> = step.batch.iter().map(|&k| self.numbers[k] as f32).collect();
        let loss = (&self.parameter - Tensor::from_slice(&batch)).square().mean(Kind::Float);
        Ok(StepLosses::single("distance", loss))
    }
}

pub fn train(trial: &Trial<Toy>) -> Result<f64> {
    record_call(format!("train {}", trial.label()));
    experiment::log(format!("training {}", trial.label()));
    let shift = |name: &String| trial.recipe.arms.get(name).map_or(0.0, |arm| arm.shift);
    let shift = trial.arm.shift + trial.arm.like.as_ref().map_or(0.0, shift);
    let numbers = read_numbers(&trial.recipe.data.train)?.iter().map(|x| x + shift).collect();
    let parameter = Tensor::zeros([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let parameters = [("parameter".to_owned(), parameter.shallow_clone())];
    let lengths = vec![1; 4];
    let mut task = Distance { parameter: parameter.shallow_clone(), numbers, lengths };
    let report = trial.fit("fit", &trial.recipe.training, &parameters, &mut task)?;
    write_json(trial.dir("model").join("model.json"), &parameter.double_value(&[0]))?;
    Ok(report.final_loss)
}

pub fn evaluate(trial: &Trial<Toy>, _loss: &f64) -> Result<f64> {
    record_call(format!("evaluate {}", trial.label()));
    let parameter: f64 = read_json(trial.dir("model").join("model.json"))?;
    let numbers = read_numbers(&trial.recipe.data.evaluation)?;
    write_json(trial.dir("answers").join("numbers.json"), &numbers)?;
    let distance: f64 = numbers.iter().map(|x| (x - parameter).abs()).sum();
    Ok(trial.recipe.evaluation.scale * distance / numbers.len() as f64)
}

pub fn run(experiment: &Experiment<Toy>) -> Result<()> {
    let results = experiment.each(train, evaluate)?;
    report(experiment, &results)
}

fn report(experiment: &Experiment<Toy>, results: &Results<f64, f64>) -> Result<()> {
    let mut table = Table::new("distance", ["mean"]);
    let mut summary = BTreeMap::new();
    for arm in experiment.arms() {
        let values: Vec<f64> = results.of_arm(arm).map(|result| result.evaluated).collect();
        let title = experiment.recipe.arms.get(arm).and_then(|arm| arm.title.as_ref());
        table.add_row(title.unwrap_or(arm), [cell(Some(MeanInterval::of(values.iter().copied())))]);
        summary.insert(arm, values);
    }
    experiment.finish(&summary, &table.to_string(), "")?;
    Ok(())
}

/// A folder with inputs and a recipe for them.
pub struct TestRun {
    pub folder: tempfile::TempDir,
}

impl TestRun {
    pub fn new() -> Self {
        let test_run = Self { folder: tempfile::tempdir().unwrap() };
        test_run.write("train.json", "[1.0, 2.0, 3.0, 4.0]");
        test_run.write("evaluation.json", "[2.0, 3.0]");
        let data = test_run.path("");
        let text = format!(
            "[run]\ndevice = \"cpu\"\nthreads = 1\nfloat32_matmul = \"highest\"\n\
             arms = [\"plain\", \"far\"]\n\
             [data]\ntrain = \"{0}train.json\"\nevaluation = \"{0}evaluation.json\"\n\
             [arms.plain]\n[arms.far]\nshift = 10.0\n[arms.further]\nshift = 5.0\nlike = \"far\"\n\
             [training]\nsteps = 6\nbatch_size = 2\nlearning_rate = 0.5\ncheckpoint_steps = 2\n",
            data.display()
        );
        test_run.write("toy.toml", &text);
        take_calls();
        test_run
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn out(&self) -> PathBuf {
        self.path("run")
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs the toy recipe in the run folder `out` with additional options.
    pub fn start_in(&self, out: &Path, options: &[&str]) -> Result<(), String> {
        let recipe = self.path("toy.toml");
        let mut arguments = vec!["toy".into(), recipe, "--out".into(), out.to_owned()];
        arguments.extend(options.iter().map(PathBuf::from));
        start(&arguments)
    }

    pub fn start(&self, options: &[&str]) -> Result<(), String> {
        self.start_in(&self.out(), options)
    }

    pub fn summary(&self) -> BTreeMap<String, Vec<f64>> {
        read_json(self.out().join("summary.json")).unwrap()
    }
}

/// Runs the toy recipe with these arguments; errors include their causes.
pub fn start(arguments: &[PathBuf]) -> Result<(), String> {
    experiment::run_with(arguments, run).map_err(|error| format!("{error:#}"))
}
