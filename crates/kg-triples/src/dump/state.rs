//! Stored state of an unfinished extract. A later run of the same command resumes from it.
//!
//! The folder `.extract` in the output folder contains sorted files of entries and `state.json`,
//! which lists these files and the position in the dump. A file of entries is synced to disk before
//! the state lists it, and the state is replaced by a rename, so that a killed run leaves a
//! consistent state. Files that the state does not list are overwritten later or removed with the
//! folder.
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use atomic_file::fs::{self, File};
use atomic_file::{FileLock, json};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::config::{ExtractConfig, ExtractReport};
use super::format::DumpFormat;
use super::sort::RunFile;
use super::source::{ReadPrefix, is_stream};
use crate::Error;

const STATE_FOLDER: &str = ".extract";
/// Name prefixes of files to remove: state folders of earlier versions, from which no run can
/// resume, and temporary tables of killed runs.
const STALE_PREFIXES: [&str; 2] = [".extract-", ".table-"];
const STATE_FILE: &str = "state.json";
const LOCK_FILE: &str = "lock";
/// Version of the stored state. It must be incremented when the format of the entry files or the
/// parsing of a chunk changes.
const FORMAT_VERSION: u32 = 7;

/// The version, dump and options of an extract. A run resumes only if its identity equals the
/// stored identity.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct ExtractIdentity {
    version: String,
    layout: u32,
    dump: PathBuf,
    /// Size in bytes and modification time of a regular file.
    file: Option<(u64, u128)>,
    config: String,
}

impl ExtractIdentity {
    pub(super) fn new(dump: &Path, config: &ExtractConfig) -> Result<Self, Error> {
        // The options that do not affect the output are set to fixed values, so that they may
        // differ between runs.
        let config = ExtractConfig { bad_lines: 0, memory: 0, restart: false, ..config.clone() };
        let mut identity = Self {
            version: env!("CARGO_PKG_VERSION").into(),
            layout: FORMAT_VERSION,
            dump: "-".into(),
            file: None,
            config: format!("{config:?}"),
        };
        // The path and size of a stream are not stored, because only its bytes identify it.
        if !is_stream(dump) {
            identity.dump = fs::canonicalize(dump)?;
            let metadata = fs::metadata(dump)?;
            let modified = metadata.modified().ok();
            let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            // Without a time of modification, the file is identified by its path and size.
            identity.file = Some((metadata.len(), modified.map_or(0, |time| time.as_nanos())));
        }
        Ok(identity)
    }

    /// Describes the first difference between the tasks, to complete "an unfinished extract …".
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let (version, layout) = (&self.version, self.layout);
        match () {
            () if self == other => None,
            () if (version, layout) != (&other.version, other.layout) => Some("by another version"),
            () if self.dump != other.dump => Some("of another dump"),
            () if self.file != other.file => Some("of this dump before it changed"),
            () => Some("with other options"),
        }
    }
}

/// Shape of the dump, as far as it has been read: `Lines` for a list of lines, `Array` for an array
/// and `Closed` for an array whose closing bracket has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum DumpShape {
    #[default]
    Unknown,
    Lines,
    Array,
    Closed,
}

/// Format, shape and counts of the lines read so far.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Tally {
    /// Missing in states of earlier versions, which read only JSON.
    #[serde(default)]
    pub(super) format: DumpFormat,
    pub(super) shape: DumpShape,
    /// Number of entities and redirects read so far. It determines the order of entities with equal
    /// ids.
    pub(super) number: u64,
    pub(super) last_bad: Option<u64>,
    pub(super) report: ExtractReport,
}

/// The stored state of an extract.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct State {
    #[serde(rename = "task")]
    pub(super) identity: ExtractIdentity,
    /// Number of decompressed bytes of the dump that were read.
    pub(super) offset: u64,
    pub(super) passed: ReadPrefix,
    /// Whether the dump was read to its end.
    pub(super) read: bool,
    pub(super) tally: Tally,
    pub(super) entities: (u64, Vec<RunFile>),
    pub(super) redirects: (u64, Vec<RunFile>),
}

