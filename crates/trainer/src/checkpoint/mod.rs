//! Checkpoints: atomically written folders with a complete training state.
mod sums;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};
use torch_ext::{TensorMap, read_tensors, write_tensors};

pub(crate) use writer::{CheckpointData, CheckpointWriter};

use crate::error::error_text;
use crate::{AdamW, Error, LossScaler, Result};

/// Runtime settings that must be equal for bit-identical runs, in addition to seed and data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Environment {
    /// Number of threads of a libtorch operation.
    pub threads: i32,
    /// Name of the device.
    pub device: String,
    /// Precision of float32 matrix multiplications: `highest`, `high` or `medium`.
    pub float32_matmul: String,
}

/// Position of a stream, as stored in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct StreamPosition {
    /// The epoch of the next batch.
    pub epoch: u64,
    /// Number of batches already read in this epoch.
    pub batches: u64,
    /// The stream's position, if the epoch has begun.
    pub position: Option<serde_json::Value>,
}

/// `state.json` of a checkpoint.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Checkpoint {
    /// Number of completed steps.
    pub(crate) step: u64,
    /// Number of processed tokens, without padding.
    pub(crate) tokens: u64,
    /// Seconds of training so far.
    pub(crate) seconds: f64,
    /// Fingerprint of the stage's configuration and data.
    pub(crate) fingerprint: String,
    /// Environment of the run.
    pub(crate) environment: Environment,
    /// Sum of the losses since the last line of metrics, and the number of steps in this sum.
    pub(crate) pending: (f64, u64),
    /// Sum of each named loss part since the last line of metrics, and the number of batches that
    /// have this part.
    pub(crate) pending_parts: BTreeMap<String, (f64, u64)>,
    /// Stream position of each task, `None` for examples in memory. Empty if no task is streamed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) streams: Vec<Option<StreamPosition>>,
    /// The scale of a float16 loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loss_scaler: Option<LossScaler>,
}

const PARAMETERS: &str = "parameters.safetensors";
/// Moments and counts of the optimiser.
const MOMENTS: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
/// State tensors of the tasks; the file is absent if no task has state.
const TASK_STATE: &str = "task.safetensors";
const CHECKPOINT_PREFIX: &str = "step-";
const PARTIAL_PREFIX: &str = ".partial-";

/// The files of a checkpoint, with or without task state.
fn file_names(with_task_state: bool) -> Vec<&'static str> {
    let task_file = with_task_state.then_some(TASK_STATE);
    [PARAMETERS, MOMENTS, STATE].into_iter().chain(task_file).collect()
}

fn checkpoint_folder(root: &Path, step: u64) -> PathBuf {
    root.join(format!("{CHECKPOINT_PREFIX}{step:08}"))
}

/// Stores the parameters permanently as `step-<step>.safetensors` in `folder`.
pub(crate) fn store_parameters(
    folder: &Path,
    step: u64,
    parameters: &[(String, Tensor)],
) -> Result<()> {
    atomic_file::fs::create_dir_all(folder)?;
    write_tensor_file(&checkpoint_folder(folder, step).with_extension("safetensors"), parameters)
}

fn write_tensor_file(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    Ok(write_tensors(path, named, &[])?)
}

/// Returns the folders in `root` whose names start with `prefix`, each with its name after the
/// prefix. A file whose name starts with `prefix` is an error.
fn folders_with_prefix(root: &Path, prefix: &str) -> Result<Vec<(PathBuf, String)>> {
    let entries = match atomic_file::fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(suffix) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else {
            continue;
        };
        let path = entry.path();
        if !path.is_dir() {
            let reason = "not a directory, but named like a checkpoint; move or delete it";
            return Err(Error::file(path, reason));
        }
        folders.push((path, suffix.to_owned()));
    }
    Ok(folders)
}

fn remove_folder(folder: &Path) -> Result<()> {
    Ok(atomic_file::fs::remove_dir_all(folder)?)
}

/// Removes incomplete checkpoints of a killed run.
fn remove_partial(root: &Path) -> Result<()> {
    folders_with_prefix(root, PARTIAL_PREFIX)?
        .iter()
        .try_for_each(|(folder, _)| remove_folder(folder))
}

