//! `cargo xtask package`: every library as the registry would get it, and proof that it builds.
//!
//! The packages are unpacked into a workspace of their own, which takes the members from there and
//! everything else as the lock file has it. All of them, and the templates that programs of users
//! start from, are checked there with `doc-only`, as docs.rs builds their pages: without libtorch.
//! The long form also links the templates with libtorch.
use crate::process::{cargo, command, output, run, target_folder, user_libtorch};
use crate::setup::FOLDER as LIBTORCH;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every package holds.
const FILES: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// The feature that stands for libtorch where there is none.
const DOC_ONLY: &str = "doc-only";

/// What `cargo metadata` says of the workspace, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
    /// The registries that it may go to: any if there is no list, none if the list is empty.
    publish: Option<Vec<String>>,
    features: BTreeMap<String, Vec<String>>,
    description: Option<String>,
    license: Option<String>,
    repository: Option<String>,
    readme: Option<String>,
    rust_version: Option<String>,
    keywords: Vec<String>,
    categories: Vec<String>,
    metadata: Option<serde_json::Value>,
}

impl Package {
    fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }

    /// The folder of the package, and its file's name without the ending.
    fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Whether it needs libtorch unless it is told otherwise.
    fn needs_libtorch(&self) -> bool {
        self.features.contains_key(DOC_ONLY)
    }

    /// The keys that a registry's page needs and the manifest lacks.
    fn lacks(&self) -> Vec<&'static str> {
        let docs_rs = || {
            let features = self.metadata.as_ref()?.get("docs")?.get("rs")?.get("features")?;
            features.as_array()?.iter().find(|feature| *feature == DOC_ONLY)
        };
        let keys = [
            ("description", self.description.is_some()),
            ("license", self.license.is_some()),
            ("repository", self.repository.is_some()),
            ("readme", self.readme.is_some()),
            ("rust-version", self.rust_version.is_some()),
            ("keywords", !self.keywords.is_empty()),
            ("categories", !self.categories.is_empty()),
            ("package.metadata.docs.rs", !self.needs_libtorch() || docs_rs().is_some()),
        ];
        keys.into_iter().filter(|(_, there)| !there).map(|(key, _)| key).collect()
    }
}

/// Packs every library, unpacks them, and checks what came out; returns cargo's exit code.
pub fn package(root: &Path) -> Result<u8> {
    let packages = published(root)?;
    let target = target_folder()?;
    let mut pack = cargo(root);
    // Uncommitted changes are packed too, and nothing is built: that follows, all at once.
    pack.args(["package", "--quiet", "--no-verify", "--allow-dirty", "--target-dir"]).arg(&target);
    pack.args(packages.iter().flat_map(|package| ["--package", &package.name]));
    let code = run(&mut pack)?;
    if code != 0 {
        return Ok(code);
    }
    let folder = target.join("packaged");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    for package in &packages {
        unpack(root, &target, &folder, package)?;
    }
    let templates = copy_templates(&packages, &folder)?;
    let manifest = root.join("Cargo.toml");
    let own = fs::read_to_string(&manifest).with_context(|| format!("{}", manifest.display()))?;
    // Compiled as here, so that what this workspace has built is not built again. The profiles are
    // the last tables of its manifest.
    let profiles = own.find("\n[profile.").map_or("", |at| own.split_at(at).1);
    write(&folder.join("Cargo.toml"), &(workspace(&packages, &templates) + profiles))?;
    let (lock, copy) = (root.join("Cargo.lock"), folder.join("Cargo.lock"));
    fs::copy(&lock, &copy).with_context(|| format!("{}", lock.display()))?;
    let mut steps = checks(root, &folder, &target, &packages);
    if std::env::var_os("POLYQA_LONG").is_some() {
        steps.push(linked(root, &folder, &target, &templates));
    }
    for mut step in steps {
        let code = run(&mut step)?;
        if code != 0 {
            return Ok(code);
        }
    }
    let (many, few) = (packages.len(), templates.len());
    println!("{many} packages and {few} templates build from {}", folder.display());
    Ok(0)
}

/// The members that may go to a registry.
fn published(root: &Path) -> Result<Vec<Package>> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let text = output(cargo(root).args(arguments)).context("`cargo metadata` failed")?;
    let all: Metadata = serde_json::from_str(&text).context("what `cargo metadata` printed")?;
    let packages: Vec<_> = all.packages.into_iter().filter(Package::is_published).collect();
    for package in &packages {
        let lacks = package.lacks();
        if !lacks.is_empty() {
            bail!("{}: no {}", package.manifest_path.display(), lacks.join(", "));
        }
    }
    Ok(packages)
}

/// Unpacks one package beside the others, and looks for the files that each must hold.
fn unpack(root: &Path, target: &Path, folder: &Path, package: &Package) -> Result<()> {
    let file = target.join("package").join(package.full_name() + ".crate");
    let mut tar = command("tar", root);
    // Without the times of the archive, which are always the same: cargo would miss a change.
    tar.args(["--extract", "--gzip", "--touch", "--file"]).arg(&file);
    if run(tar.arg("--directory").arg(folder))? != 0 {
        bail!("{}: cannot be unpacked", file.display());
    }
    let unpacked = folder.join(package.full_name());
    match FILES.into_iter().find(|name| !unpacked.join(name).is_file()) {
        Some(missing) => bail!("{} holds no {missing}", file.display()),
        None => Ok(()),
    }
}

