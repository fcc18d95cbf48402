//! An open experiment: a recipe in its run folder.
mod cached;
mod evaluation_files;
mod folder;
mod jobs;
mod machine;
mod ranks;
mod report;
mod results;
mod start;
mod trial;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::results::INTERVAL_LEGEND;
use serde::Serialize;

pub(crate) use folder::{RECIPE_FILE, check_run};
pub(crate) use jobs::Jobs;
pub use results::{Results, TrialResult};
pub use trial::{Trial, resolve_roles};

use crate::identity::RecipeValues;
use crate::print::first_table;
use crate::run::folder::RunFolder;
use crate::run::machine::MACHINE_FILE;
use crate::run::ranks::Ranks;
use crate::{Recipe, Result, Runtime, log, write_json, write_text};

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
    inputs_checked: Cell<bool>,
    pub(crate) ranks: Ranks,
    jobs: Jobs,
    locked_folder: RunFolder,
}

impl<R: Recipe> Experiment<R> {
    /// Adds the command and the peak memory of this process to `machine.json`.
    pub(crate) fn update_machine_file(&self) -> Result<()> {
        let name = (!matches!(self.jobs, Jobs::Trial { .. })).then_some(R::NAME);
        machine::update(&self.dir(MACHINE_FILE), name, R::ABOUT, self.runtime.device)
    }

    /// The path of `name` in the run folder.
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The seeds, in the order in which they are run.
    pub fn seeds(&self) -> &[u64] {
        &self.recipe.run().seeds
    }

    /// The selected arms, in the order in which they are run.
    pub fn arms(&self) -> &[String] {
        self.recipe.run().selected_arms()
    }

    /// Prints a line like [`log`].
    pub fn log(&self, line: impl std::fmt::Display) {
        log(line);
    }

    pub(crate) fn check_inputs(&self) -> Result<()> {
        if !self.inputs_checked.replace(true) {
            self.recipe.check_inputs()?;
        }
        Ok(())
    }

    /// Returns whether this process uses the run folder, because it is rank 0 or the only process.
    /// Other ranks use temporary folders and do not evaluate.
    pub fn is_rank_0(&self) -> bool {
        self.ranks.is_rank_0()
    }

    /// Writes `table.md` and `summary.json`, and prints the first table, `remarks` (empty: none)
    /// and the run folder. If the run has answers to questions, it also writes `report.html`, as
    /// `mlqa-eval report` does; an error in this report is printed and ignored.
    ///
    /// # Errors
    /// If `table.md` or `summary.json` cannot be written.
    pub fn finish<S: Serialize>(&self, summary: &S, table: &str, remarks: &str) -> Result<()> {
        if !self.ranks.is_rank_0() {
            return Ok(());
        }
        // Control characters are escaped, because the table contains titles from the recipe, which
        // may be untrusted.
        let table = &atomic_file::printable_lines(table);
        let note =
            if table.contains(" ± ") { format!("\n{INTERVAL_LEGEND}.\n") } else { String::new() };
        write_text(self.dir("table.md"), &format!("{table}{note}"))?;
        write_json(self.dir("summary.json"), summary)?;
        let printed_table = first_table(table);
        self.log(format!("\n{}\n{note}", printed_table.trim_end()).trim_end());
        if printed_table.len() < table.len() {
            self.log("\nAll tables are in table.md.");
        }
        if !remarks.is_empty() {
            self.log(format!("\n{}", remarks.trim_end()));
        }
        self.update_machine_file()?;
        let arms = self.recipe.arms();
        let is_included = |seed, arm: &str| {
            let is_selected = !arms.contains_key(arm)
                || self.arms().iter().any(|selected_arm| selected_arm == arm);
            is_selected && self.seeds().contains(&seed)
        };
        match report::write(&self.folder, self.arms(), is_included) {
            Ok(true) => self.log("report.html shows the answers: open it in a browser."),
            Ok(false) => {}
            Err(error) => self.log(format!("report.html was not written: {error}")),
        }
        self.log(format!("Everything is in {}.", self.folder.display()));
        Ok(())
    }

    /// Calls [`finish`](Self::finish) with a summary that has two keys: `seeds`, and `arms` with the
    /// given value of each arm. Most recipes use this format.
    ///
    /// # Errors
    /// The errors of [`finish`](Self::finish).
    pub fn finish_arms<S: Serialize>(
        &self,
        arms: &[(&str, S)],
        table: &str,
        remarks: &str,
    ) -> Result<()> {
        let arms = arms.iter().map(|(name, arm)| (*name, arm)).collect();
        self.finish(&ArmsSummary { seeds: self.seeds(), arms }, table, remarks)
    }
}

#[derive(Serialize)]
struct ArmsSummary<'a, S> {
    seeds: &'a [u64],
    arms: BTreeMap<&'a str, &'a S>,
}
