//! An open experiment: a recipe in its run folder.
use std::cell::Cell as Flag;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use results::INTERVALS;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::adapters::check_adapters;
use crate::arms::ARMS;
use crate::cached::{check_unchanged, compute};
use crate::folder::{RECIPE, RunFolder};
use crate::output::first_table;
use crate::ranks::Ranks;
use crate::recipe::{check_runnable, select_arms};
use crate::recipe_values::RecipeValues;
use crate::{
    Error, Recipe, Result, Results, Runtime, Trial, log, machine, names, report, write_json,
    write_text,
};

/// A recipe in its run folder, which is locked until this value is dropped.
///
/// The folder contains `run.json` (recipe and identity), `recipe.toml` (every key with its
/// effective value), and for each trial a folder `seed-<seed>/<arm>[/<variant>]` with
/// `trained.json`, `result.json`, files of the recipe, and one folder per training stage.
pub struct Experiment<R: Recipe> {
    /// The recipe; `run.arms` contains the selected arms.
    pub recipe: R,
    /// The run folder.
    pub folder: PathBuf,
    /// Device, precision and environment of the run.
    pub runtime: Runtime,
    pub(crate) recipe_values: RecipeValues,
    inputs_checked: Flag<bool>,
    pub(crate) ranks: Ranks,
    _folder: RunFolder,
}

impl<R: Recipe> Experiment<R> {
    /// Starts a run in `folder`, or resumes its run if recipe and inputs are unchanged.
    ///
    /// # Errors
    /// If the recipe is invalid, an input is missing, or the folder is locked or has other
    /// contents. Nothing in the folder is changed then.
    pub fn open(mut recipe: R, folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        select_arms(&mut recipe, &[])?;
        check_runnable(&recipe)?;
        check_adapters(&recipe)?;
        let mut recipe_values = RecipeValues::of(&recipe)?;
        recipe_values.check()?;
        recipe.validate()?;
        let runtime = Runtime::set_up(recipe.run())?;
        let ranks = Ranks::new(runtime.group.clone(), &folder)?;
        let folder = ranks.folder(folder);
        let run_folder = RunFolder::lock(&folder)?;
        recipe_values.hash()?;
        ranks.check_same_recipe(&recipe_values.full_identity(recipe.run()))?;
        run_folder.enter(R::NAME, &recipe_values.shared_identity())?;
        let inputs_checked = Flag::new(false);
        let experiment = Self {
            recipe,
            folder,
            runtime,
            recipe_values,
            inputs_checked,
            ranks,
            _folder: run_folder,
        };
        experiment.trials()?.iter().try_for_each(check_unchanged)?;
        let path = experiment.dir(RECIPE);
        let text = toml::to_string_pretty(&experiment.recipe);
        write_text(&path, &text.map_err(|error| Error::content(&path, error))?)?;
        machine::update(&experiment)?;
        Ok(experiment)
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

    /// The path of this name in the run folder.
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The seeds, in the order in which they are run.
    pub fn seeds(&self) -> &[u64] {
        &self.recipe.run().seeds
    }

    /// The selected arms, in the order in which they are run.
    pub fn arms(&self) -> &[String] {
        self.recipe.run().selected()
    }

    /// Prints a line, see [`log`].
    pub fn log(&self, line: impl std::fmt::Display) {
        log(line);
    }

    /// Trains and evaluates the trials of all seeds, arms and variants, in this order, and returns
    /// their results. Earlier results are loaded from the run folder.
    ///
    /// - `train` saves the model to [`Trial::dir`]`("model")`. Its return value is stored as
    ///   `trained.json`. Then the checkpoints of its stages are removed, and parameters stored by
    ///   [`keep_models`](trainer::TrainConfig::keep_models) are converted to model folders.
    /// - `evaluate` loads this model. Its return value is stored as `result.json`. It is called
    ///   again, without training, if a key or file of [`Recipe::EVALUATION`] has changed.
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

    /// Like [`each`](Self::each), for work that all arms of a seed share, such as a first training
    /// stage. Its folder is `seed-<seed>/<name>`, which trials access with [`Trial::seed_dir`].
    /// `arm` of the results is `name`.
    ///
    /// # Errors
    /// As [`each`](Self::each); [`Error::Setting`] if an arm has this name;
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
        names::check_plain(ARMS, name)?;
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
        trials.iter().try_for_each(check_unchanged)?;
        let results = trials.iter().map(|trial| compute(trial, &mut train, &mut evaluate));
        Ok(results.collect::<Result<Vec<_>>>()?.into())
    }

    pub(crate) fn check_inputs(&self) -> Result<()> {
        if !self.inputs_checked.replace(true) {
            self.recipe.check_inputs()?;
        }
        Ok(())
    }

    /// Returns whether this process is rank 0 or the only process, which uses the run folder. Other
    /// ranks use temporary folders without evaluations.
    pub fn leads(&self) -> bool {
        self.ranks.leads()
    }

    /// Writes `table.md` and `summary.json`, and prints the first table, `remarks` (empty: none)
    /// and the run folder. If the run has answers to questions, it also writes `report.html`, as
    /// `mlqa-eval report` does; an error in this report is printed and ignored.
    ///
    /// # Errors
    /// If one of the two files cannot be written.
    pub fn finish<S: Serialize>(&self, summary: &S, table: &str, remarks: &str) -> Result<()> {
        if !self.ranks.leads() {
            return Ok(());
        }
        // Titles come from recipes, which may be untrusted.
        let table = &atomic_file::lines(table);
        let note = if table.contains(" ± ") { format!("\n{INTERVALS}.\n") } else { String::new() };
        write_text(self.dir("table.md"), &format!("{table}{note}"))?;
        write_json(self.dir("summary.json"), summary)?;
        let first = first_table(table);
        self.log(format!("\n{}\n{note}", first.trim_end()).trim_end());
        if first.len() < table.len() {
            self.log("\nAll tables are in table.md.");
        }
        if !remarks.is_empty() {
            self.log(format!("\n{}", remarks.trim_end()));
        }
        machine::update(self)?;
        let arms = self.recipe.arms();
        let is_included = |seed, arm: &str| {
            let selected = !arms.contains_key(arm)
                || self.arms().iter().any(|selected_arm| selected_arm == arm);
            selected && self.seeds().contains(&seed)
        };
        match report::write(&self.folder, self.arms(), is_included) {
            Ok(true) => self.log("report.html shows the answers: open it in a browser."),
            Ok(false) => {}
            Err(error) => self.log(format!("report.html was not written: {error}")),
        }
        self.log(format!("Everything is in {}.", self.folder.display()));
        Ok(())
    }

    /// [`finish`](Self::finish) with the `summary.json` of most recipes: `seeds`, and the results
    /// by arm as `arms`.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_arms<S: Serialize>(
        &self,
        arms: &[(&str, S)],
        table: &str,
        remarks: &str,
    ) -> Result<()> {
        let arms = arms.iter().map(|(name, arm)| (*name, arm)).collect();
        self.finish(&Arms { seeds: self.seeds(), arms }, table, remarks)
    }
}

#[derive(Serialize)]
struct Arms<'a, S> {
    seeds: &'a [u64],
    arms: BTreeMap<&'a str, &'a S>,
}
