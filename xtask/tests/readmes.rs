//! Tests of the READMEs of published crates.
#![allow(clippy::panic, clippy::unwrap_used)] // helpers of tests
use std::fs;
use std::path::Path;

/// Returns the contents of the fenced code blocks of a text, each after its first line.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let parts = text.split("```").skip(1).step_by(2);
    parts.map(|block| block.split_once('\n').unwrap()).collect()
}

/// Returns the names of the package and of its library in a manifest.
fn names(manifest: &str) -> (String, String) {
    let table: toml::Table = manifest.parse().unwrap();
    let name = |section: &str| table.get(section)?.get("name")?.as_str().map(str::to_owned);
    let package = name("package").unwrap();
    // A dependency's name is the name of the library, with hyphens.
    (package.clone(), name("lib").map_or(package, |lib| lib.replace('_', "-")))
}

#[test]
fn a_readme_starts_with_a_dependency_line_and_an_example() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut count = 0;
    for entry in fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let Ok(readme) = fs::read_to_string(folder.join("README.md")) else {
            assert!(manifest.contains("publish = false"), "{}: no README.md", folder.display());
            continue;
        };
        count += 1;
        let (package, name) = names(&manifest);
        // The beginning ends at the first table or section.
        let end = readme.find("\n|").into_iter().chain(readme.find("\n## ")).min();
        let beginning = &readme[..end.unwrap_or(readme.len())];
        let [(kind, dependencies), (example, _), ..] = blocks(beginning)[..] else {
            panic!("{package}: README.md does not start with a dependency line and an example")
        };
        let dependencies: toml::Table = dependencies.parse().unwrap();
        let section = ["dependencies", "build-dependencies"]
            .iter()
            .find_map(|section| dependencies.get(*section)?.get(&*name));
        let section = section.unwrap_or_else(|| panic!("{package}: no dependency line"));
        let renamed = section.get("package").and_then(|value| value.as_str()).unwrap_or(&name);
        assert_eq!((kind, renamed), ("toml", &*package));
        assert!(["rust", "rust,standalone_crate"].contains(&example), "{package}: {example}");
    }
    assert!(count > 20, "{count} crates");
}
