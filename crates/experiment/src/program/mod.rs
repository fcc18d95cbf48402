//! Entry point and exit codes of recipe programs.
mod args;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::error::one_line;
use crate::identity::RecipeValues;
use crate::program::args::Args;
use crate::run::Jobs;
use crate::{Error, Experiment, Recipe, log};

/// The `main` of a recipe: parses the command line, opens the run folder and calls `run`.
///
/// The exit code is 0 after success and 2 after an error, which is printed as one `error: …` line
/// with its causes. [`exit`] documents the codes after a signal.
///
/// # Examples
/// A complete recipe: the mean of some numbers, with and without weight decay. The crate's
/// documentation contains its TOML file.
///
/// ```no_run
/// use std::collections::BTreeMap;
/// use std::process::ExitCode;
///
/// use anyhow::{Context, Result};
/// use experiment::{Trial, Experiment, InputPath, Recipe, RunConfig, read_json, write_json};
/// use results::{MeanInterval, Table, cell};
/// use serde::{Deserialize, Serialize};
/// use tch::{Device, Kind, Tensor};
/// use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError, TrainConfig};
///
/// /// Every key of `recipe.toml`.
/// #[derive(Clone, Default, Deserialize, Serialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Means {
///     run: RunConfig,
///     data: Data,
///     arms: BTreeMap<String, Arm>,
///     training: TrainConfig,
/// }
///
/// #[derive(Clone, Default, Deserialize, Serialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Data {
///     train: InputPath,
///     evaluation: InputPath,
/// }
///
/// #[derive(Clone, Default, Deserialize, Serialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Arm {
///     weight_decay: f64,
/// }
///
/// impl Recipe for Means {
///     const NAME: &'static str = "means";
///     const ABOUT: &'static str = "Finds the mean of numbers, with and without weight decay.";
///     const MODEL: &'static str = "data.train";
///     const EXAMPLES: &'static str = "means means.toml --seeds 3 --out runs/means";
///     const EVALUATION_KEYS: &'static [&'static str] = &["data.evaluation"];
///     experiment::recipe_fields!(Arm);
///
///     fn validate(&self) -> Result<()> {
///         self.data.train.required("data.train", "a JSON list of numbers")?;
///         self.training.validate().context("training")
///     }
///
///     fn check_inputs(&self) -> Result<()> {
///         read_json::<Vec<f32>>(&self.data.train)?;
///         read_json::<Vec<f32>>(&self.data.evaluation)?;
///         Ok(())
///     }
/// }
///
/// /// Squared distance of a parameter from numbers.
/// struct Distance {
///     parameter: Tensor,
///     numbers: Vec<f32>,
///     lengths: Vec<usize>,
/// }
///
/// impl Task for Distance {
///     fn examples(&mut self) -> Examples<'_> {
///         Examples::Indexed(&self.lengths)
///     }
///
///     fn fingerprint(&self, fingerprint: &mut Fingerprint) {
///         fingerprint.add_json("numbers", &self.numbers);
///     }
///
///     fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
///         let batch: Vec<f32> = step.batch.iter().map(|&k| self.numbers[k]).collect();
///         let loss = (&self.parameter - Tensor::from_slice(&batch)).square().mean(Kind::Float);
///         Ok(StepLosses::single("distance", loss))
///     }
/// }
///
/// fn train(trial: &Trial<Means>) -> Result<f64> {
///     let numbers: Vec<f32> = read_json(&trial.recipe.data.train)?;
///     let parameter = Tensor::zeros([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
///     let parameters = [("parameter".to_owned(), parameter.shallow_clone())];
///     let lengths = vec![1; numbers.len()];
///     let mut task = Distance { parameter: parameter.shallow_clone(), numbers, lengths };
///     let weight_decay = trial.arm.weight_decay;
///     let config = TrainConfig { weight_decay, ..trial.recipe.training.clone() };
///     let report = trial.fit("fit", &config, &parameters, &mut task)?;
///     write_json(trial.dir("model/model.json"), &parameter.double_value(&[0]))?;
///     Ok(report.final_loss)
/// }
///
/// fn evaluate(trial: &Trial<Means>, _final_loss: &f64) -> Result<f64> {
///     let mean: f64 = read_json(trial.dir("model/model.json"))?;
///     let numbers: Vec<f64> = read_json(&trial.recipe.data.evaluation)?;
///     Ok(numbers.iter().map(|x| (x - mean).abs()).sum::<f64>() / numbers.len() as f64)
/// }
///
/// fn run(experiment: &Experiment<Means>) -> Result<()> {
///     let results = experiment.each(train, evaluate)?;
///     let mut table = Table::new("distance", ["mean"]);
///     let mut summary = BTreeMap::new();
///     for arm in experiment.arms() {
///         let distance = MeanInterval::of(results.of_arm(arm).map(|result| result.evaluated));
///         table.add_row(arm, [cell(Some(distance))]);
///         summary.insert(arm, distance.mean);
///     }
///     experiment.finish(&summary, &table.to_string(), "")?;
///     Ok(())
/// }
///
/// fn main() -> ExitCode {
///     experiment::main(run)
/// }
/// ```
pub fn main<R: Recipe>(run: impl FnOnce(&Experiment<R>) -> anyhow::Result<()>) -> ExitCode {
    let args = match Args::parse::<R>(std::env::args_os()) {
        Ok(args) => args,
        // The error may be the text of `--help`. A closed standard output is ignored.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    torch_ext::configure_process();
    exit(start(&args, args.jobs(), run))
}

/// Returns the exit code for the result of a program, and prints its error. An error is printed as
/// `error: …` with its causes on one line, and the code is 2. If SIGINT or SIGTERM stopped a
/// training stage, the message describes how to resume, and the code is 130 or 143.
///
/// ```
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     experiment::exit(run())
/// }
///
/// fn run() -> anyhow::Result<()> {
///     Ok(())
/// }
/// ```
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (prefix, code) = match stopped_by(&error) {
                Some(signal) => ("", signal.saturating_add(128)),
                None => ("error: ", 2),
            };
            let _ = writeln!(std::io::stderr(), "{prefix}{}", one_line(&error));
            ExitCode::from(u8::try_from(code).unwrap_or(2))
        }
    }
}

