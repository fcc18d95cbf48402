//! What decides a result, derived from the recipe: the values of its keys and the content of its
//! input files.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shards::Manifest;

use crate::arms::ARMS;
use crate::digest::{Digests, expect_input, files};
use crate::input::{Input, MARK, record};
use crate::keys::Key;
use crate::{Error, Recipe, Result, RunConfig};

/// Keys of training stages that decide how often something is written, and nothing else.
const BOOKKEEPING: [&str; 4] = ["checkpoint_steps", "keep_checkpoints", "keep_models", "log_steps"];

/// Values of keys, and the SHA-256 of input files.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Identity {
    pub keys: BTreeMap<String, Value>,
    pub files: BTreeMap<String, String>,
}

/// Which part of a cell an identity is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Training,
    Evaluation,
}

/// The first key or file in which two identities differ.
#[derive(Debug, PartialEq)]
pub(crate) enum Difference {
    Key { key: String, stored: Option<Value>, current: Option<Value> },
    File { file: String, stored: bool, current: bool },
}

impl Identity {
    /// The first difference of `current` from `self`, which was stored; keys come before files.
    pub(crate) fn difference(&self, current: &Self) -> Option<Difference> {
        let first = |mut names: BTreeSet<&String>, equal: &dyn Fn(&String) -> bool| {
            names.retain(|name| !equal(name));
            names.into_iter().next().cloned()
        };
        let keys = self.keys.keys().chain(current.keys.keys()).collect();
        if let Some(key) = first(keys, &|key| self.keys.get(key) == current.keys.get(key)) {
            let (stored, current) = (self.keys.get(&key).cloned(), current.keys.get(&key).cloned());
            return Some(Difference::Key { key, stored, current });
        }
        let names = self.files.keys().chain(current.files.keys()).collect();
        let file = first(names, &|file| self.files.get(file) == current.files.get(file))?;
        let (stored, current) = (self.files.contains_key(&file), current.files.contains_key(&file));
        Some(Difference::File { file, stored, current })
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { key, stored, current } => {
                write!(f, "{key} = {} there, {} now", shown(stored), shown(current))
            }
            Self::File { file, stored: true, current: true } => {
                write!(f, "the input file {file} has changed")
            }
            Self::File { file, stored: true, .. } => write!(f, "the input file {file} is gone"),
            Self::File { file, .. } => write!(f, "the input file {file} is new"),
        }
    }
}

/// The first key in which two recipes of one kind differ, with both values; nothing where only
/// bookkeeping differs: how often checkpoints and metrics are written. For programs that keep a run
/// folder of their own.
///
/// ```
/// use experiment::first_difference;
/// use trainer::TrainConfig;
///
/// let stored = TrainConfig { steps: Some(50), ..TrainConfig::default() };
/// let current = TrainConfig { steps: Some(60), log_steps: 5, ..stored.clone() };
/// let difference = first_difference(&stored, &current)?;
/// assert_eq!(difference.as_deref(), Some("steps = 50 there, 60 now"));
/// assert_eq!(first_difference(&stored, &TrainConfig { log_steps: 5, ..stored.clone() })?, None);
/// # Ok::<(), experiment::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] if a recipe has no form in JSON.
pub fn first_difference<T: Serialize>(stored: &T, current: &T) -> Result<Option<String>> {
    let identity = |recipe: &T| -> Result<Identity> {
        let json = serde_json::to_value(recipe)
            .map_err(|error| Error::setting("recipe", error.to_string()))?;
        let mut found = Vec::new();
        walk(&Key::default(), json, &mut found);
        let values = found.into_iter().filter_map(|(key, found)| match found {
            Found::Value(value) => Some((key.to_string(), value)),
            Found::Input(_) => None,
        });
        Ok(Identity { keys: values.collect(), files: BTreeMap::new() })
    };
    let difference = identity(stored)?.difference(&identity(current)?);
    Ok(difference.map(|difference| difference.to_string()))
}

