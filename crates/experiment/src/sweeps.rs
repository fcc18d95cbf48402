//! Arms that are made from lists of values.
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{Error, Result};

/// The section `[sweeps]`: for a key of an arm, the values that it is to be compared at.
///
/// Each value becomes an arm that sets this key alone, called after both: `alpha = [0.1, 0.5]`
/// makes `alpha-0.1` and `alpha-0.5`, run by `--arms 'alpha-*'`. Call [`Sweeps::add_to`] in
/// [`Recipe::complete`](crate::Recipe::complete).
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
/// let text = "alpha = [0.5, 1.0]\nweighting = [\"hard_em\"]";
/// let mut sweeps: Sweeps = toml::from_str(text).unwrap();
/// let mut arms: BTreeMap<String, Arm> = BTreeMap::new();
/// sweeps.add_to(&mut arms)?;
/// assert_eq!(arms.keys().collect::<Vec<_>>(), ["alpha-0.5", "alpha-1", "weighting-hard-em"]);
/// assert_eq!(arms["alpha-1"].alpha, Some(1.0));
/// # Ok::<(), experiment::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Sweeps(BTreeMap<String, Vec<Value>>);

impl Sweeps {
    /// Adds the arms, and is empty then: values that no arm was made from decide nothing. An arm of
    /// the recipe that has such a name stays as it is.
    ///
    /// # Errors
    /// [`Error::Setting`] if an arm has no such key, or not with this value.
    pub fn add_to<A: DeserializeOwned>(&mut self, arms: &mut BTreeMap<String, A>) -> Result<()> {
        for (key, values) in std::mem::take(&mut self.0) {
            for value in values {
                let arm = Table::from_iter([(key.clone(), value.clone())]);
                let arm = arm.try_into().map_err(|error: toml::de::Error| {
                    Error::setting(format!("sweeps.{key} = {value}"), error.message())
                })?;
                arms.entry(format!("{key}-{}", shown(&value))).or_insert(arm);
            }
        }
        Ok(())
    }
}

/// A value in an arm's name: whole numbers without a point, words with hyphens.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(number) => number.to_string(),
        Value::String(text) => text.replace('_', "-"),
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

    fn sweeps(text: &str) -> Sweeps {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_arm_of_the_recipe_wins_and_values_are_used_once() {
        let mine = Arm { title: Some("mine".into()), count: Some(7) };
        let mut arms = BTreeMap::from([("z-5".to_owned(), mine.clone())]);
        let mut sweeps = sweeps("z = [1, 5]");
        sweeps.add_to(&mut arms).unwrap();
        assert_eq!(arms["z-1"], Arm { title: None, count: Some(1) });
        assert_eq!(arms["z-5"], mine);
        assert_eq!(sweeps, Sweeps::default());
    }

    #[test]
    fn what_an_arm_cannot_have_is_named() {
        let refuse = |text| {
            let error = sweeps(text).add_to(&mut BTreeMap::<String, Arm>::new()).unwrap_err();
            error.to_string()
        };
        assert!(refuse("gamma = [0.5]").starts_with("sweeps.gamma = 0.5: unknown field `gamma`"));
        assert!(refuse("z = [\"many\"]").starts_with("sweeps.z = \"many\": invalid type"));
    }
}
