//! Checks the examples of the crates' READMEs: the lines for `Cargo.toml` name each crate that a
//! visible line of an example uses.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::files::read;

/// Returns the crates that a README's examples use and its first block of dependencies lacks. A
/// module in the braces of a `use` counts as a crate.
fn undeclared_crates(page: &str) -> Vec<String> {
    let key = Regex::new(r"(?m)^([\w-]+) = ").unwrap();
    let dependencies = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let declared: BTreeSet<String> = key
        .captures_iter(dependencies.unwrap_or_default())
        .map(|found| found[1].replace('-', "_"))
        .collect();
    let crate_path = Regex::new(r"(?:^|[^\w:])([a-z_][a-z0-9_]*)::").unwrap();
    let known = ["std", "crate", "self", "super", "core", "alloc"];
    let blocks = page.split("```rust").skip(1).filter_map(|rest| rest.split("```").next());
    // Lines that start with # are for tests only.
    let lines = blocks.flat_map(str::lines).filter(|line| !line.trim_start().starts_with("# "));
    let used: BTreeSet<String> = lines
        .flat_map(|line| crate_path.captures_iter(line).map(|found| found[1].to_owned()))
        .filter(|name| !known.contains(&&**name))
        .collect();
    used.difference(&declared).cloned().collect()
}

#[test]
fn every_crate_of_an_example_is_among_the_dependencies() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    let mut undeclared = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path().join("README.md");
        if path.is_file() {
            let names = undeclared_crates(&read(&path).unwrap());
            undeclared.extend(names.into_iter().map(|name| format!("{}: {name}", path.display())));
        }
    }
    assert!(undeclared.is_empty(), "used, but not in [dependencies]: {undeclared:?}");
}

#[test]
fn hidden_lines_and_paths_within_a_crate_need_no_dependency() {
    let page = "```toml\n[dependencies]\na-b = \"1\"\n```\n```rust\n# let x = hidden::f();\nuse a_b::c;\n\
                let y = c::Deep::new(std::mem::take(&mut tch::Kind::Float));\n```\n";
    assert_eq!(undeclared_crates(page), ["c", "tch"]);
}
