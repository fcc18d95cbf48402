//! Decomposition of a recipe into the values of its keys and its input files, which form the
//! identity of results.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shards::Manifest;

use crate::identity::digest::{Digests, check_input, list_files};
use crate::identity::{Identity, PRECISION};
use crate::recipe::Key;
use crate::recipe::{ARMS, duplicate_error};
use crate::recipe::{INPUT_KEY, Input, record};
use crate::{Error, Recipe, Result, RunConfig};

/// Keys of training stages that only affect which files are written, and how often.
const BOOKKEEPING: [&str; 4] = ["checkpoint_steps", "keep_checkpoints", "keep_models", "log_steps"];

/// The two parts of a trial; each has its own identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Training,
    Evaluation,
}

enum RecipeValue {
    Value(Value),
    Input(Input),
    /// The SHA-256 of an input's files, each with its name relative to the input.
    Files(Vec<(Option<String>, String)>),
}

/// Keys of a recipe with their values or inputs, except inputs of arms that are neither selected
/// nor referenced.
pub(crate) struct RecipeValues {
    leaves: Vec<(Key, RecipeValue)>,
    evaluation_keys: &'static [&'static str],
    arms: BTreeSet<String>,
}

impl RecipeValues {
    pub(crate) fn of<R: Recipe>(recipe: &R) -> Result<Self> {
        let invalid = |reason: String| Error::setting(format!("recipe of {}", R::NAME), reason);
        let (mut json, inputs) = record(recipe).map_err(|error| invalid(error.to_string()))?;
        for section in ["run", ARMS] {
            if !json.get(section).is_some_and(Value::is_object) {
                return Err(invalid(format!("the struct has no section {section:?}")));
            }
        }
        if let Value::Object(table) = &mut json {
            table.remove("run");
        }
        let mut leaves = Vec::new();
        remove_bookkeeping(&mut json);
        collect_leaves(&Key::default(), json, &inputs, &mut leaves);
        let precision = &recipe.run().precision;
        if *precision != RunConfig::default().precision {
            // The default is omitted, so that identities stored before the key existed stay valid.
            let precision = RecipeValue::Value(precision.as_str().into());
            leaves.push((Key::parse(PRECISION), precision));
        }
        let arms = recipe.arms().keys().cloned().collect();
        let mut values = Self { leaves, evaluation_keys: R::EVALUATION_KEYS, arms };
        let used_arms =
            values.with_references(recipe.run().selected_arms().iter().cloned().collect());
        values.leaves.retain(|(key, leaf)| {
            !matches!(leaf, RecipeValue::Input(_))
                || arm_of_key(key).is_none_or(|arm| used_arms.contains(arm))
        });
        Ok(values)
    }

