//! Comparisons of formulations of the same loss.
use std::rc::Rc;

use anyhow::{Result, ensure};
use tch::Tensor;

use crate::Timed;

/// A named computation to measure: usually the forward and backward passes of one formulation of a
/// loss.
pub struct Step {
    /// Name in the results.
    pub name: &'static str,
    /// Runs the computation once and returns the loss.
    pub run: Box<dyn Fn() -> Result<f64>>,
}

impl Step {
    /// Creates a step from its name and function.
    pub fn new(name: &'static str, run: impl Fn() -> Result<f64> + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Returns a function that creates formulations which share `inputs`. The returned function takes
/// the name of a formulation and the function to run on the inputs.
pub(crate) fn share_inputs<I: 'static>(
    inputs: I,
) -> impl Fn(&'static str, fn(&I) -> Result<f64>) -> Step {
    let inputs = Rc::new(inputs);
    move |name, run| {
        let inputs = Rc::clone(&inputs);
        Step::new(name, move || run(&inputs))
    }
}

/// Computes the gradients of `leaves` and drops them; returns the value of the loss. Reading the
/// value waits until a GPU has finished.
pub(crate) fn backward(loss: Tensor, leaves: &[&Tensor]) -> Result<f64> {
    let value = loss.f_detach()?;
    drop(Tensor::f_run_backward(&[loss], leaves, false, false)?);
    Ok(value.f_double_value(&[])?)
}

/// The formulations of one comparison, with their inputs.
pub struct Case {
    /// This project's formulation.
    pub ours: Step,
    /// Baseline formulations with the same inputs.
    pub baselines: Vec<Step>,
    /// Step whose time is the denominator of the reported ratio; with `None`, the denominator is
    /// the time of the compared baseline. The step's loss is ignored.
    pub unit: Option<Step>,
    /// Maximum difference between the losses of the formulations.
    pub tolerance: f64,
}

impl Case {
    /// Creates a case without a separate unit, whose losses may differ by at most 1e-5.
    pub(crate) fn new(ours: Step, baselines: Vec<Step>) -> Self {
        Self { ours, baselines, unit: None, tolerance: 1e-5 }
    }

    /// Sets the tolerance.
    pub(crate) fn with_tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// Sets a separate step as the unit.
    pub(crate) fn with_unit(self, unit: Step) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// Checks that a baseline's loss agrees with this project's loss.
    ///
    /// # Errors
    /// If the losses differ by more than the tolerance.
    pub fn check_agreement(&self, our_loss: f64, baseline: &str, baseline_loss: f64) -> Result<()> {
        let is_close = (our_loss - baseline_loss).abs() <= self.tolerance;
        let ours = self.ours.name;
        ensure!(is_close, "{ours}: loss {our_loss}, but {baseline}: loss {baseline_loss}");
        Ok(())
    }
}

/// A comparison whose inputs are created by `build`.
pub struct Spec {
    /// Name of the bench, which is a module of this crate.
    pub bench: &'static str,
    /// Sizes and dtypes.
    pub size: String,
    /// Maximum ratio of this project's time to the unit's time.
    pub goal: Option<f64>,
    /// Maximum peak memory above the inputs, in MiB. Peak memory is measured if `goal_mib` or
    /// `memory` is set.
    pub goal_mib: Option<f64>,
    /// Whether peak memory is measured.
    pub memory: bool,
    /// Creates the inputs, which are equal in every call.
    pub build: Box<dyn Fn() -> Result<Case>>,
}

impl Spec {
    /// Creates a comparison without goals.
    pub fn new(
        bench: &'static str,
        size: impl Into<String>,
        build: impl Fn() -> Result<Case> + 'static,
    ) -> Self {
        let (goal, goal_mib, memory) = (None, None, false);
        Self { bench, size: size.into(), goal, goal_mib, memory, build: Box::new(build) }
    }

    /// Sets the maximum ratio.
    pub fn goal(self, ratio: f64) -> Self {
        Self { goal: Some(ratio), ..self }
    }

    /// Sets the maximum peak memory, in MiB.
    pub fn goal_mib(self, mib: f64) -> Self {
        Self { goal_mib: Some(mib), memory: true, ..self }
    }

    /// Enables the measurement of peak memory.
    pub fn memory(self) -> Self {
        Self { memory: true, ..self }
    }

    /// Returns the times of this project and of a baseline. The ratio is this project's time
    /// divided by the time of `unit`, or by the baseline's time if `unit` is `None`.
    pub fn timed(&self, ours: (&str, f64), peer: (&str, f64), unit: Option<(&str, f64)>) -> Timed {
        let unit = unit.unwrap_or(peer);
        Timed {
            name: self.name(),
            ours: ours.0.to_owned(),
            ours_seconds: ours.1,
            peer: peer.0.to_owned(),
            peer_seconds: peer.1,
            unit: unit.0.to_owned(),
            unit_seconds: unit.1,
            ratio: ours.1 / unit.1,
            goal: self.goal,
        }
    }

    /// Returns `bench/size`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.bench, self.size)
    }
}
