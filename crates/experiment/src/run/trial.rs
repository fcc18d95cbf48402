//! One model of an experiment, for one seed, arm and variant.
use std::cell::RefCell;
use std::path::{Path, PathBuf};

use tch::Tensor;
use trainer::selection::CheckpointSelection;
use trainer::{FitReport, Stage, Tasks, TrainConfig};
use xlmr_model::{Head, LoadOptions, Pretrained, Role, Segments};

use crate::recipe::{ADAPTER_DIR, freeze_encoder};
use crate::{Error, Experiment, Recipe, Result, log, write_json};

/// One model of an experiment, and its folder `seed-<seed>/<name>` or
/// `seed-<seed>/<name>/<variant>`.
///
/// [`Experiment::each`](crate::Experiment::each) creates one trial per seed, arm and variant;
/// [`Experiment::each_seed`](crate::Experiment::each_seed) creates trials without an arm (`A` is
/// `()`).
pub struct Trial<'a, R: Recipe, A = <R as Recipe>::Arm> {
    /// The recipe.
    pub recipe: &'a R,
    /// The seed.
    pub seed: u64,
    /// The arm's name.
    pub name: &'a str,
    /// The arm.
    pub arm: &'a A,
    /// The variant's name, if the arm has variants.
    pub variant: Option<String>,
    pub(crate) experiment: &'a Experiment<R>,
    pub(crate) folder: PathBuf,
    totals: RefCell<StageTotals>,
}

/// Sums over the stages of a trial.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StageTotals {
    pub(crate) seconds: f64,
    pub(crate) tokens: u64,
}

impl<'a, R: Recipe, A> Trial<'a, R, A> {
    pub(crate) fn new(
        experiment: &'a Experiment<R>,
        seed: u64,
        name: &'a str,
        arm: &'a A,
        variant: Option<String>,
    ) -> Self {
        let (recipe, totals) = (&experiment.recipe, RefCell::default());
        let folder = PathBuf::new();
        let mut trial = Self { recipe, seed, name, arm, variant, experiment, folder, totals };
        trial.folder = experiment.dir(trial.relative_folder());
        trial
    }

    /// Returns the trial's name for errors and reports.
    pub fn label(&self) -> String {
        let variant = self.variant.iter().map(|variant| format!(", {variant}"));
        format!("seed {}, {}{}", self.seed, self.name, variant.collect::<String>())
    }

    /// Returns the path of `name` in the trial's folder. Training saves its model to
    /// `dir("model")`.
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the trial's folder, relative to the run folder.
    pub(crate) fn relative_folder(&self) -> String {
        let variant = self.variant.iter().map(|variant| format!("/{variant}"));
        format!("seed-{}/{}{}", self.seed, self.name, variant.collect::<String>())
    }

