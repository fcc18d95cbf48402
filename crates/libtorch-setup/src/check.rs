//! The check of the environment, which the build script of this crate runs.
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The version of libtorch that `tch` and `torch-sys` require.
pub const VERSION: &str = "2.11.0";

/// The variables that the check reads.
pub const VARIABLES: [&str; 7] = [
    "LIBTORCH",
    "LIBTORCH_LIB",
    "LIBTORCH_INCLUDE",
    "LIBTORCH_USE_PYTORCH",
    "LIBTORCH_STATIC",
    "LIBTORCH_BYPASS_VERSION_CHECK",
    "POLYQA_SKIP_LIBTORCH_CHECK",
];

/// Advice in addition to the problem, one line per item.
pub const ADVICE: [&str; 3] = [
    "set LIBTORCH to a folder with `lib` and `include` of libtorch 2.11.0, such as .libtorch/torch of a checkout of polyqa \
     after `cargo xtask setup`",
    "or to the folder of the Python package torch==2.11.0: \
     export LIBTORCH=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')",
    "a package with programs also needs a build.rs, so that they find libtorch when they start; all lines: \
     https://github.com/polyqa/polyqa/blob/main/docs/guides/use-one-crate.md",
];

/// Returns the reason why `torch-sys` would not find libtorch or not compile; `variable` returns the
/// values of environment variables, and `system` is libtorch's path in the system's folders.
pub fn problem(variable: &dyn Fn(&str) -> Option<OsString>, system: &Path) -> Option<String> {
    let is_set = |name| variable(name).is_some();
    if is_set("POLYQA_SKIP_LIBTORCH_CHECK") || is_set("LIBTORCH_USE_PYTORCH") {
        return None;
    }
    let Some(root) = variable("LIBTORCH").map(PathBuf::from) else {
        return (!system.exists()).then(|| "LIBTORCH is not set".to_owned());
    };
    if root.as_os_str().is_empty() {
        return Some("LIBTORCH is empty".to_owned());
    }
    if root.is_relative() {
        return Some(format!("LIBTORCH = {} is not an absolute path", root.display()));
    }
    let folder = |name| variable(name).map_or_else(|| root.clone(), PathBuf::from);
    let (lib, include) = (folder("LIBTORCH_LIB"), folder("LIBTORCH_INCLUDE"));
    let library = format!("lib/libtorch_cpu{}", std::env::consts::DLL_SUFFIX);
    let required =
        [(lib, library.as_str()), (include, "include/torch/csrc/api/include/torch/torch.h")];
    if !root.is_dir() {
        return Some(format!("LIBTORCH = {} does not exist", root.display()));
    }
    for (folder, file) in required {
        // A static library has another name.
        if !folder.join(file).exists() && !is_set("LIBTORCH_STATIC") {
            return Some(format!(
                "LIBTORCH = {} is no libtorch: {file} is missing",
                folder.display()
            ));
        }
    }
    match installed_version(&root) {
        Some(found) if found.split('+').next() != Some(VERSION) => {
            (!is_set("LIBTORCH_BYPASS_VERSION_CHECK")).then(|| {
                format!("LIBTORCH = {} is libtorch {found}, expected {VERSION}", root.display())
            })
        }
        // A build of libtorch need not contain its version.
        _ => None,
    }
}

/// Returns the version in `build-version` (zip archives of libtorch) or `version.py` (wheels).
fn installed_version(root: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(root.join("version.py")).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let is_version = name.split(':').next()?.trim() == "__version__";
        is_version.then(|| value.trim().trim_matches(['\'', '"']).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the problem of an environment.
    fn problem_of(variables: &[(&str, &Path)]) -> Option<String> {
        let value = |name: &str| {
            let pair = variables.iter().find(|(other, _)| *other == name);
            pair.map(|(_, value)| value.as_os_str().to_owned())
        };
        problem(&value, Path::new("/nowhere/libtorch.so"))
    }

    #[test]
    fn libtorch_must_be_complete_and_of_the_required_version() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("torch");
        let check = || problem_of(&[("LIBTORCH", &root)]);
        let message = |text: &str| Some(format!("LIBTORCH = {}{text}", root.display()));
        assert_eq!(check(), message(" does not exist"));
        let library = format!("lib/libtorch_cpu{}", std::env::consts::DLL_SUFFIX);
        for file in [&*library, "include/torch/csrc/api/include/torch/torch.h"] {
            fs::create_dir_all(root.join("lib")).unwrap();
            assert_eq!(check(), message(&format!(" is no libtorch: {file} is missing")));
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        assert_eq!(check(), None, "a build without a version");
        fs::write(root.join("version.py"), "__version__ = '2.11.0+cu130'\ndebug = False\n")
            .unwrap();
        assert_eq!(check(), None);
        fs::write(root.join("version.py"), "__version__: str = '2.15.0'\n").unwrap();
        assert_eq!(check(), message(" is libtorch 2.15.0, expected 2.11.0"));
        let bypass = ("LIBTORCH_BYPASS_VERSION_CHECK", Path::new("1"));
        assert_eq!(problem_of(&[("LIBTORCH", &root), bypass]), None);
        fs::write(root.join("build-version"), "2.11.0+cpu\n").unwrap();
        assert_eq!(check(), None, "build-version takes precedence");
    }

    #[test]
    fn the_variable_must_be_set_unless_there_is_another_libtorch() {
        assert_eq!(problem_of(&[]).as_deref(), Some("LIBTORCH is not set"));
        assert_eq!(
            problem_of(&[("LIBTORCH", Path::new(""))]).as_deref(),
            Some("LIBTORCH is empty")
        );
        let relative = problem_of(&[("LIBTORCH", Path::new("x/torch"))]);
        assert_eq!(relative.as_deref(), Some("LIBTORCH = x/torch is not an absolute path"));
        for name in ["LIBTORCH_USE_PYTORCH", "POLYQA_SKIP_LIBTORCH_CHECK"] {
            assert_eq!(problem_of(&[(name, Path::new("1"))]), None);
        }
        assert_eq!(problem(&|_| None, Path::new("/")), None, "libtorch of the system");
    }

    #[test]
    fn every_variable_is_declared() {
        let source = include_str!("check.rs");
        for name in VARIABLES {
            assert!(source.matches(&format!("\"{name}\"")).count() > 1, "{name} is not read");
        }
        assert!(ADVICE[0].contains(VERSION) && ADVICE[1].contains(VERSION));
    }
}
