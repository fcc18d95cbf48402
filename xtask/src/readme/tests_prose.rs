//! Checks numbers in the prose of the recipes' READMEs: each number with a decimal point must be
//! stored in the recipe's folder or in the table of published numbers.
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::files::read;

/// The file with the numbers printed in the papers.
const PUBLISHED: &str = "crates/results/data/published.csv";

/// Returns the numbers in the recipes' READMEs that no stored file contains, each with its README.
fn unstored_numbers(root: &Path) -> Result<Vec<(String, String)>> {
    let published = decimal_numbers(&read(&root.join(PUBLISHED))?);
    let mut unstored = Vec::new();
    for page in super::tables::pages(root)? {
        let recipe = page.parent().unwrap_or(root);
        let mut stored_numbers = published.clone();
        for file in text_files(recipe)?.into_iter().chain(text_files(&recipe.join("results"))?) {
            let text = read(&file)?;
            // Values of single seeds and items are excluded, because almost any number is among
            // them.
            let lines = text.lines().map(|line| {
                let keys = [",\"seeds\":", ",\"items\":"];
                let end = keys.iter().filter_map(|key| line.find(key)).min();
                &line[..end.unwrap_or(line.len())]
            });
            stored_numbers.extend(lines.flat_map(decimal_numbers));
        }
        let stored_numbers: BTreeSet<String> =
            stored_numbers.iter().flat_map(|number| rounded_forms(number)).collect();
        let name = page.strip_prefix(root).unwrap_or(&page).display().to_string();
        let numbers = decimal_numbers(&extract_prose(&read(&page)?)).into_iter();
        unstored.extend(
            numbers.filter(|one| !stored_numbers.contains(one)).map(|one| (name.clone(), one)),
        );
    }
    Ok(unstored)
}

/// Returns a folder's files that may contain numbers, without subfolders; empty if the folder does
/// not exist.
fn text_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let text_files = paths.into_iter().filter(|path| {
        let suffixes = ["toml", "json", "jsonl", "md"].map(OsStr::new);
        path.extension().is_some_and(|suffix| suffixes.contains(&suffix))
            && !path.ends_with("README.md")
    });
    Ok(text_files.collect())
}

/// Returns a page without its tables and code.
fn extract_prose(page: &str) -> String {
    let mut text = String::new();
    for (at, part) in page.split("```").enumerate() {
        let lines = part.lines().filter(|line| at % 2 == 0 && !line.trim_start().starts_with('|'));
        lines.for_each(|line| text += &format!("{line}\n"));
    }
    text.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Returns the numbers with a decimal point in a text, without their signs. Versions and names are
/// skipped.
fn decimal_numbers(text: &str) -> Vec<String> {
    let is_word_char = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let words = text.split(|c: char| !is_word_char(c)).map(|word| word.trim_matches('.'));
    let is_decimal = |word: &&str| {
        let is_integer =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        word.split_once('.').is_some_and(|(whole, rest)| is_integer(whole) && is_integer(rest))
    };
    words.filter(is_decimal).map(str::to_owned).collect()
}

/// Returns the accepted forms of a stored number on a page: unchanged, or rounded to fewer
/// decimals.
fn rounded_forms(number: &str) -> Vec<String> {
    let decimals = number.split_once('.').map_or(0, |(_, rest)| rest.len());
    let value: f64 = number.parse().unwrap();
    let shorter_forms = (1..decimals).map(|fewer| format!("{value:.fewer$}"));
    shorter_forms.chain([number.to_owned()]).collect()
}

#[test]
fn every_number_in_the_prose_is_stored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let unstored = unstored_numbers(root).unwrap();
    assert!(unstored.is_empty(), "in no file of the page's recipe: {unstored:?}");
}

#[test]
fn tables_code_and_names_are_not_prose() {
    let page =
        "F1 12.3 (v1.2.3, `0.5`).\n| 9.9 |\n```sh\nx 8.8\n```\n+1.5 to −0.5; ModernBERT2.0\n";
    assert_eq!(decimal_numbers(&extract_prose(page)), ["12.3", "1.5", "0.5"]);
    assert_eq!(rounded_forms("12.345"), ["12.3", "12.35", "12.345"]);
}
