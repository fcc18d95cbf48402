//! Several processes that train the trials of one run together.
//!
//! The first rank works in the run folder. Each of the others works in a temporary folder, which is
//! removed when it ends, prints nothing, and gets from the first what was computed before. Models
//! of trials that were finished before are read from the run folder, so all machines must see it.
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use torch_ext::ProcessGroup;

use crate::identity::{Difference, Identity, shown};
use crate::{Error, Result};

static SILENT: AtomicBool = AtomicBool::new(false);

/// Whether this process prints nothing, as all ranks but the first.
pub(crate) fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// This process among those of the run.
pub(crate) struct Ranks {
    group: Option<Rc<ProcessGroup>>,
    /// The run folder, as the first rank has it.
    run_folder: PathBuf,
    /// The folder of a process that follows.
    temporary: Option<tempfile::TempDir>,
}

impl Ranks {
    pub(crate) fn new(group: Option<Rc<ProcessGroup>>, run_folder: &Path) -> Result<Self> {
        let follows = group.as_ref().is_some_and(|group| group.rank() > 0);
        let temporary = match follows {
            false => None,
            true => {
                let place = std::env::temp_dir();
                Some(tempfile::tempdir_in(&place).map_err(Error::file(&place))?)
            }
        };
        SILENT.store(follows, Ordering::Relaxed);
        let run_folder = std::path::absolute(run_folder).map_err(Error::file(run_folder))?;
        Ok(Self { group, run_folder, temporary })
    }

    /// Where this process writes.
    pub(crate) fn folder(&self, run_folder: PathBuf) -> PathBuf {
        match &self.temporary {
            None => run_folder,
            Some(folder) => folder.path().join("run"),
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.temporary.is_none()
    }

    /// Rejects ranks with different recipes or data, by the first key or file that differs from
    /// the first.
    pub(crate) fn check_same_recipe(&self, identity: &Identity) -> Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        let unreadable = |error: serde_json::Error| Error::setting("recipe", error.to_string());
        let mut all: Vec<Identity> = Vec::with_capacity(group.size());
        for bytes in group.all_gather_bytes(&serde_json::to_vec(identity).map_err(unreadable)?)? {
            all.push(serde_json::from_slice(&bytes).map_err(unreadable)?);
        }
        let Some((lead, others)) = all.split_first() else { return Ok(()) };
        for (rank, other) in (1..).zip(others) {
            if let Some(difference) = lead.difference(other) {
                return Err(Error::setting(
                    first_difference(rank, &difference),
                    "give all ranks the same",
                ));
            }
        }
        Ok(())
    }

    /// What the first rank computes, on all of them.
    pub(crate) fn of_lead<T: Serialize + DeserializeOwned>(
        &self,
        compute: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Some(group) = &self.group else { return compute() };
        let unreadable =
            |error: serde_json::Error| Error::content(&self.run_folder, error.to_string());
        if self.leads() {
            let value = compute()?;
            group.broadcast_bytes(&serde_json::to_vec(&value).map_err(unreadable)?, 0)?;
            return Ok(value);
        }
        serde_json::from_slice(&group.broadcast_bytes(&[], 0)?).map_err(unreadable)
    }

    /// Lets a process that follows read what an earlier run left of a trial, in `trial` under
    /// `folder`.
    pub(crate) fn link_finished(&self, trial: &Path, folder: &Path) -> Result<()> {
        if self.leads() {
            return Ok(());
        }
        let within = trial.strip_prefix(folder).unwrap_or(trial);
        for name in [within, Path::new("model")] {
            let (real, link) = (self.run_folder.join(name), folder.join(name));
            if !real.exists() || link.exists() {
                continue;
            }
            if let Some(parent) = link.parent() {
                std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
            }
            std::os::unix::fs::symlink(&real, &link).map_err(Error::file(&link))?;
        }
        Ok(())
    }
}

/// The message about a rank that differs from the first.
fn first_difference(rank: usize, difference: &Difference) -> String {
    let Difference { name, is_file, stored, current } = difference;
    let rank_with_file = if stored.is_some() { 0 } else { rank };
    match (is_file, stored, current) {
        (false, ..) => {
            format!("{name} is {} on rank 0 and {} on rank {rank}", shown(stored), shown(current))
        }
        (true, Some(_), Some(_)) => {
            format!("the input file {name} is another on rank {rank} than on rank 0")
        }
        _ => format!("rank {rank_with_file} alone of 0 and {rank} has the input file {name}"),
    }
}
