//! The run folder: its recipe, its lock, and cleanup after killed processes.
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, SeekFrom, Write};
use std::path::{Path, PathBuf};

use atomic_file::FileLock;
use atomic_file::fs::{DirEntry, File};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::files::entries;
use crate::identity::Identity;
use crate::{Error, Result, read_json, write_json};

/// The file that identifies a run folder.
const MARKER_FILE: &str = "run.json";
/// The resolved recipe in the run folder.
pub(crate) const RECIPE_FILE: &str = "recipe.toml";
const LOCK_FILE: &str = ".lock";
/// Temporary names of an incomplete profiler trace.
const TRACE_FILES: [&str; 2] = [".writing-trace.json", ".writing-trace.json.tmp"];
const FORMAT: u32 = 1;

/// Contents of `run.json`.
#[derive(Debug, Deserialize, Serialize)]
struct Marker {
    /// Version of the folder's layout.
    format: u32,
    /// [`Recipe::NAME`](crate::Recipe::NAME).
    recipe: String,
    /// Identity that is common to the training of all trials.
    identity: Identity,
}

/// A run folder that is locked by this process, or by the one that started it.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    lock: Option<FileLock>,
}

impl RunFolder {
    /// Locks the folder. The folder may be a symbolic link, but must not contain symbolic links.
    /// Only the lock file is written.
    pub(crate) fn lock(path: &Path) -> Result<Self> {
        check_no_foreign_files(path)?;
        atomic_file::fs::create_dir_all(path)?;
        let lock = lock(path)?;
        // Another process may have created files before the lock was acquired.
        check_no_foreign_files(path)?;
        check_no_links(path)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Joins the run folder of the process that started this one and holds the lock. Nothing is
    /// written.
    pub(crate) fn join(path: &Path) -> Result<Self> {
        let parent = rustix::process::getppid().map(|id| format!("process {id}"));
        let holder = File::open(path.join(LOCK_FILE))
            .map_err(Error::from)
            .and_then(|mut file| read_lock_holder(&mut file).map(Option::unwrap_or_default))?;
        match parent == Some(holder) {
            true => Ok(Self { path: path.to_owned(), lock: None }),
            false => {
                let reason = "only a run with --jobs starts such a process";
                Err(Error::setting("--trial", reason))
            }
        }
    }

    /// The locked file. While a process has it open, the folder stays locked.
    pub(crate) fn lock_file(&self) -> Option<&fs::File> {
        self.lock.as_ref().map(FileLock::file)
    }

    /// Rejects a recipe whose identity is not the one of the run.
    pub(crate) fn check_identity(&self, identity: &Identity) -> Result<()> {
        let stored = read_marker(&self.path)?.expect("the main process has started the run");
        self.check_same(&stored.identity, identity)
    }

    fn check_same(&self, stored: &Identity, current: &Identity) -> Result<()> {
        match stored.difference(current) {
            None => Ok(()),
            Some(difference) => {
                let difference = difference.to_string();
                Err(Error::AnotherRecipe { path: self.path.clone(), difference })
            }
        }
    }

    /// Writes the marker and removes incomplete files. Rejects a folder that contains a run of
    /// another recipe, or trials with another identity.
    pub(crate) fn start_run(&self, recipe: &str, identity: &Identity) -> Result<()> {
        let marker_path = self.path.join(MARKER_FILE);
        if let Some(stored) = read_marker(&self.path)? {
            if stored.recipe != recipe {
                let reason = format!("contains a run of {}, not of {recipe}", stored.recipe);
                return Err(Error::content(&self.path, reason + "; give another --out"));
            }
            // Before the first trial, no result in the folder depends on the recipe, so the
            // identity may differ.
            if has_trials(&self.path)? {
                self.check_same(&stored.identity, identity)?;
            }
        }
        let (recipe, identity) = (recipe.to_owned(), identity.clone());
        write_json(&marker_path, &Marker { format: FORMAT, recipe, identity })?;
        remove_unfinished(&self.path)
    }
}

/// Rejects a folder without a run, for `--resume`.
pub(crate) fn check_run(path: &Path) -> Result<()> {
    match read_marker(path)? {
        Some(_) => Ok(()),
        None => {
            check_no_foreign_files(path)?;
            let reason =
                "contains no run (run.json is missing); use --out instead of --resume to start one";
            Err(Error::content(path, reason))
        }
    }
}

fn read_marker(folder: &Path) -> Result<Option<Marker>> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let path = folder.join(MARKER_FILE);
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

/// Rejects a folder that contains files but no run.
fn check_no_foreign_files(path: &Path) -> Result<()> {
    let entries = match atomic_file::fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut first_foreign_name: Option<String> = None;
    for entry in entries {
        let name = entry?.file_name();
        let is_incomplete = is_unfinished(&name);
        let name = name.to_string_lossy().into_owned();
        if name == MARKER_FILE {
            return Ok(());
        }
        // Such files remain if a process is killed before it writes the marker.
        let is_leftover = name == LOCK_FILE || is_incomplete;
        let has_earlier_name = first_foreign_name.as_ref().is_some_and(|first| *first < name);
        if !is_leftover && !has_earlier_name {
            first_foreign_name = Some(name);
        }
    }
    match first_foreign_name {
        None => Ok(()),
        Some(name) => {
            let reason = format!("contains {name} but no run (run.json is missing)");
            Err(Error::content(path, reason + "; give an empty or new folder as --out"))
        }
    }
}

fn has_trials(folder: &Path) -> Result<bool> {
    let is_seed_folder =
        |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with("seed-");
    Ok(entries(folder)?.iter().any(is_seed_folder))
}

/// Locks the folder for this process. An existing lock file of another program is not changed.
fn lock(folder: &Path) -> Result<Option<FileLock>> {
    let path = folder.join(LOCK_FILE);
    let lock_error = |problem: &str| {
        let reason = format!("{problem}, so it cannot be used as a lock; move it away");
        Error::content(&path, reason + ", or give another --out")
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = match rustix::fs::open(&path, flags, Mode::from_raw_mode(0o666)) {
        Err(Errno::LOOP) => return Err(lock_error("is a symbolic link")),
        Err(error) => return Err(Error::File { path, source: error.into() }),
        Ok(descriptor) => File::new(descriptor.into(), &path),
    };
    if !file.metadata()?.is_file() {
        return Err(lock_error("is not a regular file"));
    }
    let lock = match file.try_lock() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            // The holder only completes the message.
            let holder = read_lock_holder(&mut file).ok().flatten().filter(|text| !text.is_empty());
            let holder = holder.map_or_else(String::new, |text| format!(" ({text})"));
            let reason = format!("another process{holder} is using this folder");
            let advice = "; wait until it ends, or give another --out";
            return Err(Error::content(folder, reason + advice));
        }
        result => result?,
    };
    if lock.is_none() {
        let folder = folder.display();
        let text =
            format!("{folder}: this file system does not support locks; start one process only");
        let _ = writeln!(io::stderr(), "{}", atomic_file::one_line(&text));
    }
    if read_lock_holder(&mut file)?.is_none() {
        return Err(lock_error("was written by another program"));
    }
    // Other processes only print this text in error messages, so write errors are ignored.
    let lock_holder = format!("process {}\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
    let _ = file.write_all(lock_holder.as_bytes());
    Ok(lock)
}

/// The contents of a lock file: `process <id>`, or an empty string if nothing is written yet;
/// `None` for other contents.
fn read_lock_holder(file: &mut File) -> Result<Option<String>> {
    let text = String::from_utf8(file.read_up_to(64)?).unwrap_or_else(|_| "not ours".into());
    let id = text.strip_prefix("process ").and_then(|id| id.trim_end().parse::<u32>().ok());
    Ok((text.is_empty() || id.is_some()).then(|| text.trim_end().to_owned()))
}

/// Rejects symbolic links in the folder, because a run would write to their targets.
fn check_no_links(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_symlink() {
            let reason = "is a symbolic link, which a run folder must not contain; replace it by \
                          its target, or give another --out";
            return Err(Error::content(path, reason));
        }
        if kind.is_dir() {
            check_no_links(&path)?;
        }
    }
    Ok(())
}

