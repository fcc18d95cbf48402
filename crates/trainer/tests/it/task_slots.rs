//! Several tasks in one stage: order of batches, updates, and bit-identical resumed runs.
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use rand::Rng;
use tch::{Device, Kind, Tensor};
use torch_ext::read_tensors;
use trainer::{
    AdamW, Alternating, Error, Examples, Fingerprint, FitReport, SkippedData, Step, StepLosses,
    StepMetrics, Task, TaskError, Tasks, TensorMap, TrainConfig, WeightedSum, fit,
};

use crate::common::{lock_rng, metrics_text, new_weight, parameters, stage};

/// A call of `losses`: slot, batch number, total number of batches, indices of the examples, a
/// random number from the task's generator, and a random number from libtorch's generator.
type Call = (&'static str, u64, u64, Vec<usize>, u32, f64);
type Calls = Rc<RefCell<Vec<Call>>>;

/// Loss `mean((w · x − y)²)` over a batch of points, with a running sum of losses as state.
struct LineTask {
    name: &'static str,
    weight: Tensor,
    points: Vec<(f64, f64)>,
    lengths: Vec<usize>,
    sum: f64,
    noise: f64,
    min_batch_size: usize,
    calls: Calls,
}

impl LineTask {
    fn new(name: &'static str, weight: &Tensor, calls: &Calls, count: usize, slope: f64) -> Self {
        let points = (0..count).map(|k| (1.0 + k as f64 * 0.1, slope * (1.0 + k as f64 * 0.1)));
        Self {
            name,
            weight: weight.shallow_clone(),
            points: points.collect(),
            lengths: vec![3; count],
            sum: 0.0,
            noise: 0.0,
            min_batch_size: 1,
            calls: calls.clone(),
        }
    }
}

impl Task for LineTask {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("name", self.name);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rng_draw = step.rng.random::<u32>();
        let torch_draw = Tensor::rand([], (Kind::Double, Device::Cpu)).double_value(&[]);
        self.calls.borrow_mut().push((
            self.name,
            step.batch_index,
            step.batch_count,
            step.batch.to_vec(),
            rng_draw,
            torch_draw,
        ));
        let x: Vec<f64> = step.batch.iter().map(|&k| self.points[k].0).collect();
        let y: Vec<f64> =
            step.batch.iter().map(|&k| self.points[k].1 + self.noise * torch_draw).collect();
        let residual = &self.weight * Tensor::from_slice(&x) - Tensor::from_slice(&y);
        let loss = residual.square().mean(Kind::Double);
        self.sum += loss.double_value(&[]);
        Ok(StepLosses::single("square", loss))
    }

    fn min_batch_size(&self) -> usize {
        self.min_batch_size
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        let count = if self.name == "a" { 0 } else { 2 };
        vec![SkippedData::new("points without a line", count, self.points.len())]
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        Ok(vec![("sum".into(), Tensor::from(self.sum))])
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        assert_eq!(state.len(), 1, "each task receives only its state");
        self.sum = state.get("sum").ok_or("sum is missing")?.double_value(&[]);
        Ok(())
    }
}

fn one_epoch_config() -> TrainConfig {
    TrainConfig {
        learning_rate: 1e-2,
        batch_size: 2,
        epochs: 1,
        max_grad_norm: None,
        bucket_batches: Some(1),
        log_steps: 1,
        ..TrainConfig::default()
    }
}

/// Result of a run: report, weight, each task's sum of losses, and the calls.
type RunResult = (FitReport, f64, Vec<f64>, Vec<Call>);

/// The combination of the three tasks in a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TaskMix {
    /// The tasks alternate, with these numbers of batches per round.
    Alternate([u32; 3]),
    /// The losses are summed in each step, with these weights.
    Sum([f64; 3]),
}

use TaskMix::{Alternate, Sum};

/// Trains three tasks with different slopes, and with 6, 10 and 4 points.
fn train(
    folder: &Path,
    config: &TrainConfig,
    task_mix: TaskMix,
    third_slope: f64,
    interrupt_after: Option<u64>,
) -> Result<RunResult, Error> {
    let (weight, calls) = (new_weight(), Calls::default());
    let mut tasks = [
        LineTask::new("a", &weight, &calls, 6, 2.0),
        LineTask::new("b", &weight, &calls, 10, -1.0),
        LineTask::new("c", &weight, &calls, 4, third_slope),
    ];
    tasks[1].noise = 0.3;
    let parameters = parameters(&weight);
    let names = ["a", "b", "c"];
    let tasks_of_stage: Tasks<'_> = match task_mix {
        TaskMix::Alternate(batches) => {
            let named = names.into_iter().zip(batches).zip(&mut tasks);
            named
                .fold(Alternating::new(), |builder, ((name, n), task)| builder.with(name, n, task))
                .into()
        }
        TaskMix::Sum(weights) => {
            let named = names.into_iter().zip(weights).zip(&mut tasks);
            named
                .fold(WeightedSum::new(), |builder, ((name, w), task)| builder.with(name, w, task))
                .into()
        }
    };
    let report = fit(&stage(folder, interrupt_after), config, &parameters, tasks_of_stage)?;
    let sums = tasks.iter().map(|task| task.sum).collect();
    let calls = calls.borrow().clone();
    Ok((report, weight.double_value(&[]), sums, calls))
}

