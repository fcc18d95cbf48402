//! bfloat16, loss scaling, and steps with non-finite losses or gradients.
use std::path::Path;

use crate::common::{lock_rng, metrics_lines, metrics_text, stage, toy_config};
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use trainer::{
    Error, ExampleRecord, Examples, Fingerprint, LossScaler, MicroBatch, Precision, Stage, Step,
    StepLosses, Task, TaskError, TrainConfig, WeightedLoss, accumulate, fit,
};

/// Failure that a task simulates.
#[derive(Clone, Copy, Default)]
enum Failure {
    #[default]
    None,
    /// The loss of every step is multiplied by this factor.
    LargeLoss(f64),
    /// The gradient of `second` is NaN from this step on.
    NanGradient(u64),
    /// The losses of all steps before this step are infinite.
    InfiniteLoss(u64),
}

/// Regression with the product of two matrices, `x · first · second`, whose matmuls run under
/// autocast.
struct Product {
    first: Tensor,
    second: Tensor,
    failure: Failure,
    micro_batches: bool,
    lengths: Vec<usize>,
}

impl Product {
    fn new(failure: Failure) -> Self {
        let parameter = |scale: f64| {
            let tensor = Tensor::arange(64, (Kind::Float, Device::Cpu)).sin() * scale;
            tensor.view([8, 8]).detach().set_requires_grad(true)
        };
        let (first, second) = (parameter(0.3), parameter(0.7));
        Self { first, second, failure, micro_batches: false, lengths: vec![8; 12] }
    }

    fn parameters(&self) -> Vec<(String, Tensor)> {
        let named = [("first", &self.first), ("second", &self.second)];
        named.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).into()
    }

    fn loss(&self, example: usize, batch_index: u64) -> Tensor {
        let x = Tensor::full([1, 8], example as f64 * 0.1, (Kind::Float, Device::Cpu));
        let x = x + Tensor::rand([1, 8], (Kind::Float, Device::Cpu));
        let y = x.matmul(&self.first).matmul(&self.second);
        let loss = (y.to_kind(Kind::Float) - 1.0).square().mean(Kind::Float);
        match self.failure {
            Failure::LargeLoss(factor) => loss * factor,
            // The added term is 0, and its gradient is inf * 0 = NaN.
            Failure::NanGradient(first_step) if batch_index >= first_step => {
                loss + (&self.second * 0.0).sqrt().sum(Kind::Float)
            }
            Failure::InfiniteLoss(end_step) if batch_index < end_step => loss / 0.0,
            _ => loss,
        }
    }
}

impl Task for Product {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("name", "line");
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let weight = 1.0 / step.batch.len() as f64;
        if self.micro_batches {
            return accumulate(&step.context, &MicroBatch::cut(step.batch, 1), |examples| {
                let losses = examples.iter().map(|&example| self.loss(example, step.batch_index));
                let loss = losses.reduce(|sum, loss| sum + loss).ok_or("no examples")? * weight;
                Ok(vec![WeightedLoss { name: "line", weight: 1.0, loss }])
            });
        }
        let losses = step.batch.iter().map(|&example| self.loss(example, step.batch_index));
        let sum = losses.reduce(|sum, loss| sum + loss).ok_or("no examples")?;
        Ok(StepLosses::single("line", sum * weight))
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let id = Some(format!("point {index}"));
        ExampleRecord { id, input_ids: vec![0, index as u32, 2] }
    }
}

/// Trains, and returns the parameters or the error.
fn train(stage: &Stage, mut task: Product) -> Result<Vec<Tensor>, Error> {
    let parameters = task.parameters();
    fit(stage, &toy_config(), &parameters, &mut task)?;
    Ok(parameters.iter().map(|(_, tensor)| tensor.copy()).collect())
}

fn train_in_folder(change: impl Fn(Stage) -> Stage, task: Product) -> Result<Vec<Tensor>, Error> {
    let folder = tempfile::tempdir().unwrap();
    train(&change(stage(folder.path(), None)), task)
}

