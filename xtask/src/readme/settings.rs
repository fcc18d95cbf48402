//! Tables of the settings in which `pretrained.toml` of a recipe differs from `recipe.toml`, which
//! has the paper's values.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use results::Table;
use toml::{Table as TomlTable, Value};

use crate::files;

/// Name of the block in a recipe's README.
pub const BLOCK: &str = "settings of pretrained.toml";
/// Sections that say which data and models are used, and how data is prepared.
const DATA_SECTIONS: [&str; 4] = ["data", "model", "prepare", "sweeps"];
/// Names of keys that do not change results.
const WITHOUT_EFFECT: [&str; 5] =
    ["checkpoint_steps", "evaluation_batch_size", "keep_checkpoints", "log_steps", "title"];
/// The text for a key that a file does not set.
const NOT_SET: &str = "–";
/// Maximum number of values of a list in a cell; longer lists are counted.
const MAX_VALUES: usize = 12;

/// The recipes that have a `pretrained.toml`, by README.
pub fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let pages = super::tables::pages(root)?.into_iter();
    Ok(pages.filter(|page| page.with_file_name("pretrained.toml").is_file()).collect())
}

/// Returns the table of a recipe's settings that differ, with a row for each key.
pub fn table(page: &Path) -> Result<String> {
    let paper = read_merged(&page.with_file_name("recipe.toml"))?;
    let here = read_merged(&page.with_file_name("pretrained.toml"))?;
    let mut table = Table::new("key", ["`recipe.toml`", "`pretrained.toml`"])
        .with_text_columns(&["`recipe.toml`", "`pretrained.toml`"]);
    for (key, [paper, here]) in differences(&paper, &here) {
        let cell = |value: Option<&Value>| value.map_or_else(|| NOT_SET.to_owned(), format_value);
        table.add_row(format!("`{key}`"), [cell(paper), cell(here)]);
    }
    Ok(table.to_string())
}

/// Returns the keys whose values differ, with both values. Keys of data and models, of arms that are
/// only in one of the recipes or do not run, and of tasks that are only in one of the recipes are
/// excluded.
fn differences<'t>(
    paper: &'t TomlTable,
    here: &'t TomlTable,
) -> BTreeMap<String, [Option<&'t Value>; 2]> {
    let mut values: BTreeMap<Vec<&str>, [Option<&Value>; 2]> = BTreeMap::new();
    for (index, recipe) in [paper, here].into_iter().enumerate() {
        let mut leaves = Vec::new();
        add_leaves(recipe, &mut Vec::new(), &mut leaves);
        for (path, value) in leaves {
            values.entry(path).or_default()[index] = Some(value);
        }
    }
    let contains = |recipe: &TomlTable, section: &str, name: &str| {
        recipe.get(section).and_then(Value::as_table).is_some_and(|table| table.contains_key(name))
    };
    let is_listed = |path: &[&str]| match path {
        [section, ..] if DATA_SECTIONS.contains(section) => false,
        ["run", key, ..] => *key == "precision",
        ["tasks", _, section, ..] if DATA_SECTIONS.contains(section) => false,
        [section @ ("tasks" | "arms"), name, ..] => {
            let runs = *section == "tasks" || runs_arm(here, name);
            runs && contains(paper, section, name) && contains(here, section, name)
        }
        _ => true,
    };
    let has_effect = |path: &[&str]| path.last().is_none_or(|key| !WITHOUT_EFFECT.contains(key));
    values
        .into_iter()
        .filter(|(path, [paper, here])| paper != here && is_listed(path) && has_effect(path))
        .map(|(path, values)| (path.join("."), values))
        .collect()
}

/// Returns whether `run.arms`, a list of names that may end with `*`, contains an arm. Without the
/// key, all arms run.
fn runs_arm(recipe: &TomlTable, name: &str) -> bool {
    let arms = recipe.get("run").and_then(|run| run.get("arms")).and_then(Value::as_array);
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    arms.is_none_or(|arms| arms.iter().filter_map(Value::as_str).any(matches))
}

/// Adds the values of a table that are not tables, with their paths. An empty table has no values.
fn add_leaves<'t>(
    table: &'t TomlTable,
    path: &mut Vec<&'t str>,
    leaves: &mut Vec<(Vec<&'t str>, &'t Value)>,
) {
    for (key, value) in table {
        path.push(key);
        match value {
            Value::Table(inner) => add_leaves(inner, path, leaves),
            value => leaves.push((path.clone(), value)),
        }
        path.pop();
    }
}

