//! Selection of the arms and seeds of a run.
use std::collections::BTreeSet;

use crate::names::{check_plain, matches, natural_order};
use crate::{Error, Result};

/// The key of the arms.
pub(crate) const ARMS: &str = "arms";

/// Names in natural order.
fn sorted<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    names.sort_by(|a, b| natural_order(a, b));
    names
}

/// The arms that match `run.arms`, in its order; all arms if the key is absent.
pub(crate) fn listed<'a>(
    names: impl IntoIterator<Item = &'a String>,
    patterns: Option<&[String]>,
) -> Result<Vec<String>> {
    let names = sorted(names);
    if names.is_empty() {
        return Err(Error::setting(format!("{ARMS} is empty"), "give at least one"));
    }
    for name in &names {
        check_plain(ARMS, name)?;
    }
    let Some(patterns) = patterns else {
        return Ok(names.into_iter().map(str::to_owned).collect());
    };
    if patterns.is_empty() {
        let reason = "give at least one, or leave the key out for all arms";
        return Err(Error::setting("run.arms = []", reason));
    }
    let mut chosen: Vec<String> = Vec::new();
    for (pattern, found) in per_pattern("run.arms", &names, patterns)? {
        for name in found {
            if !chosen.iter().any(|earlier| earlier == name) {
                chosen.push(name.to_owned());
            } else if pattern == name {
                return Err(repeated("run.arms", name));
            }
        }
    }
    Ok(chosen)
}

/// The arms that match `--arms`: first those of `run.arms`, in its order, then the others.
pub(crate) fn chosen<'a>(
    names: impl IntoIterator<Item = &'a String>,
    in_recipe: Option<&[String]>,
    patterns: &[String],
) -> Result<Vec<String>> {
    let names = sorted(names);
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    for (_, found) in per_pattern("--arms", &names, patterns)? {
        wanted.extend(found);
    }
    let first = in_recipe.unwrap_or_default().iter().map(String::as_str);
    let mut chosen = Vec::new();
    for name in first.chain(names) {
        if wanted.remove(name) {
            chosen.push(name.to_owned());
        }
    }
    Ok(chosen)
}

/// The names that each pattern matches. Repeated patterns, and patterns without a match, are
/// errors.
fn per_pattern<'a, 'b>(
    key: &str,
    names: &[&'a str],
    patterns: &'b [String],
) -> Result<Vec<(&'b str, Vec<&'a str>)>> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for pattern in patterns {
        if !seen.insert(pattern) {
            return Err(repeated(key, pattern));
        }
        let found: Vec<&str> =
            names.iter().copied().filter(|name| matches(pattern, name)).collect();
        if found.is_empty() {
            let reason = format!("no arm is called {pattern:?} (arms: {})", names.join(", "));
            return Err(Error::setting(key, reason));
        }
        all.push((pattern.as_str(), found));
    }
    Ok(all)
}

pub(crate) fn repeated(key: &str, value: &str) -> Error {
    Error::setting(key, format!("{value} is listed twice"))
}

/// Rejects an empty list of seeds, and repeated seeds.
pub(crate) fn check_seeds(seeds: &[u64]) -> Result<()> {
    if seeds.is_empty() {
        return Err(Error::setting("run.seeds = []", "give at least one"));
    }
    let mut seen = BTreeSet::new();
    match seeds.iter().find(|seed| !seen.insert(**seed)) {
        Some(seed) => Err(repeated("run.seeds", &seed.to_string())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().copied().map(str::to_owned).collect()
    }

    #[test]
    fn lists_keep_their_order_and_patterns_the_natural_one() {
        let names = strings(&["base", "z-10", "z-2", "control"]);
        let listed = |patterns: &[&str]| listed(&names, Some(&strings(patterns)));
        assert_eq!(listed(&["control", "base"]).unwrap(), ["control", "base"]);
        assert_eq!(listed(&["z-*", "base"]).unwrap(), ["z-2", "z-10", "base"]);
        assert_eq!(super::listed(&names, None).unwrap()[1], "control");
        for wrong in [&["base", "base"][..], &["*", "base"], &["nobody"], &[]] {
            assert!(listed(wrong).is_err(), "{wrong:?}");
        }
        let error = listed(&["contrl"]).unwrap_err().to_string();
        assert_eq!(error, "run.arms: no arm is called \"contrl\" (arms: base, control, z-2, z-10)");
    }

    #[test]
    fn arguments_take_the_recipes_order() {
        let names = strings(&["base", "control", "injected", "unseen"]);
        let order = strings(&["injected", "base"]);
        let chosen = |patterns: &[&str]| chosen(&names, Some(&order), &strings(patterns));
        assert_eq!(chosen(&["*"]).unwrap(), ["injected", "base", "control", "unseen"]);
        assert_eq!(chosen(&["base", "*d"]).unwrap(), ["injected", "base"]);
        assert!(chosen(&["x*"]).unwrap_err().to_string().contains("arms: base, control"));
        assert!(chosen(&["base", "base"]).is_err());
    }

    #[test]
    fn seeds_are_there_and_differ() {
        assert!(check_seeds(&[0, 7]).is_ok());
        assert!(check_seeds(&[]).is_err());
        assert_eq!(check_seeds(&[3, 3]).unwrap_err().to_string(), "run.seeds: 3 is listed twice");
    }
}
