//! Recipes that inherit values from a base recipe.
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::recipe::keys::Key;
use crate::recipe::prepare::PREPARE;
use crate::recipe::toml_file::{error_in_file, read_text};
use crate::{Error, Result};

/// The key whose value is the path of the base recipe, relative to the recipe file.
const BASE: &str = "base";
/// The key that lists the keys to remove from the base recipe.
const UNSET: &str = "unset";

/// Maximum length of a chain of base recipes.
const MAX_FILES: usize = 8;

/// A recipe file merged with its base files.
pub(crate) struct MergedFiles {
    /// The merged values.
    pub(crate) table: Table,
    /// Paths and texts of the files, starting with the recipe.
    pub(crate) texts: Vec<(PathBuf, String)>,
}

/// Reads a recipe and its base recipes.
///
/// Tables are merged; any other value of the recipe replaces the base recipe's value.
pub(crate) fn read_files(path: &Path) -> Result<MergedFiles> {
    let mut texts = Vec::new();
    let table = read_merged(path, &mut texts)?;
    Ok(MergedFiles { table, texts })
}

fn read_merged(path: &Path, texts: &mut Vec<(PathBuf, String)>) -> Result<Table> {
    if texts.len() >= MAX_FILES {
        return Err(Error::content(path, format!("{BASE}: more than {MAX_FILES} files")));
    }
    let text = read_text(path)?;
    let mut table: Table =
        toml::from_str(&text).map_err(|error| error_in_file(path, &text, &error))?;
    texts.push((path.to_owned(), text));
    let base = table.remove(BASE);
    let unset = table.remove(UNSET);
    let Some(base) = base else {
        return match unset {
            Some(_) => {
                Err(Error::content(path, format!("{UNSET}: only allowed together with {BASE}")))
            }
            None => Ok(table),
        };
    };
    let invalid = |key, expected| Error::content(path, format!("{key}: expected {expected}"));
    let Value::String(base) = base else { return Err(invalid(BASE, "a path")) };
    let mut merged = read_merged(&path.parent().unwrap_or(Path::new(".")).join(base), texts)?;
    let keys = unset.unwrap_or_else(|| Value::Array(Vec::new()));
    let keys = keys.as_array().ok_or_else(|| invalid(UNSET, "a list of keys"))?;
    for key in keys {
        let key = key.as_str().ok_or_else(|| invalid(UNSET, "a list of keys"))?;
        if !remove_key(&mut merged, Key::parse(key).parts()) {
            return Err(Error::content(path, format!("{UNSET}: {key} is not in the base")));
        }
    }
    merge_tables(&mut merged, table);
    Ok(merged)
}

/// Removes a key; returns whether it existed.
fn remove_key(table: &mut Table, parts: &[String]) -> bool {
    match parts {
        [] => false,
        [name] => table.remove(name).is_some(),
        [section, inner_parts @ ..] => match table.get_mut(section) {
            Some(Value::Table(inner)) => remove_key(inner, inner_parts),
            _ => false,
        },
    }
}

/// Adds the values of `recipe` to `base`; they replace values of equal keys, except tables.
fn merge_tables(base: &mut Table, recipe: Table) {
    for (key, value) in recipe {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base_table)), Value::Table(recipe_table)) => {
                merge_tables(base_table, recipe_table)
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// The text with `base`, `unset` and `[prepare]` replaced by blank lines, which preserves line
/// numbers.
pub(crate) fn blank_special_keys(text: &str) -> String {
    let mut section: Option<&str> = None;
    let mut output = String::new();
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            section = trimmed.trim_start_matches('[').split(']').next();
        }
        let key = trimmed.split_once('=').map_or(trimmed, |(key, _)| key).trim();
        let is_removed = match section {
            None => key == BASE || key == UNSET,
            Some(section) => section == PREPARE,
        };
        match is_removed {
            true => output.push('\n'),
            false => output.push_str(line),
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_table(files: &[(&str, &str)]) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        let merged = read_files(&folder.path().join(files[0].0));
        merged.map(|files| files.table).map_err(|error| error.to_string())
    }

    const BASE_FILE: (&str, &str) =
        ("recipe.toml", "seed = 1\n[model]\npath = 'big'\nheads = [1, 2]\n[arms.one]\nx = 1\n");

    #[test]
    fn keys_of_a_recipe_override_those_of_its_base() {
        let small_recipe = "base = '../recipe.toml'\nunset = ['arms.one', 'model.heads']\nseed = 2\n\
                     [arms.two]\nx = 3\n[model]\nlong = true\n";
        let table = read_table(&[("a/small.toml", small_recipe), BASE_FILE]).unwrap();
        let expected = "seed = 2\n[model]\npath = 'big'\nlong = true\n[arms.two]\nx = 3\n";
        assert_eq!(table, toml::from_str(expected).unwrap());
    }

    #[test]
    fn invalid_bases_are_named_in_the_error() {
        let error_of = |text| read_table(&[("small.toml", text), BASE_FILE]).unwrap_err();
        assert!(error_of("base = 'small.toml'").contains("small.toml: base: more than 8 files"));
        assert!(error_of("base = 1").contains("base: expected a path"));
        assert!(error_of("base = 'none.toml'").contains("none.toml: "));
        assert!(error_of("unset = ['seed']").contains("unset: only allowed together with base"));
        let error = error_of("base = 'recipe.toml'\nunset = ['model.size']");
        assert!(error.ends_with("small.toml: unset: model.size is not in the base"), "{error}");
    }

    #[test]
    fn removed_keys_become_blank_lines() {
        let text =
            "base = 'x'\nunset = []\nseed = 1\n[prepare] # why\na = 'b'\n[model]\npath = ''\n";
        assert_eq!(blank_special_keys(text), "\n\nseed = 1\n\n\n[model]\npath = ''\n");
    }
}
