//! Streamed examples: batches, epochs, tokens, and resuming at the stream's position.
use std::path::Path;

use crate::common::{
    lock_rng, metrics_lines, metrics_text, new_weight, parameters, stage, toy_config,
};
use crate::memory_source::MemorySource;
use rand::Rng;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use trainer::{
    Alternating, Error, ExampleSource, ExampleStream, Examples, Fingerprint, FitReport,
    ShardedJsonl, Shards, ShuffleConfig, Stage, Step, StepLosses, StepMetrics, Task, TaskError,
    TensorMap, TrainConfig, fit,
};

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Point {
    x: f64,
    tokens: usize,
}

fn points(count: usize) -> Vec<Point> {
    (0..count).map(|k| Point { x: 1.0 + k as f64 * 0.1, tokens: 3 + k }).collect()
}

/// Loss `mean((w x − 2 x + noise)²)` over streamed points, which are recorded.
struct StreamTask<S: ExampleSource> {
    weight: Tensor,
    stream: ExampleStream<S>,
    /// The x of every example so far, and a 0 at the end of every epoch.
    recorded: Vec<f64>,
}

impl<S: ExampleSource<Example = Point>> StreamTask<S> {
    fn new(weight: &Tensor, source: S) -> Self {
        let stream = ExampleStream::new(source, |point: &Point| point.tokens);
        Self { weight: weight.shallow_clone(), stream, recorded: Vec::new() }
    }
}

impl<S: ExampleSource<Example = Point>> Task for StreamTask<S> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Streamed(&mut self.stream)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.stream.fingerprint(fingerprint);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let x: Vec<f64> = self.stream.batch().iter().map(|point| point.x).collect();
        assert_eq!(step.batch, (0..x.len()).collect::<Vec<_>>());
        self.recorded.extend(&x);
        let noise = Tensor::rand([], (Kind::Double, Device::Cpu)) + step.rng.random::<f64>();
        let x = Tensor::from_slice(&x);
        let residual = &x * &self.weight - &x * 2.0 + noise * 0.1;
        Ok(StepLosses::single("square", residual.square().mean(Kind::Double)))
    }

    fn epoch_ended(&mut self, _: u64) -> Result<(), TaskError> {
        self.recorded.push(0.0);
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        Ok(vec![("seen".into(), Tensor::from_slice(&self.recorded))])
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        self.recorded = Vec::try_from(&state["seen"])?;
        Ok(())
    }
}

/// Result of a run: report, bits of the weight, and recorded values of x.
type RunResult = (FitReport, u64, Vec<f64>);

fn train<S: ExampleSource<Example = Point>>(
    stage: &Stage,
    config: &TrainConfig,
    source: S,
) -> Result<RunResult, Error> {
    let weight = new_weight();
    let mut task = StreamTask::new(&weight, source);
    let report = fit(stage, config, &parameters(&weight), &mut task)?;
    let report = FitReport { seconds: 0.0, ..report };
    Ok((report, weight.double_value(&[]).to_bits(), task.recorded))
}

fn write_points(path: &Path, points: &[Point]) {
    let lines = points.iter().map(|point| serde_json::to_string(point).unwrap() + "\n");
    std::fs::write(path, lines.collect::<String>()).unwrap();
}

/// Returns a source of the lines of a file in order; blocks of one line are not shuffled.
fn ordered_source(path: &Path) -> ShardedJsonl<Point> {
    let config = ShuffleConfig { lines: 1, ..ShuffleConfig::default() };
    ShardedJsonl::new(Shards::open([path]).unwrap(), config).unwrap()
}

fn logged_epochs(folder: &Path) -> Vec<f64> {
    metrics_lines::<StepMetrics>(folder).iter().map(|line| line.epoch).collect()
}

#[test]
fn every_epoch_reads_a_file_in_order() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("points.jsonl");
    write_points(&path, &points(5));
    let config = TrainConfig { log_steps: 1, ..toy_config() };
    let source = ordered_source(&path);
    let (report, _, recorded) = train(&stage(folder.path(), None), &config, source).unwrap();
    // An epoch has batches of 2, 2 and 1 examples, whose lengths are 3 to 7 tokens.
    assert_eq!((report.steps, report.tokens), (9, 3 * (3 + 4 + 5 + 6 + 7)));
    let epoch: Vec<f64> = points(5).iter().map(|point| point.x).chain([0.0]).collect();
    assert_eq!(recorded, epoch.repeat(3));
    let logged = logged_epochs(folder.path());
    assert!((logged[0] - 1.0 / 3.0).abs() < 1e-15 && logged[2] == 1.0 && logged[8] == 3.0);
}

#[test]
fn each_epoch_has_a_different_order_that_depends_on_the_seed() {
    let _lock = lock_rng();
    let record_with_seed = |seed| {
        let folder = tempfile::tempdir().unwrap();
        let config = TrainConfig { seed, ..toy_config() };
        train(&stage(folder.path(), None), &config, MemorySource::new(points(8))).unwrap().2
    };
    let recorded = record_with_seed(1);
    let epochs: Vec<&[f64]> = recorded.split(|x| *x == 0.0).take(3).collect();
    assert!(epochs.iter().all(|epoch| epoch.len() == 8));
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
    assert_eq!(record_with_seed(1), recorded);
    assert_ne!(record_with_seed(2), recorded);
}

