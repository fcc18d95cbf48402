//! Identity of a result: the values of keys and the contents of input files that determine the
//! result.
mod digest;
mod recipe_values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RunConfig;

pub(crate) use recipe_values::{Part, RecipeValues};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Identity {
    /// Values of the recipe's keys.
    pub keys: BTreeMap<String, Value>,
    /// SHA-256 of the input files by key or, for a file of a folder, by `<file> of <key>`.
    pub files: BTreeMap<String, Value>,
}

/// The first key or file in which two identities differ.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference {
    pub name: String,
    pub is_file: bool,
    pub stored: Option<Value>,
    pub current: Option<Value>,
}

impl Identity {
    /// The first difference between `self`, the stored identity, and `current`; keys are compared
    /// before files.
    pub(crate) fn difference(&self, current: &Self) -> Option<Difference> {
        let maps = [(false, &self.keys, &current.keys), (true, &self.files, &current.files)];
        maps.into_iter().find_map(|(is_file, stored, current)| {
            let names: BTreeSet<&String> = stored.keys().chain(current.keys()).collect();
            let name = names.into_iter().find(|&name| stored.get(name) != current.get(name))?;
            let value = |entries: &BTreeMap<String, Value>| {
                entries.get(name).cloned().or_else(|| omitted_value(name))
            };
            let (stored, current) = (value(stored), value(current));
            Some(Difference { name: name.clone(), is_file, stored, current })
        })
    }
}

/// The key whose default value an identity omits.
const PRECISION: &str = "run.precision";

/// Returns the value that an identity without this key stands for.
fn omitted_value(key: &str) -> Option<Value> {
    (key == PRECISION).then(|| RunConfig::default().precision.into())
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, is_file, stored, current } = self;
        if !is_file {
            return write!(
                f,
                "{name} = {} in the run folder, {} now",
                display_value(stored),
                display_value(current)
            );
        }
        let change = match (stored, current) {
            (None, _) => "was added",
            (_, None) => "was removed",
            _ => "has changed",
        };
        write!(f, "the input file {name} {change}")
    }
}

/// Formats a value for a message; long values are truncated.
pub(crate) fn display_value(value: &Option<Value>) -> String {
    let text = value.as_ref().map_or_else(|| "absent".into(), Value::to_string);
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
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
        let diff = |stored: &Identity, current: &Identity| {
            stored.difference(current).map(|difference| difference.to_string())
        };
        let first = identity(json!({ "a": 1, "b": "x" }), json!({ "t.tsv of kg": "00" }));
        assert_eq!(diff(&first, &first), None);
        let second = identity(json!({ "a": 1, "b": "y", "c": 2 }), json!({}));
        assert_eq!(diff(&first, &second).unwrap(), "b = \"x\" in the run folder, \"y\" now");
        assert_eq!(
            diff(&identity(json!({}), json!({})), &second).unwrap(),
            "a = absent in the run folder, 1 now"
        );
        let bf16 = identity(json!({ "run.precision": "bf16" }), json!({}));
        assert_eq!(
            diff(&bf16, &identity(json!({}), json!({}))).unwrap(),
            "run.precision = \"bf16\" in the run folder, \"f32\" now"
        );
        let changed = identity(json!({ "a": 1, "b": "x" }), json!({ "t.tsv of kg": "01" }));
        assert_eq!(diff(&first, &changed).unwrap(), "the input file t.tsv of kg has changed");
        let without_file = identity(json!({ "a": 1, "b": "x" }), json!({}));
        assert_eq!(diff(&first, &without_file).unwrap(), "the input file t.tsv of kg was removed");
        assert_eq!(diff(&without_file, &first).unwrap(), "the input file t.tsv of kg was added");
    }
}
