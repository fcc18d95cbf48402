//! Reading recipes from TOML files with overrides. Unknown keys are errors.
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::recipe::inheritance::{MergedFiles, blank_special_keys, read_files};
use crate::recipe::keys::Key;
use crate::recipe::prepare::Preparations;
use crate::recipe::toml_file::{add_nearest_name, error_in_file};
use crate::{Error, Result};

/// Reads a TOML file and applies `key.path=value` overrides; values are TOML, or strings if they
/// are not valid TOML.
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {
///     steps: u64,
/// }
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("settings.toml");
/// std::fs::write(&path, "steps = 5\n")?;
/// let read = |set: &str| experiment::read_recipe::<Settings>(&path, &[set.into()]);
/// assert_eq!(read("steps=7")?.steps, 7);
/// let error = read("stps=7").err().map(|error| error.to_string());
/// assert_eq!(
///     error.as_deref(),
///     Some("--set stps=7: unknown key `stps`: the nearest is `steps` (keys here: steps)")
/// );
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] or [`Error::Content`] naming the file, line and column; [`Error::Setting`]
/// naming the override; both name the nearest key if a key is unknown.
pub fn read_recipe<T: DeserializeOwned>(path: impl AsRef<Path>, overrides: &[String]) -> Result<T> {
    Ok(read_with_overrides(path.as_ref(), &Override::parse_all(overrides)?)?.0)
}

/// Like [`read_recipe`], but takes parsed overrides and also returns the recipe's `[prepare]`
/// commands.
pub(crate) fn read_with_overrides<T: DeserializeOwned>(
    path: &Path,
    overrides: &[Override],
) -> Result<(T, Preparations)> {
    let MergedFiles { table, texts } = read_files(path)?;
    let error = match resolve(&table, overrides.iter())? {
        Ok(recipe) => return Ok(recipe),
        Err(error) => error,
    };
    // Errors in the files have line numbers, so the files are checked before the overrides.
    for (path, text) in &texts {
        let text = blank_special_keys(text);
        if let Err(error) = toml::from_str::<T>(&text) {
            return Err(error_in_file(path, &text, &error));
        }
    }
    match first_invalid_override::<T>(&table, overrides)? {
        Some(error) => Err(error),
        None => Err(Error::content(path, add_nearest_name(error.message()))),
    }
}

/// Applies `key.path=value` overrides, like [`read_recipe`], to values that are already in memory.
///
/// ```
/// #[derive(serde::Deserialize, serde::Serialize)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {
///     steps: u64,
///     rate: f64,
/// }
///
/// let settings = Settings { steps: 5, rate: 3e-5 };
/// let changed = experiment::with_overrides(&settings, &["steps=7".into()])?;
/// assert_eq!((changed.steps, changed.rate), (7, 3e-5));
/// let error = experiment::with_overrides(&settings, &["step=7".into()]).err().unwrap();
/// assert!(error.to_string().starts_with("--set step=7: unknown key `step`"));
/// # Ok::<(), experiment::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] naming the override, with the nearest key if a key is unknown.
pub fn with_overrides<T: Serialize + DeserializeOwned>(
    values: &T,
    overrides: &[String],
) -> Result<T> {
    let table =
        Table::try_from(values).map_err(|error| Error::setting("settings", error.to_string()))?;
    let overrides = Override::parse_all(overrides)?;
    match resolve(&table, overrides.iter())? {
        Ok((changed, _)) => Ok(changed),
        Err(error) => Err(first_invalid_override::<T>(&table, &overrides)?
            .unwrap_or_else(|| Error::setting("settings", add_nearest_name(error.message())))),
    }
}

/// The error of the first override that makes the recipe invalid.
fn first_invalid_override<T: DeserializeOwned>(
    table: &Table,
    overrides: &[Override],
) -> Result<Option<Error>> {
    for (number, item) in overrides.iter().enumerate() {
        if let Err(error) = resolve::<T>(table, overrides.iter().take(number + 1))? {
            return Ok(Some(Error::setting(&item.argument, add_nearest_name(error.message()))));
        }
    }
    Ok(None)
}

/// A key and value from a command-line argument.
pub(crate) struct Override {
    argument: String,
    key: Key,
    value: Value,
}

impl Override {
    /// Creates an override of `key`; errors name `argument`.
    pub(crate) fn new(argument: impl Into<String>, key: &str, value: Value) -> Self {
        Self { argument: argument.into(), key: Key::parse(key), value }
    }

