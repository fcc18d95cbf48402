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
pub(crate) struct Save {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) parameters: Vec<(String, Tensor)>,
    /// Moments and counts of the optimiser.
    pub(crate) moments: Vec<(String, Tensor)>,
    /// State of the tasks.
    pub(crate) task: Vec<(String, Tensor)>,
    /// The folder of the checkpoints, and the number of checkpoints to retain.
    pub(crate) root: PathBuf,
    pub(crate) keep: usize,
    /// The folder of permanently stored parameters, if enabled.
    pub(crate) models: Option<PathBuf>,
}

impl Save {
    /// Copies the tensors, so that training can change the originals. The memory of an earlier copy
    /// is reused where possible, because allocation takes most of the time of a copy.
    fn copied(mut self, earlier: Option<Self>) -> Result<Self> {
        let earlier = earlier.map(|save| [save.parameters, save.moments, save.task]);
        let lists = [&mut self.parameters, &mut self.moments, &mut self.task];
        for (list, earlier) in lists.into_iter().zip(earlier.unwrap_or_default()) {
            let mut earlier: TensorMap = earlier.into_iter().collect();
            for (name, tensor) in list {
                *tensor = copy(tensor, earlier.remove(name))?;
            }
        }
        Ok(self)
    }

    /// Whether the tensors in host memory are too large to copy. They are then written without a
    /// copy while training waits.
    pub(crate) fn is_large(&self) -> bool {
        let lists = [&self.parameters, &self.moments, &self.task];
        let on_host = lists.into_iter().flatten().map(|(_, tensor)| tensor);
        let on_host = on_host.filter(|tensor| tensor.device() == Device::Cpu);
        let bytes = |tensor: &Tensor| {
            tensor.numel() * tensor.f_kind().map_or(0, |kind| kind.elt_size_in_bytes())
        };
        on_host.map(bytes).sum::<usize>() > MAX_COPIED_BYTES
    }

    fn write(&self) -> Result<()> {
        let Self { checkpoint, parameters, moments, task, root, keep, models } = self;
        // Written before the checkpoint: if the process ends in between, the resumed run repeats
        // the step and writes them again.
        if let Some(models) = models {
            store_parameters(models, checkpoint.step, parameters)?;
        }
        checkpoint.write(root, parameters, moments, task, *keep)
    }
}

/// Copies to host memory, into `earlier` if its shape and dtype match.
fn copy(tensor: &Tensor, earlier: Option<Tensor>) -> Result<Tensor> {
    let tensor = tensor.f_detach()?;
    let fits = |earlier: &Tensor| {
        earlier.size() == tensor.size() && earlier.f_kind().ok() == tensor.f_kind().ok()
    };
    if let Some(mut earlier) = earlier.filter(fits) {
        earlier.f_copy_(&tensor)?;
        return Ok(earlier);
    }
    if tensor.device() == Device::Cpu {
        return Ok(tensor.f_detach_copy()?);
    }
    Ok(tensor.f_to_device(Device::Cpu)?)
}

/// A copy, and the result of writing it.
type Written = (Save, Result<()>);

/// Writes one checkpoint at a time. Dropping the writer waits for the current checkpoint.
#[derive(Default)]
pub(crate) struct CheckpointWriter {
    writing: Option<(PathBuf, JoinHandle<Written>)>,
    /// The last copy, whose memory the next copy reuses.
    copied: Option<Save>,
}

impl CheckpointWriter {
    /// Copies the tensors and writes them while the caller continues; first waits for the previous
    /// checkpoint.
    pub(crate) fn start(&mut self, save: Save) -> Result<()> {
        self.wait()?;
        let root = save.root.clone();
        let save = {
            let _region = region(c"copy of the checkpoint");
            save.copied(self.copied.take())?
        };
        let thread = std::thread::Builder::new().name("checkpoint".into());
        let write = move || {
            let written = save.write();
            (save, written)
        };
        let handle = thread.spawn(write).map_err(|error| {
            Error::file(&root, format!("cannot start the thread that writes it: {error}"))
        })?;
        self.writing = Some((root, handle));
        Ok(())
    }

    /// Writes a checkpoint synchronously without copies, after waiting for the current one.
    pub(crate) fn write(&mut self, save: Save) -> Result<()> {
        self.wait()?;
        save.write()
    }

