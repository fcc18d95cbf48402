//! Licence texts of third-party crates, which every binary package must contain.
use crate::process::{cargo, read_stdout};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Beginnings of the names of files with licence texts, in lower case.
const FILE_NAMES: [&str; 5] = ["licen", "copying", "copyright", "notice", "unlicense"];

/// The fields of `cargo metadata`'s output that this module uses.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    /// `None` for the packages of this repository.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `None` for a normal dependency, as opposed to `dev` and `build`.
    kind: Option<String>,
}

/// Returns the licence texts of all third-party crates that the packages `names` of the workspace in
/// `folder` link for the platform `host`. Equal texts are listed once.
pub fn third_party_licences(
    root: &Path,
    folder: &Path,
    host: &str,
    names: &[&str],
) -> Result<String> {
    let mut command = cargo(root);
    command.current_dir(folder).args(["metadata", "--locked", "--format-version", "1"]);
    command.args(["--filter-platform", host]);
    let text = read_stdout(&mut command).context("`cargo metadata` failed")?;
    let metadata: Metadata = serde_json::from_str(&text).context("output of `cargo metadata`")?;
    let linked = linked_packages(&metadata, names);
    let (mut texts, mut without_text) = (BTreeMap::<String, Text>::new(), Vec::new());
    for package in metadata.packages.iter().filter(|package| linked.contains(&*package.id)) {
        if package.source.is_none() {
            continue;
        }
        let licence = package.license.as_deref().unwrap_or("see the text");
        let label = format!("{} {} ({licence})", package.name, package.version);
        let files = licence_files(&package.manifest_path)?;
        if files.is_empty() {
            without_text.push(label.clone());
        }
        for text in files {
            let key = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let entry = texts.entry(key).or_insert_with(|| Text { text, packages: Vec::new() });
            entry.packages.push(label.clone());
        }
    }
    Ok(format_texts(texts.into_values().collect(), &without_text))
}

/// A licence text and the packages that contain it.
struct Text {
    text: String,
    packages: Vec<String>,
}

/// Returns the ids of the packages `names` and of all their normal dependencies.
fn linked_packages<'a>(metadata: &'a Metadata, names: &[&str]) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (&*node.id, node)).collect();
    let roots = metadata.packages.iter().filter(|package| names.contains(&&*package.name));
    let mut pending: Vec<&str> = roots.map(|package| &*package.id).collect();
    let mut linked = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if linked.insert(id) {
            let normal = nodes[id]
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            pending.extend(normal.map(|dependency| &*dependency.pkg));
        }
    }
    linked
}

/// Returns the licence texts in the folder of a manifest.
fn licence_files(manifest: &Path) -> Result<Vec<String>> {
    let folder = manifest.parent().expect("a manifest is in a folder");
    let mut texts = Vec::new();
    for path in crate::files::entries(folder)? {
        let name = path.file_name().expect("an entry has a name").to_string_lossy().to_lowercase();
        if path.is_file() && FILE_NAMES.iter().any(|start| name.starts_with(start)) {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(texts)
}

fn format_texts(mut texts: Vec<Text>, without_text: &[String]) -> String {
    texts.sort_by(|a, b| a.packages.cmp(&b.packages));
    let rule = "=".repeat(80);
    let mut output = "Licences of the third-party crates in this package.\n".to_owned();
    for Text { text, packages } in &texts {
        output += &format!("\n{rule}\n{}\n\n{}\n", packages.join("\n"), text.trim());
    }
    if !without_text.is_empty() {
        output +=
            &format!("\n{rule}\nCrates without a licence text:\n{}\n", without_text.join("\n"));
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_normal_dependencies_are_linked() {
        let package = |name: &str| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"1.0.0","license":"MIT","manifest_path":"/x","source":null}}"#
            )
        };
        let dependency = |name: &str, kind: &str| {
            format!(r#"{{"pkg":"{name}","dep_kinds":[{{"kind":{kind}}}]}}"#)
        };
        let json = format!(
            r#"{{"packages":[{}],"resolve":{{"nodes":[
                {{"id":"tool","deps":[{},{},{}]}}, {{"id":"a","deps":[{}]}},
                {{"id":"b","deps":[]}}, {{"id":"c","deps":[]}}, {{"id":"d","deps":[]}}]}}}}"#,
            ["tool", "a", "b", "c", "d"].map(package).join(","),
            dependency("a", "null"),
            dependency("b", "\"dev\""),
            dependency("c", "\"build\""),
            dependency("d", "null"),
        );
        let metadata = serde_json::from_str(&json).unwrap();
        let linked: Vec<_> = linked_packages(&metadata, &["tool"]).into_iter().collect();
        assert_eq!(linked, ["a", "d", "tool"]);
    }

    #[test]
    fn equal_texts_are_listed_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["LICENSE-MIT", "COPYING", "Cargo.toml", "license.rs.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let texts = licence_files(&folder.path().join("Cargo.toml")).unwrap();
        assert_eq!(texts, ["COPYING", "LICENSE-MIT", "license.rs.txt"]);
        let text = |text: &str, packages: &[&str]| Text {
            text: text.into(),
            packages: packages.iter().map(|&name| name.into()).collect(),
        };
        let output =
            format_texts(vec![text("T2\n", &["b"]), text("T1", &["a", "c"])], &["d (MIT)".into()]);
        let at = |part: &str| output.find(part).unwrap();
        assert!(at("a\nc\n\nT1\n") < at("b\n\nT2\n") && at("T2") < at("without a licence text"));
    }
}