fn train_plain() -> Vec<Tensor> {
    train_in_folder(|stage| stage, Product::new(Failure::None)).unwrap()
}

#[test]
fn loss_scaling_does_not_change_results() {
    let _lock = lock_rng();
    let scaled_stage = |stage: Stage| stage.with_loss_scaler(LossScaler::default());
    assert_eq!(train_in_folder(scaled_stage, Product::new(Failure::None)).unwrap(), train_plain());
    let micro_batch_task = || Product { micro_batches: true, ..Product::new(Failure::None) };
    let unscaled = train_in_folder(|stage| stage, micro_batch_task()).unwrap();
    assert_eq!(train_in_folder(scaled_stage, micro_batch_task()).unwrap(), unscaled);
}

#[test]
fn steps_with_a_too_large_scale_are_skipped_also_after_resuming() {
    let _lock = lock_rng();
    let (uninterrupted, interrupted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let scaled_stage =
        |folder: &Path, steps| stage(folder, steps).with_loss_scaler(LossScaler::default());
    // The squares of the gradients overflow float32 until the scale is small enough.
    let task = || Product::new(Failure::LargeLoss(1e15));
    let want = train(&scaled_stage(uninterrupted.path(), None), task()).unwrap();
    let parameters_after_skips = train(&scaled_stage(interrupted.path(), Some(2)), task()).unwrap();
    let initial = Product::new(Failure::None);
    assert_eq!(parameters_after_skips, [initial.first.copy(), initial.second.copy()]);
    for steps in [3, 4] {
        train(&scaled_stage(interrupted.path(), Some(steps)), task()).unwrap();
    }
    assert_eq!(train(&scaled_stage(interrupted.path(), None), task()).unwrap(), want);
    assert_eq!(metrics_text(uninterrupted.path()), metrics_text(interrupted.path()));
    assert_ne!(want, parameters_after_skips);
    let lines = metrics_lines::<Value>(uninterrupted.path());
    let scales: Vec<f64> = lines.iter().map(|line| line["loss_scale"].as_f64().unwrap()).collect();
    assert!(scales.first() > scales.last() && scales.last() > Some(&1.0), "{scales:?}");
    for line in &lines {
        assert!(line["loss"].as_f64() > Some(0.0) && !line["parts"]["loss/line"].is_null());
        assert_eq!(line["grad_norm"].is_null(), line.get("skipped") == Some(&true.into()));
    }
    // The schedule does not depend on skipped steps.
    let plain = tempfile::tempdir().unwrap();
    train(&stage(plain.path(), None), Product::new(Failure::None)).unwrap();
    let rates = |lines: Vec<Value>| -> Vec<f64> {
        lines.iter().map(|line| line["learning_rate"].as_f64().unwrap()).collect()
    };
    let plain_rates = rates(metrics_lines(plain.path()));
    assert!(plain_rates.first() != plain_rates.last(), "{plain_rates:?}");
    assert_eq!(rates(metrics_lines(uninterrupted.path())), plain_rates);
    // All steps of the first line of metrics were skipped; the step of the last line was not
    // skipped.
    assert_eq!(lines.first().unwrap()["skipped"], true, "{lines:?}");
    assert!(lines.last().unwrap().get("skipped").is_none(), "{lines:?}");
}

#[test]
fn the_loss_of_a_skipped_step_counts_only_if_it_is_finite() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let scaled_stage = stage(folder.path(), None).with_loss_scaler(LossScaler::default());
    // Each line of metrics covers two steps. The first line has two infinite losses, the second
    // line one, and the third line none.
    train(&scaled_stage, Product::new(Failure::InfiniteLoss(3))).unwrap();
    let lines = metrics_lines::<Value>(folder.path());
    let lines = &lines[..3];
    let skipped = |line: &Value| line.get("skipped").is_some();
    assert_eq!(lines.iter().map(skipped).collect::<Vec<_>>(), [true, false, false]);
    assert!(lines[0]["loss"].is_null(), "{}", lines[0]);
    assert!(lines[1]["loss"].is_f64() && lines[2]["loss"].is_f64(), "{lines:?}");
}

