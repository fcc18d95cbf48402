//! Helpers shared by the tests of this folder.
#![allow(clippy::unwrap_used, dead_code)] // test helpers; not every file uses all of them
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use tch::Tensor;
use trainer::{
    Environment, Examples, Fingerprint, Stage, Step, StepLosses, Task, TaskError, TrainConfig,
};

/// Locks libtorch's random generator, which all threads share, for a test.
pub fn lock_rng() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn stage(folder: &Path, interrupt_after: Option<u64>) -> Stage {
    let environment =
        Environment { threads: 1, device: "Cpu".into(), float32_matmul: "highest".into() };
    Stage::new("test", folder, environment).interrupt_after(interrupt_after)
}

/// Returns a configuration with a checkpoint after every step.
pub fn toy_config() -> TrainConfig {
    TrainConfig {
        learning_rate: 1e-2,
        batch_size: 2,
        epochs: 3,
        bucket_batches: Some(1),
        checkpoint_steps: Some(1),
        log_steps: 2,
        ..TrainConfig::default()
    }
}

pub fn new_weight() -> Tensor {
    Tensor::from(0.5f64).set_requires_grad(true)
}

pub fn parameters(weight: &Tensor) -> Vec<(String, Tensor)> {
    vec![("weight".into(), weight.shallow_clone())]
}

pub fn metrics_text(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap()
}

/// Returns the parsed lines of [`metrics_text`].
pub fn metrics_lines<T: DeserializeOwned>(folder: &Path) -> Vec<T> {
    metrics_text(folder).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A task with examples of one token and a given loss function.
pub struct ToyTask<F> {
    lengths: Vec<usize>,
    loss: F,
}

impl<F: FnMut(&Step<'_>) -> Result<Tensor, TaskError>> ToyTask<F> {
    pub fn new(examples: usize, loss: F) -> Self {
        Self { lengths: vec![1; examples], loss }
    }
}

impl<F: FnMut(&Step<'_>) -> Result<Tensor, TaskError>> Task for ToyTask<F> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("task", "toy");
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        Ok(StepLosses::single("square", (self.loss)(step)?))
    }
}

/// Returns a task with six examples that minimises the square of a weight.
pub fn shrink_task(weight: &Tensor) -> impl Task + use<> {
    let weight = weight.shallow_clone();
    ToyTask::new(6, move |_| Ok(weight.f_square()?))
}
