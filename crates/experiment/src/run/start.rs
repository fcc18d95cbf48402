//! Starting and resuming runs, and computing their trials.
use std::cell::Cell;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::identity::RecipeValues;
use crate::print::set_silent;
use crate::recipe::{
    ARMS, check_adapters, check_folder_name, check_seeds_and_variants, select_arms,
};
use crate::run::cached::{check_unchanged, compute_or_load, has_results};
use crate::run::folder::{RECIPE_FILE, RunFolder};
use crate::run::jobs::{self, Job, Jobs};
use crate::run::ranks::Ranks;
use crate::runtime::resolve_precision;
use crate::{Error, Experiment, Recipe, Result, Results, Runtime, Trial, write_text};

impl<R: Recipe> Experiment<R> {
    /// Starts a run in `folder`, or resumes its run if recipe and inputs are unchanged.
    ///
    /// # Errors
    /// If the recipe is invalid, an input is missing, or the folder is locked or has other
    /// contents. After such an error the folder is unchanged.
    pub fn open(recipe: R, folder: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(recipe, folder.into(), Jobs::Single)
    }

    /// Starts or resumes a run like [`open`](Self::open), in several processes.
    pub(crate) fn open_with(recipe: R, folder: PathBuf, jobs: Jobs) -> Result<Self> {
        let experiment = Self::create(recipe, folder, jobs)?;
        if let Jobs::Trial { .. } = experiment.jobs {
            return Ok(experiment);
        }
        experiment.trials()?.iter().try_for_each(check_unchanged)?;
        let path = experiment.dir(RECIPE_FILE);
        let text = toml::to_string_pretty(&experiment.recipe);
        write_text(&path, &text.map_err(|error| Error::content(&path, error))?)?;
        experiment.update_machine_file()?;
        Ok(experiment)
    }

    /// Validates the recipe, locks the run folder and records the recipe's identity in this folder.
    fn create(mut recipe: R, folder: PathBuf, jobs: Jobs) -> Result<Self> {
        select_arms(&mut recipe, &[])?;
        resolve_precision(recipe.run_mut())?;
        check_seeds_and_variants(&recipe)?;
        check_adapters(&recipe)?;
        let mut recipe_values = RecipeValues::of(&recipe)?;
        recipe_values.check()?;
        recipe.validate()?;
        let runtime = Runtime::set_up_with(recipe.run(), jobs.count())?;
        check_jobs(&recipe, &jobs, &runtime)?;
        let ranks = Ranks::new(runtime.group.clone(), &folder)?;
        let folder = ranks.folder(folder);
        let run_folder = match &jobs {
            Jobs::Trial { .. } => {
                jobs::stop_with_parent()?;
                RunFolder::join(&folder)?
            }
            _ => RunFolder::lock(&folder)?,
        };
        recipe_values.hash()?;
        match &jobs {
            // The main process has started the run, and prints what precedes the trials.
            Jobs::Trial { .. } => {
                set_silent(true);
                run_folder.check_identity(&recipe_values.shared_identity())?;
            }
            _ => {
                ranks.check_same_recipe(&recipe_values.full_identity(recipe.run()))?;
                run_folder.start_run(R::NAME, &recipe_values.shared_identity())?;
            }
        }
        runtime.warn_of_slow_precision();
        let inputs_checked = Cell::new(matches!(jobs, Jobs::Trial { .. }));
        Ok(Self {
            recipe,
            folder,
            runtime,
            recipe_values,
            inputs_checked,
            ranks,
            jobs,
            locked_folder: run_folder,
        })
    }