#[test]
fn an_interruption_at_any_step_changes_nothing() {
    let _lock = lock_rng();
    let data_folder = tempfile::tempdir().unwrap();
    let path = data_folder.path().join("points.jsonl");
    write_points(&path, &points(7));
    let run = |in_memory: bool, folder: &Path, config: &TrainConfig, interrupt_after| {
        let stage = stage(folder, interrupt_after);
        let result = match in_memory {
            true => train(&stage, config, MemorySource::new(points(7))),
            false => train(&stage, config, ordered_source(&path)),
        };
        result.unwrap()
    };
    for in_memory in [false, true] {
        for checkpoint_steps in [1, 3] {
            let config = TrainConfig { checkpoint_steps: Some(checkpoint_steps), ..toy_config() };
            let folder = tempfile::tempdir().unwrap();
            let want = run(in_memory, folder.path(), &config, None);
            let log = metrics_text(folder.path());
            for step in 1..=want.0.steps {
                let folder = tempfile::tempdir().unwrap();
                assert_eq!(run(in_memory, folder.path(), &config, Some(step)).0.steps, step);
                let resumed = run(in_memory, folder.path(), &config, None);
                assert_eq!(resumed, want, "in memory: {in_memory}, at step {step}");
                assert_eq!(metrics_text(folder.path()), log);
            }
            // The run is interrupted after every `checkpoint_steps` steps.
            let folder = tempfile::tempdir().unwrap();
            while !run(in_memory, folder.path(), &config, Some(checkpoint_steps)).0.finished {}
            assert_eq!(run(in_memory, folder.path(), &config, None), want);
            assert_eq!(metrics_text(folder.path()), log);
        }
    }
}

/// A source of unknown length.
struct UnknownLength(MemorySource<Point>);

impl ExampleSource for UnknownLength {
    type Example = Point;
    type Position = usize;

    fn start_epoch(&mut self, epoch: u64, rng: rand_chacha::ChaCha8Rng) -> Result<(), TaskError> {
        self.0.start_epoch(epoch, rng)
    }

    fn next_example(&mut self) -> Result<Option<Point>, TaskError> {
        self.0.next_example()
    }

    fn position(&self) -> usize {
        self.0.position()
    }

    fn seek(&mut self, position: usize) -> Result<(), TaskError> {
        self.0.seek(position)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.0.fingerprint(fingerprint);
    }
}

#[test]
fn a_stream_of_unknown_length_needs_a_number_of_steps() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let source = |count| UnknownLength(MemorySource::new(points(count)));
    let error = train(&stage(folder.path(), None), &toy_config(), source(5)).unwrap_err();
    assert!(error.to_string().starts_with("steps = none: must be set"), "{error}");
    let config = TrainConfig { steps: Some(7), log_steps: 1, ..toy_config() };
    let (report, _, recorded) = train(&stage(folder.path(), None), &config, source(5)).unwrap();
    assert_eq!((report.steps, recorded.len()), (7, 5 + 1 + 5 + 1 + 2 + 1));
    assert_eq!(logged_epochs(folder.path()), [0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
    let folder = tempfile::tempdir().unwrap();
    let error = train(&stage(folder.path(), None), &config, source(0)).unwrap_err();
    assert_eq!(error.to_string(), "test: no examples");
}

#[test]
fn streams_of_known_and_unknown_length_alternate() {
    let _lock = lock_rng();
    let run = |folder: &Path, interrupt_after| {
        let weight = new_weight();
        let mut first = StreamTask::new(&weight, MemorySource::new(points(5)));
        let mut second = StreamTask::new(&weight, UnknownLength(MemorySource::new(points(3))));
        let tasks = Alternating::new().with("first", 1, &mut first).with("second", 1, &mut second);
        let report =
            fit(&stage(folder, interrupt_after), &toy_config(), &parameters(&weight), tasks)
                .unwrap();
        (report.steps, weight.double_value(&[]).to_bits(), first.recorded, second.recorded)
    };
    let folder = tempfile::tempdir().unwrap();
    let want = run(folder.path(), None);
    assert_eq!((want.0, want.2.len(), want.3.len()), (18, 18, 12 + 4 + 2 + 1));
    for step in 1..18 {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), Some(step));
        assert_eq!(run(folder.path(), None), want, "at step {step}");
    }
}

#[test]
fn changed_data_is_an_error() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("points.jsonl");
    let train_on = |points: &[Point], interrupt_after| {
        write_points(&path, points);
        let source = ordered_source(&path);
        train(&stage(folder.path(), interrupt_after), &toy_config(), source)
    };
    train_on(&points(5), Some(2)).unwrap();
    let mut changed_points = points(5);
    changed_points[4].x += 1.0;
    let error = train_on(&changed_points, None).unwrap_err().to_string();
    assert!(error.contains("other data"), "{error}");
    train_on(&points(5), None).unwrap();
}

#[test]
fn an_unreadable_line_names_file_line_and_step() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("points.jsonl");
    std::fs::write(&path, "{\"x\": 1.0, \"tokens\": 2}\n{\"x\": 1.0}\n").unwrap();
    let source = ordered_source(&path);
    let error = train(&stage(folder.path(), None), &toy_config(), source).unwrap_err().to_string();
    assert!(error.starts_with("test, step 0: "), "{error}");
    assert!(error.contains("points.jsonl: line 2, column 10: missing field"), "{error}");
}