    /// Returns the path of `name` in the folder of the trial's seed, such as the folder of another
    /// trial.
    pub fn seed_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.experiment.dir(format!("seed-{}", self.seed)).join(name)
    }

    /// Returns the path of `name` in the run folder.
    pub fn run_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.experiment.dir(name)
    }

    /// Returns the device of tensors.
    pub fn device(&self) -> tch::Device {
        self.experiment.runtime.device
    }

    /// Creates a training stage with a folder of this name in the trial's folder.
    pub fn stage(&self, name: &str) -> Stage {
        let variant = self.variant.iter().map(|variant| format!(" {variant}"));
        let mut label = format!("{}{}: {name}", self.name, variant.collect::<String>());
        if self.recipe.run().seeds.len() > 1 {
            label.push_str(&format!(", seed {}", self.seed));
        }
        let runtime = &self.experiment.runtime;
        Stage::new(label, self.dir(name), runtime.environment.clone())
            .with_precision(runtime.precision)
            .stop_on_signals()
            .with_profile(self.recipe.run().profile_steps)
            .with_group(runtime.group.clone())
    }

    /// Trains `parameters` like [`trainer::fit`], with the trial's seed, in the stage of this name.
    /// If [`Adapters`](crate::Adapters) are trained instead of the encoder, checkpoints contain
    /// only the trained parameters, and parameter groups with only encoder parameters are ignored.
    ///
    /// # Errors
    /// The errors of [`trainer::fit`].
    pub fn fit<'t>(
        &self,
        stage: &str,
        config: &TrainConfig,
        parameters: &[(String, Tensor)],
        tasks: impl Into<Tasks<'t>>,
    ) -> Result<FitReport> {
        let (config, parameters) = self.resolve_training(stage, config, parameters)?;
        let report = trainer::fit(&self.stage(stage), &config, &parameters, tasks)?;
        self.add_totals(&report);
        Ok(report)
    }

    /// Trains like [`fit`](Self::fit), and restores `parameters` to their values at the evaluation
    /// that `selection` selects. With several tasks, the model is scored after epochs of the first
    /// task. `selection.json` in the stage's folder contains the result of the selection
    /// ([`BestEvaluation`](trainer::selection::BestEvaluation)) with all scores; the best
    /// evaluation is also printed.
    ///
    /// Without a selection, the parameters of the last step remain, and `evaluation_steps` and
    /// `patience` are ignored.
    ///
    /// # Errors
    /// The errors of [`trainer::fit_best`]; [`Error::File`] naming `selection.json`.
    pub fn fit_best<'t>(
        &self,
        stage: &str,
        config: &TrainConfig,
        parameters: &[(String, Tensor)],
        tasks: impl Into<Tasks<'t>>,
        selection: Option<CheckpointSelection<'_>>,
    ) -> Result<FitReport> {
        let Some(selection) = selection else {
            let config = TrainConfig { evaluation_steps: None, patience: None, ..config.clone() };
            return self.fit(stage, &config, parameters, tasks);
        };
        let (config, parameters) = self.resolve_training(stage, config, parameters)?;
        let (report, best) =
            trainer::fit_best(&self.stage(stage), &config, &parameters, tasks, selection)?;
        self.add_totals(&report);
        write_json(self.dir(stage).join("selection.json"), &best)?;
        log(format!("{}: {stage}: {best}", self.label()));
        Ok(report)
    }

    /// Returns the training configuration of a stage, with the trial's seed and resolved roles, and
    /// the parameters to train.
    fn resolve_training(
        &self,
        stage: &str,
        config: &TrainConfig,
        parameters: &[(String, Tensor)],
    ) -> Result<(TrainConfig, Vec<(String, Tensor)>)> {
        let config = TrainConfig { seed: self.seed, ..resolve_roles(config, parameters)? };
        let copy = |(name, tensor): &(String, Tensor)| (name.clone(), tensor.shallow_clone());
        let parameters = parameters.iter().map(copy).collect();
        match self.recipe.adapters() {
            Some(adapters) if adapters.freezes_encoder_in(stage) => {
                freeze_encoder(config, parameters)
            }
            _ => Ok((config, parameters)),
        }
    }

    /// Adds the seconds and tokens of a finished stage.
    fn add_totals(&self, report: &FitReport) {
        let mut totals = self.totals.borrow_mut();
        totals.seconds += report.seconds;
        totals.tokens += report.tokens;
    }

    /// Seconds of training in the finished stages, including earlier parts of a resumed run.
    pub fn seconds(&self) -> f64 {
        self.totals.borrow().seconds
    }

    /// Tokens seen in the finished stages, without padding.
    pub fn tokens(&self) -> u64 {
        self.totals.borrow().tokens
    }

    /// Loads a model for training like [`load`](Self::load), and adds and activates the recipe's
    /// adapters, initialised with the trial's seed. A new bottleneck changes hidden states
    /// slightly, so use [`load`](Self::load) for evaluation.
    ///
    /// # Errors
    /// The errors of [`load`](Self::load); [`Error::Model`] if an adapter does not fit, or the
    /// model has another adapter of this name.
    pub fn load_model(
        &self,
        folder: impl AsRef<Path>,
        heads: &[Head],
        segments: Segments,
    ) -> Result<Pretrained> {
        let mut pretrained = self.load(folder, heads, segments)?;
        if let Some(adapters) = self.recipe.adapters() {
            adapters.add_to(&mut pretrained.model, self.seed)?;
        }
        Ok(pretrained)
    }

    /// Saves a model that [`Self::load_model`] returned. The files are those of
    /// [`Pretrained::save`]: the LoRA is merged into the weights, and the bottleneck is saved to
    /// `adapters/`. The recipe's LoRA, or its bottleneck if there is no LoRA, is also saved to the
    /// folder `adapter` next to the model; see
    /// [`Model::save_adapter`](xlmr_model::Model::save_adapter).
    ///
    /// # Errors
    /// The errors of [`Pretrained::save`].
    pub fn save(
        &self,
        trained: &mut Pretrained,
        head: Head,
        folder: impl AsRef<Path>,
    ) -> Result<()> {
        let folder = folder.as_ref();
        if let Some(adapters) = self.recipe.adapters() {
            adapters.save_and_merge(
                &mut trained.model,
                &folder.with_file_name(ADAPTER_DIR),
                head,
            )?;
        }
        Ok(trained.save(folder, head)?)
    }

    /// Loads a model folder and its tokenizer onto the run's device, in the run's precision.
    /// Missing parameters are initialised with the trial's seed. The names of missing parameters
    /// and of unused stored tensors, except heads, are printed.
    ///
    /// # Errors
    /// The errors of [`Pretrained::load`]; [`Error::Content`] for a parameter that is not finite.
    pub fn load(
        &self,
        folder: impl AsRef<Path>,
        heads: &[Head],
        segments: Segments,
    ) -> Result<Pretrained> {
        let options = LoadOptions { segments, seed: self.seed, ..LoadOptions::default() };
        let folder = folder.as_ref();
        let (mut pretrained, report) = Pretrained::load(folder, heads, self.device(), options)?;
        check_finite(folder, &pretrained.model.named_parameters())?;
        pretrained.notes.iter().for_each(log);
        pretrained.model.set_precision(self.experiment.runtime.precision)?;
        pretrained.model.set_recompute(self.experiment.recipe.run().activation_checkpointing);
        if let Some(reason) = pretrained.model.padding_reason() {
            log(format!("training computes padding as well: {reason}"));
        }
        if !report.missing.is_empty() {
            log(format!("newly initialised: {}", report.missing.join(", ")));
        }
        if let Some(text) = unused_tensors_message(folder, &report.unexpected) {
            log(text);
        }
        Ok(pretrained)
    }
}

