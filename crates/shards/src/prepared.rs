//! Atomically written folders of prepared examples, with a manifest.
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::fingerprint::to_hex;
use crate::{Error, Result};

/// File name of the manifest.
const MANIFEST: &str = "manifest.json";
/// Error of a file that is in a prepared folder but not in its manifest.
pub(crate) const NOT_LISTED: &str = "not listed in manifest.json; move it out of the folder";

/// Prefix of the names of all manifest formats.
const FORMAT_PREFIX: &str = "polyqa-prepared/";
/// Name of the current manifest format.
const FORMAT: &str = "polyqa-prepared/1";

/// Maximum size of a manifest in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// Size and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 as hexadecimal digits.
    pub sha256: String,
}

impl FileDigest {
    /// Computes the digest of a file.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let mut hash = Sha256::new();
        let bytes = atomic_file::fs::open(path)?.read_into(&mut hash)?;
        Ok(Self { bytes, sha256: to_hex(&hash.finalize()) })
    }

    /// Checks that the file `path` has this size and hash.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read or has changed.
    pub fn check(&self, path: &Path) -> Result<()> {
        let current = Self::of(path)?;
        if current == *self {
            return Ok(());
        }
        let reason = format!(
            "changed since it was prepared: SHA-256 {}, expected {}; prepare the folder again",
            current.sha256, self.sha256
        );
        Err(Error::file(path, reason))
    }
}

/// Information that a command provides for the manifest of a prepared folder.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// The command, such as `kg-triples mentions`.
    pub program: &'static str,
    /// The arguments of the command.
    pub arguments: Vec<String>,
    /// The input files that were read. Other paths, such as that of a pipe, are omitted from the
    /// manifest.
    pub inputs: Vec<PathBuf>,
    /// The random seed, if random numbers were drawn.
    pub seed: Option<u64>,
    /// Counts of the written data, such as `{"rows": 2}`.
    pub counts: serde_json::Value,
}

/// Origin and contents of a prepared folder, stored in `manifest.json`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    /// The command that prepared the folder.
    pub program: String,
    /// The arguments of the command.
    pub arguments: Vec<String>,
    /// The polyqa version that prepared the folder.
    pub version: String,
    /// The random seed, if random numbers were drawn.
    pub seed: Option<u64>,
    /// Counts of the written data, such as `{"rows": 2}`.
    pub counts: serde_json::Value,
    /// The input files by path.
    pub inputs: BTreeMap<PathBuf, FileDigest>,
    /// The files of the folder by relative path.
    pub files: BTreeMap<String, FileDigest>,
}

impl Manifest {
    /// Reads the manifest of a folder; `None` if the folder is not a prepared folder.
    ///
    /// # Errors
    /// [`Error::File`] if the manifest cannot be read, is damaged, or has an unsupported format.
    pub fn read(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = folder.as_ref().join(MANIFEST);
        if !path.is_file() {
            return Ok(None);
        }
        let file_error = |reason: &dyn std::fmt::Display| Error::file(&path, reason);
        let text = atomic_file::read_limited(&path, MAX_MANIFEST_BYTES)?;
        let value: serde_json::Value = atomic_file::json::from_slice(&path, &text)?;
        match value.get("format").and_then(serde_json::Value::as_str) {
            Some(FORMAT) => serde_json::from_value(value).map(Some).map_err(|e| file_error(&e)),
            Some(other) if other.starts_with(FORMAT_PREFIX) => Err(file_error(&format!(
                "unsupported format {other} (supported: {FORMAT}); prepare the folder again"
            ))),
            _ => Ok(None),
        }
    }

    /// Checks that `folder` has exactly the files of the manifest.
    ///
    /// # Errors
    /// [`Error::File`] naming the first file that is missing, changed or not in the manifest.
    pub fn check(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let mut unlisted = list_files(folder)?;
        for (name, digest) in &self.files {
            let path = folder.join(name);
            if unlisted.remove(name).is_none() {
                return Err(Error::file(path, "missing; prepare the folder again"));
            }
            digest.check(&path)?;
        }
        unlisted.remove(MANIFEST);
        match unlisted.into_values().next() {
            Some(path) => Err(Error::file(path, NOT_LISTED)),
            None => Ok(()),
        }
    }

    /// Returns the files in `subfolder` of `folder`, such as `validation`, and checks that the
    /// files are unchanged.
    ///
    /// # Errors
    /// [`Error::File`] naming the first missing or changed file.
    pub fn files_of(&self, folder: impl AsRef<Path>, subfolder: &str) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for (name, digest) in &self.files {
            if Path::new(name).starts_with(subfolder) {
                let path = folder.as_ref().join(name);
                digest.check(&path)?;
                files.push(path);
            }
        }
        Ok(files)
    }

    /// Returns the path of the first input file that has changed or is missing.
    pub fn find_changed_input(&self) -> Option<&Path> {
        let changed = self.inputs.iter().find(|(path, digest)| digest.check(path).is_err());
        changed.map(|(path, _)| path.as_path())
    }
}

