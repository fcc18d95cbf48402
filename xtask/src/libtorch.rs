//! Pinned version and wheels of libtorch, and the check of an installed libtorch folder.
//!
//! `libtorch/wheels.txt` is the only file that lists libtorch's wheels. `tch` and `torch-sys` in
//! the root `Cargo.toml` must be updated together with [`VERSION`].
use crate::pinned_wheel::Wheel;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The libtorch release required by `tch` and `torch-sys` of the root `Cargo.toml`.
pub const VERSION: &str = "2.11.0";

/// Operating system and architecture of the pinned wheels, as in `std::env::consts`.
pub const WHEEL_PLATFORM: (&str, &str) = ("linux", "x86_64");

/// Upper bound for the unpacked size of the CPU set in bytes (measured: 571 MB).
const CPU_UNPACKED_BYTES: u64 = 600_000_000;
/// Upper bound for the unpacked size of the CUDA set in bytes (measured: 1.1 GB of torch, 2.7 GB of
/// NVIDIA's libraries).
const CUDA_UNPACKED_BYTES: u64 = 4_200_000_000;

/// Sets of libraries to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// The smallest set that builds, links and runs on a CPU.
    Cpu,
    /// All libraries for running libtorch on an NVIDIA GPU.
    Cuda,
}

impl Set {
    /// Returns the wheels of this set, in download order.
    pub fn wheels(self) -> Vec<&'static Wheel> {
        WHEELS.iter().filter(|wheel| self == Set::Cuda || wheel.cpu).collect()
    }

    /// Returns an upper bound for the unpacked size in bytes.
    pub fn unpacked_size(self) -> u64 {
        match self {
            Set::Cpu => CPU_UNPACKED_BYTES,
            Set::Cuda => CUDA_UNPACKED_BYTES,
        }
    }

    /// Returns whether a wheel's member is unpacked. Libraries, headers, the version file and
    /// licences are unpacked. Python code, the Python binding and, for the CPU set, libtorch's CUDA
    /// libraries are skipped.
    pub fn includes(self, member: &str) -> bool {
        if member.ends_with('/') {
            return false;
        }
        if let Some(library) = member.strip_prefix("torch/lib/") {
            let is_cuda_library = library.starts_with("libtorch_cuda")
                || matches!(library, "libtorch_nvshmem.so" | "libc10_cuda.so")
                || library == "libcaffe2_nvrtc.so";
            let is_excluded =
                library == "libtorch_python.so" || library.starts_with("libshm_windows/");
            return !is_excluded && (self == Set::Cuda || !is_cuda_library);
        }
        if let Some((folder, file)) = member.split_once(".dist-info/") {
            let is_licence = file.starts_with("licenses/") || file.starts_with("LICENSE");
            return !folder.contains('/') && (is_licence || file == "METADATA");
        }
        member == "torch/version.py"
            || member.starts_with("torch/include/")
            || member.starts_with("nvidia/")
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Set::Cpu => "CPU",
            Set::Cuda => "CUDA",
        })
    }
}

/// The pinned wheels, one per line: name, version, tags, bytes, SHA-256, and `cpu` for wheels of
/// the CPU set.
const WHEEL_TABLE: &str = include_str!("libtorch/wheels.txt");

/// The wheels of torch and of the packages whose libraries torch loads, in the versions that
/// torch's metadata requires. Pure Python packages (sympy, …) and triton are excluded.
static WHEELS: LazyLock<Vec<Wheel>> =
    LazyLock::new(|| WHEEL_TABLE.lines().map(parse_wheel).collect());

/// Parses a line of [`WHEEL_TABLE`].
fn parse_wheel(line: &'static str) -> Wheel {
    let cells: Vec<&str> = line.split_whitespace().collect();
    let [name, version, tags, size, sha256, ref set @ ..] = cells[..] else {
        panic!("wheels.txt: expected five cells or six, found {line:?}")
    };
    let size = size.parse().expect("wheels.txt: the fourth cell is a size in bytes");
    Wheel { name, version, tags, size, sha256, cpu: set == ["cpu"] }
}