/// A value in a message, cut where it is long.
pub(crate) fn shown(value: &Option<Value>) -> String {
    let text = value.as_ref().map_or_else(|| "absent".into(), Value::to_string);
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A value of the recipe.
enum Leaf {
    Value(Value),
    /// Names below the key, paths, digests.
    Files(Vec<(Option<String>, String)>),
}

/// A recipe taken apart into keys and input files.
pub(crate) struct Resolved {
    leaves: Vec<(Key, Leaf)>,
    evaluation: &'static [&'static str],
    arms: BTreeSet<String>,
}

impl Resolved {
    /// Takes a recipe apart. Inputs of arms that are neither selected nor referred to are not read.
    pub(crate) fn new<R: Recipe>(recipe: &R) -> Result<Self> {
        let (json, inputs) = recorded(recipe)?;
        let mut found = Vec::new();
        walk(&Key::default(), json, &mut found);
        let mut resolved = Self {
            leaves: Vec::new(),
            evaluation: R::EVALUATION,
            arms: recipe.arms().keys().cloned().collect(),
        };
        let mut with_inputs = Vec::new();
        for (key, found) in found {
            match found {
                Found::Value(value) => {
                    expect_declared(&key, &value)?;
                    resolved.leaves.push((key, Leaf::Value(value)));
                }
                Found::Input(number) => with_inputs.extend(inputs.get(number).map(|i| (key, i))),
            }
        }
        let needed = resolved.with_references(recipe.run().selected().iter().cloned().collect());
        let mut digests = Digests::default();
        for (key, input) in with_inputs {
            if resolved.arm_of(&key).is_none_or(|arm| needed.contains(arm)) {
                let leaf = hashed(&key, input, &mut digests)?;
                resolved.leaves.push((key, leaf));
            }
        }
        let precision = &recipe.run().precision;
        if *precision != RunConfig::default().precision {
            // The default is left out, as it was before the key came.
            let leaf = Leaf::Value(precision.as_str().into());
            resolved.leaves.push((Key::parse("run.precision"), leaf));
        }
        Ok(resolved)
    }

    /// What decides the training of every cell.
    pub(crate) fn shared(&self) -> Identity {
        self.identity(Part::Training, &BTreeSet::new())
    }

    /// All of it, of every arm and part, with the keys of `run` that say what is run: what
    /// processes that train together must have alike.
    pub(crate) fn everything(&self, run: &RunConfig) -> Identity {
        let mut all = self.identity(Part::Training, &self.arms);
        let evaluation = self.identity(Part::Evaluation, &self.arms);
        all.keys.extend(evaluation.keys);
        all.files.extend(evaluation.files);
        all.keys.insert("run.seeds".into(), run.seeds.clone().into());
        all.keys.insert("run.arms".into(), run.selected().to_vec().into());
        all
    }

    /// What decides one part of a cell; without an arm, of what all arms share.
    pub(crate) fn cell(
        &self,
        part: Part,
        seed: u64,
        name: &str,
        is_arm: bool,
        variant: Option<&str>,
    ) -> Identity {
        let arms = if is_arm { BTreeSet::from([name.to_owned()]) } else { BTreeSet::new() };
        let mut identity = self.identity(part, &self.with_references(arms));
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
            let evaluated = self.evaluation.iter().any(|pattern| key.is_below(pattern));
            let of_part = evaluated == (part == Part::Evaluation);
            if !of_part || self.arm_of(key).is_some_and(|arm| !arms.contains(arm)) {
                continue;
            }
            match leaf {
                Leaf::Value(value) => {
                    identity.keys.insert(key.to_string(), value.clone());
                }
                Leaf::Files(files) => {
                    for (name, digest) in files {
                        let file = match name {
                            Some(name) => format!("{name} of {key}"),
                            None => key.to_string(),
                        };
                        identity.files.insert(file, digest.clone());
                    }
                }
            }
        }
        identity
    }

    /// The arm that a key belongs to.
    fn arm_of<'k>(&self, key: &'k Key) -> Option<&'k str> {
        match key.parts() {
            [section, arm, ..] if section == ARMS => Some(arm),
            _ => None,
        }
    }

    /// These arms, and those whose names stand as values in them or outside of all arms.
    fn with_references(&self, mut arms: BTreeSet<String>) -> BTreeSet<String> {
        loop {
            let before = arms.len();
            for (key, leaf) in &self.leaves {
                if self.arm_of(key).is_none_or(|arm| arms.contains(arm))
                    && let Leaf::Value(value) = leaf
                {
                    self.add_names(value, &mut arms);
                }
            }
            if arms.len() == before {
                return arms;
            }
        }
    }

    fn add_names(&self, value: &Value, arms: &mut BTreeSet<String>) {
        match value {
            Value::String(text) if self.arms.contains(text) => {
                arms.insert(text.clone());
            }
            Value::Array(values) => values.iter().for_each(|value| self.add_names(value, arms)),
            Value::Object(table) => table.values().for_each(|value| self.add_names(value, arms)),
            _ => {}
        }
    }
}