fn read_metrics(folder: &Path) -> Vec<StepMetrics> {
    crate::common::metrics_lines(folder)
}

fn read_update_count(folder: &Path, step: u64) -> i64 {
    let path = folder.join(format!("checkpoints/step-{step:08}/optimizer.safetensors"));
    read_tensors(path).unwrap()["weight.updates"].int64_value(&[])
}

#[test]
fn a_round_has_an_update_for_each_task_in_order() {
    let _lock = lock_rng();
    let one_round = TrainConfig { steps: Some(3), ..one_epoch_config() };
    let (first_dir, second_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (report, first, _, calls) =
        train(first_dir.path(), &one_round, Alternate([1, 1, 1]), 0.5, None).unwrap();
    assert_eq!((report.steps, read_update_count(first_dir.path(), 3)), (3, 3));
    assert_eq!(calls.iter().map(|call| call.0).collect::<Vec<_>>(), ["a", "b", "c"]);
    // A change of the third task affects only the third step.
    let (_, second, ..) =
        train(second_dir.path(), &one_round, Alternate([1, 1, 1]), 3.5, None).unwrap();
    let (first_metrics, second_metrics) =
        (read_metrics(first_dir.path()), read_metrics(second_dir.path()));
    assert_eq!(first_metrics[..2], second_metrics[..2]);
    assert_ne!(first_metrics[2].grad_norm, second_metrics[2].grad_norm);
    assert_ne!(first, second);
    // The expected gradient of the first step is 2 · mean(x · (w x − y)) with y = 2 x and w = 0.5.
    let squares: f64 = calls[0].3.iter().map(|&k| (1.0 + k as f64 * 0.1).powi(2)).sum();
    let want = (2.0 * (0.5 - 2.0) * squares / 2.0).abs();
    assert!(
        (first_metrics[0].grad_norm - want).abs() < 1e-12,
        "{} {want}",
        first_metrics[0].grad_norm
    );
}

#[test]
fn tasks_alternate_by_batches_per_round() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    // The first task has 3 batches per epoch, 6 in two epochs: three rounds of 2 + 1 + 3.
    let two_epochs = TrainConfig { epochs: 2, ..one_epoch_config() };
    let (report, _, _, calls) =
        train(folder.path(), &two_epochs, Alternate([2, 1, 3]), 0.5, None).unwrap();
    assert_eq!(report.steps, 18);
    let order: String = calls.iter().map(|call| call.0).collect();
    assert_eq!(order, "aabccc".repeat(3));
    for (name, count, per_epoch, examples) in [("a", 6, 3, 6), ("b", 3, 5, 10), ("c", 9, 2, 4)] {
        let task_calls: Vec<&Call> = calls.iter().filter(|call| call.0 == name).collect();
        let numbers: Vec<u64> = task_calls.iter().map(|call| call.1).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<u64>>(), "{name}");
        assert!(task_calls.iter().all(|call| call.2 == count));
        // Each complete epoch of a slot has every example once.
        for epoch in task_calls.chunks_exact(per_epoch) {
            let mut indices: Vec<usize> = epoch.iter().flat_map(|call| call.3.clone()).collect();
            indices.sort_unstable();
            assert_eq!(indices, (0..examples).collect::<Vec<_>>(), "{name}");
        }
    }
    // Each batch has different random numbers.
    for (number, call) in calls.iter().enumerate() {
        assert!(calls.iter().skip(number + 1).all(|other| call.4 != other.4 && call.5 != other.5));
    }
    assert!((read_metrics(folder.path())[1].epoch - 2.0 / 3.0).abs() < 1e-15);
    assert_eq!(read_metrics(folder.path()).last().unwrap().epoch, 2.0);
    let examples: usize = calls.iter().map(|call| call.3.len()).sum();
    assert_eq!(examples, 6 * 2 + 3 * 2 + 9 * 2);
    assert_eq!(report.tokens, 3 * examples as u64);
}

