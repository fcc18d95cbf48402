//! Data-parallel training of a run's trials in several processes.
//!
//! Rank 0 uses the run folder. Every other rank prints nothing, receives earlier results from rank
//! 0, and uses a temporary folder, which is removed when the process ends. Models of finished
//! trials are read from the run folder, so all machines must have access to it.
use std::path::{Path, PathBuf};
use std::rc::Rc;

use atomic_file::fs::TempDir;
use serde::Serialize;
use serde::de::DeserializeOwned;
use torch_ext::ProcessGroup;

use crate::identity::{Difference, Identity, display_value};
use crate::print::set_silent;
use crate::{Error, Result};

/// The process group of a run, the run folder, and the temporary folder of this process.
pub(crate) struct Ranks {
    group: Option<Rc<ProcessGroup>>,
    /// The run folder of rank 0.
    run_folder: PathBuf,
    /// The temporary folder of this process, if its rank is not 0.
    temporary_folder: Option<TempDir>,
}

impl Ranks {
    pub(crate) fn new(group: Option<Rc<ProcessGroup>>, run_folder: &Path) -> Result<Self> {
        let is_nonzero_rank = group.as_ref().is_some_and(|group| group.rank() > 0);
        let temporary_folder = match is_nonzero_rank {
            false => None,
            true => Some(atomic_file::fs::temporary_dir(std::env::temp_dir(), "polyqa-")?),
        };
        set_silent(is_nonzero_rank);
        let run_folder = atomic_file::fs::absolute(run_folder)?;
        Ok(Self { group, run_folder, temporary_folder })
    }

    /// The folder in which this process writes.
    pub(crate) fn folder(&self, run_folder: PathBuf) -> PathBuf {
        match &self.temporary_folder {
            None => run_folder,
            Some(folder) => folder.path().join("run"),
        }
    }

    pub(crate) fn is_rank_0(&self) -> bool {
        self.temporary_folder.is_none()
    }

    /// Rejects ranks with different recipes or data. The error names the first difference from rank
    /// 0.
    pub(crate) fn check_same_recipe(&self, identity: &Identity) -> Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        let identities: Vec<Identity> = group.all_gather_json(identity)?;
        let (rank_0, other_ranks) = identities.split_first().expect("a group has a process");
        for (rank, identity) in (1..).zip(other_ranks) {
            if let Some(difference) = rank_0.difference(identity) {
                return Err(Error::setting(
                    difference_message(rank, &difference),
                    "start all ranks with the same recipe and data",
                ));
            }
        }
        Ok(())
    }

    /// Computes a value on rank 0 and returns it on all ranks.
    pub(crate) fn compute_on_rank_0<T: Serialize + DeserializeOwned>(
        &self,
        compute: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Some(group) = &self.group else { return compute() };
        let value = if self.is_rank_0() { Some(compute()?) } else { None };
        Ok(group.broadcast_json(value, 0)?)
    }

    /// Links a finished trial and the model of the run folder into `folder`, the temporary folder
    /// of this rank.
    pub(crate) fn link_finished(&self, trial: &Path, folder: &Path) -> Result<()> {
        if self.is_rank_0() {
            return Ok(());
        }
        let relative_path = trial.strip_prefix(folder).expect("a trial is in its folder");
        for name in [relative_path, Path::new("model")] {
            let (target, link) = (self.run_folder.join(name), folder.join(name));
            if !target.exists() || link.exists() {
                continue;
            }
            if let Some(parent) = link.parent() {
                atomic_file::fs::create_dir_all(parent)?;
            }
            atomic_file::fs::symlink(&target, &link)?;
        }
        Ok(())
    }
}

/// The message about a rank that differs from rank 0.
fn difference_message(rank: usize, difference: &Difference) -> String {
    let Difference { name, is_file, stored, current } = difference;
    let rank_with_file = if stored.is_some() { 0 } else { rank };
    match (is_file, stored, current) {
        (false, ..) => {
            format!(
                "{name} is {} on rank 0 and {} on rank {rank}",
                display_value(stored),
                display_value(current)
            )
        }
        (true, Some(_), Some(_)) => {
            format!("the input file {name} differs between rank 0 and rank {rank}")
        }
        _ => format!("of ranks 0 and {rank}, only rank {rank_with_file} has the input file {name}"),
    }
}
