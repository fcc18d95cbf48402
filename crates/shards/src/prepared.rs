//! Folders of examples that a command prepares: whole or not at all, with a manifest.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{Error, Result};

/// The manifest's name in its folder.
const MANIFEST: &str = "manifest.json";

/// What every format of a manifest begins with, and this one.
const FORMATS: &str = "polyqa-prepared/";
const FORMAT: &str = "polyqa-prepared/1";

/// Bytes of the longest manifest that is read.
const LONGEST: u64 = 64 << 20;

/// A file as it was written or read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

impl FileDigest {
    /// Reads a file once.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let refuse = |error: std::io::Error| Error::file(path, error);
        let mut file = File::open(path).map_err(refuse)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0u8; 1 << 18];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut buffer).map_err(refuse)?;
            match buffer.get(..count) {
                Some(read) if count > 0 => hash.update(read),
                _ => break,
            }
            bytes += count as u64;
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes, sha256 })
    }
}

/// What a command says of the folder that it prepared.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// The command, such as `kg-triples mentions`.
    pub program: &'static str,
    /// The seed of all draws, where there are some.
    pub seed: Option<u64>,
    /// What it wrote, in numbers.
    pub counts: serde_json::Value,
}

/// `manifest.json`: how a prepared folder was made, and what it holds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    /// The command.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The version of the package.
    pub version: String,
    /// The seed of all draws.
    pub seed: Option<u64>,
    /// What it wrote, in numbers.
    pub counts: serde_json::Value,
    /// The files that were read, by path.
    pub inputs: BTreeMap<PathBuf, FileDigest>,
    /// The files of the folder, by path in it.
    pub files: BTreeMap<String, FileDigest>,
}

impl Manifest {
    /// The manifest of a folder; `None` where it has none, or one that is not of a prepared folder.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, is damaged, or has another format than this version
    /// reads.
    pub fn read(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = folder.as_ref().join(MANIFEST);
        if !path.is_file() {
            return Ok(None);
        }
        let refuse = |reason: &dyn std::fmt::Display| Error::file(&path, reason);
        let text = whole_file::read_limited(&path, LONGEST).map_err(|error| refuse(&error))?;
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| refuse(&e))?;
        match value.get("format").and_then(serde_json::Value::as_str) {
            Some(FORMAT) => serde_json::from_value(value).map(Some).map_err(|e| refuse(&e)),
            Some(other) if other.starts_with(FORMATS) => Err(refuse(&format!(
                "format {other}, and this version reads {FORMAT}; prepare the folder again"
            ))),
            _ => Ok(None),
        }
    }

    /// Makes sure that the files of `folder` are those of the manifest.
    ///
    /// # Errors
    /// [`Error::File`] naming the first file that is missing, has other bytes, or is in no
    /// manifest.
    pub fn check(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let mut found = files_below(folder)?;
        for (name, digest) in &self.files {
            let path = folder.join(name);
            if found.remove(name).is_none() {
                return Err(Error::file(path, "missing; prepare the folder again"));
            }
            digest.check(&path)?;
        }
        found.remove(MANIFEST);
        match found.into_values().next() {
            Some(path) => Err(Error::file(path, "in no manifest; move it away")),
            None => Ok(()),
        }
    }

    /// The files of a part of `folder`, such as `validation`, if they are as they were written.
    ///
    /// # Errors
    /// [`Error::File`] naming the first that is not.
    pub fn files_of(&self, folder: impl AsRef<Path>, part: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for (name, digest) in &self.files {
            if Path::new(name).starts_with(part) {
                let path = folder.as_ref().join(name);
                digest.check(&path)?;
                found.push(path);
            }
        }
        Ok(found)
    }

    /// Whether a file that was read is no longer as it was, or no longer there: its path.
    pub fn changed_input(&self) -> Option<&Path> {
        let same = |path: &Path, was: &FileDigest| FileDigest::of(path).is_ok_and(|is| is == *was);
        let mut inputs = self.inputs.iter();
        inputs.find(|(path, digest)| !same(path, digest)).map(|(path, _)| path.as_path())
    }
}

impl FileDigest {
    /// Makes sure that the file `path` is this one.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read or has other bytes.
    pub fn check(&self, path: &Path) -> Result<()> {
        let now = Self::of(path)?;
        if now == *self {
            return Ok(());
        }
        let (is, was) = (now.sha256, &self.sha256);
        let reason = format!("changed since it was prepared: SHA-256 {is}, {was} in the manifest");
        Err(Error::file(path, reason + "; prepare the folder again"))
    }
}

/// A folder that is being prepared, under a temporary name beside its place. Dropped before
/// [`finish`](Self::finish), it vanishes.
///
/// ```
/// use shards::{Manifest, Preparation, Preparing, Shards};
///
/// let parent = tempfile::tempdir()?;
/// let out = parent.path().join("rows");
/// let folder = Preparing::start(&out)?;
/// std::fs::write(folder.file("train/0.jsonl")?, "[1]\n[2]\n")?;
/// assert!(!out.exists());
/// let counts = serde_json::json!({ "rows": 2 });
/// folder.finish(Preparation { program: "count", seed: None, counts })?;
///
/// assert_eq!(Shards::open([&out])?.lines(), 2); // those of `train`
/// let manifest = Manifest::read(&out)?.ok_or("no manifest")?;
/// manifest.check(&out)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Preparing {
    folder: TempDir,
    out: PathBuf,
}

