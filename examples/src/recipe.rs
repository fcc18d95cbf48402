//! Recipes: TOML files whose keys can be overridden on the command line. An unknown key is an error.
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Reads a recipe and applies `key.path=value` overrides; values are TOML, bare words count as strings.
///
/// # Errors
/// If the file cannot be read, is not TOML, an override is not `key=value`, or a key or value does not fit.
pub fn read<T: DeserializeOwned>(path: &Path, overrides: &[String]) -> Result<T> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{name}"))?;
    // The untouched file first, so that its errors show its own lines.
    let plain: Result<T> = toml::from_str(&text).map_err(|error| anyhow!("{name}: {error}"));
    if overrides.is_empty() {
        return plain;
    }
    let mut table: Table = toml::from_str(&text).map_err(|error| anyhow!("{name}: {error}"))?;
    for item in overrides {
        let (key, value) = item
            .split_once('=')
            .ok_or_else(|| anyhow!("--set {item}: expected key=value, such as data.kg=path"))?;
        set(&mut table, key.trim(), parse(value.trim()))
            .with_context(|| format!("--set {item}"))?;
    }
    let merged = toml::to_string(&table).with_context(|| format!("{name}"))?;
    match toml::from_str(&merged) {
        Ok(recipe) => Ok(recipe),
        Err(error) => match plain {
            Ok(_) => bail!("{name} with --set {}: {error}", overrides.join(" --set ")),
            Err(own) => Err(own),
        },
    }
}

fn parse(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            let inner = inner.as_table_mut().ok_or_else(|| anyhow!("{first} is not a section"))?;
            set(inner, rest, value)
        }
    }
}

/// Writes a resolved recipe: every key with the value in force.
///
/// # Errors
/// If it cannot be written.
pub fn write<T: Serialize>(path: &Path, recipe: &T) -> Result<()> {
    let text = toml::to_string_pretty(recipe).with_context(|| path.display().to_string())?;
    crate::results::write_text(path, &text)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        seed: u64,
        inner: Inner,
    }

    #[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        path: String,
        list: Vec<i64>,
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn overrides_reach_nested_keys_and_make_missing_sections() {
        let file = file("seed = 1\n");
        let set = ["seed=7", "inner.path=some/where", "inner.list=[1, 2]"].map(String::from);
        let recipe: Outer = read(file.path(), &set).unwrap();
        let inner = Inner { path: "some/where".into(), list: vec![1, 2] };
        assert_eq!(recipe, Outer { seed: 7, inner });
    }

    #[test]
    fn unknown_keys_are_named() {
        let wrong = file("seed = 1\nsead = 2\n");
        let message = format!("{:#}", read::<Outer>(wrong.path(), &[]).unwrap_err());
        assert!(message.contains("sead") && message.contains("line 2"), "{message}");
        let right = file("seed = 1\n");
        let message =
            format!("{:#}", read::<Outer>(right.path(), &["inner.pth=x".into()]).unwrap_err());
        assert!(message.contains("--set inner.pth=x") && message.contains("pth"), "{message}");
        assert!(read::<Outer>(right.path(), &["seed".into()]).is_err());
        assert!(read::<Outer>(Path::new("/none.toml"), &[]).is_err());
    }
}