/// A folder with `lib` and `include` of the pinned libtorch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libtorch {
    /// The folder, with links resolved.
    pub root: PathBuf,
    /// The version stored in the folder, for example `2.11.0+cu130`.
    pub version: String,
    /// Whether the CUDA libraries and their dependencies exist.
    pub cuda: bool,
}

/// Reasons why a folder is not the pinned libtorch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The path does not exist.
    Missing(PathBuf),
    /// A required file or folder is missing.
    Incomplete(PathBuf),
    /// The folder contains another version than [`VERSION`], or an unknown version.
    Version {
        /// The folder.
        root: PathBuf,
        /// The version in the folder; `None` if no file contains a version.
        found: Option<String>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Missing(path) => write!(f, "{} does not exist", path.display()),
            Problem::Incomplete(path) => {
                write!(f, "not a complete libtorch: {} is missing", path.display())
            }
            Problem::Version { root, found: Some(found) } => {
                write!(f, "{} contains libtorch {found}, expected {VERSION}", root.display())
            }
            Problem::Version { root, found: None } => write!(
                f,
                "{} has no version (neither build-version nor version.py), expected {VERSION}",
                root.display()
            ),
        }
    }
}

/// Checks that `root` has libraries, headers and the pinned version.
pub fn inspect(root: &Path) -> Result<Libtorch, Problem> {
    let resolved = root.canonicalize().map_err(|_| Problem::Missing(root.to_path_buf()))?;
    let suffix = std::env::consts::DLL_SUFFIX;
    for file in [
        format!("lib/libtorch_cpu{suffix}"),
        format!("lib/libc10{suffix}"),
        "include/ATen/ATen.h".to_owned(),
        "include/torch/csrc/api/include/torch/torch.h".to_owned(),
    ] {
        if !root.join(&file).is_file() {
            return Err(Problem::Incomplete(root.join(file)));
        }
    }
    let version = installed_version(root);
    match version {
        Some(version) if is_pinned(&version) => {
            Ok(Libtorch { cuda: has_cuda(&resolved), root: resolved, version })
        }
        found => Err(Problem::Version { root: root.to_path_buf(), found }),
    }
}

/// Returns the version of the libtorch in a folder. Zip archives of libtorch contain the version in
/// `build-version`, wheels in `version.py`.
pub fn installed_version(root: &Path) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    parse_version_py(&std::fs::read_to_string(root.join("version.py")).ok()?)
}

/// Parses the quoted value of `__version__ = …` in torch/version.py.
fn parse_version_py(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        // Some builds write `__version__: str = '…'`.
        if name.split(':').next()?.trim() != "__version__" {
            return None;
        }
        let value = value.trim();
        let quote = value.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let inner = value.get(1..)?;
        Some(inner.get(..inner.find(quote)?)?.to_owned())
    })
}

/// Returns whether a version is the pinned release, with any local part (`+cpu`, `+cu130`).
fn is_pinned(version: &str) -> bool {
    version.split('+').next() == Some(VERSION)
}

