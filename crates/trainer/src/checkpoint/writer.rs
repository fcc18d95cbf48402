//! Checkpoint writer thread, which writes copies of the tensors.
//!
//! Large tensors on the CPU are written without a copy, while training waits.
use std::path::PathBuf;
use std::thread::JoinHandle;

use tch::{Device, Tensor};
use torch_ext::{TensorMap, region};

use crate::checkpoint::{Checkpoint, store_parameters};
use crate::{Error, Result};

/// Maximum size of tensors in host memory that are copied and written in the background. Larger
/// checkpoints are written synchronously.
const MAX_COPIED_BYTES: usize = 256 << 20;

/// The contents of a checkpoint and its destination.
pub(crate) struct CheckpointData {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) parameters: Vec<(String, Tensor)>,
    /// Moments and counts of the optimiser.
    pub(crate) moments: Vec<(String, Tensor)>,
    /// State of the tasks.
    pub(crate) task_state: Vec<(String, Tensor)>,
    /// The folder of the checkpoints, and the number of checkpoints to retain.
    pub(crate) root: PathBuf,
    pub(crate) keep: usize,
    /// The folder of permanently stored parameters, if enabled.
    pub(crate) models: Option<PathBuf>,
}

impl CheckpointData {
    /// Copies the tensors, so that training can change the originals. The memory of an earlier copy
    /// is reused where possible, because allocation takes most of the time of a copy.
    fn into_copy(mut self, previous: Option<Self>) -> Result<Self> {
        let previous = match previous {
            Some(data) => [data.parameters, data.moments, data.task_state],
            None => [Vec::new(), Vec::new(), Vec::new()],
        };
        let lists = [&mut self.parameters, &mut self.moments, &mut self.task_state];
        for (list, previous) in lists.into_iter().zip(previous) {
            let mut previous: TensorMap = previous.into_iter().collect();
            for (name, tensor) in list {
                *tensor = copy(tensor, previous.remove(name))?;
            }
        }
        Ok(self)
    }

    /// Returns whether the tensors in host memory are too large to copy.
    pub(crate) fn is_large(&self) -> bool {
        let lists = [&self.parameters, &self.moments, &self.task_state];
        let tensors = lists.into_iter().flatten().map(|(_, tensor)| tensor);
        let host_tensors = tensors.filter(|tensor| tensor.device() == Device::Cpu);
        let bytes = |tensor: &Tensor| {
            tensor.numel() * tensor.f_kind().map_or(0, |kind| kind.elt_size_in_bytes())
        };
        host_tensors.map(bytes).sum::<usize>() > MAX_COPIED_BYTES
    }

    fn write(&self) -> Result<()> {
        let Self { checkpoint, parameters, moments, task_state, root, keep, models } = self;
        // The parameters are written before the checkpoint. If the process ends between these two
        // writes, the resumed run repeats the step and writes the parameters again.
        if let Some(models) = models {
            store_parameters(models, checkpoint.step, parameters)?;
        }
        checkpoint.write(root, parameters, moments, task_state, *keep)
    }
}

/// Copies a tensor to host memory, into `previous` if shape and dtype match.
fn copy(tensor: &Tensor, previous: Option<Tensor>) -> Result<Tensor> {
    let tensor = tensor.f_detach()?;
    let is_reusable = |previous: &Tensor| {
        previous.size() == tensor.size() && previous.f_kind().ok() == tensor.f_kind().ok()
    };
    if let Some(mut previous) = previous.filter(is_reusable) {
        previous.f_copy_(&tensor)?;
        return Ok(previous);
    }
    if tensor.device() == Device::Cpu {
        return Ok(tensor.f_detach_copy()?);
    }
    Ok(tensor.f_to_device(Device::Cpu)?)
}

/// A copy of a checkpoint, and the result of writing the copy.
type WriteResult = (CheckpointData, Result<()>);

/// Writes one checkpoint at a time. Dropping the writer waits for the current checkpoint.
#[derive(Default)]
pub(crate) struct CheckpointWriter {
    active_write: Option<(PathBuf, JoinHandle<WriteResult>)>,
    /// The last copy, whose memory the next copy reuses.
    last_copy: Option<CheckpointData>,
}

