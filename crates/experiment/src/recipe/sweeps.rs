//! Arms generated from lists of values.
use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{Error, Result};

/// The section `[sweeps]`: lists of values for keys of an arm.
///
/// Each value adds an arm that sets only this key. The arm is named after the key and the value:
/// `alpha = [0.1, 0.5]` adds `alpha-0.1` and `alpha-0.5`, selected by `--arms 'alpha-*'`. A table
/// has one key with a list of values; its other keys apply to all arms of the sweep: `mml-alpha = {
/// alpha = [0.1, 0.5], weighting = "mml" }` adds `mml-alpha-0.1` and `mml-alpha-0.5`. Call
/// [`Sweeps::add_to`] in [`Recipe::complete`](crate::Recipe::complete).
///
/// ```
/// use std::collections::BTreeMap;
///
/// use experiment::Sweeps;
///
/// #[derive(Default, serde::Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Arm {
///     alpha: Option<f64>,
///     weighting: Option<String>,
/// }
///
/// let text = r#"
///     alpha = [0.5, 1.0]
///     mml-alpha = { alpha = [0.5], weighting = "mml" }
///     weighting = ["hard_em"]
/// "#;
/// let mut sweeps: Sweeps = toml::from_str(text).unwrap();
/// let mut arms: BTreeMap<String, Arm> = BTreeMap::new();
/// sweeps.add_to(&mut arms)?;
/// let names: Vec<_> = arms.keys().collect();
/// assert_eq!(names, ["alpha-0.5", "alpha-1", "mml-alpha-0.5", "weighting-hard-em"]);
/// assert_eq!((arms["alpha-1"].alpha, &arms["alpha-1"].weighting), (Some(1.0), &None));
/// assert_eq!(arms["mml-alpha-0.5"].weighting.as_deref(), Some("mml"));
/// # Ok::<(), experiment::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Sweeps(BTreeMap<String, Value>);

impl Sweeps {
    /// Adds the arms and clears the sweeps, which thus do not affect the identity. Existing arms of
    /// the same names are not changed.
    ///
    /// # Errors
    /// [`Error::Setting`] if an arm has no such key or the value is invalid, if two values of the
    /// sweeps have the same arm name, or if a sweep is neither a list nor a table with one list.
    pub fn add_to<A: DeserializeOwned>(&mut self, arms: &mut BTreeMap<String, A>) -> Result<()> {
        let mut generated_names = BTreeSet::new();
        for (name, sweep) in std::mem::take(&mut self.0) {
            let (key, values, shared) = split_sweep(&name, sweep)?;
            for value in values {
                let mut arm = shared.clone();
                arm.insert(key.clone(), value.clone());
                let arm = arm.try_into().map_err(|error: toml::de::Error| {
                    Error::setting(format!("sweeps.{name} = {value}"), error.message())
                })?;
                let arm_name = format!("{name}-{}", value_in_name(&value));
                if !generated_names.insert(arm_name.clone()) {
                    let reason = format!("another value has the arm name {arm_name}; remove one");
                    return Err(Error::setting(format!("sweeps.{name} = {value}"), reason));
                }
                arms.entry(arm_name).or_insert(arm);
            }
        }
        Ok(())
    }
}

/// The swept key, its values, and the keys that all arms of the sweep share.
fn split_sweep(name: &str, sweep: Value) -> Result<(String, Vec<Value>, Table)> {
    let invalid = |found: &str| {
        let reason = format!("expected a list of values, or a table with one such list, {found}");
        Err(Error::setting(format!("sweeps.{name}"), reason))
    };
    let table = match sweep {
        Value::Array(values) => return Ok((name.to_owned(), values, Table::new())),
        Value::Table(table) => table,
        other => return invalid(&format!("found {other}")),
    };
    let (mut lists, mut shared) = (Vec::new(), Table::new());
    for (key, value) in table {
        match value {
            Value::Array(values) => lists.push((key, values)),
            value => drop(shared.insert(key, value)),
        }
    }
    match (lists.pop(), lists.pop()) {
        (Some((key, values)), None) => Ok((key, values, shared)),
        (None, _) => invalid("found none in the table"),
        (Some(_), Some(_)) => invalid("found several in the table"),
    }
}

/// Formats a value for an arm's name: whole numbers without a decimal point, hyphens instead of
/// underscores, tables as keys and values.
fn value_in_name(value: &Value) -> String {
    match value {
        Value::Float(number) => number.to_string(),
        Value::String(text) => text.replace('_', "-"),
        Value::Table(table) => {
            let pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key}-{}", value_in_name(value)))
                .collect();
            pairs.join("-").replace('_', "-")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Arm {
        title: Option<String>,
        #[serde(alias = "z")]
        count: Option<usize>,
    }

    fn parse_sweeps(text: &str) -> Sweeps {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn existing_arms_are_not_replaced_and_sweeps_are_cleared() {
        let existing_arm = Arm { title: Some("mine".into()), count: Some(7) };
        let mut arms = BTreeMap::from([("z-5".to_owned(), existing_arm.clone())]);
        let mut sweeps = parse_sweeps("z = [1, 5]");
        sweeps.add_to(&mut arms).unwrap();
        assert_eq!(arms["z-1"], Arm { title: None, count: Some(1) });
        assert_eq!(arms["z-5"], existing_arm);
        assert_eq!(sweeps, Sweeps::default());
    }

    #[test]
    fn invalid_keys_and_values_are_named_in_the_error() {
        let error_of = |text| {
            let error = parse_sweeps(text).add_to(&mut BTreeMap::<String, Arm>::new()).unwrap_err();
            error.to_string()
        };
        assert!(error_of("gamma = [0.5]").starts_with("sweeps.gamma = 0.5: unknown field `gamma`"));
        assert!(error_of("z = [\"many\"]").starts_with("sweeps.z = \"many\": invalid type"));
        assert_eq!(
            error_of("title = [\"a_b\", \"c\", \"a-b\"]"),
            "sweeps.title = \"a-b\": another value has the arm name title-a-b; remove one"
        );
        assert!(error_of("z = 5").ends_with("a table with one such list, found 5"));
        assert!(error_of("mine-z = { title = \"mine\" }").ends_with("found none in the table"));
        assert!(
            error_of("z = { z = [1], title = [\"x\"] }").ends_with("found several in the table")
        );
        assert!(error_of("mine-z = { z = [1], gamma = 2 }").contains("unknown field `gamma`"));
    }

    #[test]
    fn other_keys_of_a_table_apply_to_all_its_arms() {
        let mut arms: BTreeMap<String, Arm> = BTreeMap::new();
        parse_sweeps("mine-z = { z = [1, 5], title = \"mine\" }").add_to(&mut arms).unwrap();
        let arm = |count| Arm { title: Some("mine".into()), count: Some(count) };
        assert_eq!(arms, [("mine-z-1".into(), arm(1)), ("mine-z-5".into(), arm(5))].into());
        let value: Table = toml::from_str("x = { top_k = { count = 10 } }").unwrap();
        assert_eq!(value_in_name(&value["x"]), "top-k-count-10");
    }
}
