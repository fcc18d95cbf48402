//! Calls of `epoch_ended` in complete and interrupted runs.
use std::path::Path;

use crate::common::{lock_rng, new_weight, parameters, stage, toy_config};
use tch::Tensor;
use trainer::{
    Alternating, Error, Examples, Fingerprint, FitReport, Step, StepLosses, Task, TaskError, Tasks,
    TensorMap, TrainConfig, WeightedSum, fit,
};

/// Minimises the square of a weight; records epoch, batch count and weight at the end of each
/// epoch.
struct RecordingTask {
    weight: Tensor,
    lengths: Vec<usize>,
    batches: u64,
    records: Vec<(u64, u64, f64)>,
    /// The epoch at whose end the task fails.
    failing_epoch: Option<u64>,
}

impl RecordingTask {
    fn new(weight: &Tensor, examples: usize) -> Self {
        let (lengths, records) = (vec![1; examples], Vec::new());
        Self { weight: weight.shallow_clone(), lengths, batches: 0, records, failing_epoch: None }
    }
}

impl Task for RecordingTask {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("lengths", &self.lengths);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        assert_eq!(step.batch_index, self.batches);
        self.batches += 1;
        Ok(StepLosses::single("square", self.weight.f_square()?))
    }

    fn epoch_ended(&mut self, epoch: u64) -> Result<(), TaskError> {
        if self.failing_epoch == Some(epoch) {
            return Err("the disk is full".into());
        }
        self.records.push((epoch, self.batches, self.weight.double_value(&[])));
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        let records =
            self.records.iter().flat_map(|record| [record.0 as f64, record.1 as f64, record.2]);
        let state: Vec<f64> = [self.batches as f64].into_iter().chain(records).collect();
        Ok(vec![("notes".into(), Tensor::from_slice(&state))])
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        let state = Vec::<f64>::try_from(&state["notes"])?;
        self.batches = state[0] as u64;
        let records = state[1..].chunks_exact(3);
        self.records =
            records.map(|record| (record[0] as u64, record[1] as u64, record[2])).collect();
        Ok(())
    }
}

/// Result of a run: report, weight, and the records of both tasks.
type RunResult = (FitReport, f64, [Vec<(u64, u64, f64)>; 2]);

/// Alternates two tasks with 3 and 2 batches per epoch; a round has one batch of the first task and
/// two batches of the second task.
fn alternate(
    folder: &Path,
    config: &TrainConfig,
    interrupt_after: Option<u64>,
) -> Result<RunResult, Error> {
    run_both(folder, config, false, interrupt_after)
}

/// Trains the two tasks alternately, or with summed losses.
fn run_both(
    folder: &Path,
    config: &TrainConfig,
    summed: bool,
    interrupt_after: Option<u64>,
) -> Result<RunResult, Error> {
    let weight = new_weight();
    let mut tasks = [RecordingTask::new(&weight, 5), RecordingTask::new(&weight, 4)];
    let [first, second] = &mut tasks;
    let tasks_of_stage: Tasks<'_> = match summed {
        true => WeightedSum::new().with("first", 1.0, first).with("second", 1.0, second).into(),
        false => Alternating::new().with("first", 1, first).with("second", 2, second).into(),
    };
    let parameters = parameters(&weight);
    let report = fit(&stage(folder, interrupt_after), config, &parameters, tasks_of_stage)?;
    let report_without_time = FitReport { seconds: 0.0, ..report };
    Ok((report_without_time, weight.double_value(&[]), tasks.map(|task| task.records)))
}

fn epochs_and_batches(records: &[(u64, u64, f64)]) -> Vec<(u64, u64)> {
    records.iter().map(|&(epoch, batches, _)| (epoch, batches)).collect()
}

#[test]
fn every_epoch_ends_once_after_its_last_update() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let (report, weight, [first, second]) = alternate(folder.path(), &toy_config(), None).unwrap();
    // 9 batches of the first task, 18 of the second.
    assert_eq!(report.steps, 27);
    assert_eq!(epochs_and_batches(&first), [(0, 3), (1, 6), (2, 9)]);
    assert_eq!(epochs_and_batches(&second), (0..9).map(|k| (k, 2 * k + 2)).collect::<Vec<_>>());
    // The second task has the last step, so its last record contains the final weight.
    assert_eq!(second.last().unwrap().2, weight);
    assert!(first.last().unwrap().2 > weight);
}

#[test]
fn the_end_of_the_stage_ends_an_epoch() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    // A round has 3 steps, so 11 steps have 4 batches of the first task and 7 of the second.
    let config = TrainConfig { steps: Some(11), ..toy_config() };
    let (_, _, [first, second]) = alternate(folder.path(), &config, None).unwrap();
    assert_eq!(epochs_and_batches(&first), [(0, 3), (1, 4)]);
    assert_eq!(epochs_and_batches(&second), [(0, 2), (1, 4), (2, 6), (3, 7)]);
}

#[test]
fn summed_batches_end_their_epochs_after_the_common_update() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let (_, _, [first, second]) = run_both(folder.path(), &toy_config(), true, None).unwrap();
    assert_eq!(epochs_and_batches(&first), [(0, 3), (1, 6), (2, 9)]);
    assert_eq!(epochs_and_batches(&second), [(0, 2), (1, 4), (2, 6), (3, 8), (4, 9)]);
    assert_eq!(first[1].2, second[2].2);
    assert_eq!(first[2].2, second[4].2);
}

#[test]
fn an_interruption_at_any_step_neither_repeats_nor_skips_calls() {
    let _lock = lock_rng();
    for summed in [false, true] {
        for checkpoint_steps in [1, 4] {
            let config = TrainConfig { checkpoint_steps: Some(checkpoint_steps), ..toy_config() };
            let run =
                |folder: &Path, interrupt_after| run_both(folder, &config, summed, interrupt_after);
            let folder = tempfile::tempdir().unwrap();
            let want = run(folder.path(), None).unwrap();
            let log = crate::common::metrics_text(folder.path());
            for step in 1..=want.0.steps {
                let folder = tempfile::tempdir().unwrap();
                let (report, ..) = run(folder.path(), Some(step)).unwrap();
                assert_eq!(report.steps, step);
                assert_eq!(run(folder.path(), None).unwrap(), want, "at {step}");
                assert_eq!(crate::common::metrics_text(folder.path()), log, "at {step}");
                // A finished run does not repeat calls.
                assert_eq!(run(folder.path(), None).unwrap(), want, "at {step}");
            }
        }
    }
}

#[test]
fn an_error_at_an_epochs_end_stops_before_the_checkpoint() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let weight = new_weight();
    let mut task = RecordingTask { failing_epoch: Some(1), ..RecordingTask::new(&weight, 5) };
    let stage = stage(folder.path(), None);
    let error = trainer::fit(&stage, &toy_config(), &parameters(&weight), &mut task).unwrap_err();
    assert_eq!(error.to_string(), "test, step 5: the disk is full");
    assert!(stage.checkpoints().join("step-00000005").is_dir());
    assert!(!stage.checkpoints().join("step-00000006").exists());
}