#[test]
fn random_draws_of_a_task_do_not_depend_on_other_tasks() {
    let _lock = lock_rng();
    let [first_dir, second_dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let steps = TrainConfig { steps: Some(12), ..one_epoch_config() };
    let calls_of_b = |ratios| {
        let folder = if ratios == [1, 1, 1] { &first_dir } else { &second_dir };
        let calls = train(folder.path(), &steps, Alternate(ratios), 0.5, None).unwrap().3;
        let calls_of_b = calls.into_iter().filter(|call| call.0 == "b").take(2);
        calls_of_b.map(|call| (call.3, call.4, call.5)).collect::<Vec<_>>()
    };
    assert_eq!(calls_of_b([1, 1, 1]), calls_of_b([2, 1, 3]));
}

#[test]
fn a_summed_step_is_one_update_with_the_weighted_sum_of_all_gradients() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let summed = TrainConfig { steps: Some(1), learning_rate: 0.1, ..one_epoch_config() };
    let weights = [1.0, 0.25, 3.0];
    let (report, got, sums, calls) =
        train(folder.path(), &summed, Sum(weights), 0.5, None).unwrap();
    assert_eq!((report.steps, read_update_count(folder.path(), 1), calls.len()), (1, 1, 3));
    // d/dw mean((w x − y)²) = mean(2 x (w x − y)), summed over the three batches.
    let mut gradient = 0.0;
    let mut loss = 0.0;
    for (name, _, _, batch, _, torch_draw) in &calls {
        let task = ["a", "b", "c"].iter().position(|other| other == name).unwrap();
        let slope = [2.0, -1.0, 0.5][task];
        let weight = weights[task] / batch.len() as f64;
        let noise = if *name == "b" { 0.3 * torch_draw } else { 0.0 };
        for &k in batch {
            let x = 1.0 + k as f64 * 0.1;
            let residual = 0.5 * x - slope * x - noise;
            gradient += weight * 2.0 * x * residual;
            loss += weight * residual * residual;
        }
    }
    let line = &read_metrics(folder.path())[0];
    assert!((line.grad_norm - gradient.abs()).abs() < 1e-12, "{} {gradient}", line.grad_norm);
    assert!((line.loss - loss).abs() < 1e-12);
    // The parts of the loss are logged without weights.
    for (name, sum) in ["loss/a/square", "loss/b/square", "loss/c/square"].iter().zip(sums) {
        assert!((line.parts[*name] - sum).abs() < 1e-12, "{name}");
    }
    // The expected weight follows from AdamW's first update with the gradient of the summed losses.
    let weight = new_weight();
    let parameters = parameters(&weight);
    let mut optimizer = AdamW::new(&parameters, &summed).unwrap();
    (&weight * gradient).backward();
    optimizer.step(1.0).unwrap();
    assert!((weight.double_value(&[]) - got).abs() < 1e-12);
}