    /// Returns the error of a background write that has finished.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.writing.as_ref().is_some_and(|(_, handle)| handle.is_finished()) {
            return self.wait();
        }
        Ok(())
    }

    /// Waits for the current checkpoint.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let Some((root, handle)) = self.writing.take() else { return Ok(()) };
        let Ok((save, written)) = handle.join() else {
            return Err(Error::file(root, "its writer panicked"));
        };
        self.copied = Some(save);
        written
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        // A writer is dropped early only after another error, which is reported instead.
        let _ = self.wait();
    }
}

#[cfg(test)]
mod tests {
    use torch_ext::read_tensors;

    use super::*;
    use crate::Environment;

    fn save(root: &std::path::Path, step: u64, value: &Tensor) -> Save {
        let named = |name: &str| vec![(name.to_owned(), value.shallow_clone())];
        let checkpoint = Checkpoint {
            step,
            tokens: 0,
            seconds: 0.0,
            fingerprint: String::new(),
            environment: Environment::of_tests(),
            pending: (0.0, 0),
            pending_parts: Default::default(),
            streams: Vec::new(),
            loss_scaler: None,
        };
        let (root, parameters) = (root.to_owned(), named("weight"));
        let (moments, task) = (named("weight.exp_avg"), named("queue"));
        Save { checkpoint, parameters, moments, task, root, keep: 2, models: None }
    }

    #[test]
    fn what_training_changes_meanwhile_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut value = Tensor::from_slice(&[1.0_f32, 2.0]).set_requires_grad(true);
        let mut writer = CheckpointWriter::default();
        let mut memory = Vec::new();
        for step in 1..=3 {
            // The third has other shapes, as a task's may change.
            let first = if step == 3 { vec![5.0f32] } else { vec![step as f32, 2.0] };
            if step == 3 {
                value = Tensor::from_slice(&[0f32]).set_requires_grad(true);
            }
            tch::no_grad(|| value.copy_(&Tensor::from_slice(&first)));
            writer.start(save(folder.path(), step, &value)).unwrap();
            let _ = tch::no_grad(|| value.f_zero_().unwrap());
            writer.wait().unwrap();
            let copied = writer.copied.as_ref().unwrap();
            memory.push(
                [&copied.parameters, &copied.moments, &copied.task].map(|list| {
                    list.iter().map(|(_, tensor)| tensor.data_ptr()).collect::<Vec<_>>()
                }),
            );
            for (file, name) in
                [("parameters", "weight"), ("optimizer", "weight.exp_avg"), ("task", "queue")]
            {
                let path = folder.path().join(format!("step-{step:08}/{file}.safetensors"));
                let read = &read_tensors(path).unwrap()[name];
                assert_eq!(Vec::<f32>::try_from(read).unwrap(), first, "{file}");
            }
        }
        assert_eq!(memory[0], memory[1]);
    }

    #[test]
    fn large_checkpoints_on_the_cpu_are_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let elements = i64::try_from(MAX_COPIED_BYTES / 4 / 3).unwrap();
        // All three tensors share this uninitialised allocation, which is never written and so uses
        // no memory.
        let value = Tensor::empty([elements], (tch::Kind::Float, Device::Cpu));
        assert!(!save(folder.path(), 1, &value).is_large());
        let value = Tensor::empty([elements + 1], (tch::Kind::Float, Device::Cpu));
        assert!(save(folder.path(), 1, &value).is_large());
    }

    #[test]
    fn an_error_comes_with_the_next_call_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let value = Tensor::from(1.0);
        let mut writer = CheckpointWriter::default();
        std::fs::write(folder.path().join("step-00000002"), "").unwrap();
        writer.start(save(folder.path(), 2, &value)).unwrap();
        let error = writer.start(save(folder.path(), 3, &value)).unwrap_err().to_string();
        assert!(error.contains("step-00000002: Not a directory"), "{error}");
        writer.check().unwrap();
        std::fs::remove_file(folder.path().join("step-00000002")).unwrap();
        writer.write(save(folder.path(), 3, &value)).unwrap();
        assert!(folder.path().join("step-00000003/state.json").exists());
    }
}