fn recorded<R: Recipe>(recipe: &R) -> Result<(Value, Vec<Input>)> {
    let refuse = |reason: String| Error::setting(format!("recipe of {}", R::NAME), reason);
    let (mut json, inputs) = record(recipe).map_err(|error| refuse(error.to_string()))?;
    for section in ["run", ARMS] {
        if !json.get(section).is_some_and(Value::is_object) {
            return Err(refuse(format!("the struct has no section {section:?}")));
        }
    }
    if let Value::Object(table) = &mut json {
        table.remove("run");
    }
    Ok((json, inputs))
}

/// Refuses, before anything is written, inputs that are not there and languages that are listed
/// twice, which would count double.
pub(crate) fn expect_inputs<R: Recipe>(recipe: &R) -> Result<()> {
    let (json, inputs) = recorded(recipe)?;
    let mut found = Vec::new();
    walk(&Key::default(), json, &mut found);
    for (key, found) in found {
        if let Found::Value(Value::Array(values)) = &found
            && key.parts().last().is_some_and(|part| part.ends_with("languages"))
        {
            expect_once(&key, values)?;
        }
        if let Found::Input(number) = found
            && let Some(input) = inputs.get(number)
            && !of_another_arm(recipe, &key)
        {
            expect_input(&key.to_string(), &input.path)?;
        }
    }
    Ok(())
}

/// Whether a key belongs to an arm that is not selected.
fn of_another_arm<R: Recipe>(recipe: &R, key: &Key) -> bool {
    matches!(
        key.parts(),
        [section, arm, ..] if section == ARMS && !recipe.run().selected().contains(arm)
    )
}

/// The paths of the inputs, but for those of arms that are not selected.
pub(crate) fn selected_inputs<R: Recipe>(recipe: &R) -> Result<Vec<PathBuf>> {
    let (json, inputs) = recorded(recipe)?;
    let mut found = Vec::new();
    walk(&Key::default(), json, &mut found);
    let selected = found.into_iter().filter_map(|(key, found)| match found {
        Found::Input(number) if !of_another_arm(recipe, &key) => inputs.get(number),
        _ => None,
    });
    Ok(selected.map(|input| input.path.clone()).collect())
}

fn expect_once(key: &Key, values: &[Value]) -> Result<()> {
    let again = values
        .iter()
        .enumerate()
        .find(|(at, value)| values.iter().take(*at).any(|earlier| earlier == *value));
    let Some((_, value)) = again else { return Ok(()) };
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Err(crate::arms::repeated(&key.to_string(), &value))
}

fn hashed(key: &Key, input: &Input, digests: &mut Digests) -> Result<Leaf> {
    let key = key.to_string();
    expect_input(&key, &input.path)?;
    let mut hashed = Vec::new();
    let manifest = Manifest::read(&input.path)?;
    for (name, path) in files(&key, input)? {
        let digest = digests.of(&path)?;
        let written = name.as_ref().and_then(|name| manifest.as_ref()?.files.get(name));
        if let Some(written) = written.filter(|written| written.sha256 != digest) {
            written.check(&path)?;
        }
        hashed.push((name, digest));
    }
    Ok(Leaf::Files(hashed))
}

enum Found {
    Value(Value),
    Input(usize),
}

