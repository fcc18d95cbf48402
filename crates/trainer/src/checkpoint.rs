//! Checkpoints: folders that hold a whole training state or do not exist.
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};
use torch_ext::{TensorMap, read_tensors, write_tensors};

use crate::{AdamW, Result, TrainError};

/// What bit-for-bit equality depends on beside seed and data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Environment {
    /// Threads inside an operation.
    pub threads: i32,
    /// The device's name.
    pub device: String,
    /// Float32 matrix products: `highest`, `high` or `medium`.
    pub float32_matmul: String,
}

/// `state.json` of a checkpoint.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Checkpoint {
    /// Updates made.
    pub step: u64,
    /// Tokens seen, padding left out.
    pub tokens: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// The stage's configuration and data.
    pub fingerprint: String,
    /// The machine's part in the result.
    pub environment: Environment,
    /// Sum of losses since the last line of metrics, and how many steps it holds.
    pub pending: (f64, u64),
    /// The same for each named part, and how many batches had it.
    pub pending_parts: std::collections::BTreeMap<String, (f64, u64)>,
}

/// What the task keeps beside the parameters; absent where it keeps nothing.
const TASK: &str = "task.safetensors";
const PREFIX: &str = "step-";
const PARTIAL: &str = ".partial-";

/// Removes what a killed run was writing.
fn remove_partial(root: &Path) -> Result<()> {
    let refuse = |error: std::io::Error| TrainError::file(root, error);
    for entry in fs::read_dir(root).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            fs::remove_dir_all(entry.path()).map_err(refuse)?;
        }
    }
    Ok(())
}

fn folder_of(root: &Path, step: u64) -> PathBuf {
    root.join(format!("{PREFIX}{step:08}"))
}

/// Steps that have a checkpoint below `root`, oldest first.
fn steps(root: &Path) -> Result<Vec<u64>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrainError::file(root, error)),
    };
    let mut steps = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| TrainError::file(root, error))?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        steps.extend(step.and_then(|step| step.parse::<u64>().ok()));
    }
    steps.sort_unstable();
    Ok(steps)
}

impl Checkpoint {
    /// Writes a checkpoint below `root` and removes all but the newest `keep`.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be written; older checkpoints are untouched then.
    pub fn save(
        &self,
        root: &Path,
        parameters: &[(String, Tensor)],
        optimizer: &AdamW,
        of_task: &[(String, Tensor)],
        keep: usize,
    ) -> Result<()> {
        fs::create_dir_all(root).map_err(|error| TrainError::file(root, error))?;
        remove_partial(root)?;
        let target = folder_of(root, self.step);
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(root)
            .map_err(|error| TrainError::file(root, error))?;
        let named = parameters.iter().map(|(name, tensor)| (name.as_str(), tensor));
        write_tensors(partial.path().join("parameters.safetensors"), named, &[])?;
        let state = optimizer.state();
        let named = state.iter().map(|(name, tensor)| (name.as_str(), tensor));
        write_tensors(partial.path().join("optimizer.safetensors"), named, &[])?;
        if !of_task.is_empty() {
            let named = of_task.iter().map(|(name, tensor)| (name.as_str(), tensor));
            write_tensors(partial.path().join(TASK), named, &[])?;
        }
        let json =
            serde_json::to_vec_pretty(self).map_err(|error| TrainError::file(&target, error))?;
        whole_file::write(partial.path().join("state.json"), json)
            .map_err(|error| TrainError::file(target.join("state.json"), error))?;
        if target.exists() {
            fs::remove_dir_all(&target).map_err(|error| TrainError::file(&target, error))?;
        }
        fs::rename(partial.path(), &target).map_err(|error| TrainError::file(&target, error))?;
        // The folder has its final name; nothing is left to clean up under the temporary one.
        let _ = partial.keep();
        File::open(root)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| TrainError::file(root, error))?;
        let all = steps(root)?;
        for &old in all.iter().rev().skip(keep.max(1)) {
            let old = folder_of(root, old);
            fs::remove_dir_all(&old).map_err(|error| TrainError::file(&old, error))?;
        }
        Ok(())
    }

    /// Loads the newest checkpoint below `root` into parameters and optimiser, and returns it with the task's own tensors; `None`
    /// if there is none.
    ///
    /// # Errors
    /// [`TrainError::File`] naming the file and tensor that do not fit; a fingerprint other than `fingerprint` says that
    /// configuration or data changed.
    pub fn resume(
        root: &Path,
        parameters: &[(String, Tensor)],
        optimizer: &mut AdamW,
        fingerprint: &str,
    ) -> Result<Option<(Self, TensorMap)>> {
        let Some(&step) = steps(root)?.last() else { return Ok(None) };
        let folder = folder_of(root, step);
        let path = folder.join("state.json");
        let json = fs::read(&path).map_err(|error| TrainError::file(&path, error))?;
        let state: Self =
            serde_json::from_slice(&json).map_err(|error| TrainError::file(&path, error))?;
        if state.fingerprint != fingerprint {
            return Err(TrainError::file(
                &folder,
                "written with another configuration or other data; start a new run folder, or restore what changed",
            ));
        }
        let path = folder.join("parameters.safetensors");
        let stored = read_tensors(&path)?;
        load_parameters(&stored, parameters).map_err(|reason| TrainError::file(&path, reason))?;
        let path = folder.join("optimizer.safetensors");
        optimizer
            .load_state(&read_tensors(&path)?)
            .map_err(|reason| TrainError::file(&path, reason))?;
        let path = folder.join(TASK);
        let of_task = if path.exists() { read_tensors(&path)? } else { TensorMap::new() };
        Ok(Some((state, of_task)))
    }
}

fn load_parameters(
    stored: &TensorMap,
    parameters: &[(String, Tensor)],
) -> std::result::Result<(), String> {
    for (name, parameter) in parameters {
        let tensor = stored.get(name).ok_or_else(|| format!("{name} is missing"))?;
        if tensor.size() != parameter.size() || tensor.kind() != parameter.kind() {
            return Err(format!(
                "{name}: shape {:?} {:?}, the model has {:?} {:?}",
                tensor.size(),
                tensor.kind(),
                parameter.size(),
                parameter.kind()
            ));
        }
    }
    if let Some(stray) = stored.keys().find(|key| !parameters.iter().any(|(name, _)| name == *key))
    {
        return Err(format!("{stray} is not a parameter of this model"));
    }
    // Checked in full above, so that a refusal changes nothing.
    for (name, parameter) in parameters {
        if let Some(tensor) = stored.get(name) {
            let mut own = parameter.shallow_clone();
            no_grad(|| own.f_copy_(tensor)).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}
