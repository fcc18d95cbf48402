//! One model of an experiment: a seed, an arm and a variant of it.
use std::cell::RefCell;
use std::path::{Path, PathBuf};

use tch::Tensor;
use trainer::selection::CheckpointSelection;
use trainer::{FitReport, Stage, Tasks, TrainConfig};
use xlmr_model::{Head, LoadOptions, Pretrained, Role, Segments};

use crate::adapters::{ADAPTER, without_encoder};
use crate::{Error, Experiment, Recipe, Result, log, write_json};

/// One model of an experiment, and its folder `seed-<seed>/<name>` or
/// `seed-<seed>/<name>/<variant>`.
///
/// [`Experiment::each`](crate::Experiment::each) makes one for each seed, arm and variant;
/// [`Experiment::each_seed`](crate::Experiment::each_seed) makes them without an arm (`A` is `()`).
pub struct Trial<'a, R: Recipe, A = <R as Recipe>::Arm> {
    /// The recipe.
    pub recipe: &'a R,
    /// The seed.
    pub seed: u64,
    /// The arm's name.
    pub name: &'a str,
    /// The arm.
    pub arm: &'a A,
    /// The variant's name, where the arm has variants.
    pub variant: Option<String>,
    pub(crate) experiment: &'a Experiment<R>,
    pub(crate) folder: PathBuf,
    fitted: RefCell<Fitted>,
}

/// Sums over the stages of a trial.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fitted {
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
        let mut folder = experiment.dir(format!("seed-{seed}")).join(name);
        folder.extend(&variant);
        let (recipe, fitted) = (&experiment.recipe, RefCell::default());
        Self { recipe, seed, name, arm, variant, experiment, folder, fitted }
    }

    /// What the trial is called in errors and reports.
    pub fn label(&self) -> String {
        let variant = self.variant.iter().map(|variant| format!(", {variant}"));
        format!("seed {}, {}{}", self.seed, self.name, variant.collect::<String>())
    }

    /// The path of this name in the trial's folder. The training part leaves its model in
    /// `dir("model")`.
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The path of this name in the folder of the trial's seed, such as that of another trial.
    pub fn seed_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.experiment.dir(format!("seed-{}", self.seed)).join(name)
    }

    /// The path of this name in the run folder.
    pub fn run_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.experiment.dir(name)
    }

    /// Where tensors are.
    pub fn device(&self) -> tch::Device {
        self.experiment.runtime.device
    }

    /// A training stage with a folder of this name in the trial's folder.
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

    /// Trains `parameters` as [`trainer::fit`] does, with the trial's seed, in the stage of this
    /// name. Where [`Adapters`](crate::Adapters) learn in place of the encoder, it keeps its
    /// weights: a checkpoint holds the others alone, and groups of encoder's parameters alone say
    /// nothing.
    ///
    /// # Errors
    /// As [`trainer::fit`].
    pub fn fit<'t>(
        &self,
        stage: &str,
        config: &TrainConfig,
        parameters: &[(String, Tensor)],
        tasks: impl Into<Tasks<'t>>,
    ) -> Result<FitReport> {
        let (config, parameters) = self.learning(stage, config, parameters)?;
        let report = trainer::fit(&self.stage(stage), &config, &parameters, tasks)?;
        self.add(&report);
        Ok(report)
    }

    /// Trains as [`fit`](Self::fit) does, and leaves the parameters of the evaluation that
    /// `selection` chooses; of several tasks the model is scored after the epochs of the first.
    /// `selection.json` in the stage's folder is the [`Best`](trainer::selection::Best) one with
    /// the scores of all; a line reports it.
    ///
    /// Without a selection the parameters are those of the last step, and `evaluation_steps` and
    /// `patience` are ignored.
    ///
    /// # Errors
    /// As [`trainer::fit_best`]; [`Error::File`] naming `selection.json`.
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
        let (config, parameters) = self.learning(stage, config, parameters)?;
        let (report, best) =
            trainer::fit_best(&self.stage(stage), &config, &parameters, tasks, selection)?;
        self.add(&report);
        write_json(self.dir(stage).join("selection.json"), &best)?;
        log(format!("{}: {stage}: {best}", self.label()));
        Ok(report)
    }

    /// What of `parameters` learns in a stage, and how.
    fn learning(
        &self,
        stage: &str,
        config: &TrainConfig,
        parameters: &[(String, Tensor)],
    ) -> Result<(TrainConfig, Vec<(String, Tensor)>)> {
        let config = TrainConfig { seed: self.seed, ..resolve_roles(config, parameters)? };
        let shallow = |(name, one): &(String, Tensor)| (name.clone(), one.shallow_clone());
        let parameters = parameters.iter().map(shallow).collect();
        match self.recipe.adapters() {
            Some(adapters) if adapters.freezes_encoder_in(stage) => {
                without_encoder(config, parameters)
            }
            _ => Ok((config, parameters)),
        }
    }

    /// Counts a stage that ended.
    fn add(&self, report: &FitReport) {
        let mut fitted = self.fitted.borrow_mut();
        fitted.seconds += report.seconds;
        fitted.tokens += report.tokens;
    }

    /// Seconds of training in the stages so far, earlier parts of a resumed run included.
    pub fn seconds(&self) -> f64 {
        self.fitted.borrow().seconds
    }

    /// Tokens seen in the stages so far, padding left out.
    pub fn tokens(&self) -> u64 {
        self.fitted.borrow().tokens
    }

    /// As [`load`](Self::load), of what training starts from: puts the recipe's adapters into it,
    /// drawn with the trial's seed, and in use. A fresh bottleneck changes states a little, so that
    /// this is for models that are trained.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`Error::Model`] if an adapter does not fit, or the model brings
    /// another of its name.
    pub fn start(
        &self,
        folder: impl AsRef<Path>,
        heads: &[Head],
        segments: Segments,
    ) -> Result<Pretrained> {
        let mut loaded = self.load(folder, heads, segments)?;
        if let Some(adapters) = self.recipe.adapters() {
            adapters.add_to(&mut loaded.model, self.seed)?;
        }
        Ok(loaded)
    }

    /// Writes a model of [`start`](Self::start) as [`Pretrained::save`] does, with a bottleneck in
    /// its `adapters/` and a LoRA merged. The recipe's LoRA, or else its bottleneck, also goes into
    /// the folder `adapter` beside it, as [`Model::save_adapter`](xlmr_model::Model::save_adapter)
    /// writes one by itself.
    ///
    /// # Errors
    /// As [`Pretrained::save`].
    pub fn save(
        &self,
        trained: &mut Pretrained,
        head: Head,
        folder: impl AsRef<Path>,
    ) -> Result<()> {
        let folder = folder.as_ref();
        if let Some(adapters) = self.recipe.adapters() {
            adapters.take_out(&mut trained.model, &folder.with_file_name(ADAPTER), head)?;
        }
        Ok(trained.save(folder, head)?)
    }

    /// Loads a model folder with its tokenizer onto the run's device, in the run's precision; what
    /// the checkpoint lacks is drawn with the trial's seed, and printed, as are stored tensors that
    /// the configuration has no place for, heads aside.
    ///
    /// # Errors
    /// As [`Pretrained::load`]; [`Error::Content`] for a parameter that is not finite.
    pub fn load(
        &self,
        folder: impl AsRef<Path>,
        heads: &[Head],
        segments: Segments,
    ) -> Result<Pretrained> {
        let options = LoadOptions { segments, seed: self.seed };
        let folder = folder.as_ref();
        let (mut loaded, report) = Pretrained::load(folder, heads, self.device(), options)?;
        check_finite(folder, &loaded.model.named_parameters())?;
        loaded.notes.iter().for_each(log);
        loaded.model.set_precision(self.experiment.runtime.precision)?;
        loaded.model.set_recompute(self.experiment.recipe.run().activation_checkpointing);
        if let Some(fault) = loaded.model.padding_fault() {
            log(format!("training computes padding as well: {fault}"));
        }
        if !report.missing.is_empty() {
            log(format!("freshly initialised: {}", report.missing.join(", ")));
        }
        if let Some(text) = unused(folder, &report.unexpected) {
            log(text);
        }
        Ok(loaded)
    }
}