    /// The trials of all seeds, arms and variants, in this order.
    fn trials(&self) -> Result<Vec<Trial<'_, R>>> {
        let mut trials = Vec::new();
        for &seed in self.seeds() {
            for name in self.arms() {
                let arm = self.recipe.arms().get(name).ok_or_else(|| {
                    Error::setting(format!("run.arms: {name}"), "the recipe has no such arm")
                })?;
                let variants = self.recipe.variants(name);
                if variants.is_empty() {
                    trials.push(Trial::new(self, seed, name, arm, None));
                }
                for variant in variants {
                    trials.push(Trial::new(self, seed, name, arm, Some(variant)));
                }
            }
        }
        Ok(trials)
    }

    /// Trains and evaluates the trials of all seeds, arms and variants, in this order, and returns
    /// their results. Earlier results are loaded from the run folder.
    ///
    /// - `train` saves the model to [`Trial::dir`]`("model")`. Its return value is stored as
    ///   `trained.json`. Then the checkpoints of the trial's stages are removed, and parameters
    ///   stored by [`keep_models`](trainer::TrainConfig::keep_models) are converted to model
    ///   folders.
    /// - `evaluate` loads this model. Its return value is stored as `result.json`. It is called
    ///   again, without training, if a key or file of [`Recipe::EVALUATION_KEYS`] has changed.
    ///
    /// # Errors
    /// [`Error::Trial`] for errors of the two functions; [`Error::File`] or [`Error::Content`] for
    /// a record that cannot be written or read.
    pub fn each<T, E>(
        &self,
        train: impl FnMut(&Trial<'_, R>) -> anyhow::Result<T>,
        evaluate: impl FnMut(&Trial<'_, R>, &T) -> anyhow::Result<E>,
    ) -> Result<Results<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: Serialize + DeserializeOwned,
    {
        self.compute_all(self.trials()?, train, evaluate)
    }

    /// Computes one trial per seed like [`each`](Self::each), for work that all arms share, such as
    /// a first training stage. Its folder is `seed-<seed>/<name>`, which trials access with
    /// [`Trial::seed_dir`]. The field `arm` of the results is `name`.
    ///
    /// # Errors
    /// The errors of [`each`](Self::each); [`Error::Setting`] if an arm has this name;
    /// [`Error::AnotherRecipe`] before any computation, if a stored result comes from another
    /// recipe or other inputs.
    pub fn each_seed<T, E>(
        &self,
        name: &str,
        train: impl FnMut(&Trial<'_, R, ()>) -> anyhow::Result<T>,
        evaluate: impl FnMut(&Trial<'_, R, ()>, &T) -> anyhow::Result<E>,
    ) -> Result<Results<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: Serialize + DeserializeOwned,
    {
        check_folder_name(ARMS, name)?;
        if self.recipe.arms().contains_key(name) {
            let key = format!("{ARMS}.{name}");
            let reason = "a part shared by all arms has this name; rename the arm";
            return Err(Error::setting(key, reason));
        }
        let trials = self.seeds().iter().map(|&seed| Trial::new(self, seed, name, &(), None));
        self.compute_all(trials.collect(), train, evaluate)
    }

    fn compute_all<A, T, E>(
        &self,
        trials: Vec<Trial<'_, R, A>>,
        mut train: impl FnMut(&Trial<'_, R, A>) -> anyhow::Result<T>,
        mut evaluate: impl FnMut(&Trial<'_, R, A>, &T) -> anyhow::Result<E>,
    ) -> Result<Results<T, E>>
    where
        T: Serialize + DeserializeOwned,
        E: Serialize + DeserializeOwned,
    {
        if let Jobs::Trial { folder, .. } = &self.jobs
            && let Some(trial) = trials.iter().find(|trial| trial.relative_folder() == *folder)
        {
            set_silent(false);
            compute_or_load(trial, &mut train, &mut evaluate)?;
            self.update_machine_file()?;
            return Err(Error::TrialComputed);
        }
        trials.iter().try_for_each(check_unchanged)?;
        if let Jobs::Several { count } = self.jobs {
            let mut jobs = Vec::new();
            for trial in &trials {
                if !has_results(trial)? {
                    jobs.push(Job { label: trial.label(), folder: trial.relative_folder() });
                }
            }
            if !jobs.is_empty() {
                self.check_inputs()?;
                jobs::compute(&jobs, count, &self.folder, self.locked_folder.lock_file())?;
            }
        }
        let results = trials.iter().map(|trial| compute_or_load(trial, &mut train, &mut evaluate));
        Ok(results.collect::<Result<Vec<_>>>()?.into())
    }
}

/// Rejects several processes where trials need each other, or where each trial already has several
/// processes.
fn check_jobs<R: Recipe>(recipe: &R, jobs: &Jobs, runtime: &Runtime) -> Result<()> {
    let reason = match jobs {
        Jobs::Several { .. } if !recipe.trials_are_independent() => {
            "trials of this recipe read files of other trials, so they are computed one after the other"
        }
        Jobs::Several { .. } if runtime.group.is_some() => {
            "each trial already has several processes (WORLD_SIZE)"
        }
        _ => return Ok(()),
    };
    Err(Error::setting("--jobs", reason))
}
