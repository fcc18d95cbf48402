//! `cargo xtask setup`: provides the pinned libtorch in `.libtorch/torch/{lib,include}`.
//!
//! Sources, in this order: the existing folder, the user's LIBTORCH, python3's torch, the pinned
//! wheels. For an existing installation, symbolic links point to its folders, not to single files,
//! because libtorch's libraries in a wheel load the NVIDIA libraries by a relative path.
use crate::files;
use crate::libtorch::{Libtorch, Problem, Set, VERSION, inspect, installed_version};
use crate::process::{cargo, read_stdout, require_cxx, run, target_folder, user_libtorch};
use crate::progress::format_bytes;
use crate::wheels::{CACHE, clear_cache, helper, provision};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of the installed libtorch, under the workspace root.
pub const FOLDER: &str = ".libtorch";

/// Options of `cargo xtask setup`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Require libraries that run on an NVIDIA GPU.
    pub cuda: bool,
    /// Replace the folder even if it is valid or contains another version.
    pub force: bool,
}

/// Source of the installed libtorch.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    /// The folder existed.
    Existing,
    /// Linked to the user's LIBTORCH.
    Variable,
    /// Linked to python3's torch.
    Python,
    /// Downloaded.
    Wheels,
}

/// Installs the pinned libtorch for builds; prints nothing if it is already installed.
pub fn ensure_libtorch(root: &Path, options: Options) -> Result<(Libtorch, Origin)> {
    require_cxx(root)?;
    let user = user_libtorch(root).map(|folder| check_variable(&folder, options)).transpose()?;
    let torch = root.join(FOLDER).join("torch");
    let origin = match existing_libtorch(&torch, options)? {
        Some(libtorch) => {
            remove_outdated_builds(root, &libtorch, user.is_some());
            return Ok((libtorch, Origin::Existing));
        }
        None => install(root, options, user)?,
    };
    let libtorch = match inspect(&torch) {
        Ok(libtorch) => libtorch,
        Err(problem) => bail!("setup failed: {problem}"),
    };
    remove_outdated_builds(root, &libtorch, user_libtorch(root).is_some());
    Ok((libtorch, origin))
}

/// Returns the libtorch in the existing folder; `None` if the folder must be created.
fn existing_libtorch(torch: &Path, options: Options) -> Result<Option<Libtorch>> {
    if options.force {
        return Ok(None);
    }
    match inspect(torch) {
        Ok(libtorch) if options.cuda && !libtorch.cuda => Ok(None),
        Ok(libtorch) => Ok(Some(libtorch)),
        Err(Problem::Missing(_) | Problem::Incomplete(_)) => Ok(None),
        Err(problem @ Problem::Version { .. }) => {
            bail!("{problem}. `cargo xtask setup --force` replaces {FOLDER}")
        }
    }
}

/// Checks the user's LIBTORCH, which overrides `.libtorch` in every build.
fn check_variable(folder: &Path, options: Options) -> Result<Libtorch> {
    match inspect(folder) {
        Ok(libtorch) if options.cuda && !libtorch.cuda => bail!(
            "LIBTORCH = {} is a CPU build: unset LIBTORCH, or set it to a CUDA build of libtorch \
             {VERSION}, and run `cargo xtask setup --cuda` again",
            folder.display()
        ),
        Ok(libtorch) => Ok(libtorch),
        Err(problem) => bail!(
            "LIBTORCH is set, but {problem}. Unset LIBTORCH, or set it to a folder with `lib` and \
             `include` of libtorch {VERSION}"
        ),
    }
}

/// Creates `.libtorch` from the user's LIBTORCH, python3's torch or the pinned wheels.
fn install(root: &Path, options: Options, user: Option<Libtorch>) -> Result<Origin> {
    if let Some(user) = user {
        eprintln!("linking {FOLDER} to LIBTORCH = {}", user.root.display());
        link(root, &user)?;
        return Ok(Origin::Variable);
    }
    if let Some(libtorch) = python_torch(root, options) {
        eprintln!("linking {FOLDER} to python3's torch at {}", libtorch.root.display());
        link(root, &libtorch)?;
        return Ok(Origin::Python);
    }
    let folder = provision(root, if options.cuda { Set::Cuda } else { Set::Cpu })?;
    if let Err(problem) = inspect(&folder.join("torch")) {
        bail!("unpacked the wheels, but {problem}. Remove {CACHE} and run `cargo xtask setup`");
    }
    replace_folder(root, &folder)?;
    let freed = clear_cache(root)?;
    eprintln!("removed the downloaded wheels ({})", format_bytes(freed));
    Ok(Origin::Wheels)
}

/// Returns the folder of the torch that python3 imports, of any version.
pub fn python_torch_folder(root: &Path) -> Option<PathBuf> {
    let folder = read_stdout(&mut helper(root, ["torch"]))?;
    (!folder.is_empty()).then(|| PathBuf::from(folder))
}

