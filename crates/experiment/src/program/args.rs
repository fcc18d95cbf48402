//! The command line of all recipes.
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser};
use toml::Table;

use crate::recipe::Preparations;
use crate::recipe::select_arms;
use crate::recipe::{Override, read_with_overrides};
use crate::run::Jobs;
use crate::{Error, Recipe, Result};

/// Maximum value of `--seeds`.
const MAX_SEEDS: u64 = 1000;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Recipe file; optional with --resume, which reads the recipe of the run
    #[arg(required_unless_present = "resume")]
    recipe: Option<PathBuf>,
    /// Model folder that replaces the recipe's model; with NAME for recipes that compare several
    /// models
    #[arg(long = "model", value_name = "[NAME=]DIR")]
    models: Vec<String>,
    /// Override a key of the recipe
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Run seeds 0 to N - 1 and report means and 95 % confidence intervals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_SEEDS))]
    seeds: Option<u64>,
    /// Run only the arms whose names match, such as 'base,table4-*'; overrides run.arms
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    arms: Vec<String>,
    /// Run folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Resume the run in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Compute up to N trials at the same time, in separate processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Compute one trial for a process with --jobs
    #[arg(long, value_name = "FOLDER", hide = true)]
    trial: Option<String>,
    /// First run the commands of [prepare] whose output folders are missing or outdated
    #[arg(long)]
    pub(crate) prepare: bool,
    /// Print the effective value of every key and the commands of [prepare], then exit
    #[arg(long)]
    pub(crate) show: bool,
}

