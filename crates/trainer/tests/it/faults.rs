//! Files of a checkpoint that do not belong together, and updates that diverge.
use std::fs;
use std::path::Path;

use crate::common::{config, lock_rng, parameters, stage};
use tch::{Kind, Tensor};
use trainer::{
    Error, Examples, Fingerprint, FitReport, Step, StepLosses, Task, TaskError, TrainConfig, fit,
};

/// Minimizes the squares of weights, and has a queue as state.
struct Shrink {
    weight: Tensor,
    queue: Tensor,
}

impl Task for Shrink {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&[1; 6])
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("task", "shrink");
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        self.queue = Tensor::from(step.number as f64);
        Ok(StepLosses::single("square", self.weight.f_square()?.f_sum(Kind::Float)?))
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        Ok(vec![("queue".into(), self.queue.shallow_clone())])
    }

    fn restore(&mut self, state: &trainer::TensorMap) -> Result<(), TaskError> {
        self.queue = state.get("queue").ok_or("queue is missing")?.copy();
        Ok(())
    }
}

fn train(
    folder: &Path,
    interrupt_after: Option<u64>,
    config: &TrainConfig,
) -> Result<(FitReport, Vec<f32>), Error> {
    let weight = Tensor::from_slice(&[0.5_f32, -1.0, 2.0]).set_requires_grad(true);
    let mut task = Shrink { weight: weight.shallow_clone(), queue: Tensor::from(0.0) };
    let report = fit(&stage(folder, interrupt_after), config, &parameters(&weight), &mut task)?;
    Ok((FitReport { seconds: 0.0, ..report }, Vec::<f32>::try_from(&weight).unwrap()))
}

/// Returns the error of a run that resumes after `damage` changed the checkpoints of steps 3 and 4.
fn error_after(damage: impl Fn(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), Some(4), &config()).unwrap();
    damage(&folder.path().join("checkpoints"));
    let error = train(folder.path(), None, &config()).unwrap_err().to_string();
    error.replace(&folder.path().display().to_string(), "RUN")
}

const FILES: [&str; 3] = ["parameters.safetensors", "optimizer.safetensors", "task.safetensors"];
const HINT: &str = "; to continue from step 3, delete RUN/checkpoints/step-00000004";

#[test]
fn one_changed_bit_is_an_error_that_names_the_file() {
    let _lock = lock_rng();
    for file in FILES {
        let error = error_after(|root| {
            let path = root.join("step-00000004").join(file);
            let mut bytes = fs::read(&path).unwrap();
            // The last byte belongs to the values, not to the header.
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        });
        let text =
            format!("RUN/checkpoints/step-00000004/{file}: changed since the checkpoint was");
        assert!(error.starts_with(&text) && error.ends_with(HINT), "{error}");
    }
    // Only the checksum detects this change of `state.json`.
    let error = error_after(|root| {
        let path = root.join("step-00000004/state.json");
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replace("\"tokens\": 8", "\"tokens\": 9");
        assert_ne!(changed, text);
        fs::write(path, changed).unwrap();
    });
    assert!(error.contains("step-00000004/state.json: changed since"), "{error}");
}

#[test]
fn an_update_that_diverges_is_not_saved() {
    let _lock = lock_rng();
    // With the largest rate and decay, the squares of the updated weights overflow float32.
    let diverging_config = TrainConfig { learning_rate: 1000.0, weight_decay: 1000.0, ..config() };
    let folder = tempfile::tempdir().unwrap();
    let weight = Tensor::from_slice(&[5e14_f32, -1e15]).view([1, 2]).set_requires_grad(true);
    let mut task = Shrink { weight: weight.shallow_clone(), queue: Tensor::from(0.0) };
    let config = TrainConfig { steps: Some(1), ..diverging_config };
    let error = fit(&stage(folder.path(), None), &config, &parameters(&weight), &mut task)
        .unwrap_err()
        .to_string();
    let text =
        "test, step 0: after the update, the norm of weight is not finite, so the step is not";
    assert!(error.starts_with(text) && error.contains("lower the learning rate"), "{error}");
    assert!(!folder.path().join("checkpoints").exists());
}
