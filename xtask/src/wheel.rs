//! `cargo xtask wheel --test`: builds the Python packages of `bindings` without optimisation,
//! installs them below the target folder, and tests them with the programs.
use crate::builds::{BUILD_LIBTORCH, BUILD_LIBTORCH_FREE};
use crate::distribution::NO_BACKEND_WARNING;
use crate::files;
use crate::peers::FOLDER as PEERS;
use crate::process::{Failed, cargo, command, host_triple, run_checked, target_folder};
use crate::setup::{Options, ensure_libtorch};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// A Python package, which is a separate workspace.
struct Wheel {
    folder: &'static str,
    /// Features for clippy.
    features: &'static str,
    /// Cargo arguments that build the programs started by the wheel's tests.
    programs: &'static [&'static str],
}

const WHEELS: [Wheel; 2] = [
    Wheel { folder: "bindings/python", features: "", programs: BUILD_LIBTORCH_FREE },
    Wheel {
        folder: "bindings/polyqa",
        // Clippy runs without the compiled C++ code.
        features: "doc-only",
        programs: BUILD_LIBTORCH,
    },
];

/// Required programs, as paths in `.peers`.
const PROGRAMS: [&str; 3] = ["bin/python", "bin/maturin", "bin/pytest"];

/// The value of `links` in torch-ext's manifest. Cargo's messages and configuration identify the
/// compiled C++ code of torch-ext by this value.
const LINKS_VALUE: &str = "polyqa_torch_ext";

/// Returns the reason for skipping the packages, if a program is missing.
pub fn missing_requirement(root: &Path) -> Option<String> {
    let peers = root.join(PEERS);
    let missing = PROGRAMS.into_iter().find(|program| !peers.join(program).exists())?;
    Some(format!("{PEERS}/{missing} is missing (`cargo xtask peers`)"))
}

/// Checks, builds and tests the packages.
pub fn check_wheels(root: &Path) -> Result<()> {
    if let Some(reason) = missing_requirement(root) {
        bail!("{reason}");
    }
    ensure_libtorch(root, Options::default())?;
    let target = target_folder()?;
    WHEELS.iter().try_for_each(|wheel| wheel.check(root, &target))
}

impl Wheel {
    /// Checks the package with rustfmt and clippy, builds its wheel and the programs that its tests
    /// start, and runs the tests.
    fn check(&self, root: &Path, target: &Path) -> Result<()> {
        let wheels = target.join("wheels");
        files::create_empty_folder(&wheels)?;
        let mut format = self.with_environment(cargo(root), root, target);
        format.args(["fmt", "--check"]);
        let mut clippy = self.with_environment(cargo(root), root, target);
        // `--locked`: a release is built with the committed lock files.
        clippy.args(["clippy", "--quiet", "--locked", "--features", self.features]);
        clippy.args(["--", "-D", "warnings"]);
        run_checked(&mut format)?;
        run_checked(&mut clippy)?;
        let mut programs = cargo(root);
        programs.args(self.programs).args(["--quiet", "--message-format=json-render-diagnostics"]);
        programs.arg("--target-dir").arg(target);
        let built = programs.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
        if !built.status.success() {
            return Err(Failed(1).into());
        }
        let python = root.join(PEERS).join("bin/python");
        let mut build = command(root.join(PEERS).join("bin/maturin"), root);
        // The wheel is unoptimised like the tests, and is built for this machine only.
        build.args(["build", "--quiet", "--profile", "dev", "--compatibility", "linux", "--out"]);
        build.arg(&wheels).arg("--interpreter").arg(&python).env(NO_BACKEND_WARNING, "1");
        if let Some(settings) = link_settings(&String::from_utf8_lossy(&built.stdout)) {
            let host = host_triple(root)?;
            for setting in settings {
                build.args(["--config", &format!("target.{host}.{LINKS_VALUE}.{setting}")]);
            }
        }
        run_checked(&mut self.with_environment(build, root, target))?;
        self.test(root, target, &wheels)
    }

    /// Installs the wheel and runs pytest with it.
    fn test(&self, root: &Path, target: &Path, wheels: &Path) -> Result<()> {
        let wheel_files = files::entries(wheels)?;
        let [wheel] = wheel_files.as_slice() else {
            bail!("{}: expected one wheel, found {}", wheels.display(), wheel_files.len())
        };
        let installed = target.join("wheel-installed");
        files::create_empty_folder(&installed)?;
        let python = root.join(PEERS).join("bin/python");
        let mut pip = command(&python, root);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
        run_checked(pip.args(["--no-deps", "--target"]).arg(&installed).arg(wheel))?;
        let mut pytest = self.with_environment(command(&python, root), root, target);
        // These options prevent pytest from writing to the source folders.
        pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
        pytest.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", &installed);
        run_checked(pytest.env("POLYQA_PROGRAMS", target.join("debug")))
    }

    /// Sets the package's folder and this workspace's target folder for a command.
    fn with_environment(&self, mut command: Command, root: &Path, target: &Path) -> Command {
        command.current_dir(root.join(self.folder)).env("CARGO_TARGET_DIR", target);
        command
    }
}

/// Returns two settings `KEY=VALUE` of cargo's configuration, with which the package's workspace
/// links the C++ code of torch-ext that this workspace compiled. `messages` is the JSON output of
/// this workspace's build. Returns `None` if the build does not include torch-ext.
fn link_settings(messages: &str) -> Option<[String; 2]> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let build_scripts = messages.filter(|message| message["reason"] == "build-script-executed");
    let (libs, paths) = build_scripts
        .map(|message| (message["linked_libs"].to_string(), message["linked_paths"].to_string()))
        .find(|(libs, _)| libs.contains(LINKS_VALUE))?;
    Some([format!("rustc-link-lib={libs}"), format!("rustc-link-search={paths}")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn missing_programs_are_reported() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(PEERS).join("bin");
        fs::create_dir_all(&folder).unwrap();
        for program in ["python", "pytest"] {
            fs::write(folder.join(program), "").unwrap();
        }
        let reason = missing_requirement(root.path()).unwrap();
        assert_eq!(reason, ".peers/bin/maturin is missing (`cargo xtask peers`)");
        assert_eq!(check_wheels(root.path()).unwrap_err().to_string(), reason);
        fs::write(folder.join("maturin"), "").unwrap();
        assert_eq!(missing_requirement(root.path()), None);
    }

    #[test]
    fn link_settings_are_read_from_build_messages() {
        let message = |libs: &str| {
            format!(
                "{{\"reason\":\"build-script-executed\",\"linked_libs\":[{libs}],\
                 \"linked_paths\":[\"native=/o\"]}}\n"
            )
        };
        let text =
            format!("no JSON\n{}{}", message("\"c10\""), message("\"static=polyqa_torch_ext\""));
        let [libs, paths] = link_settings(&text).unwrap();
        assert_eq!(libs, "rustc-link-lib=[\"static=polyqa_torch_ext\"]");
        assert_eq!(paths, "rustc-link-search=[\"native=/o\"]");
        assert_eq!(link_settings(&message("\"c10\"")), None);
    }
}