#[test]
fn parts_are_means_over_the_batches_with_this_part() {
    let _lock = lock_rng();
    let (fine, coarse) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let steps = TrainConfig { steps: Some(8), ..one_epoch_config() };
    train(fine.path(), &steps, Alternate([2, 1, 3]), 0.5, None).unwrap();
    train(coarse.path(), &TrainConfig { log_steps: 4, ..steps }, Alternate([2, 1, 3]), 0.5, None)
        .unwrap();
    let fine = read_metrics(fine.path());
    let names: Vec<Vec<&str>> =
        fine.iter().map(|line| line.parts.keys().map(String::as_str).collect()).collect();
    let (a, b, c) = ("loss/a/square", "loss/b/square", "loss/c/square");
    assert_eq!(names, [[a], [a], [b], [c], [c], [c], [a], [a]].map(Vec::from));
    let coarse = read_metrics(coarse.path());
    // Steps 1 to 4 are a, a, b, c; steps 5 to 8 are c, c, a, a.
    let loss = |step: usize| fine[step - 1].loss;
    let assert_close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got} {want}");
    assert_close(coarse[0].parts[a], (loss(1) + loss(2)) / 2.0);
    assert_close(coarse[0].parts[b], loss(3));
    assert_close(coarse[0].parts[c], loss(4));
    assert_close(coarse[0].loss, (1..5).map(loss).sum::<f64>() / 4.0);
    assert_close(coarse[1].parts[c], (loss(5) + loss(6)) / 2.0);
    assert_eq!(coarse[1].parts.len(), 2);
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_run_bit_for_bit() {
    let _lock = lock_rng();
    for (task_mix, changed_mixes, total) in [
        (Alternate([2, 1, 3]), [Alternate([1, 1, 3]), Sum([1.0; 3])], 36),
        (Sum([1.0, 0.5, 2.0]), [Alternate([1; 3]), Sum([1.0, 0.5, 2.5])], 12),
    ] {
        let config = TrainConfig {
            epochs: 4,
            checkpoint_steps: Some(2),
            log_steps: 3,
            warmup_ratio: 0.2,
            ..one_epoch_config()
        };
        let (uninterrupted, interrupted) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (report, weight, sums, calls) =
            train(uninterrupted.path(), &config, task_mix, 0.5, None).unwrap();
        assert_eq!((report.steps, calls.len()), (total, 36));
        // The run stops twice in the middle of a round and between checkpoints.
        assert!(!train(interrupted.path(), &config, task_mix, 0.5, Some(3)).unwrap().0.finished);
        assert!(!train(interrupted.path(), &config, task_mix, 0.5, Some(3)).unwrap().0.finished);
        let (resumed, got, got_sums, _) =
            train(interrupted.path(), &config, task_mix, 0.5, None).unwrap();
        assert_eq!((got.to_bits(), got_sums), (weight.to_bits(), sums), "{task_mix:?}");
        assert_eq!((resumed.tokens, resumed.final_loss), (report.tokens, report.final_loss));
        assert_eq!(metrics_text(uninterrupted.path()), metrics_text(interrupted.path()));
        let task_tensors = |folder: &Path| {
            let last = folder.join(format!("checkpoints/step-{total:08}/task.safetensors"));
            read_tensors(last).unwrap().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(task_tensors(interrupted.path()), ["a/sum", "b/sum", "c/sum"]);

        // A run with other ratios or weights has another configuration and cannot resume.
        for changed_mix in changed_mixes {
            let error = train(interrupted.path(), &config, changed_mix, 0.5, None).unwrap_err();
            assert!(error.to_string().contains("another configuration"), "{error}");
        }
    }
}

#[test]
fn one_slot_equals_a_single_task() {
    let _lock = lock_rng();
    let config = TrainConfig { epochs: 3, log_steps: 2, ..one_epoch_config() };
    let [plain, slot] = [false, true].map(|slots| {
        let (folder, weight) = (tempfile::tempdir().unwrap(), new_weight());
        let calls = Calls::default();
        let mut task = LineTask::new("a", &weight, &calls, 7, 2.0);
        task.noise = 0.2;
        let parameters = parameters(&weight);
        let stage = stage(folder.path(), None);
        let report = if slots {
            let tasks = Alternating::new().with("any name/at all", 1, &mut task);
            fit(&stage, &config, &parameters, tasks)
        } else {
            fit(&stage, &config, &parameters, &mut task)
        };
        assert_eq!(report.unwrap().steps, 12);
        let last = folder.path().join("checkpoints/step-00000012");
        let read = |file: &str| std::fs::read(last.join(file)).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&read("state.json")).unwrap();
        let files =
            ["parameters.safetensors", "optimizer.safetensors", "task.safetensors"].map(read);
        let metrics = metrics_text(folder.path());
        assert!(metrics.contains("\"loss/square\""));
        let calls = calls.borrow().clone();
        (files, metrics, calls, state["fingerprint"].clone())
    });
    assert!(plain == slot);
}

#[test]
fn errors_name_invalid_slots() {
    let _lock = lock_rng();
    let (folder, weight, calls) = (tempfile::tempdir().unwrap(), new_weight(), Calls::default());
    let parameters = parameters(&weight);
    let stage = stage(folder.path(), None);
    let error_of = |names: [&str; 2], per_round: u32, points: usize| {
        let first_task = LineTask::new("one", &weight, &calls, 4, 1.0);
        let second_task = LineTask::new("other", &weight, &calls, points, 1.0);
        let tasks =
            Alternating::new().with(names[0], 1, first_task).with(names[1], per_round, second_task);
        fit(&stage, &one_epoch_config(), &parameters, tasks).unwrap_err().to_string()
    };
    assert_eq!(error_of(["one", "other"], 1, 0), "test, other: no examples");
    assert!(error_of(["one", "other"], 0, 2).starts_with("tasks[1].batches_per_round = 0"));
    assert!(error_of(["one", "one"], 1, 2).starts_with("tasks[1].name = \"one\""));
    assert!(error_of(["", "one"], 1, 2).starts_with("tasks[0].name = \"\""));
    assert!(error_of(["one", "o/ther"], 1, 2).starts_with("tasks[1].name = \"o/ther\""));
    let empty_sum = fit(&stage, &one_epoch_config(), &parameters, WeightedSum::new());
    assert_eq!(empty_sum.unwrap_err().to_string(), "tasks = []: must contain at least one task");
    for task_weight in [-1.0, f64::NAN, f64::INFINITY] {
        let first_task = LineTask::new("one", &weight, &calls, 4, 1.0);
        let sum = WeightedSum::new().with("one", task_weight, first_task);
        let error = fit(&stage, &one_epoch_config(), &parameters, sum).unwrap_err().to_string();
        assert!(error.starts_with("tasks[0].weight = "), "{error}");
    }
    // A weight of 0 disables the only task, and a stage without tasks is an error.
    let sum = WeightedSum::new().with("one", 0.0, LineTask::new("one", &weight, &calls, 4, 1.0));
    assert!(fit(&stage, &one_epoch_config(), &parameters, sum).is_err());
    assert!(calls.borrow().is_empty());
}