/// The values below `key`: lists are one value, but for those that hold inputs; absent ones are
/// left out, and so is bookkeeping.
fn walk(key: &Key, value: Value, found: &mut Vec<(Key, Found)>) {
    if let Some(number) = input_number(&value) {
        found.push((key.clone(), Found::Input(number)));
        return;
    }
    match value {
        Value::Null => {}
        Value::Object(table) if !table.is_empty() => {
            for (part, inner) in table {
                if !BOOKKEEPING.contains(&part.as_str()) {
                    walk(&key.below(part), inner, found);
                }
            }
        }
        Value::Array(values) if values.iter().any(holds_input) => {
            for (number, inner) in values.into_iter().enumerate() {
                walk(&key.below(number.to_string()), inner, found);
            }
        }
        mut value => {
            strip(&mut value);
            found.push((key.clone(), Found::Value(value)));
        }
    }
}

/// Removes bookkeeping and absent values from the tables in a list.
fn strip(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(strip),
        Value::Object(table) => {
            table.retain(|part, inner| {
                strip(inner);
                !inner.is_null() && !BOOKKEEPING.contains(&part.as_str())
            });
        }
        _ => {}
    }
}

fn input_number(value: &Value) -> Option<usize> {
    let table = value.as_object().filter(|table| table.len() == 1)?;
    table.get(MARK)?.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn holds_input(value: &Value) -> bool {
    input_number(value).is_some()
        || match value {
            Value::Array(values) => values.iter().any(holds_input),
            Value::Object(table) => table.values().any(holds_input),
            _ => false,
        }
}

/// Refuses text that is the path of a file or folder but no [`InputPath`](crate::InputPath): its
/// content would be overlooked.
fn expect_declared(key: &Key, value: &Value) -> Result<()> {
    match value {
        Value::String(text) if text.contains('/') && Path::new(text).exists() => {
            let key = format!("{key} = {text}");
            Err(Error::setting(key, "names a file, so the recipe must declare it as InputPath"))
        }
        Value::Array(values) => values.iter().try_for_each(|value| expect_declared(key, value)),
        Value::Object(table) => table.values().try_for_each(|value| expect_declared(key, value)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(keys: Value, files: Value) -> Identity {
        serde_json::from_value(json!({ "keys": keys, "files": files })).unwrap()
    }

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let text = |stored: &Identity, current: &Identity| {
            stored.difference(current).map(|difference| difference.to_string())
        };
        let one = identity(json!({ "a": 1, "b": "x" }), json!({ "t.tsv of kg": "00" }));
        assert_eq!(text(&one, &one), None);
        let other = identity(json!({ "a": 1, "b": "y", "c": 2 }), json!({}));
        assert_eq!(text(&one, &other).unwrap(), "b = \"x\" there, \"y\" now");
        assert_eq!(
            text(&identity(json!({}), json!({})), &other).unwrap(),
            "a = absent there, 1 now"
        );
        let changed = identity(json!({ "a": 1, "b": "x" }), json!({ "t.tsv of kg": "01" }));
        assert_eq!(text(&one, &changed).unwrap(), "the input file t.tsv of kg has changed");
        let gone = identity(json!({ "a": 1, "b": "x" }), json!({}));
        assert_eq!(text(&one, &gone).unwrap(), "the input file t.tsv of kg is gone");
        assert_eq!(text(&gone, &one).unwrap(), "the input file t.tsv of kg is new");
    }

    #[test]
    fn bookkeeping_and_absent_values_are_left_out_wherever_they_stand() {
        let value = json!({
            "training": { "steps": 5, "log_steps": 1, "checkpoint_steps": null },
            "stages": [{ "steps": 5, "keep_checkpoints": 2, "keep_models": true, "groups": null }],
            "data": [{ "$input": 0 }],
        });
        let mut found = Vec::new();
        walk(&Key::default(), value, &mut found);
        let keys: Vec<String> = found.iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, ["data.0", "stages", "training.steps"]);
        let stages = found.iter().find_map(|(key, found)| match found {
            Found::Value(value) if key.to_string() == "stages" => Some(value),
            _ => None,
        });
        assert_eq!(stages.unwrap(), &json!([{ "steps": 5 }]));
    }

    #[test]
    fn a_file_in_a_plain_string_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let error = expect_declared(&Key::parse("data.kg"), &json!([path])).unwrap_err();
        assert!(error.to_string().contains("InputPath"), "{error}");
        assert!(expect_declared(&Key::parse("title"), &json!("EM / F1")).is_ok());
    }
}