/// Returns python3's torch if it is suitable; otherwise prints the reason.
fn python_torch(root: &Path, options: Options) -> Option<Libtorch> {
    let folder = python_torch_folder(root)?;
    match inspect(&folder) {
        Ok(libtorch) if options.cuda && !libtorch.cuda => {
            eprintln!("python3 has torch {}, a CPU build: not used for --cuda", libtorch.version);
            None
        }
        Ok(libtorch) => Some(libtorch),
        Err(_) => {
            let version = installed_version(&folder).unwrap_or_else(|| "of unknown version".into());
            eprintln!(
                "python3 has torch {version} at {}: not a complete {VERSION}, not used",
                folder.display()
            );
            None
        }
    }
}

/// Creates `.libtorch` as a folder of links: to `torch`, and to the folder `nvidia` next to `torch`
/// in site-packages.
fn link(root: &Path, libtorch: &Libtorch) -> Result<()> {
    let folder = root.join(CACHE).join("links");
    files::create_empty_folder(&folder)?; // an interrupted run leaves links
    symlink(&libtorch.root, &folder.join("torch"))?;
    if let Some(nvidia) =
        libtorch.root.parent().map(|site| site.join("nvidia")).filter(|n| n.is_dir())
    {
        symlink(&nvidia, &folder.join("nvidia"))?;
    }
    replace_folder(root, &folder)?;
    // `remove_dir` removes only an empty folder, so an interrupted download is not lost.
    let _ = fs::remove_dir(root.join(CACHE));
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link)
        .with_context(|| format!("cannot link {}", link.display()))
}

#[cfg(not(unix))]
fn symlink(target: &Path, _link: &Path) -> Result<()> {
    bail!(
        "this system does not support links to folders: set LIBTORCH to {} for every build",
        target.display()
    )
}

/// Moves a complete folder to `.libtorch`; the previous folder is renamed first, and removed last.
fn replace_folder(root: &Path, folder: &Path) -> Result<()> {
    let target = root.join(FOLDER);
    let previous = root.join(CACHE).join("previous");
    files::remove_folder(&previous)?;
    match fs::symlink_metadata(&target) {
        Ok(data) if data.is_dir() => fs::rename(&target, &previous),
        Ok(_) => fs::remove_file(&target), // a link, whose target is not removed
        Err(_) => Ok(()),
    }
    .with_context(|| format!("cannot replace {}", target.display()))?;
    fs::rename(folder, &target).with_context(|| format!("cannot create {}", target.display()))?;
    files::remove_folder(&previous)
}

/// The libtorch that the builds in a target folder used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    libtorch: PathBuf,
    version: String,
    cuda: bool,
    /// Size of libtorch_cpu in bytes, which distinguishes builds of one version.
    size: u64,
}

impl Stamp {
    fn of(libtorch: &Libtorch) -> Self {
        let library = format!("lib/libtorch_cpu{}", std::env::consts::DLL_SUFFIX);
        // Without the library, the size differs from the size of every libtorch.
        let size = fs::metadata(libtorch.root.join(library)).map_or(0, |data| data.len());
        Self {
            libtorch: libtorch.root.clone(),
            version: libtorch.version.clone(),
            cuda: libtorch.cuda,
            size,
        }
    }

    /// Writes the stamp; returns whether the previous stamp describes another libtorch.
    fn replace(&self, file: &Path) -> Result<bool> {
        // A missing or damaged stamp is no stamp of this libtorch.
        let text = fs::read_to_string(file).ok();
        let previous: Option<Self> = text.and_then(|text| serde_json::from_str(&text).ok());
        if previous.as_ref() == Some(self) {
            return Ok(false);
        }
        let new_file = file.with_extension("new");
        fs::write(&new_file, serde_json::to_string_pretty(self)?)
            .and_then(|()| fs::rename(&new_file, file))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(previous.is_some())
    }
}