impl Preparing {
    /// Starts the folder that will be called `out`. What lies there stays until
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::File`] if `out` is a file, or a folder that is neither empty nor prepared, or if no
    /// folder can be made beside it.
    pub fn start(out: impl AsRef<Path>) -> Result<Self> {
        let out = std::path::absolute(out.as_ref()).map_err(|e| Error::file(out.as_ref(), e))?;
        let refuse = |error: std::io::Error| Error::file(&out, error);
        let (Some(name), Some(parent)) = (out.file_name(), out.parent()) else {
            return Err(Error::file(&out, "not the name of a folder"));
        };
        if fs::symlink_metadata(&out).is_ok() {
            let empty = fs::read_dir(&out).map_err(refuse)?.next().is_none();
            // A prepared folder of an older format may be replaced too.
            if !empty && !matches!(Manifest::read(&out), Ok(Some(_)) | Err(_)) {
                let reason = "a folder that was not prepared by a command; give another name";
                return Err(Error::file(&out, reason));
            }
        }
        fs::create_dir_all(parent).map_err(refuse)?;
        let prefix = format!(".preparing-{}-", name.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Narrowed by the umask, as those of any new folder.
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let folder = builder.prefix(&prefix).tempdir_in(parent).map_err(refuse)?;
        Ok(Self { folder, out })
    }

    /// The path of the file `name`, such as `train/0.jsonl.gz`; its folder is made.
    ///
    /// # Errors
    /// [`Error::File`] if the folder cannot be made.
    pub fn file(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Error::file(parent, error))?;
        }
        Ok(path)
    }

    /// Hashes and syncs what was written, writes the manifest, and gives the folder its name; a
    /// prepared folder that has it goes.
    ///
    /// The arguments are those of this process, and the inputs what it read through [`whole_file`]
    /// since [`whole_file::protect_inputs`].
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be read or written; then what had the name still has it.
    pub fn finish(self, about: Preparation) -> Result<Manifest> {
        let folder = self.folder.path();
        let mut files = BTreeMap::new();
        for (name, path) in files_below(folder)? {
            let sync = |error: std::io::Error| Error::file(&path, error);
            File::open(&path).and_then(|file| file.sync_all()).map_err(sync)?;
            files.insert(name, FileDigest::of(&path)?);
        }
        let mut inputs = BTreeMap::new();
        // That of the folder that is replaced was read too, and is none of what it is made of.
        let replaced = self.out.join(MANIFEST);
        let is_input = |path: &PathBuf| path.is_file() && *path != replaced;
        for path in whole_file::inputs().into_iter().filter(is_input) {
            let digest = FileDigest::of(&path)?;
            inputs.insert(shorter(path), digest);
        }
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            program: about.program.to_owned(),
            arguments: std::env::args().skip(1).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: about.seed,
            counts: about.counts,
            inputs,
            files,
        };
        let path = folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(&manifest).map_err(|e| Error::file(&path, e))?;
        whole_file::write(&path, text + "\n").map_err(|error| Error::file(&path, error))?;
        self.publish()?;
        Ok(manifest)
    }

    fn publish(self) -> Result<()> {
        let Self { folder, out } = self;
        match fs::rename(folder.path(), &out) {
            // It has another name now, so that nothing is left to remove.
            Ok(()) => drop(folder.keep()),
            // The folder that is replaced gets the hidden name, and goes with it.
            Err(error) if matches!(error.kind(), DirectoryNotEmpty | AlreadyExists) => {
                exchange(folder.path(), &out).map_err(|error| Error::file(&out, error))?;
            }
            Err(error) => return Err(Error::file(&out, error)),
        }
        whole_file::sync_folder_of(&out).map_err(|error| Error::file(&out, error))
    }
}

/// Exchanges the names of two folders: at once where the file system can, so that a process that
/// is killed leaves one of the two under each name.
fn exchange(one: &Path, other: &Path) -> std::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            done => return Ok(done?),
        }
    }
    let mut aside = one.as_os_str().to_owned();
    aside.push(".replaced");
    fs::rename(other, &aside)?;
    fs::rename(one, other).or_else(|error| fs::rename(&aside, other).and(Err(error)))?;
    fs::rename(&aside, one)
}

/// The path from the current folder, where it lies below.
fn shorter(path: PathBuf) -> PathBuf {
    let current = std::env::current_dir().ok();
    let below = current.and_then(|current| path.strip_prefix(current).ok().map(Path::to_owned));
    below.unwrap_or(path)
}

/// The files below a folder, by their path in it with `/`.
fn files_below(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        let refuse = |error: std::io::Error| Error::file(&folder, error);
        for entry in fs::read_dir(&folder).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(refuse)?.is_dir() {
                folders.push((name + "/", entry.path()));
            } else {
                files.insert(name, entry.path());
            }
        }
    }
    Ok(files)
}