    /// Parses the values of `--set` in order.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    fn parse(text: &str) -> Result<Self> {
        let argument = format!("--set {text}");
        match text.split_once('=') {
            Some((key, value)) => Ok(Self::new(argument, key.trim(), parse_value(value.trim()))),
            None => {
                let reason = "expected KEY=VALUE, such as data.train=PATH";
                Err(Error::setting(argument, reason))
            }
        }
    }

    /// Sets the key in `table`, and creates missing sections.
    pub(crate) fn apply(&self, table: &mut Table) -> Result<()> {
        let (name, sections) = self.key.parts().split_last().expect("a key has a part");
        let mut inner = table;
        for section in sections {
            let entry = inner.entry(section).or_insert_with(|| Value::Table(Table::new()));
            inner = entry.as_table_mut().ok_or_else(|| {
                Error::setting(&self.argument, format!("{section} is not a section"))
            })?;
        }
        inner.insert(name.clone(), self.value.clone());
        Ok(())
    }
}

/// Parses a TOML value. A text that is not valid TOML becomes a string.
fn parse_value(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Applies overrides to a copy of a table, replaces placeholders by prepared folders, and
/// deserialises the copy. The outer error describes an override or `[prepare]`; the inner error,
/// the deserialisation.
fn resolve<'a, T: DeserializeOwned>(
    table: &Table,
    overrides: impl Iterator<Item = &'a Override>,
) -> Result<Result<(T, Preparations), toml::de::Error>> {
    let mut table = table.clone();
    for item in overrides {
        item.apply(&mut table)?;
    }
    let preparations = Preparations::take_from(&mut table)?;
    Ok(table.try_into().map(|recipe| (recipe, preparations)))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        seed: u64,
        kind: Kind,
        inner: Inner,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        path: String,
        list: Vec<i64>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        #[default]
        Joint,
        PerPair,
    }

    fn read(text: &str, set: &[&str]) -> Result<Outer, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let set: Vec<String> = set.iter().copied().map(str::to_owned).collect();
        read_recipe(file.path(), &set).map_err(|error| error.to_string())
    }

    #[test]
    fn overrides_set_nested_keys_and_create_missing_sections() {
        let recipe = read("seed = 1\n", &["seed=7", "inner.path=some/where", "inner.list=[1, 2]"]);
        let inner = Inner { path: "some/where".into(), list: vec![1, 2] };
        assert_eq!(recipe.unwrap(), Outer { seed: 7, inner, ..Outer::default() });
        assert_eq!(read("", &["inner.path=a\nb = 1"]).unwrap().inner.path, "a\nb = 1");
    }

    #[test]
    fn the_error_for_an_unknown_key_contains_its_line_and_the_nearest_key() {
        let error = read("seed = 1\nsead = 2\n", &["seed=3"]).unwrap_err();
        assert!(error.contains(":2:1: unknown key `sead`: the nearest is `seed`"), "{error}");
        let error = read("seed = 1\n[inner]\npth = 'x'\n", &[]).unwrap_err();
        assert!(error.contains(":3:1: unknown key `pth`: the nearest is `path`"), "{error}");
        let error = read("seed = = 1\n", &[]).unwrap_err();
        assert!(error.contains(":1:8: "), "{error}");
    }

    #[test]
    fn the_error_for_an_unknown_key_names_the_argument() {
        let set = ["seed=3", "inner.pth=x", "inner.list=[1]"];
        let error = read("seed = 1\n", &set).unwrap_err();
        let expected =
            "--set inner.pth=x: unknown key `pth`: the nearest is `path` (keys here: path, list)";
        assert_eq!(error, expected);
        let error = read("", &["kind=perpair"]).unwrap_err();
        assert!(error.contains("--set kind=perpair: unknown value"), "{error}");
        let error = read("", &["a=1", "b=2"]).unwrap_err();
        assert!(error.starts_with("--set a=1: unknown key `a`"), "{error}");
        let error = read("", &["seed=fast"]).unwrap_err();
        assert!(error.starts_with("--set seed=fast: invalid type: string"), "{error}");
        assert!(read("", &["seed"]).unwrap_err().contains("KEY=VALUE"));
        assert!(read("", &["seed.x=1", "seed.y=1"]).unwrap_err().contains("--set seed.x"));
        assert!(read("seed = 1", &["seed.x=1"]).unwrap_err().contains("seed is not a section"));
    }

    #[test]
    fn files_above_the_size_limit_are_rejected() {
        let error = read_recipe::<Outer>("/dev/zero", &[]).unwrap_err().to_string();
        assert!(error.starts_with("/dev/zero: it contains more than 16 MiB"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_recipe::<Outer>("/none.toml", &[]).unwrap_err();
        assert!(error.to_string().starts_with("/none.toml: "), "{error}");
    }
}
