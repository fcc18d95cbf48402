//! `cargo xtask peers`: pinned Python environments with third-party programs for comparisons.
//!
//! Tests and benches use `.peers` if it exists, and are skipped with a note otherwise. `.peers-4`
//! has transformers 4, with which most published models were saved. All packages, including
//! dependencies, are listed with their versions; pip installs no other packages.
use crate::files;
use crate::libtorch::Set;
use crate::process::{command, read_stdout, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the default environment, under the workspace root.
pub const FOLDER: &str = ".peers";

/// The folder of the environment with transformers 4.
const TRANSFORMERS_4_FOLDER: &str = ".peers-4";

/// File that lists the installed packages. It is written last, so that an incomplete installation
/// is not used.
const STAMP: &str = "pinned.txt";

/// Minimum Python version of the pinned packages.
const MIN_PYTHON: (u32, u32) = (3, 11);

/// Packages that are always installed.
const BASE_LIST: &str = include_str!("peers/light.txt");
/// Packages that `--torch` installs in addition to torch.
const TORCH_LIST: &str = include_str!("peers/torch.txt");
/// All packages of the environment with transformers 4.
const TRANSFORMERS_4_LIST: &str = include_str!("peers/hub4.txt");

/// Returns the entries `name==version` of a list of packages.
fn listed_packages(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Returns the entry `maturin==VERSION` of the packages that are always installed.
pub fn maturin_pin() -> &'static str {
    let mut lines = BASE_LIST.lines();
    lines.find(|line| line.starts_with("maturin==")).expect("maturin is always installed")
}

/// Returns `name==version` for each package; `torch` adds torch and torchrun, and the requirements
/// of transformers' models.
fn pinned_packages(torch: bool) -> Vec<String> {
    let mut packages = listed_packages(BASE_LIST);
    if torch {
        packages.extend(listed_packages(TORCH_LIST));
        let wheels = Set::Cuda.wheels();
        packages.extend(wheels.iter().map(|wheel| format!("{}=={}", wheel.name, wheel.version)));
    }
    packages.sort_unstable();
    packages
}

/// Returns whether the environment contains all packages in `required`.
fn has_packages(folder: &Path, required: &[String]) -> bool {
    // An incomplete environment has no stamp.
    let Ok(installed) = fs::read_to_string(folder.join(STAMP)) else { return false };
    let installed: Vec<&str> = installed.lines().collect();
    python_path(folder).exists() && required.iter().all(|line| installed.contains(&line.as_str()))
}

/// Returns the environment's packages after `required` is installed; `before` lists the packages
/// before the installation, one per line. pip does not change the packages that are not in
/// `required`.
fn merge_packages(before: &str, required: &[String]) -> Vec<String> {
    let name = |line: &str| line.split_once("==").map_or(line, |(name, _)| name).to_owned();
    let replaced: Vec<String> = required.iter().map(|line| name(line)).collect();
    let unchanged =
        before.lines().filter(|line| !replaced.contains(&name(line))).map(str::to_owned);
    let mut packages: Vec<String> = unchanged.chain(required.iter().cloned()).collect();
    packages.sort_unstable();
    packages
}

fn python_path(folder: &Path) -> PathBuf {
    folder.join("bin").join("python")
}

/// Creates the environment, with torch if `torch` is set, unless it is complete. Returns the path
/// of its Python.
pub fn install_peers(root: &Path, torch: bool) -> Result<PathBuf> {
    let size = if torch { "4.5 GB with torch and its CUDA libraries" } else { "about 360 MB" };
    install(root, FOLDER, &pinned_packages(torch), size)
}

/// Creates the environment of transformers 4 unless it is complete. Returns the path of its Python.
pub fn install_transformers_4(root: &Path) -> Result<PathBuf> {
    install(root, TRANSFORMERS_4_FOLDER, &listed_packages(TRANSFORMERS_4_LIST), "about 250 MB")
}

/// Creates the environment in the folder `name` unless it has the packages `required`; prints the
/// download's `size`. Returns the path of the environment's Python.
fn install(root: &Path, name: &str, required: &[String], size: &str) -> Result<PathBuf> {
    let folder = root.join(name);
    if has_packages(&folder, required) {
        return Ok(python_path(&folder));
    }
    check_python(root)?;
    eprintln!("installing {} packages into {name} ({size})", required.len());
    let stamp = folder.join(STAMP);
    let mut before = String::new();
    if stamp.exists() {
        before = files::read(&stamp)?;
        fs::remove_file(&stamp).with_context(|| format!("{}", stamp.display()))?;
    }
    run_checked(command("python3", root).args(["-m", "venv", name]))?;
    // A single call lets pip detect conflicts. All dependencies are listed, so pip does not resolve
    // dependencies.
    let mut install = command(python_path(&folder), root);
    install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]);
    run_checked(install.args(required))?;
    let installed = merge_packages(&before, required).join("\n") + "\n";
    fs::write(&stamp, installed).with_context(|| format!("{}", stamp.display()))?;
    Ok(python_path(&folder))
}

