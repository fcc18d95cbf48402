//! `cargo xtask peers`: a pinned Python environment with other people's programs, to compare with.
//!
//! Tests and benches use `.peers` where it is, and print a skip where it is not. Every package is
//! named with its version, dependencies too, and pip is told to install nothing else.
use crate::libtorch::Set;
use crate::process::{command, output, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The environment's folder, under the workspace root.
pub const FOLDER: &str = ".peers";

/// Lists what was installed; written last, so that a broken installation counts as none.
const STAMP: &str = "pinned.txt";

/// The oldest Python that the pinned packages run on.
const OLDEST_PYTHON: (u32, u32) = (3, 11);

/// Packages that are there in any case.
const LIGHT: &str = include_str!("peers/light.txt");
/// Packages besides torch that `--torch` adds.
const TORCH: &str = include_str!("peers/torch.txt");

/// `name==version`, one for each package of the set.
fn pinned(torch: bool) -> Vec<String> {
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let mut all = lines(LIGHT);
    if torch {
        all.extend(lines(TORCH));
        let wheels = Set::Cuda.wheels();
        all.extend(wheels.iter().map(|wheel| format!("{}=={}", wheel.name, wheel.version)));
    }
    all.sort_unstable();
    all
}

/// Whether the environment holds all of `wanted`, and may hold more.
fn holds(folder: &Path, wanted: &[String]) -> bool {
    let installed = fs::read_to_string(folder.join(STAMP)).unwrap_or_default();
    let installed: Vec<&str> = installed.lines().collect();
    python(folder).exists() && wanted.iter().all(|line| installed.contains(&line.as_str()))
}

fn python(folder: &Path) -> PathBuf {
    folder.join("bin").join("python")
}

/// Makes the environment, or leaves it where it is complete. Returns its Python.
pub fn peers(root: &Path, torch: bool) -> Result<PathBuf> {
    let folder = root.join(FOLDER);
    let wanted = pinned(torch);
    if holds(&folder, &wanted) {
        return Ok(python(&folder));
    }
    check_python(root)?;
    let size = if torch { "4.5 GB with torch and its CUDA libraries" } else { "about 80 MB" };
    eprintln!("installing {} packages into {FOLDER} ({size})", wanted.len());
    let stamp = folder.join(STAMP);
    if stamp.exists() {
        fs::remove_file(&stamp).with_context(|| format!("{}", stamp.display()))?;
    }
    succeed(command("python3", root).args(["-m", "venv", FOLDER]))?;
    // In one call, so that pip sees contradictions; without dependencies, since all are listed.
    let mut install = command(python(&folder), root);
    install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]);
    succeed(install.args(&wanted))?;
    fs::write(&stamp, wanted.join("\n") + "\n").with_context(|| format!("{}", stamp.display()))?;
    Ok(python(&folder))
}

fn check_python(root: &Path) -> Result<()> {
    let Some(stated) = output(command("python3", root).arg("--version")) else {
        bail!(
            "no python3, which `cargo xtask peers` needs (Debian, Ubuntu: `apt install python3`)"
        );
    };
    let (major, minor) = OLDEST_PYTHON;
    match parse_python(&stated) {
        Some(version) if version >= OLDEST_PYTHON => Ok(()),
        _ => bail!("{stated} is too old for the pinned packages: {major}.{minor} or newer"),
    }
}

/// `Python 3.11.7` as (3, 11).
fn parse_python(stated: &str) -> Option<(u32, u32)> {
    let mut numbers = stated.strip_prefix("Python ")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn succeed(command: &mut std::process::Command) -> Result<()> {
    match run(command)? {
        0 => Ok(()),
        code => bail!(
            "`{} …` failed (exit code {code}); run `cargo xtask peers` again once it is mended",
            command.get_program().to_string_lossy()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_once() {
        for torch in [false, true] {
            let all = pinned(torch);
            let mut names = Vec::new();
            for line in &all {
                let (name, version) = line.split_once("==").unwrap();
                assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
                names.push(name);
            }
            names.dedup();
            assert_eq!(names.len(), all.len(), "a package is pinned twice");
        }
        let all = pinned(true);
        assert!(all.contains(&format!("torch=={}", crate::libtorch::VERSION)));
        assert!(all.contains(&"transformers==5.23.0".to_owned()));
    }

    #[test]
    fn the_larger_set_serves_for_the_smaller() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds(folder.path(), &pinned(false)));
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(python(folder.path()), "").unwrap();
        fs::write(folder.path().join(STAMP), pinned(true).join("\n")).unwrap();
        assert!(holds(folder.path(), &pinned(false)) && holds(folder.path(), &pinned(true)));
        fs::write(folder.path().join(STAMP), pinned(false).join("\n")).unwrap();
        assert!(holds(folder.path(), &pinned(false)) && !holds(folder.path(), &pinned(true)));
        let older = pinned(false).join("\n").replace("numpy==", "numpy==1.");
        fs::write(folder.path().join(STAMP), older).unwrap();
        assert!(!holds(folder.path(), &pinned(false)), "another version");
    }

    #[test]
    fn python_versions_are_read() {
        assert_eq!(parse_python("Python 3.11.7"), Some((3, 11)));
        assert_eq!(parse_python("Python 3.13.0rc1"), Some((3, 13)));
        assert_eq!(parse_python("pyenv: no"), None);
    }
}