/// Returns whether libtorch_cuda and cuBLAS exist; libtorch_cuda links to cuBLAS. In zip archives
/// of libtorch, cuBLAS is in the folder of libtorch_cuda. In wheels, cuBLAS is in the folder
/// `nvidia` next to `root`.
fn has_cuda(root: &Path) -> bool {
    let lib = root.join("lib");
    if !lib.join("libtorch_cuda.so").is_file() {
        return false;
    }
    let mut folders = vec![lib];
    if let Some(entries) = root.parent().and_then(|site| site.join("nvidia").read_dir().ok()) {
        folders.extend(entries.flatten().map(|entry| entry.path().join("lib")));
    }
    folders.iter().any(|folder| {
        folder.read_dir().is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| {
                    entry.file_name().to_string_lossy().starts_with("libcublas.so")
                })
            })
        })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    /// Creates a folder at `site` that imitates the wheel's `torch`, with the given version.
    pub(crate) fn fake_torch(site: &Path, version: &str) -> PathBuf {
        let root = site.join("torch");
        let suffix = std::env::consts::DLL_SUFFIX;
        for file in [
            format!("lib/libtorch_cpu{suffix}"),
            format!("lib/libc10{suffix}"),
            "include/ATen/ATen.h".to_owned(),
            "include/torch/csrc/api/include/torch/torch.h".to_owned(),
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let text = format!("__all__ = ['__version__']\n__version__ = '{version}'\ndebug = False\n");
        fs::write(root.join("version.py"), text).unwrap();
        root
    }

    #[test]
    fn complete_folders_are_recognised() {
        let site = tempfile::tempdir().unwrap();
        let root = site.path().join("torch");
        assert_eq!(inspect(&root), Err(Problem::Missing(root.clone())));
        fake_torch(site.path(), "2.11.0+cu130");
        let found = inspect(&root).unwrap();
        assert_eq!((found.version.as_str(), found.cuda), ("2.11.0+cu130", false));

        fake_torch(site.path(), "2.9.1");
        let error = inspect(&root).unwrap_err();
        assert!(error.to_string().ends_with("contains libtorch 2.9.1, expected 2.11.0"), "{error}");

        // `build-version` takes precedence over `version.py`.
        fs::write(root.join("build-version"), "2.11.0+cpu\n").unwrap();
        assert_eq!(inspect(&root).unwrap().version, "2.11.0+cpu");
        fs::remove_file(root.join("include/ATen/ATen.h")).unwrap();
        assert_eq!(inspect(&root), Err(Problem::Incomplete(root.join("include/ATen/ATen.h"))));
    }

    #[test]
    fn cuda_requires_cublas() {
        let site = tempfile::tempdir().unwrap();
        let root = fake_torch(site.path(), VERSION);
        fs::write(root.join("lib/libtorch_cuda.so"), "x").unwrap();
        assert!(!inspect(&root).unwrap().cuda, "libtorch_cuda.so without cuBLAS");
        let lib = site.path().join("nvidia/cu13/lib");
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("libcublas.so.13"), "x").unwrap();
        assert!(inspect(&root).unwrap().cuda);
    }

    #[test]
    fn members_are_selected_by_set() {
        let in_both_sets = [
            "torch/lib/libtorch_cpu.so",
            "torch/lib/libgomp.so.1",
            "torch/include/ATen/ATen.h",
            "torch/version.py",
            "torch-2.11.0.dist-info/licenses/LICENSE",
            "torch-2.11.0.dist-info/METADATA",
            "nvidia/cu13/lib/libcudart.so.13",
        ];
        let cuda_only = [
            "torch/lib/libtorch_cuda.so",
            "torch/lib/libtorch_cuda_linalg.so",
            "torch/lib/libtorch_nvshmem.so",
            "torch/lib/libc10_cuda.so",
            "torch/lib/libcaffe2_nvrtc.so",
        ];
        let skipped = [
            "torch/lib/libtorch_python.so",
            "torch/lib/",
            "torch/__init__.py",
            "torch/testing/lib/x.so",
            "torchgen/gen.py",
            "functorch/__init__.py",
            "torch-2.11.0.dist-info/RECORD",
            "torch-2.11.0.data/scripts/torchrun",
        ];
        for (members, in_cpu, in_cuda) in
            [(&in_both_sets[..], true, true), (&cuda_only, false, true), (&skipped, false, false)]
        {
            for member in members {
                let included = (Set::Cpu.includes(member), Set::Cuda.includes(member));
                assert_eq!(included, (in_cpu, in_cuda), "{member}");
            }
        }
    }
}