fn check_python(root: &Path) -> Result<()> {
    let Some(version_text) = read_stdout(command("python3", root).arg("--version")) else {
        bail!(
            "no python3, which `cargo xtask peers` requires (Debian, Ubuntu: `apt install python3`)"
        );
    };
    let (major, minor) = MIN_PYTHON;
    match parse_python(&version_text) {
        Some(version) if version >= MIN_PYTHON => Ok(()),
        _ => bail!(
            "{version_text} is too old for the pinned packages (expected {major}.{minor} or newer)"
        ),
    }
}

/// Parses `Python 3.11.7` as (3, 11).
fn parse_python(version_text: &str) -> Option<(u32, u32)> {
    let mut numbers =
        version_text.strip_prefix("Python ")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn run_checked(command: &mut std::process::Command) -> Result<()> {
    match run(command)? {
        0 => Ok(()),
        code => bail!(
            "`{} …` failed (exit code {code}); run `cargo xtask peers` again once the problem is fixed",
            command.get_program().to_string_lossy()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_once() {
        let [light, with_torch] = [false, true].map(pinned_packages);
        for packages in [light.clone(), with_torch.clone(), listed_packages(TRANSFORMERS_4_LIST)] {
            let mut names = Vec::new();
            for line in &packages {
                let (name, version) = line.split_once("==").unwrap();
                assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
                names.push(name);
            }
            names.dedup();
            assert_eq!(names.len(), packages.len(), "a package is pinned twice");
        }
        assert!(with_torch.contains(&format!("torch=={}", crate::libtorch::VERSION)));
        for line in ["transformers==5.24.0", "tokenizers==0.23.3"] {
            assert!(light.contains(&line.to_owned()), "{line}");
        }
        assert!(listed_packages(TRANSFORMERS_4_LIST).contains(&"transformers==4.57.6".to_owned()));
    }

    #[test]
    fn the_larger_set_includes_the_smaller() {
        let folder = tempfile::tempdir().unwrap();
        let [light, with_torch] = [false, true].map(pinned_packages);
        let has = |required: &[String]| has_packages(folder.path(), required);
        let write_stamp = |text: String| fs::write(folder.path().join(STAMP), text).unwrap();
        assert!(!has(&light));
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(python_path(folder.path()), "").unwrap();
        write_stamp(with_torch.join("\n"));
        assert!(has(&light) && has(&with_torch));
        write_stamp(light.join("\n"));
        assert!(has(&light) && !has(&with_torch));
        write_stamp(light.join("\n").replace("numpy==", "numpy==1."));
        assert!(!has(&light), "another version");
    }

    #[test]
    fn required_packages_replace_installed_versions() {
        let packages = merge_packages("numpy==1.0\nother==2\n", &["numpy==2.2.6".to_owned()]);
        assert_eq!(packages, ["numpy==2.2.6", "other==2"]);
    }

    #[test]
    fn python_versions_are_parsed() {
        assert_eq!(parse_python("Python 3.11.7"), Some((3, 11)));
        assert_eq!(parse_python("Python 3.13.0rc1"), Some((3, 13)));
        assert_eq!(parse_python("pyenv: no"), None);
    }
}