/// Formats a value as in TOML; small numbers have an exponent, as in the recipes.
fn format_value(value: &Value) -> String {
    match value {
        Value::Array(values) if values.len() > MAX_VALUES => format!("{} values", values.len()),
        Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => format!("`{number:e}`"),
        _ => format!("`{value}`"),
    }
}

/// Reads a recipe with the values of its `base`, as the recipes' programs do: tables are merged, and
/// keys in `unset` are removed from the base.
fn read_merged(path: &Path) -> Result<TomlTable> {
    let in_file = || path.display().to_string();
    let mut recipe: TomlTable = files::read(path)?.parse().with_context(in_file)?;
    let (base, unset) = (recipe.remove("base"), recipe.remove("unset"));
    let Some(base) = base else { return Ok(recipe) };
    let base = base.as_str().context("base: expected a path").with_context(in_file)?;
    let mut merged = read_merged(&path.with_file_name(base))?;
    for key in unset.as_ref().and_then(Value::as_array).into_iter().flatten() {
        let key = key.as_str().context("unset: expected a list of keys").with_context(in_file)?;
        if !remove(&mut merged, key) {
            bail!("{}: unset: {key} is not in the base", path.display());
        }
    }
    merge(&mut merged, recipe);
    Ok(merged)
}

/// Removes a key with dots; returns whether it existed.
fn remove(table: &mut TomlTable, key: &str) -> bool {
    match key.split_once('.') {
        None => table.remove(key).is_some(),
        Some((section, key)) => match table.get_mut(section) {
            Some(Value::Table(inner)) => remove(inner, key),
            _ => false,
        },
    }
}

/// Adds the values of `recipe` to `base`; they replace values of equal keys, except tables.
fn merge(base: &mut TomlTable, recipe: TomlTable) {
    for (key, value) in recipe {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(recipe)) => merge(base, recipe),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_settings_that_differ_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "recipe.toml",
            "center = true\n[run]\nthreads = 0\n[data]\ntrain = 'a'\n[training]\nepochs = 8\n\
             learning_rate = 3e-5\nbetas = [0.9, 0.999]\nlog_steps = 10\nbatch_size = 16\n\
             [arms.hl]\nalpha = 0.5\n[arms.other]\nalpha = 0.1\n[tasks.ner]\nepochs = 20\n\
             [tasks.xnli]\nepochs = 10\n",
        );
        write(
            "small.toml",
            "base = 'recipe.toml'\nunset = ['training.epochs']\n[training]\nsteps = 100\n\
             betas = [0.9, 0.98]\nlog_steps = 1\n[arms.new]\nalpha = 2\n",
        );
        write(
            "pretrained.toml",
            "base = 'small.toml'\nunset = ['tasks.xnli']\ncenter = false\n[run]\nthreads = 2\n\
             precision = 'bf16'\narms = ['h*', 'new']\n[data]\ntrain = 'b'\n[training]\n\
             learning_rate = 1.5e-4\nsteps = 200\n[arms.hl]\nalpha = 1\n[arms.other]\nalpha = 1\n\
             [tasks.ner]\nepochs = 5\n",
        );
        let text = table(&folder.path().join("README.md")).unwrap();
        assert_eq!(
            text,
            "| key | `recipe.toml` | `pretrained.toml` |\n|---|---|---|\n\
             | `arms.hl.alpha` | `0.5` | `1` |\n\
             | `center` | `true` | `false` |\n\
             | `run.precision` | – | `\"bf16\"` |\n\
             | `tasks.ner.epochs` | `20` | `5` |\n\
             | `training.betas` | `[0.9, 0.999]` | `[0.9, 0.98]` |\n\
             | `training.epochs` | `8` | – |\n\
             | `training.learning_rate` | `3e-5` | `1.5e-4` |\n\
             | `training.steps` | – | `200` |\n"
        );
        write("pretrained.toml", "base = 'small.toml'\nunset = ['training.epochs']\n");
        let error = table(&folder.path().join("README.md")).unwrap_err().to_string();
        assert!(error.ends_with("unset: training.epochs is not in the base"), "{error}");
    }
}