/// Returns the steps that have a checkpoint below `root`, oldest first.
fn stored_steps(root: &Path) -> Result<Vec<u64>> {
    let folders = folders_with_prefix(root, CHECKPOINT_PREFIX)?;
    // Folders whose suffix is no number are not checkpoints.
    let mut steps: Vec<u64> =
        folders.iter().filter_map(|(_, step)| step.parse::<u64>().ok()).collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Removes all but the newest `keep` checkpoints.
pub(crate) fn remove_older(root: &Path, keep: usize) -> Result<()> {
    let steps = stored_steps(root)?;
    steps
        .iter()
        .rev()
        .skip(keep.max(1))
        .try_for_each(|&step| remove_folder(&checkpoint_folder(root, step)))
}

impl Checkpoint {
    /// Writes a checkpoint below `root` and removes all but the newest `keep`.
    ///
    /// # Errors
    /// [`Error::File`] if the checkpoint cannot be written. Older checkpoints are then retained.
    pub(crate) fn write(
        &self,
        root: &Path,
        parameters: &[(String, Tensor)],
        moments: &[(String, Tensor)],
        task_state: &[(String, Tensor)],
        keep: usize,
    ) -> Result<()> {
        atomic_file::fs::create_dir_all(root)?;
        remove_partial(root)?;
        let target = checkpoint_folder(root, self.step);
        let partial_folder = atomic_file::fs::temporary_dir(root, PARTIAL_PREFIX)?;
        write_tensor_file(&partial_folder.path().join(PARAMETERS), parameters)?;
        write_tensor_file(&partial_folder.path().join(MOMENTS), moments)?;
        if !task_state.is_empty() {
            write_tensor_file(&partial_folder.path().join(TASK_STATE), task_state)?;
        }
        let json = atomic_file::json::to_string_pretty(&target, self)?;
        // The error has the final path, because the partial folder is removed.
        atomic_file::write(partial_folder.path().join(STATE), json)
            .map_err(|error| Error::file(target.join(STATE), error.source))?;
        sums::write(partial_folder.path(), &file_names(!task_state.is_empty()))?;
        if target.exists() {
            remove_folder(&target)?;
        }
        atomic_file::fs::rename(partial_folder.path(), &target)?;
        // The folder has been renamed, so there is no temporary folder to remove.
        let _ = partial_folder.keep();
        atomic_file::fs::open(root)?.sync_all()?;
        remove_older(root, keep)
    }

    /// Loads the newest checkpoint below `root` into parameters and optimiser, and returns the
    /// checkpoint with the tasks' tensors.
    ///
    /// Returns `None` if there is no checkpoint. Removes partial files of a killed run.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming the mismatching file and tensor, and a fix. [`Error::File`] if
    /// the checkpoint's fingerprint is not `fingerprint` (configuration or data changed), or if a
    /// file in `root` has the name of a checkpoint.
    pub(crate) fn resume(
        root: &Path,
        parameters: &[(String, Tensor)],
        optimizer: &mut AdamW,
        fingerprint: &str,
    ) -> Result<Option<(Self, TensorMap)>> {
        remove_partial(root)?;
        let Some(&step) = stored_steps(root)?.last() else { return Ok(None) };
        let damaged_error = |error: Error| checkpoint_error(root, step, &error_text(&error));
        let checkpoint = Self::read(root, step).map_err(damaged_error)?;
        let folder = checkpoint_folder(root, step);
        sums::verify(&folder, &file_names(folder.join(TASK_STATE).exists()))
            .map_err(damaged_error)?;
        if checkpoint.fingerprint != fingerprint {
            let reason = "written with another configuration or other data, or by another version \
                          of the program; start a new run folder, or undo the change";
            return Err(Error::file(folder, reason));
        }
        let tensors = load(&folder, parameters, optimizer).map_err(damaged_error)?;
        Ok(Some((checkpoint, tensors)))
    }

    fn read(root: &Path, step: u64) -> Result<Self> {
        let path = checkpoint_folder(root, step).join(STATE);
        let json = atomic_file::fs::read(&path)?;
        let checkpoint: Self = atomic_file::json::from_slice(&path, &json)?;
        if checkpoint.step != step {
            let reason =
                format!("step = {}: expected {step} from the folder's name", checkpoint.step);
            return Err(Error::file(path, reason));
        }
        Ok(checkpoint)
    }

    /// Returns the error for a checkpoint with state that a task cannot restore.
    pub(crate) fn damaged_error(&self, root: &Path, reason: &str) -> Error {
        let file = checkpoint_folder(root, self.step).join(TASK_STATE);
        checkpoint_error(root, self.step, &format!("{}: {reason}", file.display()))
    }
}

/// Returns the error for a checkpoint of `step` that cannot be used. The error names the previous
/// checkpoint, from which training can continue.
fn checkpoint_error(root: &Path, step: u64, reason: &str) -> Error {
    let steps = match stored_steps(root) {
        Ok(steps) => steps,
        Err(error) => return error,
    };
    let earlier_step = steps.into_iter().rfind(|&old| old < step);
    Error::Checkpoint {
        folder: checkpoint_folder(root, step),
        reason: reason.to_owned(),
        earlier: earlier_step.map_or("the start".into(), |step| format!("step {step}")),
    }
}

/// Loads parameters and moments from a checkpoint's folder, and returns the tensors of the tasks.
fn load(
    folder: &Path,
    parameters: &[(String, Tensor)],
    optimizer: &mut AdamW,
) -> Result<TensorMap> {
    let path = folder.join(PARAMETERS);
    let stored_tensors = read_tensors(&path)?;
    load_parameters(&stored_tensors, parameters).map_err(|reason| Error::file(&path, reason))?;
    let path = folder.join(MOMENTS);
    let stored_tensors = read_tensors(&path)?;
    optimizer.load_state(&stored_tensors).map_err(|reason| Error::file(&path, reason))?;
    let path = folder.join(TASK_STATE);
    if path.exists() { Ok(read_tensors(&path)?) } else { Ok(TensorMap::new()) }
}

fn load_parameters(
    stored_tensors: &TensorMap,
    parameters: &[(String, Tensor)],
) -> std::result::Result<(), String> {
    for (name, parameter) in parameters {
        let tensor = stored_tensors.get(name).ok_or_else(|| format!("{name} is missing"))?;
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
    if let Some(unused) =
        stored_tensors.keys().find(|key| !parameters.iter().any(|(name, _)| name == *key))
    {
        return Err(format!("{unused} is not a parameter of this model"));
    }
    // All tensors are checked before the first copy, so an error leaves the parameters unchanged.
    for (name, parameter) in parameters {
        let (mut parameter, tensor) = (parameter.shallow_clone(), &stored_tensors[name]);
        no_grad(|| parameter.f_copy_(tensor)).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
impl Environment {
    pub(crate) fn for_tests() -> Self {
        Self { threads: 1, device: "Cpu".into(), float32_matmul: "highest".into() }
    }
}
