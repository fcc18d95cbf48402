//! Selection of the arms and seeds of a run.
use std::collections::BTreeSet;

use crate::recipe::names::{check_folder_name, matches, natural_order};
use crate::{Error, Result};

/// The recipe section that contains the arms.
pub(crate) const ARMS: &str = "arms";

/// Sorts names in natural order.
fn sort_names<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    names.sort_by(|a, b| natural_order(a, b));
    names
}

/// The arms that match `run.arms`, in the order of its patterns; all arms if the key is absent.
pub(crate) fn select_by_recipe<'a>(
    names: impl IntoIterator<Item = &'a String>,
    patterns: Option<&[String]>,
) -> Result<Vec<String>> {
    let names = sort_names(names);
    if names.is_empty() {
        return Err(Error::setting(format!("{ARMS} is empty"), "give at least one"));
    }
    for name in &names {
        check_folder_name(ARMS, name)?;
    }
    let Some(patterns) = patterns else {
        return Ok(names.into_iter().map(str::to_owned).collect());
    };
    if patterns.is_empty() {
        let reason = "give at least one, or omit the key for all arms";
        return Err(Error::setting("run.arms = []", reason));
    }
    let mut selected: Vec<String> = Vec::new();
    for (pattern, matching) in matches_per_pattern("run.arms", &names, patterns)? {
        for name in matching {
            if !selected.iter().any(|earlier| earlier == name) {
                selected.push(name.to_owned());
            } else if pattern == name {
                return Err(duplicate_error("run.arms", name));
            }
        }
    }
    Ok(selected)
}

/// The arms that match `--arms`. Arms that `run.arms` lists are first, in the order of that list;
/// the remaining arms follow in natural order.
pub(crate) fn select_by_arguments<'a>(
    names: impl IntoIterator<Item = &'a String>,
    run_arms: Option<&[String]>,
    patterns: &[String],
) -> Result<Vec<String>> {
    let names = sort_names(names);
    let mut selected_names: BTreeSet<&str> = BTreeSet::new();
    for (_, names) in matches_per_pattern("--arms", &names, patterns)? {
        selected_names.extend(names);
    }
    let run_arm_names = run_arms.into_iter().flatten().map(String::as_str);
    let mut selected = Vec::new();
    for name in run_arm_names.chain(names) {
        if selected_names.remove(name) {
            selected.push(name.to_owned());
        }
    }
    Ok(selected)
}

/// The names that each pattern matches. Repeated patterns, and patterns without a match, are
/// errors.
fn matches_per_pattern<'a, 'b>(
    key: &str,
    names: &[&'a str],
    patterns: &'b [String],
) -> Result<Vec<(&'b str, Vec<&'a str>)>> {
    let mut matching_names = Vec::new();
    let mut earlier_patterns = BTreeSet::new();
    for pattern in patterns {
        if !earlier_patterns.insert(pattern) {
            return Err(duplicate_error(key, pattern));
        }
        let matching: Vec<&str> =
            names.iter().copied().filter(|name| matches(pattern, name)).collect();
        if matching.is_empty() {
            let reason = format!("no arm is called {pattern:?} (arms: {})", names.join(", "));
            return Err(Error::setting(key, reason));
        }
        matching_names.push((pattern.as_str(), matching));
    }
    Ok(matching_names)
}

pub(crate) fn duplicate_error(key: &str, value: &str) -> Error {
    Error::setting(key, format!("{value} is listed twice"))
}

/// Rejects an empty list of seeds, and repeated seeds.
pub(crate) fn check_seeds(seeds: &[u64]) -> Result<()> {
    if seeds.is_empty() {
        return Err(Error::setting("run.seeds = []", "give at least one"));
    }
    let mut distinct_seeds = BTreeSet::new();
    match seeds.iter().find(|seed| !distinct_seeds.insert(**seed)) {
        Some(seed) => Err(duplicate_error("run.seeds", &seed.to_string())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_strings(names: &[&str]) -> Vec<String> {
        names.iter().copied().map(str::to_owned).collect()
    }

    #[test]
    fn names_are_in_list_order_and_matches_of_a_pattern_in_natural_order() {
        let names = to_strings(&["base", "z-10", "z-2", "control"]);
        let select = |patterns: &[&str]| select_by_recipe(&names, Some(&to_strings(patterns)));
        assert_eq!(select(&["control", "base"]).unwrap(), ["control", "base"]);
        assert_eq!(select(&["z-*", "base"]).unwrap(), ["z-2", "z-10", "base"]);
        assert_eq!(select_by_recipe(&names, None).unwrap()[1], "control");
        for invalid in [&["base", "base"][..], &["*", "base"], &["nobody"], &[]] {
            assert!(select(invalid).is_err(), "{invalid:?}");
        }
        let error = select(&["contrl"]).unwrap_err().to_string();
        assert_eq!(error, "run.arms: no arm is called \"contrl\" (arms: base, control, z-2, z-10)");
    }

    #[test]
    fn arguments_select_arms_in_the_recipes_order() {
        let names = to_strings(&["base", "control", "injected", "unseen"]);
        let run_arms = to_strings(&["injected", "base"]);
        let select =
            |patterns: &[&str]| select_by_arguments(&names, Some(&run_arms), &to_strings(patterns));
        assert_eq!(select(&["*"]).unwrap(), ["injected", "base", "control", "unseen"]);
        assert_eq!(select(&["base", "*d"]).unwrap(), ["injected", "base"]);
        assert!(select(&["x*"]).unwrap_err().to_string().contains("arms: base, control"));
        assert!(select(&["base", "base"]).is_err());
    }
}
