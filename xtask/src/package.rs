//! `cargo xtask package`: packs every library as for publication, and checks that the packages
//! build.
//!
//! The packages are unpacked into a separate workspace, with the lock file of this repository.
//! There, all packages and the templates for users' programs are checked without libtorch, with the
//! feature `doc-only`, which docs.rs also uses. If the environment variable `POLYQA_LONG` is set,
//! the templates are also linked with libtorch.
use crate::files;
use crate::process::{cargo, command, read_stdout, run, run_checked, target_folder, user_libtorch};
use crate::setup::FOLDER as LIBTORCH;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that every package must contain.
const PACKAGE_FILES: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// The feature with which a package compiles without libtorch, but cannot be linked into a program.
const DOC_ONLY: &str = "doc-only";

/// The fields of `cargo metadata`'s output that this module uses.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
    /// Registries for publication; `None` allows all registries, and an empty list none.
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

    /// Returns `NAME-VERSION`, which is the name of the package's folder, and of its archive
    /// without the extension.
    fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Returns whether the package requires libtorch by default.
    fn requires_libtorch(&self) -> bool {
        self.features.contains_key(DOC_ONLY)
    }

    /// Returns the keys that a registry's page requires and the manifest lacks.
    fn missing_keys(&self) -> Vec<&'static str> {
        let docs_rs_feature = || {
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
            ("package.metadata.docs.rs", !self.requires_libtorch() || docs_rs_feature().is_some()),
        ];
        keys.into_iter().filter(|(_, present)| !present).map(|(key, _)| key).collect()
    }
}

/// Packs and unpacks every library, and checks that the packages and the templates build.
pub fn check_packages(root: &Path) -> Result<()> {
    let packages = published_packages(root)?;
    let target = target_folder()?;
    let mut pack = cargo(root);
    // `--allow-dirty` includes uncommitted changes. `--no-verify` prevents a build per package,
    // because all packages are built together later.
    pack.args(["package", "--quiet", "--no-verify", "--allow-dirty", "--target-dir"]).arg(&target);
    pack.args(packages.iter().flat_map(|package| ["--package", &package.name]));
    run_checked(&mut pack)?;
    let folder = target.join("packaged");
    files::create_empty_folder(&folder)?;
    for package in &packages {
        unpack(root, &target, &folder, package)?;
    }
    let templates = copy_templates(&packages, &folder)?;
    let manifest_text = files::read(&root.join("Cargo.toml"))?;
    // The packages' workspace has the profiles of this workspace, so that builds can reuse the
    // outputs of this workspace. The profiles are the last tables of the manifest.
    let profiles = manifest_text.find("\n[profile.").map_or("", |at| manifest_text.split_at(at).1);
    let text = workspace_manifest(root, &packages, &templates) + profiles;
    files::write(&folder.join("Cargo.toml"), &text)?;
    let (lock, copy) = (root.join("Cargo.lock"), folder.join("Cargo.lock"));
    fs::copy(&lock, &copy).with_context(|| format!("{}", lock.display()))?;
    let mut steps = package_checks(root, &folder, &target, &packages);
    if std::env::var_os("POLYQA_LONG").is_some() {
        steps.push(template_build(root, &folder, &target, &templates));
    }
    for mut step in steps {
        run_checked(&mut step)?;
    }
    let (package_count, template_count) = (packages.len(), templates.len());
    println!(
        "{package_count} packages and {template_count} templates build from {}",
        folder.display()
    );
    Ok(())
}

/// Returns the workspace members that may be published. A member whose manifest lacks a required
/// key is an error.
fn published_packages(root: &Path) -> Result<Vec<Package>> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let text = read_stdout(cargo(root).args(arguments)).context("`cargo metadata` failed")?;
    let metadata: Metadata = serde_json::from_str(&text).context("output of `cargo metadata`")?;
    let packages: Vec<_> = metadata.packages.into_iter().filter(Package::is_published).collect();
    for package in &packages {
        let missing = package.missing_keys();
        if !missing.is_empty() {
            bail!("{}: no {}", package.manifest_path.display(), missing.join(", "));
        }
    }
    Ok(packages)
}

/// Unpacks a package into `folder`, and checks that the package has the required files.
fn unpack(root: &Path, target: &Path, folder: &Path, package: &Package) -> Result<()> {
    let file = target.join("package").join(package.full_name() + ".crate");
    let mut tar = command("tar", root);
    // `--touch` sets new file times, because the archive's constant times would hide changes from
    // cargo.
    tar.args(["--extract", "--gzip", "--touch", "--file"]).arg(&file);
    if run(tar.arg("--directory").arg(folder))? != 0 {
        bail!("{}: cannot be unpacked", file.display());
    }
    let unpacked = folder.join(package.full_name());
    match PACKAGE_FILES.into_iter().find(|name| !unpacked.join(name).is_file()) {
        Some(missing) => bail!("{} has no {missing}", file.display()),
        None => Ok(()),
    }
}

/// Copies the crates' templates, and replaces the paths of dependencies in their manifests by
/// versions. Returns the folders of the copies.
fn copy_templates(packages: &[Package], folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in packages {
        let template = package.manifest_path.with_file_name("template");
        if !template.is_dir() {
            continue;
        }
        let name = format!("{}-template", package.name);
        for file in ["Cargo.toml", "build.rs", "src/main.rs"] {
            let path = template.join(file);
            let text = files::read(&path)?;
            let text = if file == "Cargo.toml" { replace_paths(&text, package) } else { text };
            files::write(&folder.join(&name).join(file), &text)?;
        }
        names.push(name);
    }
    Ok(names)
}