/// Whether `name` is the name of an incomplete file of a run.
fn is_unfinished(name: &OsStr) -> bool {
    atomic_file::is_temporary(name) || TRACE_FILES.iter().any(|trace| name == *trace)
}

/// Removes incomplete files of a killed process recursively.
fn remove_unfinished(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            remove_unfinished(&path)?;
        } else if kind.is_file() && is_unfinished(&entry.file_name()) {
            atomic_file::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes the checkpoints of a trial's stages.
pub(crate) fn remove_checkpoints(trial: &Path) -> Result<()> {
    for stage in entries(trial)? {
        let checkpoints = stage.path().join("checkpoints");
        if checkpoints.is_dir() {
            atomic_file::fs::remove_dir_all(&checkpoints)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unrelated_folder_is_rejected_and_not_changed() {
        for name in ["recipe.toml", "summary.json", "notes"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), "mine").unwrap();
            let error = RunFolder::lock(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("--out"), "{error}");
            let remaining: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
            assert_eq!(remaining.len(), 1);
        }
    }

    #[test]
    fn a_second_process_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunFolder::lock(folder.path()).unwrap();
        let error = RunFolder::lock(folder.path()).unwrap_err().to_string();
        let lock_holder = format!("another process (process {})", std::process::id());
        assert!(error.contains(&lock_holder), "{error}");
        drop(first);
        RunFolder::lock(folder.path()).unwrap();
    }

    #[test]
    fn unfinished_files_are_removed_and_foreign_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = folder.path().join(".writing-aB3xyz");
        fs::write(&unfinished, "{").unwrap();
        let run = RunFolder::lock(folder.path()).unwrap();
        run.start_run("toy", &Identity::default()).unwrap();
        assert!(!unfinished.exists(), "left by a process that was killed before its first trial");
        let model = folder.path().join("seed-0/base/model");
        fs::create_dir_all(&model).unwrap();
        let foreign = [".tmp-something", ".tmpaB3xyz", ".writing-aB3xyz2", ".writing-notes.md"];
        for name in [".writing-aB3xyz", TRACE_FILES[0], TRACE_FILES[1]].iter().chain(&foreign) {
            fs::write(model.join(name), "x").unwrap();
        }
        run.start_run("toy", &Identity::default()).unwrap();
        let remaining = entries(&model).unwrap();
        let remaining: Vec<_> = remaining.iter().map(|entry| entry.file_name()).collect();
        assert_eq!(remaining, foreign);
    }

    #[test]
    fn lock_files_of_other_programs_are_rejected_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, run) = (folder.path().join("mine"), folder.path().join("run"));
        fs::create_dir(&run).unwrap();
        let error_of = || {
            let error = RunFolder::lock(&run).unwrap_err().to_string();
            assert!(error.contains(".lock: ") && error.contains("--out"), "{error}");
            error
        };
        fs::write(&notes, "mine").unwrap();
        std::os::unix::fs::symlink(&notes, run.join(LOCK_FILE)).unwrap();
        assert!(error_of().contains("symbolic link"));
        assert_eq!(fs::read_to_string(&notes).unwrap(), "mine");
        fs::remove_file(run.join(LOCK_FILE)).unwrap();
        let long_text = "process 1".repeat(9);
        for text in ["notes", "process", "process 1\nand notes", "\n", "process x", &long_text] {
            fs::write(run.join(LOCK_FILE), text).unwrap();
            error_of();
            assert_eq!(fs::read_to_string(run.join(LOCK_FILE)).unwrap(), text);
        }
        fs::write(run.join(LOCK_FILE), b"\xff\xfe").unwrap();
        error_of();
        fs::remove_file(run.join(LOCK_FILE)).unwrap();
        // Opening a named pipe without a writer could block the process.
        let result =
            rustix::fs::mkfifoat(rustix::fs::CWD, run.join(LOCK_FILE), Mode::RUSR | Mode::WUSR);
        result.unwrap();
        assert!(error_of().contains("not a regular file"));
        fs::remove_file(run.join(LOCK_FILE)).unwrap();
        for text in ["", "process 4194304\n", "process 1"] {
            fs::write(run.join(LOCK_FILE), text).unwrap();
            drop(RunFolder::lock(&run).unwrap());
            let expected = format!("process {}\n", std::process::id());
            assert_eq!(fs::read_to_string(run.join(LOCK_FILE)).unwrap(), expected);
        }
    }

    #[test]
    fn the_run_folder_may_be_a_link_but_must_not_contain_any() {
        let folder = tempfile::tempdir().unwrap();
        let path_of = |name: &str| folder.path().join(name);
        drop(RunFolder::lock(&path_of("run")).unwrap());
        fs::create_dir_all(path_of("run/seed-0/base")).unwrap();
        fs::write(path_of("run/run.json"), "{}").unwrap();
        fs::write(path_of("mine"), "mine").unwrap();
        fs::create_dir(path_of("elsewhere")).unwrap();
        std::os::unix::fs::symlink(path_of("run"), path_of("link")).unwrap();
        for path in [path_of("run"), path_of("link")] {
            drop(RunFolder::lock(&path).unwrap());
            let names = ["table.md", "matrix", "seed-0/base/metrics.jsonl", "seed-0/base/fit"];
            for (name, target) in names.iter().zip(["mine", "elsewhere", "mine", "nowhere"]) {
                std::os::unix::fs::symlink(path_of(target), path.join(name)).unwrap();
                let error = RunFolder::lock(&path).unwrap_err().to_string();
                let expected = format!("{}: is a symbolic link", path.join(name).display());
                assert!(error.starts_with(&expected) && error.contains("--out"), "{error}");
                fs::remove_file(path.join(name)).unwrap();
            }
        }
        assert_eq!(fs::read_to_string(path_of("mine")).unwrap(), "mine");
    }

    #[test]
    fn another_format_or_recipe_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::lock(folder.path()).unwrap();
        run.start_run("toy", &Identity::default()).unwrap();
        let error = run.start_run("ner", &Identity::default()).unwrap_err().to_string();
        assert!(error.contains("a run of toy, not of ner"), "{error}");
        fs::write(folder.path().join(MARKER_FILE), "{\"format\": 2}").unwrap();
        let error = run.start_run("toy", &Identity::default()).unwrap_err().to_string();
        assert!(error.contains("format 2"), "{error}");
    }
}