/// `config` with names in place of the roles of its groups, which are those of [`Role`].
///
/// # Errors
/// [`Error::Train`] naming a role that is not known or that no parameter has.
pub fn resolve_roles(config: &TrainConfig, parameters: &[(String, Tensor)]) -> Result<TrainConfig> {
    let names = parameters.iter().map(|(name, _)| name.as_str());
    let holds = |role: &str, name: &str| Ok(role.parse::<Role>()?.holds(name));
    Ok(config.resolve_roles::<xlmr_model::Error>(names, holds)?)
}

/// Tensors that a line names.
const NAMED: usize = 8;

/// Heads of another use in any architecture, which fine-tuning leaves behind as a matter of course.
const HEADS: [&str; 6] = ["lm_head.", "qa_outputs.", "classifier.", "cls.", "head.", "decoder."];

/// The message about stored tensors that the model has no place for.
fn unused(folder: &Path, names: &[String]) -> Option<String> {
    let is_head = |name: &str| HEADS.iter().any(|head| name.starts_with(head));
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !is_head(name)).collect();
    let more = names.len().saturating_sub(NAMED);
    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let folder = folder.display();
    let text = format!("{folder}: its config.json has no place for {named}{more}; not used");
    (!names.is_empty()).then_some(text)
}

/// Refuses a parameter that holds NaN or infinity, or whose squares are beyond float32.
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
    fn unused_tensors_are_named_up_to_a_number() {
        let names = |count: usize| -> Vec<String> { (0..count).map(|k| format!("t{k}")).collect() };
        assert_eq!(unused(Path::new("base"), &[]), None);
        let text = unused(Path::new("base"), &names(10)).unwrap();
        assert!(text.starts_with("base: its config.json has no place for t0, t1"), "{text}");
        assert!(text.ends_with("t6, t7 and 2 more; not used"), "{text}");
        assert_eq!(unused(Path::new("base"), &["lm_head.bias".to_owned()]), None);
    }
}