/// A folder of prepared examples that is being written, with a temporary name next to its target.
///
/// If the value is dropped before [`finish`](Self::finish) is called, the folder is removed.
///
/// ```
/// use shards::{Manifest, Preparation, PreparedFolder, Shards};
///
/// let parent = tempfile::tempdir()?;
/// let out = parent.path().join("rows");
/// let folder = PreparedFolder::start(&out)?;
/// std::fs::write(folder.file("train/0.jsonl")?, "[1]\n[2]\n")?;
/// assert!(!out.exists());
/// folder.finish(Preparation {
///     program: "count",
///     arguments: Vec::new(),
///     inputs: Vec::new(),
///     seed: None,
///     counts: serde_json::json!({ "rows": 2 }),
/// })?;
///
/// assert_eq!(Shards::open([&out])?.line_count(), 2); // the lines of `train`
/// let manifest = Manifest::read(&out)?.ok_or("no manifest")?;
/// manifest.check(&out)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PreparedFolder {
    folder: TempDir,
    out: PathBuf,
}

impl PreparedFolder {
    /// Creates the temporary folder for the target `out`. An existing target is unchanged until
    /// [`finish`](Self::finish) replaces it.
    ///
    /// # Errors
    /// [`Error::File`] if `out` is a file or a folder that is neither empty nor prepared, or if the
    /// temporary folder cannot be created.
    pub fn start(out: impl AsRef<Path>) -> Result<Self> {
        let out = atomic_file::fs::absolute(out)?;
        let (Some(name), Some(parent)) = (out.file_name(), out.parent()) else {
            return Err(Error::file(&out, "the path has no folder name"));
        };
        if fs::symlink_metadata(&out).is_ok() {
            let is_empty = atomic_file::fs::read_dir(&out)?.next().is_none();
            // A folder whose manifest is damaged or has an older format may also be replaced.
            if !is_empty && !matches!(Manifest::read(&out), Ok(Some(_)) | Err(_)) {
                let reason = "the folder was not prepared by a command; choose another path";
                return Err(Error::file(&out, reason));
            }
        }
        atomic_file::fs::create_dir_all(parent)?;
        let prefix = format!(".preparing-{}-", name.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // By default, only the owner can access a temporary folder. The umask removes
            // permissions from the mode 0o777, as for other new folders.
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let folder = builder.prefix(&prefix).tempdir_in(parent);
        let folder = folder.map_err(|error| Error::file(&out, error))?;
        Ok(Self { folder, out })
    }

    /// Returns the path of the file `name`, such as `train/0.jsonl.gz`, and creates its folder.
    ///
    /// # Errors
    /// [`Error::File`] if the folder cannot be created.
    pub fn file(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        if let Some(parent) = path.parent() {
            atomic_file::fs::create_dir_all(parent)?;
        }
        Ok(path)
    }

    /// Hashes and syncs the written files, writes the manifest and renames the folder to its
    /// target. A prepared folder with this name is replaced.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be read or written. An error leaves the target unchanged.
    pub fn finish(self, preparation: Preparation) -> Result<Manifest> {
        let folder = self.folder.path();
        let mut files = BTreeMap::new();
        for (name, path) in list_files(folder)? {
            atomic_file::fs::open(&path)?.sync_all()?;
            files.insert(name, FileDigest::of(&path)?);
        }
        let mut inputs = BTreeMap::new();
        // `start` also read the manifest of the folder to replace, but this manifest is not an
        // input.
        let replaced_manifest = self.out.join(MANIFEST);
        let is_input = |path: &PathBuf| path.is_file() && *path != replaced_manifest;
        for path in preparation.inputs.into_iter().filter(is_input) {
            let digest = FileDigest::of(&path)?;
            inputs.insert(relative_to_current_dir(path), digest);
        }
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            program: preparation.program.to_owned(),
            arguments: preparation.arguments,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: preparation.seed,
            counts: preparation.counts,
            inputs,
            files,
        };
        let path = folder.join(MANIFEST);
        let text = atomic_file::json::to_string_pretty(&path, &manifest)?;
        atomic_file::write(&path, text + "\n")?;
        self.publish()?;
        Ok(manifest)
    }

    fn publish(self) -> Result<()> {
        let Self { folder, out } = self;
        match fs::rename(folder.path(), &out) {
            // After the rename, there is no temporary folder to remove.
            Ok(()) => drop(folder.keep()),
            // After the exchange, the replaced folder has the temporary name and is removed on
            // drop.
            Err(error) if matches!(error.kind(), DirectoryNotEmpty | AlreadyExists) => {
                exchange(folder.path(), &out).map_err(|error| Error::file(&out, error))?;
            }
            Err(error) => return Err(Error::file(&out, error)),
        }
        Ok(atomic_file::sync_folder_of(&out)?)
    }
}

/// Exchanges the names of two folders.
///
/// If the file system supports atomic exchanges, both names exist at any time, even if the process
/// is killed.
fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            result => return Ok(result?),
        }
    }
    let mut intermediate = a.as_os_str().to_owned();
    intermediate.push(".replaced");
    fs::rename(b, &intermediate)?;
    fs::rename(a, b).or_else(|error| fs::rename(&intermediate, b).and(Err(error)))?;
    fs::rename(&intermediate, a)
}

/// Returns a path inside the current folder as a path relative to that folder, and any other path
/// unchanged.
fn relative_to_current_dir(path: PathBuf) -> PathBuf {
    // The current folder may have been deleted.
    let Ok(current) = std::env::current_dir() else { return path };
    path.strip_prefix(current).map(Path::to_owned).unwrap_or(path)
}

/// Lists all files in a folder and its subfolders, by relative path with the separator `/`.
fn list_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        for entry in atomic_file::fs::read_dir(&folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push((name + "/", entry.path()));
            } else {
                files.insert(name, entry.path());
            }
        }
    }
    Ok(files)
}