/// Copies the crates' templates, with the packages in place of the paths; returns their folders.
fn copy_templates(packages: &[Package], folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in packages {
        let from = package.manifest_path.with_file_name("template");
        if !from.is_dir() {
            continue;
        }
        let name = format!("{}-template", package.name);
        for file in ["Cargo.toml", "build.rs", "src/main.rs"] {
            let path = from.join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
            let text = if file == "Cargo.toml" { without_paths(&text, package) } else { text };
            write(&folder.join(&name).join(file), &text)?;
        }
        names.push(name);
    }
    Ok(names)
}

/// A template's manifest as a member of another workspace, with versions in place of paths.
fn without_paths(manifest: &str, package: &Package) -> String {
    let lines = manifest.lines().filter(|line| *line != "[workspace]").map(|line| {
        let Some((before, rest)) = line.split_once("path = \"") else { return line.to_owned() };
        let after = rest.split_once('"').map_or("", |(_, after)| after);
        format!("{before}version = \"{}\"{after}", package.version)
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// The manifest of the workspace that uses the packages as if they came from the registry.
fn workspace(packages: &[Package], templates: &[String]) -> String {
    let folders = packages.iter().map(Package::full_name).chain(templates.iter().cloned());
    let members: Vec<_> = folders.map(|folder| format!("{folder:?}")).collect();
    let mut text = format!("[workspace]\nresolver = \"2\"\nmembers = [{}]\n", members.join(", "));
    text += "\n[patch.crates-io]\n";
    for package in packages {
        text += &format!("{} = {{ path = {:?} }}\n", package.name, package.full_name());
    }
    text
}

/// The builds, in the order in which they fail fastest.
fn checks(root: &Path, folder: &Path, target: &Path, packages: &[Package]) -> Vec<Command> {
    let with_libtorch: Vec<_> = packages.iter().filter(|one| one.needs_libtorch()).collect();
    let features: Vec<_> =
        with_libtorch.iter().map(|one| format!("{}/{DOC_ONLY}", one.name)).collect();
    let build = |arguments: &[&str]| {
        let mut build = cargo(root);
        build.args(arguments).args(["--quiet", "--offline"]);
        build.current_dir(folder).env("CARGO_TARGET_DIR", target);
        // Nothing may look for it.
        build.env("LIBTORCH", folder.join("no-libtorch"));
        build
    };
    let scorer =
        build(&["check", "--package", "mlqa-eval", "--no-default-features", "--features", "cli"]);
    let mut all = build(&["check", "--workspace"]);
    all.args(["--features", &features.join(",")]);
    let mut docs = build(&["doc", "--no-deps"]);
    docs.args(["--features", &features.join(",")]).env("RUSTDOCFLAGS", "-D warnings");
    docs.args(with_libtorch.iter().flat_map(|one| ["--package", &one.name]));
    vec![scorer, all, docs]
}

/// Builds the templates with the libtorch of this workspace.
fn linked(root: &Path, folder: &Path, target: &Path, templates: &[String]) -> Command {
    let mut build = cargo(root);
    build.args(["build", "--quiet", "--offline"]).current_dir(folder);
    build.args(templates.iter().flat_map(|name| ["--package", member(name)]));
    let libtorch = user_libtorch(root).unwrap_or_else(|| root.join(LIBTORCH).join("torch"));
    build.env("LIBTORCH", libtorch).env("CARGO_TARGET_DIR", target);
    build
}

/// The name of a template's package: that of its library without the project's.
fn member(template: &str) -> &str {
    template.strip_prefix("polyqa-").unwrap_or(template)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Package {
        Package { name: name.into(), version: "0.1.0".into(), ..Package::default() }
    }

    #[test]
    fn every_library_is_published() {
        let root = crate::process::workspace_root().unwrap();
        let packages = published(&root).unwrap();
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        assert!(names.contains(&"mlqa-eval") && names.contains(&"polyqa-language"), "{names:?}");
        for own in ["examples", "benches", "xtask", "testkit", "demo-data"] {
            assert!(!names.contains(&own), "{own} is for this workspace");
        }
        // Every other folder of crates/ holds a library for others.
        let folders = fs::read_dir(root.join("crates")).unwrap().count();
        assert_eq!(packages.len(), folders - 2, "{names:?}");
    }

    #[test]
    fn what_a_manifest_lacks_is_named() {
        let mut one = package("one");
        one.description = Some("a crate".into());
        one.features.insert(DOC_ONLY.into(), Vec::new());
        let rest = "license, repository, readme, rust-version, keywords, categories";
        assert_eq!(one.lacks().join(", "), format!("{rest}, package.metadata.docs.rs"));
        one.metadata = Some(serde_json::json!({ "docs": { "rs": { "features": ["doc-only"] } } }));
        assert_eq!(one.lacks().join(", "), rest);
    }

    #[test]
    fn templates_take_packages_in_place_of_paths() {
        let manifest = "[package]\nname = \"x\"\n\n[workspace]\n\n[dependencies]\n\
                        tasks = { path = \"..\", package = \"polyqa-tasks\" }\ntch = \"=0.24.0\"\n";
        let expected = "[package]\nname = \"x\"\n\n\n[dependencies]\n\
                        tasks = { version = \"0.1.0\", package = \"polyqa-tasks\" }\ntch = \"=0.24.0\"\n";
        assert_eq!(without_paths(manifest, &package("polyqa-tasks")), expected);
    }

    #[test]
    fn the_workspace_holds_everything_and_prefers_it() {
        let text = workspace(&[package("a"), package("b")], &["b-template".into()]);
        assert!(text.contains("members = [\"a-0.1.0\", \"b-0.1.0\", \"b-template\"]"), "{text}");
        assert!(
            text.ends_with("a = { path = \"a-0.1.0\" }\nb = { path = \"b-0.1.0\" }\n"),
            "{text}"
        );
    }
}
