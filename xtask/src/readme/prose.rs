//! Numbers in the prose of pages about runs: each with a decimal point must be one that is stored.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Pages beside the recipes' own, with the recipes whose numbers they may give.
const OTHERS: [(&str, &[&str]); 3] = [
    ("docs/papers/mixmrc-lakm.md", &["mixmrc-lakm", "answer-alignment"]),
    ("docs/papers/good-to-best.md", &["good-to-best"]),
    ("docs/papers/filter.md", &["filter", "filter-xnli"]),
];
/// What the papers print.
const PUBLISHED: &str = "crates/results/data/published.csv";

/// The numbers in the prose of all such pages that no stored file has: page and number.
pub fn unknown(root: &Path) -> Result<Vec<(String, String)>> {
    let read =
        |path: &Path| fs::read_to_string(path).with_context(|| format!("{}", path.display()));
    let mut found = Vec::new();
    let mut check = |page: PathBuf, recipes: &[PathBuf]| -> Result<()> {
        let mut known = numbers(&read(&root.join(PUBLISHED))?);
        for recipe in recipes {
            for file in files(recipe)?.into_iter().chain(files(&recipe.join("results"))?) {
                let text = read(&file)?;
                // Items are many: any number would be among them.
                let lines =
                    text.lines().map(|line| line.split(",\"seeds\":").next().unwrap_or(line));
                known.extend(lines.flat_map(numbers));
            }
        }
        let known: BTreeSet<String> = known.iter().flat_map(|number| rounded(number)).collect();
        let name = page.strip_prefix(root).unwrap_or(&page).display().to_string();
        let unknown = numbers(&prose(&read(&page)?)).into_iter();
        found.extend(unknown.filter(|one| !known.contains(one)).map(|one| (name.clone(), one)));
        Ok(())
    };
    for page in super::tables::pages(root)? {
        let recipe = page.parent().unwrap_or(root).to_owned();
        check(page, &[recipe])?;
    }
    for (page, recipes) in OTHERS {
        let recipes = recipes.iter().map(|name| root.join("examples").join(name));
        check(root.join(page), &recipes.collect::<Vec<_>>())?;
    }
    Ok(found)
}

/// What numbers are stored in, directly in a folder; nothing where there is none.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let kept = paths.into_iter().filter(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        ["toml", "json", "jsonl", "md"].contains(&ending) && !path.ends_with("README.md")
    });
    Ok(kept.collect())
}

/// A page without its tables and code.
fn prose(page: &str) -> String {
    let mut text = String::new();
    for (at, part) in page.split("```").enumerate() {
        let lines = part.lines().filter(|line| at % 2 == 0 && !line.trim_start().starts_with('|'));
        lines.for_each(|line| text += &format!("{line}\n"));
    }
    text.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Numbers with digits on both sides of a point, without their signs; not versions or names.
fn numbers(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let words = text.split(|c: char| !is_part(c)).map(|word| word.trim_matches('.'));
    let decimal = |word: &&str| {
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        word.split_once('.').is_some_and(|(whole, rest)| digits(whole) && digits(rest))
    };
    words.filter(decimal).map(str::to_owned).collect()
}

/// A number as pages may print it: with fewer digits.
fn rounded(number: &str) -> Vec<String> {
    let digits = number.split_once('.').map_or(0, |(_, rest)| rest.len());
    let value: f64 = number.parse().unwrap_or_default();
    let fewer = (1..digits).map(|digits| format!("{value:.digits$}"));
    fewer.chain([number.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prose_has_no_number_that_is_not_stored() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let unknown = unknown(root).unwrap();
        assert!(unknown.is_empty(), "in no file of the page's recipe: {unknown:?}");
    }

    #[test]
    fn tables_code_and_names_are_no_prose() {
        let page =
            "F1 12.3 (v1.2.3, `0.5`).\n| 9.9 |\n```sh\nx 8.8\n```\n+1.5 to −0.5; ModernBERT2.0\n";
        assert_eq!(numbers(&prose(page)), ["12.3", "1.5", "0.5"]);
        assert_eq!(rounded("12.345"), ["12.3", "12.35", "12.345"]);
    }
}