/// Returns the signal that stopped training; `None` if the error has another cause.
fn stopped_by(error: &anyhow::Error) -> Option<i32> {
    error.chain().find_map(|cause| {
        let train_error = match cause.downcast_ref::<Error>() {
            Some(Error::Train(error)) => Some(error),
            Some(Error::Stopped { signal, .. }) => return Some(*signal),
            _ => cause.downcast_ref::<trainer::Error>(),
        };
        match train_error? {
            trainer::Error::Stopped { signal, .. } => Some(*signal),
            _ => None,
        }
    })
}

/// Runs a recipe like [`main`] with `arguments`, which start with the program's name; for tests.
/// `--jobs` is ignored, because it needs the recipe's program.
///
/// # Errors
/// The error that stops the run. Invalid arguments and `--help` are also errors.
pub fn run_with<R: Recipe>(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    run: impl FnOnce(&Experiment<R>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    start(&Args::parse::<R>(arguments)?, Jobs::Single, run)
}

/// Runs a recipe with parsed arguments. With `--show`, prints the recipe instead.
fn start<R: Recipe>(
    args: &Args,
    jobs: Jobs,
    run: impl FnOnce(&Experiment<R>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (recipe, preparations) = args.read_recipe::<R>()?;
    if args.show {
        log(preparations.comments() + &toml::to_string_pretty(&recipe)?);
        return Ok(());
    }
    let inputs = RecipeValues::of(&recipe)?.input_paths();
    if args.prepare {
        preparations.run(&inputs)?;
    }
    preparations.check(&inputs)?;
    let is_one_trial = matches!(jobs, Jobs::Trial { .. });
    let result = run(&Experiment::open_with(recipe, args.run_folder::<R>(), jobs)?);
    match result {
        Err(error) if is_one_trial && is_trial_computed(&error) => Ok(()),
        Ok(()) if is_one_trial => Err(Error::setting("--trial", "no such trial").into()),
        result => result,
    }
}

/// Returns whether an error says that the process of one trial has computed it.
fn is_trial_computed(error: &anyhow::Error) -> bool {
    let mut errors = error.chain().filter_map(|cause| cause.downcast_ref::<Error>());
    errors.any(|error| matches!(error, Error::TrialComputed))
}
