//! `cargo xtask public-names`: what the libraries show and nobody outside them uses.
//!
//! By word: a name is used if it stands in a Rust file of another folder that is no test. A crate's
//! own programs and tests are no users.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders whose files use the libraries.
const USERS: [&str; 4] = ["bindings", "crates", "examples", "benches"];

/// Prints the names, crate by crate.
pub fn print(root: &Path) -> Result<()> {
    let mut files = Vec::new();
    for folder in USERS {
        search(&root.join(folder), &mut files)?;
    }
    let mut all = 0;
    let mut crates: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root.join("crates")).context("crates")? {
        crates.push(entry.context("crates")?.path());
    }
    crates.sort();
    for folder in crates {
        let library = folder.join("src/lib.rs");
        if !library.exists() {
            continue;
        }
        let mut names = BTreeSet::new();
        shown(&library, &mut names)?;
        let others = files.iter().filter(|(path, _)| !path.starts_with(&folder));
        let used: BTreeSet<&str> = others.flat_map(|(_, text)| words(text)).collect();
        let unused: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !used.contains(name)).collect();
        all += unused.len();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        println!("{name}: {} of {}: {}", unused.len(), names.len(), unused.join(" "));
    }
    println!("{all} public names have no user outside their crate");
    Ok(())
}

/// The Rust files below a folder that are no tests.
fn search(folder: &Path, files: &mut Vec<(PathBuf, String)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        if path.is_dir() && !path.ends_with("tests") && !path.ends_with("target") {
            search(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            files.push((path, text));
        }
    }
    Ok(())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// The names that a module shows: its public items, what it takes from private modules, and what
/// its public modules show.
fn shown(module: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    let text = fs::read_to_string(module).with_context(|| module.display().to_string())?;
    let inside = match module.file_stem().is_some_and(|stem| stem == "lib" || stem == "mod") {
        true => module.parent().unwrap_or(module).to_owned(),
        false => module.with_extension(""),
    };
    for (start, _) in text.match_indices("\npub ") {
        let item = text.get(start + 5..).unwrap_or_default();
        let mut words = words(item).skip_while(|word| ["unsafe", "async", "extern"].contains(word));
        match (words.next(), words.next()) {
            (Some("use"), _) => {
                let taken = item.split(';').next().unwrap_or_default();
                let taken = taken.rsplit_once("::{").map_or(taken, |(_, list)| list);
                for path in taken.trim_end_matches(['}', '\n', ' ']).split(',') {
                    let last = path.rsplit([':', ' ']).find(|word| !word.is_empty());
                    names.extend(last.map(|word| word.trim().to_owned()));
                }
            }
            (Some("mod"), Some(name)) => {
                let file = inside.join(format!("{name}.rs"));
                let file = if file.exists() { file } else { inside.join(name).join("mod.rs") };
                shown(&file, names)?;
            }
            (Some("const"), Some("fn")) => names.extend(words.next().map(str::to_owned)),
            (_, Some(name)) => _ = names.insert(name.to_owned()),
            _ => {}
        }
    }
    names.remove("");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_shows_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(
            at("lib.rs"),
            "\nmod a;\npub mod b;\npub use a::{One,\n    Two};\npub use c::Three;\n",
        )
        .unwrap();
        fs::create_dir(at("b")).unwrap();
        fs::write(
            at("b/mod.rs"),
            "\npub const fn four() {}\npub(crate) fn five() {}\npub struct Six;\n",
        )
        .unwrap();
        let mut names = BTreeSet::new();
        shown(&at("lib.rs"), &mut names).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["One", "Six", "Three", "Two", "four"]);
    }
}
