//! Tests that versions and lists in different files are consistent.
#![allow(clippy::panic, clippy::unwrap_used)] // helpers of tests
use std::path::Path;

fn read(relative: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(relative);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn tch_and_torch_sys_have_the_same_pin_everywhere() {
    for file in ["Cargo.toml", "crates/tasks/template/Cargo.toml"] {
        let text = read(file);
        let pins: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("tch =") || line.starts_with("torch-sys ="))
            .collect();
        assert!(!pins.is_empty(), "{file}: neither tch nor torch-sys is pinned");
        assert!(pins.iter().all(|pin| pin.contains("\"=0.24.0\"")), "{file}: {pins:?}");
    }
}

/// The build scripts, the set-up and the Python package expect the same version of libtorch.
#[test]
fn libtorch_has_the_same_version_everywhere() {
    let value = |file: &str, start: &str| -> String {
        let text = read(file);
        let rest = text.lines().find_map(|line| line.strip_prefix(start));
        let rest = rest.unwrap_or_else(|| panic!("{file}: no line starts with {start:?}"));
        rest.trim_end_matches(';').trim_matches('"').to_owned()
    };
    let start = "pub const VERSION: &str = ";
    let version = value("xtask/src/libtorch.rs", start);
    assert_eq!(value("crates/libtorch-setup/src/check.rs", start), version);
    let release = value("bindings/polyqa/python/polyqa/_libtorch.py", "RELEASE = ");
    assert_eq!(version.rsplit_once('.').unwrap().0, release);
    let workflow = read(".github/workflows/release.yml");
    assert!(workflow.contains(&format!("torch=={version}")), "release.yml: not {version}");
}

/// The Python module is a separate workspace, and must use the versions tested in this workspace.
#[test]
fn the_python_module_has_this_workspaces_versions() {
    let packages = |file: &str| -> Vec<(String, String)> {
        let text = read(file);
        let entries = text.split("[[package]]").skip(1).map(|entry| {
            let value = |key: &str| {
                let line = entry.lines().find_map(|line| line.strip_prefix(key));
                line.unwrap().trim_matches('"').to_owned()
            };
            (value("name = "), value("version = "))
        });
        entries.collect()
    };
    let (main, module) = (packages("Cargo.lock"), packages("bindings/python/Cargo.lock"));
    let shared: Vec<_> =
        module.iter().filter(|(name, _)| main.iter().any(|(other, _)| other == name)).collect();
    assert!(shared.len() > 100, "{} shared packages", shared.len());
    for package in shared {
        assert!(main.contains(package), "{package:?}: run `cargo update` in bindings/python");
    }
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find(|line| line.starts_with("version = ")).unwrap();
    assert!(read("bindings/python/Cargo.toml").contains(version), "not {version}");
}

/// CITATION.cff has the version of Cargo.toml and lists the papers of the README's table.
#[test]
fn the_citation_names_this_version_and_every_paper() {
    let (citation, manifest) = (read("CITATION.cff"), read("Cargo.toml"));
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    assert!(citation.contains(&format!("\nversion: {}\n", version.trim_matches('"'))));
    // White space is normalised, because long titles are wrapped over several lines.
    let citation = citation.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let readme = read("README.md");
    let table = readme.split("## The papers").nth(1).unwrap();
    let titles: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| *")?.split('*').next()).collect();
    assert_eq!(titles.len(), 9, "{titles:?}");
    for title in titles {
        assert!(citation.contains(&title.to_lowercase()), "CITATION.cff lacks {title:?}");
    }
}

/// Every function, test and bench listed in `docs/reference/losses.md` exists.
#[test]
fn the_map_of_equations_names_existing_items() {
    let map = read("docs/reference/losses.md");
    let exports = read("crates/objectives/src/lib.rs");
    let masking = read("crates/objectives/src/masking/mod.rs");
    let exists =
        |path: String| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path).exists();
    let code_names = |cell: &str| -> Vec<String> {
        let words = cell
            .split('`')
            .skip(1)
            .step_by(2)
            .flat_map(|code| code.split([' ', ',', '{', '}', ':']));
        words.filter(|word| !word.is_empty() && *word != "masking").map(str::to_owned).collect()
    };
    let rows: Vec<Vec<&str>> = map
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').collect())
        .skip(2)
        .collect();
    assert!(rows.len() > 15, "the table has moved");
    for row in rows {
        let [_, functions, tests, benches] = row[..] else { panic!("{row:?}") };
        for name in code_names(functions) {
            let contains_name = |text: &str| {
                text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
            };
            assert!(
                contains_name(&exports) || contains_name(&masking) || name == "linear",
                "{name} is not exported"
            );
        }
        if tests.contains("the same names") {
            for name in code_names(functions) {
                assert!(exists(format!("crates/objectives/tests/it/{name}.rs")), "no test {name}");
            }
        }
        for name in code_names(tests) {
            let file = format!("crates/objectives/tests/it/{name}.rs");
            assert!(
                exists(file) || exists(format!("crates/objectives/tests/it/{name}")),
                "no test {name}"
            );
        }
        for name in code_names(benches) {
            assert!(exists(format!("benches/src/{name}.rs")), "no bench {name}");
        }
    }
}
