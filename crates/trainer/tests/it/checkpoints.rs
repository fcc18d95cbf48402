//! Errors for damaged checkpoints, checkpoint folders with the name of another step, files with the
//! name of a checkpoint folder, and updates after which a parameter is not finite.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::{ToyTask, lock_rng, new_weight, parameters, shrink_task, stage, toy_config};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};
use trainer::{
    Error, Examples, Fingerprint, FitReport, Step, StepLosses, Task, TaskError, TensorMap,
    TrainConfig, fit,
};

/// Minimises the square of a weight, and has a queue as state.
struct QueueTask {
    weight: Tensor,
    queue: Tensor,
}

impl Task for QueueTask {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&[1; 6])
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("task", "queued");
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        self.queue = Tensor::from(step.batch_index as f64);
        Ok(StepLosses::single("square", self.weight.f_square()?))
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        Ok(vec![("queue".into(), self.queue.shallow_clone())])
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        self.queue = state.get("queue").ok_or("queue is missing")?.copy();
        Ok(())
    }
}

type RunResult = Result<(FitReport, f64), Error>;

fn train_task(
    folder: &Path,
    interrupt_after: Option<u64>,
    weight: &Tensor,
    task: &mut impl Task,
) -> RunResult {
    let report = fit(&stage(folder, interrupt_after), &toy_config(), &parameters(weight), task)?;
    Ok((FitReport { seconds: 0.0, ..report }, weight.double_value(&[])))
}

fn train(folder: &Path, interrupt_after: Option<u64>) -> RunResult {
    let weight = new_weight();
    train_task(folder, interrupt_after, &weight, &mut shrink_task(&weight))
}

fn train_queue_task(folder: &Path, interrupt_after: Option<u64>) -> RunResult {
    let (weight, queue) = (new_weight(), Tensor::from(0.0));
    let mut task = QueueTask { weight: weight.shallow_clone(), queue };
    train_task(folder, interrupt_after, &weight, &mut task)
}

/// Returns the error of a run that resumes after `damage` changed the checkpoints of steps 3 and 4.
fn error_after(damage: impl Fn(&Path)) -> (tempfile::TempDir, String) {
    error_after_with(train, damage)
}

/// Like [`error_after`], but runs are started with `train`.
fn error_after_with(
    train: impl Fn(&Path, Option<u64>) -> RunResult,
    damage: impl Fn(&Path),
) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), Some(4)).unwrap();
    damage(&folder.path().join("checkpoints"));
    let error = train(folder.path(), None).unwrap_err();
    // The message already contains the causes; with a `source`, programs would print them twice.
    assert!(std::error::Error::source(&error).is_none());
    let root = folder.path().display().to_string();
    let error = error.to_string().replace(&root, "RUN");
    (folder, error)
}

const HINT: &str = "; to continue from step 3, delete RUN/checkpoints/step-00000004";

#[test]
fn deleting_a_damaged_checkpoint_resumes_from_the_previous_one() {
    let _lock = lock_rng();
    let want = train(tempfile::tempdir().unwrap().path(), None).unwrap();
    let newest = |root: &Path| root.join("step-00000004");
    for file in ["parameters.safetensors", "optimizer.safetensors", "state.json"] {
        let (_, error) = error_after(|root| fs::remove_file(newest(root).join(file)).unwrap());
        let text = format!("RUN/checkpoints/step-00000004/{file}: No such file or directory");
        assert!(error.starts_with(&text) && error.ends_with(HINT), "{error}");
        assert_eq!(error.matches("No such file").count(), 1, "{error}");
        let (folder, error) = error_after(|root| {
            let path = newest(root).join(file);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        });
        assert!(error.contains(file) && error.ends_with(HINT), "{error}");
        assert_eq!(error.matches("EOF").count(), usize::from(file == "state.json"), "{error}");
        fs::remove_dir_all(folder.path().join("checkpoints/step-00000004")).unwrap();
        assert_eq!(train(folder.path(), None).unwrap(), want);
    }
}

#[test]
fn files_without_checksum_and_checksums_without_file_are_errors() {
    let _lock = lock_rng();
    let error_with_lines = |keep: &dyn Fn(&str) -> bool| {
        let (_, error) = error_after(|root| {
            let path = root.join("step-00000004/SHA256SUMS");
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().filter(|line| keep(line)).collect();
            fs::write(path, lines.join("\n")).unwrap();
        });
        let sums = "RUN/checkpoints/step-00000004/SHA256SUMS: ";
        assert!(error.starts_with(sums) && error.ends_with(HINT), "{error}");
        error
    };
    for name in ["parameters.safetensors", "optimizer.safetensors", "state.json"] {
        let error = error_with_lines(&|line| !line.ends_with(name));
        assert!(error.contains(&format!("{name} has no checksum")), "{error}");
    }
    let error = error_with_lines(&|_| false);
    assert!(error.contains("has no checksum"), "{error}");
    let (_, error) = error_after(|root| {
        let path = root.join("step-00000004/SHA256SUMS");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text + "0  /dev/zero\n").unwrap();
    });
    assert!(error.contains("SHA256SUMS: \"/dev/zero\" is not a file of this"), "{error}");
    let (_, error) = error_after(|root| {
        let path = root.join("step-00000004/task.safetensors");
        torch_ext::write_tensors(path, [("queue", &Tensor::from(1.0))], &[]).unwrap();
    });
    assert!(error.contains("SHA256SUMS: task.safetensors has no checksum"), "{error}");
}

