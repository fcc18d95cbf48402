//! Paths of input files in a recipe, which are found and hashed automatically.
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use serde::ser::{Error as _, SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// Selects the files that are read from a folder. An [`InputPath`] to a single file selects that
/// file.
pub trait InputFiles {
    /// Description of the files for error messages, such as `*.tsv`.
    const EXPECTED: &'static str;

    /// Path of a file in a subfolder. If this file exists, the subfolder and its direct subfolders
    /// are read as well.
    const SUBFOLDER_FILE: Option<&'static str> = None;

    /// Returns whether the file of this name is read.
    fn is_read(name: &str) -> bool;
}

/// Defines types of input files, one per line. A line consists of the documentation, the name,
/// [`InputFiles::EXPECTED`], optionally [`InputFiles::SUBFOLDER_FILE`], and the predicate of
/// [`InputFiles::is_read`].
macro_rules! input_files {
    ($(
        $(#[$about:meta])*
        $kind:ident, $expected:literal $(and $subfolder_file:literal)?, $is_read:expr;
    )*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $kind;

        impl InputFiles for $kind {
            const EXPECTED: &'static str = $expected;
            $(const SUBFOLDER_FILE: Option<&'static str> = Some($subfolder_file);)?

            fn is_read(name: &str) -> bool {
                let is_read: fn(&str) -> bool = $is_read;
                is_read(name)
            }
        }
    )*};
}

fn has_ending(name: &str, endings: &[&str]) -> bool {
    endings.iter().any(|end| name.ends_with(end))
}

input_files! {
    /// Every file of a folder, except names that start with a dot.
    AllFiles, "file", |_| true;
    /// Weights, configuration and tokenizer of a Hugging Face folder, and its adapters.
    ModelFiles, "*.safetensors or *.json" and "adapters/active.json", |name| {
        has_ending(name, &[".safetensors", ".json"])
    };
    /// The JSON files of a folder, such as question files.
    JsonFiles, "*.json", |name| has_ending(name, &[".json"]);
    /// The tables of a folder, such as the triples and labels of a knowledge graph.
    TsvFiles, "*.tsv", |name| has_ending(name, &[".tsv"]);
    /// The texts of a folder, one JSON value per line, optionally compressed.
    JsonlFiles, "*.jsonl or *.jsonl.gz", |name| has_ending(name, &[".jsonl", ".jsonl.gz"]);
    /// The shards of a folder, see [`trainer::is_shard`].
    ShardFiles, "*.jsonl or *.txt (optionally .gz or .zst) or *.parquet", trainer::is_shard;
}

/// A model's folder.
pub type ModelFolder = InputPath<ModelFiles>;

/// A folder of JSON files.
pub type JsonFolder = InputPath<JsonFiles>;

/// A folder of tables.
pub type TsvFolder = InputPath<TsvFiles>;

/// A folder of texts.
pub type JsonlFolder = InputPath<JsonlFiles>;

/// An input file or folder of a run. The recipe stores its path. The identity, which determines
/// whether stored results can be reused, stores the SHA-256 of its contents.
///
/// An input path is serialised as a plain string. An experiment finds the inputs of its recipe,
/// checks that they exist, and hashes them: the file, or the files of the folder that `F` selects.
/// Subfolders are ignored, except for a model's `adapters`. The path is not part of the identity,
/// so inputs may be moved. An empty path denotes an unused input.
///
/// ```
/// use experiment::{InputPath, ModelFolder};
///
/// #[derive(serde::Deserialize, serde::Serialize)]
/// struct Data {
///     train: InputPath,
///     model: ModelFolder,
///     unused: InputPath,
/// }
///
/// let text = "train = \"train.json\"\nmodel = \"base\"\nunused = \"\"\n";
/// let data: Data = toml::from_str(text).unwrap();
/// assert_eq!(data.train.extension().unwrap(), "json"); // dereferences to a `Path`
/// assert!(!data.unused.is_set());
/// assert_eq!(toml::to_string(&data).unwrap(), text);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "PathBuf", bound(deserialize = ""))]
pub struct InputPath<F = AllFiles> {
    path: PathBuf,
    files: PhantomData<F>,
}

impl<F> InputPath<F> {
    /// Returns whether the path is not empty.
    pub fn is_set(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// Returns whether the path is empty, for `skip_serializing_if`.
    pub fn is_unset(&self) -> bool {
        !self.is_set()
    }

    /// Returns the path; if it is empty, an error with the `expected` input of `key`.
    ///
    /// ```
    /// use experiment::InputPath;
    ///
    /// let error = <InputPath>::default().required("data.train", "a training file").unwrap_err();
    /// assert!(error.to_string().starts_with("data.train: is not set: give a training file"));
    /// ```
    ///
    /// # Errors
    /// If the path is empty.
    pub fn required(&self, key: &str, expected: &str) -> Result<&Path> {
        if self.is_set() {
            return Ok(&self.path);
        }
        let reason = format!("is not set: give {expected}, for instance with --set {key}=PATH");
        Err(Error::setting(key, reason))
    }
}

impl<F> Deref for InputPath<F> {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl<F> AsRef<Path> for InputPath<F> {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl<F, P: Into<PathBuf>> From<P> for InputPath<F> {
    fn from(path: P) -> Self {
        Self { path: path.into(), files: PhantomData }
    }
}

impl<F: InputFiles> Serialize for InputPath<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(index) = self.is_set().then(|| push_input::<F>(&self.path)).flatten() {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(INPUT_KEY, &index)?;
            return map.end();
        }
        let text = self.path.to_str().ok_or_else(|| {
            S::Error::custom(format!("{}: a path in a recipe must be UTF-8", self.path.display()))
        })?;
        serializer.serialize_str(text)
    }
}

/// The only key of the table that replaces an input in the result of [`record`].
pub(crate) const INPUT_KEY: &str = "$input";

/// An input of a recipe.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub path: PathBuf,
    pub is_read: fn(&str) -> bool,
    pub expected: &'static str,
    pub subfolder_file: Option<&'static str>,
}

thread_local! {
    /// The inputs of the recipe that is being recorded.
    static RECORDED: RefCell<Option<Vec<Input>>> = const { RefCell::new(None) };
}

/// Adds an input to the recording and returns its index; `None` if nothing is being recorded.
fn push_input<F: InputFiles>(path: &Path) -> Option<usize> {
    RECORDED.with_borrow_mut(|recorded| {
        let inputs = recorded.as_mut()?;
        let (is_read, expected, subfolder_file) = (F::is_read, F::EXPECTED, F::SUBFOLDER_FILE);
        inputs.push(Input { path: path.to_owned(), is_read, expected, subfolder_file });
        Some(inputs.len() - 1)
    })
}

/// Serialises a value to JSON in which each input is a table `{ "$input": index }`. Returns the
/// JSON and the inputs, in the order of their indices.
pub(crate) fn record<T: Serialize>(
    value: &T,
) -> std::result::Result<(Value, Vec<Input>), serde_json::Error> {
    RECORDED.set(Some(Vec::new()));
    let json = serde_json::to_value(value);
    let inputs = RECORDED.take().expect("recordings are not nested");
    Ok((json?, inputs))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Data {
        files: Vec<InputPath>,
        models: BTreeMap<String, ModelFolder>,
        unused: Option<InputPath>,
        empty: InputPath,
    }

    #[test]
    fn inputs_are_found_at_any_depth_and_only_while_recording() {
        let data = Data {
            files: vec!["a.json".into(), "b.json".into()],
            models: BTreeMap::from([("base".to_owned(), "models/base".into())]),
            unused: None,
            empty: InputPath::default(),
        };
        let (json, inputs) = record(&data).unwrap();
        assert_eq!(json["files"], json!([{ "$input": 0 }, { "$input": 1 }]));
        assert_eq!(json["models"]["base"], json!({ "$input": 2 }));
        assert_eq!(json["empty"], json!(""));
        let paths: Vec<&Path> = inputs.iter().map(|input| input.path.as_path()).collect();
        assert_eq!(paths, [Path::new("a.json"), Path::new("b.json"), Path::new("models/base")]);
        assert!((inputs[2].is_read)("model.safetensors") && !(inputs[2].is_read)("notes.txt"));
        assert_eq!(serde_json::to_value(&data).unwrap()["files"], json!(["a.json", "b.json"]));
    }
}
