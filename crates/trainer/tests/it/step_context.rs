//! Gradients that a task accumulates itself have the task's weight and the loss scale, and a task
//! that loses them is rejected.
use tch::Tensor;
use trainer::{
    Alternating, Examples, Fingerprint, LossScaler, Step, StepLosses, Task, TaskError, Tasks,
    TrainConfig, WeightedSum, fit,
};

use crate::common::{lock_rng, stage};

/// How the task computes the gradients of its loss.
#[derive(Clone, Copy, PartialEq)]
enum Backward {
    /// The trainer computes them.
    Trainer,
    /// The task calls `Step::backward`.
    Step,
    /// The task calls `Tensor::backward`, which ignores loss scale and weight.
    Tensor,
    /// The task calls `Step::backward`, but does not mark its losses.
    Unmarked,
    /// The task has no gradient.
    Skipped,
}

struct Square {
    weight: Tensor,
    backward: Backward,
}

impl Task for Square {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&[1, 1])
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add("name", "square");
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let loss = self.weight.square();
        match self.backward {
            Backward::Trainer => return Ok(StepLosses::single("square", loss)),
            Backward::Step => step.backward(&loss)?,
            Backward::Tensor => loss.f_backward()?,
            Backward::Unmarked => {
                step.backward(&loss)?;
                return Ok(StepLosses::single("square", self.weight.square()));
            }
            Backward::Skipped => step.context.skip_backward(),
        }
        let losses = StepLosses::single("square", loss.detach());
        Ok(StepLosses { is_accumulated: true, ..losses })
    }
}

/// Trains one step, and returns the gradient norm and the weight after the step.
fn train<'a>(tasks: impl FnOnce(Tensor) -> Tasks<'a>) -> trainer::Result<(f64, f64)> {
    let folder = tempfile::tempdir().unwrap();
    let weight = Tensor::from(0.5f32).set_requires_grad(true);
    let stage = stage(folder.path(), None).with_loss_scaler(LossScaler::default());
    let config = TrainConfig { steps: Some(1), batch_size: 2, ..TrainConfig::default() };
    let parameters = [("weight".to_owned(), weight.shallow_clone())];
    let report = fit(&stage, &config, &parameters, tasks(weight.shallow_clone()))?;
    assert_eq!(report.steps, 1);
    let metrics = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    Ok((line["grad_norm"].as_f64().unwrap(), weight.double_value(&[])))
}

fn train_one(backward: Backward) -> trainer::Result<(f64, f64)> {
    train(|weight| Alternating::new().with("square", 1, Square { weight, backward }).into())
}

#[test]
fn step_backward_applies_the_weight_and_the_loss_scale() {
    let _lock = lock_rng();
    let train_sum = |first: Backward, second: Backward| {
        let task = |weight: &Tensor, backward| Square { weight: weight.shallow_clone(), backward };
        train(|weight| {
            let tasks = WeightedSum::new().with("a", 0.25, task(&weight, first));
            tasks.with("b", 3.0, task(&weight, second)).into()
        })
        .unwrap()
    };
    // The gradient of w² at 0.5 is 1, so the sum of both weighted gradients is 3.25.
    let expected = train_sum(Backward::Trainer, Backward::Trainer);
    assert!((expected.0 - 3.25).abs() < 1e-6, "{expected:?}");
    assert_eq!(train_sum(Backward::Step, Backward::Trainer), expected);
    assert_eq!(train_sum(Backward::Step, Backward::Step), expected);
    let (grad_norm, _) = train_sum(Backward::Skipped, Backward::Step);
    assert!((grad_norm - 3.0).abs() < 1e-6, "{grad_norm}");
}

#[test]
fn a_task_that_loses_the_weight_and_the_loss_scale_is_rejected() {
    let _lock = lock_rng();
    let error_of = |backward| {
        let error = train_one(backward).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_else(|| "no cause".to_owned()))
    };
    let error = error_of(Backward::Tensor);
    assert!(error.contains("did not call `Step::backward`"), "{error}");
    let error = error_of(Backward::Unmarked);
    assert!(error.contains("StepLosses::is_accumulated"), "{error}");
    train_one(Backward::Step).unwrap();
}
