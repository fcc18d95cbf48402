//! The run folder: whose it is, who works in it, and what a killed process left there.
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::{Error, Result, read_json, write_json};

/// The file that makes a folder ours.
const MARKER: &str = "run.json";
const LOCK: &str = ".lock";
/// How [`whole_file`] begins the names of files that are not whole yet.
const UNFINISHED: &str = ".writing-";
const FORMAT: u32 = 1;

/// `run.json`.
#[derive(Debug, Deserialize, Serialize)]
struct Marker {
    /// Version of the folder's layout.
    format: u32,
    /// [`Recipe::NAME`](crate::Recipe::NAME).
    recipe: String,
    /// What decides the training of every cell.
    identity: Identity,
}

/// A run folder that this process alone works in.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Locked until it is closed.
    _lock: File,
}

impl RunFolder {
    /// Takes the folder for this process. Nothing in it is changed yet, but for the lock.
    pub(crate) fn lock(path: &Path) -> Result<Self> {
        expect_ours(path)?;
        fs::create_dir_all(path).map_err(Error::file(path))?;
        let lock = lock(path)?;
        // Another process may have come first.
        expect_ours(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Refuses a run of another recipe; otherwise the folder is this recipe's from now on.
    pub(crate) fn enter(&self, recipe: &str, identity: &Identity) -> Result<()> {
        let marker = self.path.join(MARKER);
        if let Some(earlier) = read_marker(&self.path)? {
            if earlier.recipe != recipe {
                let reason = format!("holds a run of {}, not of {recipe}", earlier.recipe);
                return Err(Error::folder(&self.path, reason + "; give another --out"));
            }
            // Before the first cell nothing depends on the recipe.
            if begun(&self.path)?
                && let Some(difference) = earlier.identity.difference(identity)
            {
                let difference = difference.to_string();
                return Err(Error::AnotherRecipe { path: self.path.clone(), difference });
            }
        }
        let (recipe, identity) = (recipe.to_owned(), identity.clone());
        write_json(&marker, &Marker { format: FORMAT, recipe, identity })?;
        remove_unfinished(&self.path)
    }
}

/// Refuses a folder without a run.
pub(crate) fn expect_run(path: &Path) -> Result<()> {
    match read_marker(path)? {
        Some(_) => Ok(()),
        None => {
            expect_ours(path)?;
            let reason = "holds no run (no run.json); to start one, give --out instead of --resume";
            Err(Error::folder(path, reason))
        }
    }
}

fn read_marker(folder: &Path) -> Result<Option<Marker>> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let path = folder.join(MARKER);
    match fs::metadata(&path) {
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::file(&path)(error)),
        Ok(_) => {}
    }
    let version: Version = read_json(&path)?;
    if version.format != FORMAT {
        let reason = format!("format {}; this program reads format {FORMAT}", version.format);
        return Err(Error::content(path, reason + "; give another --out"));
    }
    read_json(&path).map(Some)
}

/// Refuses a folder that holds something and no run.
fn expect_ours(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::file(path))?,
    };
    let mut first_foreign: Option<String> = None;
    let mut earlier_version = false;
    for entry in entries {
        let name = entry.map_err(Error::file(path))?.file_name().to_string_lossy().into_owned();
        if name == MARKER {
            return Ok(());
        }
        earlier_version |= name == "fingerprints.json";
        // What a process leaves that is killed before it wrote the marker.
        let trace = name == LOCK || name.starts_with(UNFINISHED);
        let earlier = first_foreign.as_ref().is_some_and(|first| *first < name);
        if !trace && !earlier {
            first_foreign = Some(name);
        }
    }
    match first_foreign {
        None => Ok(()),
        Some(_) if earlier_version => {
            let reason = "holds a run of an earlier version, which cannot go on";
            Err(Error::folder(path, format!("{reason}; give another --out")))
        }
        Some(name) => {
            let reason = format!("holds {name} and no run (no run.json), so nothing is written");
            Err(Error::folder(path, reason + " there; give an empty or new folder as --out"))
        }
    }
}

/// Whether a cell was begun.
fn begun(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let name = entry.map_err(Error::file(folder))?.file_name();
        if name.to_string_lossy().starts_with("seed-") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Error::file(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Only said in the message.
            let _ = file.read_to_string(&mut holder);
            let (folder, holder) = (folder.to_owned(), holder.trim().to_owned());
            return Err(Error::Locked { folder, holder });
        }
        Err(Errno::NOSYS | Errno::NOTSUP | Errno::NOLCK) => {
            let folder = folder.display();
            let text = format!("{folder}: this file system has no locks; start one process only");
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        Err(error) => return Err(Error::file(&path)(error.into())),
    }
    // For the message of another process; the lock holds without it.
    let holder = format!("process {}\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.rewind());
    let _ = file.write_all(holder.as_bytes());
    Ok(file)
}

/// Removes files that a killed process was writing, here and below.
fn remove_unfinished(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let entry = entry.map_err(Error::file(folder))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(Error::file(folder))?);
        if kind.is_dir() {
            remove_unfinished(&path)?;
        } else if kind.is_file() && entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(&path).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}

/// Removes the checkpoints of a cell's stages.
pub(crate) fn remove_checkpoints(cell: &Path) -> Result<()> {
    for entry in fs::read_dir(cell).map_err(Error::file(cell))? {
        let checkpoints = entry.map_err(Error::file(cell))?.path().join("checkpoints");
        if checkpoints.is_dir() {
            fs::remove_dir_all(&checkpoints).map_err(Error::file(&checkpoints))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_refused_and_left_as_it_was() {
        for name in ["recipe.toml", "summary.json", "notes"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), "mine").unwrap();
            let error = RunFolder::lock(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("--out"), "{error}");
            let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
            assert_eq!(left.len(), 1);
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("fingerprints.json"), "{}").unwrap();
        let error = RunFolder::lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains("earlier version"), "{error}");
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunFolder::lock(folder.path()).unwrap();
        let error = RunFolder::lock(folder.path()).unwrap_err().to_string();
        let holder = format!("another process (process {})", std::process::id());
        assert!(error.contains(&holder), "{error}");
        drop(first);
        RunFolder::lock(folder.path()).unwrap();
    }

    #[test]
    fn traces_of_a_killed_start_are_no_obstacle_and_go() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".writing-abc"), "{").unwrap();
        let run = RunFolder::lock(folder.path()).unwrap();
        run.enter("toy", &Identity::default()).unwrap();
        assert!(!folder.path().join(".writing-abc").exists());
    }

    #[test]
    fn another_format_or_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::lock(folder.path()).unwrap();
        run.enter("toy", &Identity::default()).unwrap();
        let error = run.enter("ner", &Identity::default()).unwrap_err().to_string();
        assert!(error.contains("a run of toy, not of ner"), "{error}");
        fs::write(folder.path().join(MARKER), "{\"format\": 2}").unwrap();
        let error = run.enter("toy", &Identity::default()).unwrap_err().to_string();
        assert!(error.contains("format 2"), "{error}");
    }
}
