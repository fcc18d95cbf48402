//! `cargo xtask wheel`: the Python module of `bindings/python`, built, installed into a folder of
//! the target folder, and tested beside the command line.
use crate::peers::FOLDER as PEERS;
use crate::process::{cargo, command, run, target_folder};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package, a workspace of its own.
const FOLDER: &str = "bindings/python";

/// What `.peers` has for it, as paths there.
const PROGRAMS: [&str; 3] = ["bin/python", "bin/maturin", "bin/pytest"];

/// Why it cannot be built here, if so.
pub fn lacks(root: &Path) -> Option<String> {
    let peers = root.join(PEERS);
    let missing = PROGRAMS.into_iter().find(|program| !peers.join(program).exists())?;
    Some(format!("{PEERS}/{missing} is not there (`cargo xtask peers`)"))
}

/// Checks, builds and tests the module; returns the exit code of what fails.
pub fn wheel(root: &Path) -> Result<u8> {
    if let Some(reason) = lacks(root) {
        bail!("{reason}");
    }
    let target = target_folder()?;
    let wheels = empty(target.join("wheels"))?;
    let mut build = within(command(root.join(PEERS).join("bin/maturin"), root), root, &target);
    // Unoptimised, as the tests are; a wheel for this machine.
    build.args(["build", "--quiet", "--profile", "dev", "--compatibility", "linux", "--out"]);
    build.arg(&wheels).arg("--interpreter").arg(root.join(PEERS).join("bin/python"));
    let mut program = cargo(root);
    program.args(["build", "--quiet", "--package", "mlqa-eval", "--target-dir"]).arg(&target);
    let mut format = within(cargo(root), root, &target);
    format.args(["fmt", "--check"]);
    let mut clippy = within(cargo(root), root, &target);
    clippy.args(["clippy", "--quiet", "--", "-D", "warnings"]);
    for mut step in [format, clippy, build, program] {
        let code = run(&mut step)?;
        if code != 0 {
            return Ok(code);
        }
    }
    test(root, &target, &wheels)
}

/// Installs the one wheel and runs pytest with it.
fn test(root: &Path, target: &Path, wheels: &Path) -> Result<u8> {
    let entries = fs::read_dir(wheels).with_context(|| format!("{}", wheels.display()))?;
    let built: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let [wheel] = built.as_slice() else { bail!("not one wheel in {}", wheels.display()) };
    let installed = empty(target.join("wheel-installed"))?;
    let python = root.join(PEERS).join("bin/python");
    let mut install = command(&python, root);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
    let code = run(install.args(["--no-deps", "--target"]).arg(&installed).arg(wheel))?;
    if code != 0 {
        return Ok(code);
    }
    let mut pytest = within(command(&python, root), root, target);
    // Nothing is written beside the sources.
    pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
    pytest.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", &installed);
    run(pytest.env("MLQA_EVAL", target.join("debug/mlqa-eval")))
}

/// The command in the package's folder, with the target folder of this workspace.
fn within(mut command: Command, root: &Path, target: &Path) -> Command {
    command.current_dir(root.join(FOLDER)).env("CARGO_TARGET_DIR", target);
    command
}

/// Makes the folder, without what an earlier build left there.
fn empty(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(PEERS).join("bin");
        fs::create_dir_all(&folder).unwrap();
        for program in ["python", "pytest"] {
            fs::write(folder.join(program), "").unwrap();
        }
        let reason = lacks(root.path()).unwrap();
        assert_eq!(reason, ".peers/bin/maturin is not there (`cargo xtask peers`)");
        assert_eq!(wheel(root.path()).unwrap_err().to_string(), reason);
        fs::write(folder.join("maturin"), "").unwrap();
        assert_eq!(lacks(root.path()), None);
    }
}