    /// Rejects missing inputs, paths that are not declared as inputs, and repeated languages, which
    /// would be counted twice.
    pub(crate) fn check(&self) -> Result<()> {
        for (key, leaf) in &self.leaves {
            match leaf {
                RecipeValue::Value(value) => {
                    reject_undeclared_path(key, value)?;
                    if key.parts().last().is_some_and(|part| part.ends_with("languages")) {
                        check_unique(key, value)?;
                    }
                }
                RecipeValue::Input(input) => check_input(&key.to_string(), &input.path)?,
                RecipeValue::Files(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn input_paths(&self) -> Vec<PathBuf> {
        let input_path = |(_, leaf): &(Key, RecipeValue)| match leaf {
            RecipeValue::Input(input) => Some(input.path.clone()),
            _ => None,
        };
        self.leaves.iter().filter_map(input_path).collect()
    }

    /// Reads the inputs and replaces them by their digests.
    pub(crate) fn hash(&mut self) -> Result<()> {
        let mut digests = Digests::default();
        for (key, leaf) in &mut self.leaves {
            let RecipeValue::Input(input) = leaf else { continue };
            let mut file_digests = Vec::new();
            let manifest = Manifest::read(&input.path)?;
            for (name, path) in list_files(&key.to_string(), input)? {
                let digest = digests.of_file(&path)?;
                let entry = name.as_ref().and_then(|name| manifest.as_ref()?.files.get(name));
                if let Some(entry) = entry.filter(|entry| entry.sha256 != digest) {
                    entry.check(&path)?;
                }
                file_digests.push((name, digest));
            }
            *leaf = RecipeValue::Files(file_digests);
        }
        Ok(())
    }

    /// The part of the identity that is common to the training of all trials.
    pub(crate) fn shared_identity(&self) -> Identity {
        self.identity(Part::Training, &BTreeSet::new())
    }

    /// The identity of training and evaluation of all arms, with the seeds and arms of `run`.
    /// Processes that train together must have the same identity.
    pub(crate) fn full_identity(&self, run: &RunConfig) -> Identity {
        let mut identity = self.identity(Part::Training, &self.arms);
        let evaluation = self.identity(Part::Evaluation, &self.arms);
        identity.keys.extend(evaluation.keys);
        identity.files.extend(evaluation.files);
        identity.keys.insert("run.seeds".into(), run.seeds.clone().into());
        identity.keys.insert("run.arms".into(), run.selected_arms().to_vec().into());
        identity
    }

    /// The identity of one part of a trial. If no arm has this name, the identity contains only the
    /// keys that all arms share.
    pub(crate) fn trial_identity(
        &self,
        part: Part,
        seed: u64,
        name: &str,
        variant: Option<&str>,
    ) -> Identity {
        let arm = self.arms.get(name).cloned().into_iter().collect();
        let mut identity = self.identity(part, &self.with_references(arm));
        if part == Part::Training {
            identity.keys.insert("cell.seed".into(), seed.into());
            identity.keys.insert("cell.arm".into(), name.into());
            let variant = variant.map(|name| ("cell.variant".to_owned(), name.into()));
            identity.keys.extend(variant);
        }
        identity
    }

    fn identity(&self, part: Part, arms: &BTreeSet<String>) -> Identity {
        let mut identity = Identity::default();
        for (key, leaf) in &self.leaves {
            let is_evaluation = self.evaluation_keys.iter().any(|pattern| key.is_below(pattern));
            let belongs_to_part = is_evaluation == (part == Part::Evaluation);
            if !belongs_to_part || arm_of_key(key).is_some_and(|arm| !arms.contains(arm)) {
                continue;
            }
            match leaf {
                RecipeValue::Value(value) => {
                    drop(identity.keys.insert(key.to_string(), value.clone()))
                }
                RecipeValue::Input(_) => {}
                RecipeValue::Files(files) => {
                    identity.files.extend(files.iter().map(|(name, digest)| {
                        let name = name.as_ref().map(|name| format!("{name} of {key}"));
                        (name.unwrap_or_else(|| key.to_string()), digest.as_str().into())
                    }))
                }
            }
        }
        identity
    }

    /// Adds every arm whose name is a value of one of `arms` or of a key outside of the arms,
    /// directly or through other arms.
    fn with_references(&self, mut arms: BTreeSet<String>) -> BTreeSet<String> {
        loop {
            let count_before = arms.len();
            for (key, leaf) in &self.leaves {
                if let RecipeValue::Value(value) = leaf
                    && arm_of_key(key).is_none_or(|arm| arms.contains(arm))
                {
                    for_each_text(value, &mut |text| arms.extend(self.arms.get(text).cloned()));
                }
            }
            if arms.len() == count_before {
                return arms;
            }
        }
    }
}

/// The arm's name, if the key is a key of an arm.
fn arm_of_key(key: &Key) -> Option<&str> {
    match key.parts() {
        [section, arm, ..] if section == ARMS => Some(arm),
        _ => None,
    }
}

/// Calls `visit` for every text in a value.
fn for_each_text(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(values) => values.iter().for_each(|value| for_each_text(value, visit)),
        Value::Object(table) => table.values().for_each(|value| for_each_text(value, visit)),
        _ => {}
    }
}

/// Rejects a text that is the path of a file or folder but not an [`InputPath`](crate::InputPath),
/// because its contents would not be hashed.
fn reject_undeclared_path(key: &Key, value: &Value) -> Result<()> {
    let mut undeclared = None;
    for_each_text(value, &mut |text| {
        if text.contains('/') && Path::new(text).exists() {
            undeclared = Some(format!("{key} = {text}"));
        }
    });
    let reason = "names a file, so the recipe must declare it as InputPath";
    undeclared.map_or(Ok(()), |key| Err(Error::setting(key, reason)))
}

/// Rejects a list with repeated values.
fn check_unique(key: &Key, value: &Value) -> Result<()> {
    let Value::Array(values) = value else { return Ok(()) };
    let repeated_value = values
        .iter()
        .enumerate()
        .find(|(index, value)| values.iter().take(*index).any(|earlier| earlier == *value));
    let Some((_, value)) = repeated_value else { return Ok(()) };
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Err(duplicate_error(&key.to_string(), &value))
}

/// Removes bookkeeping keys, nulls, and tables that become empty; returns whether a value remains.
fn remove_bookkeeping(value: &mut Value) -> bool {
    match value {
        Value::Null => return false,
        Value::Array(values) => {
            for value in values {
                remove_bookkeeping(value);
            }
        }
        Value::Object(table) if !table.is_empty() => {
            table.retain(|part, inner| {
                !BOOKKEEPING.contains(&part.as_str()) && remove_bookkeeping(inner)
            });
            return !table.is_empty();
        }
        _ => {}
    }
    true
}

/// Collects the values below `key`. A list is one value unless it contains inputs.
fn collect_leaves(key: &Key, value: Value, inputs: &[Input], leaves: &mut Vec<(Key, RecipeValue)>) {
    if let Some(number) = input_number(&value) {
        leaves.push((key.clone(), RecipeValue::Input(inputs[number].clone())));
        return;
    }
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (part, inner) in table {
                collect_leaves(&key.child(part), inner, inputs, leaves);
            }
        }
        Value::Array(values) if values.iter().any(contains_input) => {
            for (number, inner) in values.into_iter().enumerate() {
                collect_leaves(&key.child(number.to_string()), inner, inputs, leaves);
            }
        }
        value => leaves.push((key.clone(), RecipeValue::Value(value))),
    }
}

/// The index of the input that the JSON value `{ "$input": index }` represents.
fn input_number(value: &Value) -> Option<usize> {
    let table = value.as_object().filter(|table| table.len() == 1)?;
    table.get(INPUT_KEY)?.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn contains_input(value: &Value) -> bool {
    input_number(value).is_some()
        || match value {
            Value::Array(values) => values.iter().any(contains_input),
            Value::Object(table) => table.values().any(contains_input),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bookkeeping_and_absent_values_are_skipped_at_any_depth() {
        let mut value = json!({
            "training": { "steps": 5, "log_steps": 1, "checkpoint_steps": null },
            "stages": [{ "steps": 5, "keep_checkpoints": 2, "keep_models": true, "groups": null }],
            "watched": { "log_steps": 1 },
            "empty": {},
            "data": [{ "$input": 0 }],
        });
        let is_read = |_: &str| true;
        let input =
            Input { path: "train.json".into(), is_read, expected: "file", subfolder_file: None };
        let mut leaves = Vec::new();
        remove_bookkeeping(&mut value);
        collect_leaves(&Key::default(), value, &[input], &mut leaves);
        let keys: Vec<String> = leaves.iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, ["data.0", "empty", "stages", "training.steps"]);
        let stages = leaves.iter().find_map(|(key, leaf)| match leaf {
            RecipeValue::Value(value) if key.to_string() == "stages" => Some(value),
            _ => None,
        });
        assert_eq!(stages.unwrap(), &json!([{ "steps": 5 }]));
    }

    #[test]
    fn a_path_in_a_plain_string_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let error = reject_undeclared_path(&Key::parse("data.kg"), &json!([path])).unwrap_err();
        assert!(error.to_string().contains("InputPath"), "{error}");
        assert!(reject_undeclared_path(&Key::parse("title"), &json!("EM / F1")).is_ok());
    }
}
