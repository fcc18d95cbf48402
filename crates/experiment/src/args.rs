//! The one command line of all recipes.
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::recipe::select_arms;
use crate::{Error, ModelFolder, Recipe, Result, read_recipe};

/// Most seeds that `--seeds` takes.
const MOST_SEEDS: u64 = 1000;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// The recipe; with --resume it may be left out: the run's own
    #[arg(required_unless_present = "resume")]
    recipe: Option<PathBuf>,
    /// A model's folder, in place of the recipe's; NAME where a recipe compares several
    #[arg(long = "model", value_name = "[NAME=]DIR")]
    models: Vec<String>,
    /// Overrides a key of the recipe
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Runs the seeds 0 to N - 1 and reports the spread
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SEEDS))]
    seeds: Option<u64>,
    /// Runs the arms whose names match, such as 'base,table4-*', in place of run.arms
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    arms: Vec<String>,
    /// The run folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Goes on with the run in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Prints the recipe with every key and the value in force, and stops
    #[arg(long)]
    pub(crate) show: bool,
}

impl Args {
    /// Reads the arguments, the program's name first.
    pub(crate) fn parse<R: Recipe>(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> std::result::Result<Self, clap::Error> {
        let about = format!(
            "{}\n\nAn interrupted run goes on where it was when it is started again with the same \
             --out. Seeds and arms can be added to a finished run in the same way.",
            R::ABOUT
        );
        let examples = R::EXAMPLES.lines().map(|line| format!("\n  {line}")).collect::<String>();
        let out = format!("The run folder; runs/{} where it is left out", R::NAME);
        let command = Self::command()
            .name(R::NAME)
            .bin_name(R::NAME)
            .about(about)
            .after_help(format!("Examples:{examples}"))
            .mut_arg("out", |argument| argument.help(out));
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// The run folder.
    pub(crate) fn folder<R: Recipe>(&self) -> PathBuf {
        let given = self.resume.as_ref().or(self.out.as_ref());
        given.cloned().unwrap_or_else(|| Path::new("runs").join(R::NAME))
    }

    /// The recipe as the command line changes it.
    pub(crate) fn recipe<R: Recipe>(&self) -> Result<R> {
        if let Some(folder) = &self.resume {
            crate::folder::expect_run(folder)?;
        }
        let stored = self.resume.as_ref().map(|folder| folder.join(crate::run::RECIPE));
        let path = self.recipe.clone().or(stored).unwrap_or_default();
        let mut recipe: R = read_recipe(&path, &self.set)?;
        if !self.models.is_empty() {
            let models = self.models.iter().map(|model| ModelArg::parse(model));
            recipe.set_models(&models.collect::<Result<Vec<_>>>()?)?;
        }
        if let Some(count) = self.seeds {
            recipe.run_mut().seeds = (0..count).collect();
        }
        select_arms(&mut recipe, &self.arms)?;
        Ok(recipe)
    }
}

/// A `--model [NAME=]DIR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelArg {
    /// The name, if there is one.
    pub name: Option<String>,
    /// The folder.
    pub folder: PathBuf,
}

impl ModelArg {
    fn parse(text: &str) -> Result<Self> {
        let (name, folder) = match text.split_once('=') {
            Some((name, folder)) if !name.contains('/') => (Some(name.to_owned()), folder),
            _ => (None, text),
        };
        if folder.is_empty() || name.as_deref() == Some("") {
            return Err(Error::setting(format!("--model {text}"), "expected DIR or NAME=DIR"));
        }
        Ok(Self { name, folder: folder.into() })
    }

    /// The name, or the last part of the folder's path.
    ///
    /// ```
    /// use experiment::ModelArg;
    ///
    /// let model = ModelArg { name: None, folder: "data/base".into() };
    /// assert_eq!(model.name_or_folder()?, "base");
    /// # Ok::<(), experiment::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if the path ends without a name.
    pub fn name_or_folder(&self) -> Result<String> {
        let last = || self.folder.file_name()?.to_str().map(str::to_owned);
        self.name.clone().or_else(last).ok_or_else(|| {
            let argument = format!("--model {}", self.folder.display());
            Error::setting(argument, "give it as NAME=DIR")
        })
    }
}

/// The folder for a recipe that starts from one model.
///
/// ```
/// use experiment::{ModelArg, one_model};
///
/// let base = ModelArg { name: None, folder: "data/base".into() };
/// assert_eq!(one_model(&[base.clone()])?, std::path::Path::new("data/base"));
/// assert!(one_model(&[base.clone(), base]).is_err());
/// # Ok::<(), experiment::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] if there are several, or one with a name.
pub fn one_model(models: &[ModelArg]) -> Result<PathBuf> {
    match models {
        [ModelArg { name: None, folder }] => Ok(folder.clone()),
        [ModelArg { name: Some(name), folder }] => {
            let argument = format!("--model {name}={}", folder.display());
            Err(Error::setting(argument, "this recipe starts from one model; leave the name out"))
        }
        _ => Err(Error::setting("--model", "this recipe starts from one model; give one folder")),
    }
}

/// The folders by name, for a recipe that compares several starts: its arms.
///
/// ```
/// use experiment::{ModelArg, named_models};
///
/// let base = ModelArg { name: None, folder: "data/base".into() };
/// let other = ModelArg { name: Some("xlm-k".into()), folder: "runs/xlm-k/model".into() };
/// let models = named_models(&[base.clone(), other])?;
/// assert_eq!(models.keys().collect::<Vec<_>>(), ["base", "xlm-k"]);
/// assert!(named_models(&[base.clone(), base]).is_err());
/// # Ok::<(), experiment::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] if two have one name, or one has none.
pub fn named_models(models: &[ModelArg]) -> Result<BTreeMap<String, ModelFolder>> {
    let mut named = BTreeMap::new();
    for model in models {
        let name = model.name_or_folder()?;
        if named.insert(name.clone(), model.folder.clone().into()).is_some() {
            let argument = format!("--model {}", model.folder.display());
            let reason = format!("another model is called {name:?}; give it as NAME=DIR");
            return Err(Error::setting(argument, reason));
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_may_have_names() {
        let parse = |text: &str| ModelArg::parse(text).map(|model| (model.name, model.folder));
        assert_eq!(parse("data/base").unwrap(), (None, "data/base".into()));
        assert_eq!(parse("x=data/base").unwrap(), (Some("x".into()), "data/base".into()));
        assert_eq!(parse("runs/a=b/model").unwrap(), (None, "runs/a=b/model".into()));
        for wrong in ["", "=data", "x="] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(ModelArg { name: None, folder: "/".into() }.name_or_folder().is_err());
    }
}