/// The state folder, locked by this process.
pub(super) struct StateFolder {
    path: PathBuf,
    out: PathBuf,
    has_state: bool,
    /// Whether the folder existed before this run, which means that an earlier extract was
    /// interrupted.
    existed: bool,
    _lock: Option<FileLock>,
}

/// Returns whether an output folder has an unfinished extract, which [`extract`](super::extract())
/// resumes if its options are the same.
pub fn has_unfinished_extract(out: &Path) -> bool {
    out.join(STATE_FOLDER).join(STATE_FILE).exists()
}

impl StateFolder {
    /// Creates the folder, or opens the folder of an unfinished extract and returns its state.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Dump`] if another process holds the lock, or the unfinished extract
    /// has a different identity.
    pub(super) fn open(
        out: &Path,
        identity: &ExtractIdentity,
        restart: bool,
    ) -> Result<(Self, Option<State>), Error> {
        let path = out.join(STATE_FOLDER);
        let dump_error = |reason: String| Err(Error::Dump { path: path.clone(), reason });
        if path.is_symlink() {
            return dump_error("is a symbolic link; move it away".into());
        }
        let existed = path.is_dir();
        fs::create_dir_all(&path)?;
        let lock = path.join(LOCK_FILE);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock_fd = rustix::fs::open(&lock, flags, Mode::from_raw_mode(0o666));
        let lock_fd = lock_fd.map_err(|error| Error::io(&lock, "lock the file")(error.into()))?;
        // If the file system does not support locks, no lock is held.
        let lock = match File::new(lock_fd.into(), &lock).try_lock() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return dump_error(
                    "another extract is running in this folder; use another folder".into(),
                );
            }
            locked => locked?,
        };
        let stored = match restart {
            true => None,
            false => read_state(&path.join(STATE_FILE))?,
        };
        if let Some(difference) =
            stored.as_ref().and_then(|stored| stored.identity.difference(identity))
        {
            return dump_error(format!(
                "holds an unfinished extract {difference}; repeat the same command to resume it, or \
                 use --restart to start again"
            ));
        }
        let out = out.to_owned();
        let mut folder = Self { path, out, has_state: false, existed, _lock: lock };
        match &stored {
            None => folder.clear()?,
            Some(_) => folder.has_state = true,
        }
        folder.remove_stale_files()?;
        Ok((folder, stored))
    }

    /// Whether the folder contained an interrupted extract.
    pub(super) fn existed(&self) -> bool {
        self.existed
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Stores the state.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn store(&mut self, state: &State) -> Result<(), Error> {
        let path = self.path.join(STATE_FILE);
        atomic_file::write(&path, json::to_string(&path, state)?)?;
        self.has_state = true;
        Ok(())
    }

    /// Removes the folder after a complete extract.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn remove(mut self) -> Result<(), Error> {
        self.clear()?;
        self.has_state = false;
        Ok(fs::remove_dir_all(&self.path)?)
    }

    /// Removes everything except the lock. The state is removed first, because it must not list
    /// files that no longer exist.
    fn clear(&self) -> Result<(), Error> {
        let state = self.path.join(STATE_FILE);
        if state.exists() {
            fs::remove_file(state)?;
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() != LOCK_FILE {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn remove_stale_files(&self) -> Result<(), Error> {
        for folder in [&self.out, &self.path] {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let is_temporary = atomic_file::is_temporary(&name);
                let name = name.to_string_lossy();
                match is_temporary || STALE_PREFIXES.iter().any(|start| name.starts_with(start)) {
                    true if entry.file_type()?.is_dir() => fs::remove_dir_all(entry.path())?,
                    true => fs::remove_file(entry.path())?,
                    false => (),
                }
            }
        }
        Ok(())
    }
}

impl Drop for StateFolder {
    /// Removes the folder if no state is stored in it.
    fn drop(&mut self) {
        if !self.has_state {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Reads the stored state; returns `None` if the file does not exist. A state that cannot be parsed
/// is an error; another version may have written it.
fn read_state(path: &Path) -> Result<Option<State>, Error> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let advice =
            "the state of an unfinished extract cannot be read, use --restart to start again";
        Error::Dump { path: path.to_owned(), reason: format!("{advice}: {error}") }
    })
}