#[test]
fn skipped_data_of_tasks_is_written() {
    let _lock = lock_rng();
    let (several, single) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one_round = TrainConfig { steps: Some(3), ..one_epoch_config() };
    train(several.path(), &one_round, Alternate([1, 1, 1]), 0.5, None).unwrap();
    let read_skipped_data = |folder: &Path| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join("left-out.json")).unwrap())
            .unwrap()
    };
    let what = "points without a line";
    let want = serde_json::json!([
        {"task": "a", "what": what, "count": 0, "of": 6},
        {"task": "b", "what": what, "count": 2, "of": 10},
        {"task": "c", "what": what, "count": 2, "of": 4},
    ]);
    assert_eq!(read_skipped_data(several.path()), want);
    // In a stage with a single task, the records contain no task name.
    let (weight, calls) = (new_weight(), Calls::default());
    let parameters = parameters(&weight);
    let mut task = LineTask::new("b", &weight, &calls, 10, 1.0);
    fit(&stage(single.path(), None), &one_round, &parameters, &mut task).unwrap();
    assert_eq!(
        read_skipped_data(single.path()),
        serde_json::json!([{"what": what, "count": 2, "of": 10}])
    );
}

/// Trains a task with batch negatives and returns the sizes of the first epoch's batches.
fn train_with_batch_negatives(batch_size: usize, count: usize) -> Result<Vec<usize>, Error> {
    let (folder, weight) = (tempfile::tempdir().unwrap(), new_weight());
    let calls = Calls::default();
    let mut task = LineTask::new("pairs", &weight, &calls, count, 2.0);
    task.min_batch_size = 2;
    let config = TrainConfig { batch_size, ..one_epoch_config() };
    fit(&stage(folder.path(), None), &config, &parameters(&weight), &mut task)?;
    let mut sizes: Vec<usize> = calls.borrow().iter().map(|call| call.3.len()).collect();
    sizes.sort_unstable();
    Ok(sizes)
}

#[test]
fn a_task_with_batch_negatives_has_no_batch_of_one_example() {
    let _lock = lock_rng();
    assert_eq!(train_with_batch_negatives(4, 9).unwrap(), [4, 5]);
    assert_eq!(train_with_batch_negatives(4, 10).unwrap(), [2, 4, 4]);
    let error = train_with_batch_negatives(1, 9).unwrap_err().to_string();
    assert!(error.contains("batch_size = 1: must be 2 or more"), "{error}");
    let error = train_with_batch_negatives(4, 1).unwrap_err().to_string();
    assert!(error.contains("number of examples = 1: must be 2 or more"), "{error}");
}

#[test]
fn batches_with_negatives_from_the_batch_are_not_sorted_by_length_by_default() {
    let _lock = lock_rng();
    let sorted_batches = |min_batch_size: usize, bucket_batches: Option<usize>| {
        let (folder, weight) = (tempfile::tempdir().unwrap(), new_weight());
        let calls = Calls::default();
        let mut task = LineTask::new("pairs", &weight, &calls, 64, 2.0);
        task.lengths = (0..64).collect();
        task.min_batch_size = min_batch_size;
        let config = TrainConfig { batch_size: 8, bucket_batches, ..one_epoch_config() };
        fit(&stage(folder.path(), None), &config, &parameters(&weight), &mut task).unwrap();
        let calls = calls.borrow();
        assert_eq!(calls.len(), 8);
        calls.iter().filter(|call| call.3.is_sorted()).count()
    };
    // Buckets of a quarter of the epoch: two batches of eight examples, sorted by length.
    assert_eq!(sorted_batches(1, None), 8);
    assert_eq!(sorted_batches(2, None), 0);
    assert_eq!(sorted_batches(2, Some(50)), 8);
    assert_eq!(sorted_batches(1, Some(1)), 0);
}