impl Args {
    /// Parses the arguments; the first one is the program's name.
    pub(crate) fn parse<R: Recipe>(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> std::result::Result<Self, clap::Error> {
        let about = format!(
            "{}\n\nTo resume an interrupted run, start it again with the same --out. Seeds and arms \
             can be added to a finished run in the same way.",
            R::ABOUT
        );
        let examples = R::EXAMPLES.lines().map(|line| format!("\n  {line}")).collect::<String>();
        let out_help = format!("Run folder [default: runs/{}]", R::NAME);
        let command = Self::command()
            .name(R::NAME)
            .bin_name(R::NAME)
            .about(about)
            .after_help(format!("Examples:{examples}"))
            .mut_arg("out", |argument| argument.help(out_help));
        let command = cli::fit_to_terminal(command);
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// The trials that this process computes, and the processes beside it.
    pub(crate) fn jobs(&self) -> Jobs {
        match (&self.trial, usize::from(self.jobs)) {
            (Some(folder), count) => Jobs::Trial { folder: folder.clone(), count },
            (None, 1) => Jobs::Single,
            (None, count) => Jobs::Several { count },
        }
    }

    /// The run folder of `--resume` or `--out`; by default, `runs/<name>`.
    pub(crate) fn run_folder<R: Recipe>(&self) -> PathBuf {
        let explicit_folder = self.resume.as_ref().or(self.out.as_ref());
        explicit_folder.cloned().unwrap_or_else(|| Path::new("runs").join(R::NAME))
    }

    /// Reads the recipe and applies the overrides of the command line. Also returns the commands
    /// that prepare the recipe's data.
    pub(crate) fn read_recipe<R: Recipe>(&self) -> Result<(R, Preparations)> {
        if let Some(folder) = &self.resume {
            crate::run::check_run(folder)?;
        }
        let stored = self.resume.as_ref().map(|folder| folder.join(crate::run::RECIPE_FILE));
        let path = self.recipe.clone().or(stored).expect("clap requires a recipe or --resume");
        let mut overrides = Override::parse_all(&self.set)?;
        overrides.extend(model_overrides(&self.models, R::MODEL)?);
        let (mut recipe, preparations) = read_with_overrides::<R>(&path, &overrides)?;
        if let Some(count) = self.seeds {
            recipe.run_mut().seeds = (0..count).collect();
        }
        select_arms(&mut recipe, &self.arms)?;
        Ok((recipe, preparations))
    }
}

/// Converts arguments `--model [NAME=]DIR` to overrides of the key [`Recipe::MODEL`].
fn model_overrides(models: &[String], key: &str) -> Result<Vec<Override>> {
    let models: Vec<ModelArg<'_>> =
        models.iter().map(|text| ModelArg::parse(text)).collect::<Result<_>>()?;
    let Some(section) = key.strip_suffix(".*") else {
        let reason = match models.as_slice() {
            [] => return Ok(Vec::new()),
            [model] if model.name.is_none() => {
                return Ok(vec![Override::new("--model", key, model.folder.into())]);
            }
            [model] => {
                let reason = "this recipe starts from one model; omit the name";
                return Err(model.error(reason));
            }
            _ => "this recipe starts from one model; give one folder",
        };
        return Err(Error::setting("--model", reason));
    };
    let mut folders = Table::new();
    for model in &models {
        let name = model.name_or_folder()?;
        if folders.insert(name.to_owned(), model.folder.into()).is_some() {
            let reason = format!("another model is called {name:?}; give this model as NAME=DIR");
            return Err(model.error(&reason));
        }
    }
    let model_override =
        (!folders.is_empty()).then(|| Override::new("--model", section, folders.into()));
    Ok(model_override.into_iter().collect())
}

/// A parsed argument `--model [NAME=]DIR`.
struct ModelArg<'a> {
    text: &'a str,
    name: Option<&'a str>,
    folder: &'a str,
}

impl<'a> ModelArg<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let (name, folder) = match text.split_once('=') {
            Some((name, folder)) if !name.contains('/') => (Some(name), folder),
            _ => (None, text),
        };
        let model = Self { text, name, folder };
        if folder.is_empty() || name == Some("") {
            return Err(model.error("expected DIR or NAME=DIR"));
        }
        Ok(model)
    }

    /// The name or, if it is absent, the last component of the folder's path.
    fn name_or_folder(&self) -> Result<&'a str> {
        let folder_name = || Path::new(self.folder).file_name()?.to_str();
        self.name.or_else(folder_name).ok_or_else(|| self.error("no folder name; give NAME=DIR"))
    }

    fn error(&self, reason: &str) -> Error {
        Error::setting(format!("--model {}", self.text), reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_arguments_may_have_names() {
        let parse = |text| ModelArg::parse(text).map(|model| (model.name, model.folder));
        assert_eq!(parse("data/base").unwrap(), (None, "data/base"));
        assert_eq!(parse("x=data/base").unwrap(), (Some("x"), "data/base"));
        assert_eq!(parse("runs/a=b/model").unwrap(), (None, "runs/a=b/model"));
        for invalid in ["", "=data", "x="] {
            assert!(parse(invalid).is_err(), "{invalid}");
        }
        assert_eq!(ModelArg::parse("data/base").unwrap().name_or_folder().unwrap(), "base");
        assert!(ModelArg::parse("/").unwrap().name_or_folder().is_err());
    }

    #[test]
    fn model_arguments_override_the_model_key() {
        let table = |models: &[&str], key: &str| -> Result<String, String> {
            let models: Vec<String> = models.iter().map(|&model| model.to_owned()).collect();
            let mut table = Table::new();
            for item in model_overrides(&models, key).map_err(|error| error.to_string())? {
                item.apply(&mut table).map_err(|error| error.to_string())?;
            }
            Ok(table.to_string())
        };
        assert_eq!(table(&[], "model.path").unwrap(), "");
        assert!(table(&["a/base"], "model.path").unwrap().contains("path = \"a/base\""));
        let error = table(&["x=base"], "model.path").unwrap_err();
        assert_eq!(error, "--model x=base: this recipe starts from one model; omit the name");
        let error = table(&["base", "base"], "model.path").unwrap_err();
        assert_eq!(error, "--model: this recipe starts from one model; give one folder");
        let text = table(&["a/base", "xlm-k=b/model"], "models.*").unwrap();
        assert!(text.contains("base = \"a/base\"\nxlm-k = \"b/model\""), "{text}");
        let error = table(&["a/base", "b/base"], "models.*").unwrap_err();
        assert!(error.ends_with("another model is called \"base\"; give this model as NAME=DIR"));
    }
}