/// Converts a template's manifest to the manifest of a workspace member, and replaces the paths of
/// dependencies by versions.
fn replace_paths(manifest: &str, package: &Package) -> String {
    let lines = manifest.lines().filter(|line| *line != "[workspace]").map(|line| {
        let Some((before, rest)) = line.split_once("path = \"") else { return line.to_owned() };
        let after = rest.split_once('"').map_or("", |(_, after)| after);
        format!("{before}version = \"{}\"{after}", package.version)
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Returns the manifest of a workspace that uses the packages like registry packages.
fn workspace_manifest(root: &Path, packages: &[Package], templates: &[String]) -> String {
    let folders = packages.iter().map(Package::full_name).chain(templates.iter().cloned());
    let members: Vec<_> = folders.map(|folder| format!("{folder:?}")).collect();
    let mut text = format!("[workspace]\nresolver = \"2\"\nmembers = [{}]\n", members.join(", "));
    text += &format!("\n[patch.crates-io]\nzip = {{ path = {:?} }}\n", root.join("crates/zip"));
    for package in packages {
        text += &format!("{} = {{ path = {:?} }}\n", package.name, package.full_name());
    }
    text
}

/// Returns the commands that check the packages, ordered so that failures appear early.
fn package_checks(root: &Path, folder: &Path, target: &Path, packages: &[Package]) -> Vec<Command> {
    let libtorch_packages: Vec<_> =
        packages.iter().filter(|package| package.requires_libtorch()).collect();
    let features: Vec<_> =
        libtorch_packages.iter().map(|package| format!("{}/{DOC_ONLY}", package.name)).collect();
    let build = |arguments: &[&str]| {
        let mut build = cargo(root);
        build.args(arguments).args(["--quiet", "--offline"]);
        build.current_dir(folder).env("CARGO_TARGET_DIR", target);
        // No build may find a libtorch, so LIBTORCH is a folder that does not exist.
        build.env("LIBTORCH", folder.join("no-libtorch"));
        // Build scripts of the templates use `libtorch-setup` without the feature `doc-only`.
        build.env("POLYQA_SKIP_LIBTORCH_CHECK", "1");
        build
    };
    let scorer =
        build(&["check", "--package", "mlqa-eval", "--no-default-features", "--features", "cli"]);
    let mut workspace = build(&["check", "--workspace"]);
    workspace.args(["--features", &features.join(",")]);
    let mut docs = build(&["doc", "--no-deps"]);
    docs.args(["--features", &features.join(",")]).env("RUSTDOCFLAGS", "-D warnings");
    docs.args(libtorch_packages.iter().flat_map(|package| ["--package", &package.name]));
    vec![scorer, workspace, docs]
}

/// Returns the command that builds the templates with the libtorch of this workspace.
fn template_build(root: &Path, folder: &Path, target: &Path, templates: &[String]) -> Command {
    let mut build = cargo(root);
    build.args(["build", "--quiet", "--offline"]).current_dir(folder);
    build.args(templates.iter().flat_map(|name| ["--package", template_package(name)]));
    let libtorch = user_libtorch(root).unwrap_or_else(|| root.join(LIBTORCH).join("torch"));
    build.env("LIBTORCH", libtorch).env("CARGO_TARGET_DIR", target);
    build
}

/// Returns the name of the package in a template's folder: the folder's name without the prefix
/// `polyqa-`.
fn template_package(template: &str) -> &str {
    template.strip_prefix("polyqa-").unwrap_or(template)
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
        let packages = published_packages(&root).unwrap();
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        assert!(names.contains(&"mlqa-eval") && names.contains(&"polyqa-language"), "{names:?}");
        for internal in ["examples", "benches", "xtask", "testkit", "demo-data", "zip"] {
            assert!(!names.contains(&internal), "{internal} is for this workspace");
        }
        // All other folders of crates/ are published libraries.
        let folders = fs::read_dir(root.join("crates")).unwrap().count();
        assert_eq!(packages.len(), folders - 3, "{names:?}");
    }

    #[test]
    fn missing_manifest_keys_are_reported() {
        let mut one = package("one");
        one.description = Some("a crate".into());
        one.features.insert(DOC_ONLY.into(), Vec::new());
        let other_keys = "license, repository, readme, rust-version, keywords, categories";
        assert_eq!(
            one.missing_keys().join(", "),
            format!("{other_keys}, package.metadata.docs.rs")
        );
        one.metadata = Some(serde_json::json!({ "docs": { "rs": { "features": ["doc-only"] } } }));
        assert_eq!(one.missing_keys().join(", "), other_keys);
    }

    #[test]
    fn templates_use_packages_instead_of_paths() {
        let manifest = "[package]\nname = \"x\"\n\n[workspace]\n\n[dependencies]\n\
                        tasks = { path = \"..\", package = \"polyqa-tasks\" }\ntch = \"=0.24.0\"\n";
        let expected = "[package]\nname = \"x\"\n\n\n[dependencies]\n\
                        tasks = { version = \"0.1.0\", package = \"polyqa-tasks\" }\ntch = \"=0.24.0\"\n";
        assert_eq!(replace_paths(manifest, &package("polyqa-tasks")), expected);
    }

    #[test]
    fn the_workspace_contains_all_packages_and_templates() {
        let packages = [package("a"), package("b")];
        let text = workspace_manifest(Path::new("/"), &packages, &["b-template".into()]);
        assert!(text.contains("members = [\"a-0.1.0\", \"b-0.1.0\", \"b-template\"]"), "{text}");
        assert!(
            text.ends_with("a = { path = \"a-0.1.0\" }\nb = { path = \"b-0.1.0\" }\n"),
            "{text}"
        );
    }
}