#[test]
fn without_an_earlier_checkpoint_the_error_names_the_start() {
    let _lock = lock_rng();
    let (_, error) = error_after(|root| {
        fs::remove_dir_all(root.join("step-00000003")).unwrap();
        fs::write(root.join("step-00000004/state.json"), "{").unwrap();
    });
    let hint = "; to continue from the start, delete RUN/checkpoints/step-00000004";
    assert!(error.ends_with(hint), "{error}");
}

#[test]
fn a_checkpoint_with_the_name_of_another_step_is_an_error() {
    let _lock = lock_rng();
    let (_, error) = error_after(|root| {
        fs::rename(root.join("step-00000004"), root.join("step-00000010")).unwrap();
    });
    let text =
        "RUN/checkpoints/step-00000010/state.json: step = 4: expected 10 from the folder's name;";
    assert!(error.starts_with(text), "{error}");
}

#[test]
fn errors_of_task_state_name_the_file() {
    let _lock = lock_rng();
    let (_, error) = error_after(|root| {
        let path = root.join("step-00000004/task.safetensors");
        torch_ext::write_tensors(&path, [("queue", &Tensor::from(1.0))], &[]).unwrap();
        let sum = Sha256::digest(fs::read(path).unwrap());
        let sums = root.join("step-00000004/SHA256SUMS");
        let text = fs::read_to_string(&sums).unwrap() + &format!("{sum:x}  task.safetensors\n");
        fs::write(sums, text).unwrap();
    });
    let text = "RUN/checkpoints/step-00000004/task.safetensors: queue: this task has no state;";
    assert!(error.starts_with(text), "{error}");
}

#[test]
fn files_with_names_of_checkpoints_are_errors() {
    let _lock = lock_rng();
    for name in [".partial-x", "step-00000050"] {
        let (folder, error) = error_after(|root| fs::write(root.join(name), "").unwrap());
        let text = "not a directory, but named like a checkpoint; move or delete it";
        assert_eq!(error, format!("RUN/checkpoints/{name}: {text}"));
        fs::remove_file(folder.path().join("checkpoints").join(name)).unwrap();
        train(folder.path(), None).unwrap();
    }
}

#[test]
fn another_configuration_is_not_reported_as_damage() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), Some(4)).unwrap();
    let weight = new_weight();
    let mut task = shrink_task(&weight);
    let changed_config = TrainConfig { weight_decay: 0.5, ..toy_config() };
    let stage = stage(folder.path(), None);
    let error =
        fit(&stage, &changed_config, &parameters(&weight), &mut task).unwrap_err().to_string();
    assert!(error.contains("step-00000004: written with another configuration"), "{error}");
    // Intervals of checkpoints and logging may change.
    let changed_config = TrainConfig { checkpoint_steps: None, log_steps: 7, ..toy_config() };
    assert!(fit(&stage, &changed_config, &parameters(&weight), &mut task).unwrap().finished);
}

#[test]
fn stored_models_are_equal_after_an_interruption() {
    let _lock = lock_rng();
    let train = |folder: &Path, interrupt_after| {
        let weight = new_weight();
        let mut task = shrink_task(&weight);
        let config = TrainConfig { keep_models: true, checkpoint_steps: Some(3), ..toy_config() };
        fit(&stage(folder, interrupt_after), &config, &parameters(&weight), &mut task).unwrap();
        weight.double_value(&[])
    };
    let (uninterrupted, interrupted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let last_weight = train(uninterrupted.path(), None);
    train(interrupted.path(), Some(4)); // resumes from step 3
    train(interrupted.path(), None);
    let read_models = |folder: &Path| {
        let files = fs::read_dir(folder.join("models")).unwrap().map(|entry| entry.unwrap().path());
        let value = |path| torch_ext::read_tensors(path).unwrap()["weight"].double_value(&[]);
        let name = |path: &Path| path.file_name().unwrap().to_owned().into_string().unwrap();
        files.map(|path| (name(&path), value(path))).collect::<BTreeMap<_, _>>()
    };
    let (names, values): (Vec<_>, Vec<_>) = read_models(uninterrupted.path()).into_iter().unzip();
    assert_eq!(names, [3, 6, 9].map(|step| format!("step-{step:08}.safetensors")));
    assert!(values.is_sorted_by(|earlier, later| earlier > later), "{values:?}");
    assert_eq!(values.last(), Some(&last_weight));
    assert_eq!(read_models(uninterrupted.path()), read_models(interrupted.path()));
}

#[test]
fn one_changed_bit_is_an_error_that_names_the_file() {
    let _lock = lock_rng();
    for file in ["parameters.safetensors", "optimizer.safetensors", "task.safetensors"] {
        let (_, error) = error_after_with(train_queue_task, |root| {
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
    let (_, error) = error_after(|root| {
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
    // With the maximum rate and decay, the squares of the updated weights overflow float32.
    let config =
        TrainConfig { learning_rate: 1000.0, weight_decay: 1000.0, steps: Some(1), ..toy_config() };
    let folder = tempfile::tempdir().unwrap();
    let weight = Tensor::from_slice(&[5e14_f32, -1e15]).view([1, 2]).set_requires_grad(true);
    let trained = weight.shallow_clone();
    let mut task = ToyTask::new(6, move |_| Ok(trained.f_square()?.f_sum(Kind::Float)?));
    let error = fit(&stage(folder.path(), None), &config, &parameters(&weight), &mut task)
        .unwrap_err()
        .to_string();
    let text =
        "test, step 0: after the update, the norm of weight is not finite, so the step is not";
    assert!(error.starts_with(text) && error.contains("lower the learning rate"), "{error}");
    assert!(!folder.path().join("checkpoints").exists());
}