/// Removes builds that used another libtorch, unless `is_overridden`. Cargo detects a changed path
/// in LIBTORCH, but not a changed target of a link.
fn remove_outdated_builds(root: &Path, libtorch: &Libtorch, is_overridden: bool) {
    if is_overridden {
        return; // the builds use the user's LIBTORCH, which cargo tracks
    }
    let is_changed = target_folder()
        .and_then(|target| Stamp::of(libtorch).replace(&target.join("libtorch-stamp.json")));
    match is_changed {
        Ok(false) => {}
        Ok(true) => {
            eprintln!("{FOLDER} links to a different libtorch than before: rebuilding torch-sys");
            for profile in ["dev", "release"] {
                let mut clean = cargo(root);
                clean.args(["clean", "--quiet", "--profile", profile]);
                clean.args(["--package", "torch-sys", "--package", "torch-ext"]);
                if !run(&mut clean).is_ok_and(|code| code == 0) {
                    eprintln!(
                        "warning: cleaning failed; run `cargo clean -p torch-sys -p torch-ext`"
                    );
                }
            }
        }
        Err(error) => eprintln!("warning: {error:#}"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::libtorch::tests::fake_torch;

    #[test]
    fn valid_folders_are_used_and_other_versions_require_force() {
        let root = tempfile::tempdir().unwrap();
        let site = root.path().join(FOLDER);
        let torch = site.join("torch");
        let defaults = Options::default();
        assert_eq!(existing_libtorch(&torch, defaults).unwrap(), None);
        fake_torch(&site, "2.11.0");
        assert!(existing_libtorch(&torch, defaults).unwrap().is_some());
        assert_eq!(existing_libtorch(&torch, Options { force: true, ..defaults }).unwrap(), None);
        assert_eq!(existing_libtorch(&torch, Options { cuda: true, ..defaults }).unwrap(), None);
        fake_torch(&site, "2.10.0");
        let error = existing_libtorch(&torch, defaults).unwrap_err().to_string();
        assert!(error.contains("2.10.0") && error.contains("setup --force"), "{error}");
    }

    #[test]
    fn links_point_to_folders_and_can_be_replaced() {
        let root = tempfile::tempdir().unwrap();
        let site = tempfile::tempdir().unwrap();
        let first = inspect(&fake_torch(site.path(), "2.11.0+cpu")).unwrap();
        fs::create_dir(site.path().join("nvidia")).unwrap();
        link(root.path(), &first).unwrap();
        let folder = root.path().join(FOLDER);
        assert!(fs::symlink_metadata(folder.join("torch")).unwrap().is_symlink());
        assert!(fs::symlink_metadata(folder.join("nvidia")).unwrap().is_symlink());
        assert_eq!(inspect(&folder.join("torch")).unwrap(), first);
        assert!(!root.path().join(CACHE).exists());

        // Links another libtorch, replacing a link that the user created.
        fs::remove_dir_all(&folder).unwrap();
        symlink(site.path(), &folder).unwrap();
        let other = tempfile::tempdir().unwrap();
        let second = inspect(&fake_torch(other.path(), "2.11.0")).unwrap();
        link(root.path(), &second).unwrap();
        assert_eq!(inspect(&folder.join("torch")).unwrap(), second);
        assert!(first.root.join("lib").is_dir(), "the previous target must not be removed");
    }

    #[test]
    fn a_folder_is_replaced_completely() {
        let root = tempfile::tempdir().unwrap();
        fake_torch(&root.path().join(FOLDER), "2.10.0");
        fs::write(root.path().join(FOLDER).join("old"), "").unwrap();
        let unpacked = root.path().join(CACHE).join("unpacked");
        fake_torch(&unpacked, "2.11.0");
        replace_folder(root.path(), &unpacked).unwrap();
        let folder = root.path().join(FOLDER);
        assert!(inspect(&folder.join("torch")).is_ok() && !folder.join("old").exists());
        assert_eq!(root.path().join(CACHE).read_dir().unwrap().count(), 0);
    }

    #[test]
    fn the_stamp_detects_another_libtorch() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stamp.json");
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        let one = Stamp::of(&inspect(&fake_torch(&one, "2.11.0")).unwrap());
        let two = Stamp::of(&inspect(&fake_torch(&two, "2.11.0")).unwrap());
        assert!(!one.replace(&file).unwrap(), "there is no stamp of earlier builds");
        assert!(!one.replace(&file).unwrap());
        assert!(two.replace(&file).unwrap());
        assert!(!two.replace(&file).unwrap());
        let cuda = Stamp { cuda: true, ..two.clone() };
        assert!(cuda.replace(&file).unwrap());
        fs::write(&file, "{ half").unwrap();
        assert!(!two.replace(&file).unwrap());
        assert_eq!(
            serde_json::from_str::<Stamp>(&fs::read_to_string(&file).unwrap()).unwrap(),
            two
        );
    }

    #[test]
    fn a_wrong_variable_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let defaults = Options::default();
        let missing_folder =
            check_variable(&folder.path().join("no"), defaults).unwrap_err().to_string();
        assert!(
            missing_folder.contains("does not exist") && missing_folder.contains("Unset LIBTORCH"),
            "{missing_folder}"
        );
        let torch = fake_torch(folder.path(), "2.9.0");
        let wrong_version = check_variable(&torch, defaults).unwrap_err().to_string();
        assert!(wrong_version.contains("libtorch 2.9.0, expected 2.11.0"), "{wrong_version}");
        fake_torch(folder.path(), "2.11.0+cpu");
        assert!(check_variable(&torch, defaults).is_ok());
        let cpu = check_variable(&torch, Options { cuda: true, ..defaults }).unwrap_err();
        assert!(cpu.to_string().contains("is a CPU build"), "{cpu}");
    }
}