#[test]
fn a_persistent_nan_gradient_is_an_error_at_scale_1() {
    let _lock = lock_rng();
    let scaled_stage = |stage: Stage| stage.with_loss_scaler(LossScaler::default());
    let error = train_in_folder(scaled_stage, Product::new(Failure::NanGradient(0))).unwrap_err();
    assert!(matches!(error, Error::NotFinite { step: 16, .. }), "{error}");
}

#[test]
fn the_error_of_a_nan_gradient_names_parameter_and_batch() {
    let _lock = lock_rng();
    let folder = tempfile::tempdir().unwrap();
    let error = train(&stage(folder.path(), None), Product::new(Failure::NanGradient(3)));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("test, step 3: gradient norm (of second) is NaN"), "{text}");
    assert!(text.contains("with examples point ") && text.contains("not-finite.json"), "{text}");
    let report = std::fs::read_to_string(folder.path().join("not-finite.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["step"], &report["parameters"]), (&3.into(), &vec!["second"].into()));
    assert!(report["losses"]["loss"].as_str().unwrap().parse::<f64>().unwrap().is_finite());
    let examples = report["batches"][0]["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let index = example["index"].as_u64().unwrap();
        assert_eq!(example["id"], format!("point {index}"));
        assert_eq!(example["input_ids"], serde_json::json!([0, index, 2]));
        assert!(text.contains(&format!("point {index}")), "{text}");
    }
    assert!(folder.path().join("checkpoints/step-00000003").exists());
}

#[test]
fn bfloat16_resumes_bit_for_bit_and_is_part_of_the_fingerprint() {
    let _lock = lock_rng();
    let (uninterrupted, interrupted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bf16_stage =
        |folder: &Path, steps: Option<u64>| stage(folder, steps).with_precision(Precision::Bf16);
    let task = || Product::new(Failure::None);
    let want = train(&bf16_stage(uninterrupted.path(), None), task()).unwrap();
    for steps in [2, 1, 5] {
        train(&bf16_stage(interrupted.path(), Some(steps)), task()).unwrap();
    }
    assert_eq!(train(&bf16_stage(interrupted.path(), None), task()).unwrap(), want);
    assert_eq!(metrics_text(uninterrupted.path()), metrics_text(interrupted.path()));
    let f32_parameters = train_plain();
    for (bf16_parameter, f32_parameter) in want.iter().zip(&f32_parameters) {
        assert_ne!(bf16_parameter, f32_parameter);
        assert_eq!(bf16_parameter.kind(), Kind::Float);
        let error = (bf16_parameter - f32_parameter).abs().max().double_value(&[]);
        assert!(error < 0.05, "{error}");
    }
    let error = train(&stage(interrupted.path(), None), task()).unwrap_err().to_string();
    assert!(error.contains("another configuration"), "{error}");
}

#[test]
fn float16_on_a_cpu_and_unsupported_micro_batches_are_rejected() {
    let f16_stage = |stage: Stage| stage.with_precision(Precision::F16);
    let error = train_in_folder(f16_stage, Product::new(Failure::None)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("precision = f16: needs a CUDA device, and the model is on Cpu"));
    let folder = tempfile::tempdir().unwrap();
    let mut task = Product::new(Failure::None);
    let config = TrainConfig { micro_batch: Some(2), ..toy_config() };
    let error = fit(&stage(folder.path(), None), &config, &task.parameters(), &mut task);
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("micro_batch = 2: must be absent"), "{text}");
    assert!(TrainConfig { micro_batch: Some(0), ..config }.validate().is_err());
}