impl CheckpointWriter {
    /// Copies the tensors and writes them while the caller continues; first waits for the previous
    /// checkpoint.
    pub(crate) fn start(&mut self, data: CheckpointData) -> Result<()> {
        self.wait()?;
        let root = data.root.clone();
        let data = {
            let _region = region(c"copy checkpoint");
            data.into_copy(self.last_copy.take())?
        };
        let thread = std::thread::Builder::new().name("checkpoint".into());
        let write = move || {
            let result = data.write();
            (data, result)
        };
        let handle = thread.spawn(write).map_err(|error| {
            Error::file(&root, format!("cannot start the writer thread: {error}"))
        })?;
        self.active_write = Some((root, handle));
        Ok(())
    }

    /// Writes a checkpoint synchronously without copies, after waiting for the current one.
    pub(crate) fn write(&mut self, data: CheckpointData) -> Result<()> {
        self.wait()?;
        data.write()
    }

    /// Returns the error of a background write that has finished.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.active_write.as_ref().is_some_and(|(_, handle)| handle.is_finished()) {
            return self.wait();
        }
        Ok(())
    }

    /// Waits for the current checkpoint.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let Some((root, handle)) = self.active_write.take() else { return Ok(()) };
        let Ok((data, result)) = handle.join() else {
            return Err(Error::file(root, "the writer thread panicked"));
        };
        self.last_copy = Some(data);
        result
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        // A writer is dropped during a write only if training failed. That error is reported, and
        // an error of the write is ignored.
        let _ = self.wait();
    }
}

#[cfg(test)]
mod tests {
    use torch_ext::read_tensors;

    use super::*;
    use crate::Environment;

    fn checkpoint_data(root: &std::path::Path, step: u64, value: &Tensor) -> CheckpointData {
        let named = |name: &str| vec![(name.to_owned(), value.shallow_clone())];
        let checkpoint = Checkpoint {
            step,
            tokens: 0,
            seconds: 0.0,
            fingerprint: String::new(),
            environment: Environment::for_tests(),
            pending: (0.0, 0),
            pending_parts: Default::default(),
            streams: Vec::new(),
            loss_scaler: None,
        };
        let (root, parameters) = (root.to_owned(), named("weight"));
        let (moments, task_state) = (named("weight.exp_avg"), named("queue"));
        CheckpointData { checkpoint, parameters, moments, task_state, root, keep: 2, models: None }
    }

    #[test]
    fn changes_after_the_copy_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut value = Tensor::from_slice(&[1.0_f32, 2.0]).set_requires_grad(true);
        let mut writer = CheckpointWriter::default();
        let mut addresses = Vec::new();
        for step in 1..=3 {
            // The third checkpoint has other shapes, because the shapes of task state may change.
            let values = if step == 3 { vec![5.0f32] } else { vec![step as f32, 2.0] };
            if step == 3 {
                value = Tensor::from_slice(&[0f32]).set_requires_grad(true);
            }
            tch::no_grad(|| value.copy_(&Tensor::from_slice(&values)));
            writer.start(checkpoint_data(folder.path(), step, &value)).unwrap();
            let _ = tch::no_grad(|| value.f_zero_().unwrap());
            writer.wait().unwrap();
            let last_copy = writer.last_copy.as_ref().unwrap();
            addresses.push(
                [&last_copy.parameters, &last_copy.moments, &last_copy.task_state].map(|list| {
                    list.iter().map(|(_, tensor)| tensor.data_ptr()).collect::<Vec<_>>()
                }),
            );
            for (file, name) in
                [("parameters", "weight"), ("optimizer", "weight.exp_avg"), ("task", "queue")]
            {
                let path = folder.path().join(format!("step-{step:08}/{file}.safetensors"));
                let stored = &read_tensors(path).unwrap()[name];
                assert_eq!(Vec::<f32>::try_from(stored).unwrap(), values, "{file}");
            }
        }
        assert_eq!(addresses[0], addresses[1]);
    }

    #[test]
    fn the_next_call_returns_the_error_of_a_background_write_once() {
        let folder = tempfile::tempdir().unwrap();
        let value = Tensor::from(1.0);
        let mut writer = CheckpointWriter::default();
        std::fs::write(folder.path().join("step-00000002"), "").unwrap();
        writer.start(checkpoint_data(folder.path(), 2, &value)).unwrap();
        let error =
            writer.start(checkpoint_data(folder.path(), 3, &value)).unwrap_err().to_string();
        assert!(error.contains("step-00000002: Not a directory"), "{error}");
        writer.check().unwrap();
        std::fs::remove_file(folder.path().join("step-00000002")).unwrap();
        writer.write(checkpoint_data(folder.path(), 3, &value)).unwrap();
        assert!(folder.path().join("step-00000003/state.json").exists());
    }
}