/// Replaces the roles of parameter groups, parsed as [`Role`], by parameter names.
///
/// # Errors
/// [`Error::Train`] naming a role that is not known or that no parameter has.
pub fn resolve_roles(config: &TrainConfig, parameters: &[(String, Tensor)]) -> Result<TrainConfig> {
    let names = parameters.iter().map(|(name, _)| name.as_str());
    let has_role = |role: &str, name: &str| Ok(role.parse::<Role>()?.matches(name));
    Ok(config.resolve_roles::<xlmr_model::Error>(names, has_role)?)
}

/// Maximum number of names listed in the message about unused tensors.
const MAX_LISTED_TENSORS: usize = 8;

/// Name prefixes of heads, which fine-tuning usually does not use.
const HEAD_PREFIXES: [&str; 6] =
    ["lm_head.", "qa_outputs.", "classifier.", "cls.", "head.", "decoder."];

/// The message about stored tensors that the model does not use, except heads; `None` if there are
/// none.
fn unused_tensors_message(folder: &Path, names: &[String]) -> Option<String> {
    let is_head = |name: &str| HEAD_PREFIXES.iter().any(|head| name.starts_with(head));
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !is_head(name)).collect();
    let n_unlisted = names.len().saturating_sub(MAX_LISTED_TENSORS);
    let listed = names.iter().take(MAX_LISTED_TENSORS).copied().collect::<Vec<_>>().join(", ");
    let more = if n_unlisted > 0 { format!(" and {n_unlisted} more") } else { String::new() };
    let folder = folder.display();
    let text = format!("{folder}: tensors not used by the model of config.json: {listed}{more}");
    (!names.is_empty()).then_some(text)
}

/// Rejects a parameter that contains NaN or infinity, or whose sum of squares overflows float32.
fn check_finite(folder: &Path, parameters: &[(String, Tensor)]) -> Result<()> {
    for (name, parameter) in parameters {
        let norm = tch::no_grad(|| parameter.f_norm()?.f_double_value(&[]));
        let norm = norm.map_err(|error| Error::content(folder, format!("{name}: {error}")))?;
        if !norm.is_finite() {
            let reason =
                format!("{name}: the norm of these weights is {norm}; the model is damaged");
            return Err(Error::content(folder, reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_without_a_finite_norm_are_named() {
        let check = |value: f32| {
            let parameters = [
                ("fine".to_owned(), Tensor::from_slice(&[1.0_f32, -2.0])),
                ("odd".to_owned(), Tensor::from_slice(&[1.0, value])),
            ];
            check_finite(Path::new("base"), &parameters).map_err(|error| error.to_string())
        };
        assert_eq!(check(0.0), Ok(()));
        for value in [f32::NAN, f32::INFINITY, 3e38] {
            let error = check(value).unwrap_err();
            assert!(error.starts_with("base: odd: the norm of these weights is"), "{error}");
        }
    }

    #[test]
    fn the_message_about_unused_tensors_lists_eight() {
        let names = |count: usize| -> Vec<String> { (0..count).map(|k| format!("t{k}")).collect() };
        assert_eq!(unused_tensors_message(Path::new("base"), &[]), None);
        let text = unused_tensors_message(Path::new("base"), &names(10)).unwrap();
        assert!(
            text.starts_with("base: tensors not used by the model of config.json: t0, t1"),
            "{text}"
        );
        assert!(text.ends_with("t6, t7 and 2 more"), "{text}");
        assert_eq!(unused_tensors_message(Path::new("base"), &["lm_head.bias".to_owned()]), None);
    }
}
