//! What is measured: ways to compute one loss, and the work that none of them can avoid.
use std::rc::Rc;

use anyhow::{Result, ensure};
use tch::Tensor;

use crate::Timed;

/// One way to compute a loss: forward and backward; the loss.
pub struct Step {
    /// As the figures name it.
    pub name: &'static str,
    /// One step.
    pub run: Box<dyn Fn() -> Result<f64>>,
}

impl Step {
    /// `run` under the name `name`.
    pub fn new(name: &'static str, run: impl Fn() -> Result<f64> + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Formulations that share their inputs, each a function of them under its name.
pub(crate) fn sharing<I: 'static>(
    inputs: I,
) -> impl Fn(&'static str, fn(&I) -> Result<f64>) -> Step {
    let inputs = Rc::new(inputs);
    move |name, run| {
        let inputs = Rc::clone(&inputs);
        Step::new(name, move || run(&inputs))
    }
}

/// The way back to `leaves`, whose gradients are dropped; then the loss, which waits for a GPU.
pub(crate) fn backward(loss: Tensor, leaves: &[&Tensor]) -> Result<f64> {
    let value = loss.f_detach()?;
    drop(Tensor::f_run_backward(&[loss], leaves, false, false)?);
    Ok(value.f_double_value(&[])?)
}

/// The built inputs of one comparison.
pub struct Case {
    /// Ours.
    pub ours: Step,
    /// The formulations beside it, on the same numbers.
    pub peers: Vec<Step>,
    /// The work by which our time is divided; the value it returns is ignored. Without one it is
    /// the first peer's.
    pub unit: Option<Step>,
    /// How far the losses may lie apart: times of different sums mean nothing.
    pub tolerance: f64,
}

impl Case {
    /// Ours beside its peers, the first of which is the unit; losses within 1e-5.
    pub(crate) fn new(ours: Step, peers: Vec<Step>) -> Self {
        Self { ours, peers, unit: None, tolerance: 1e-5 }
    }

    /// With another tolerance.
    pub(crate) fn within(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// With a unit that is no peer.
    pub(crate) fn unit(self, unit: Step) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// Compares a peer's loss with ours.
    ///
    /// # Errors
    /// If they lie too far apart.
    pub fn agrees(&self, ours: f64, peer: &str, theirs: f64) -> Result<()> {
        let near = (ours - theirs).abs() <= self.tolerance;
        ensure!(near, "{} gives {ours} and {peer} {theirs}", self.ours.name);
        Ok(())
    }
}

/// One comparison before its inputs are built.
pub struct Spec {
    /// The bench it belongs to, a stem of `benches/`.
    pub bench: &'static str,
    /// Sizes and dtypes.
    pub size: String,
    /// The largest ratio of our time to the unit's that is good enough.
    pub goal: Option<f64>,
    /// The largest peak memory above the inputs that is good enough, in MiB. With one, or with
    /// `memory`, it is measured.
    pub goal_mib: Option<f64>,
    /// Whether peak memory is measured.
    pub memory: bool,
    /// Makes the inputs, the same at every call.
    pub build: Box<dyn Fn() -> Result<Case>>,
}

impl Spec {
    /// A comparison without goals.
    pub fn new(
        bench: &'static str,
        size: impl Into<String>,
        build: impl Fn() -> Result<Case> + 'static,
    ) -> Self {
        let (goal, goal_mib, memory) = (None, None, false);
        Self { bench, size: size.into(), goal, goal_mib, memory, build: Box::new(build) }
    }

    /// With a largest ratio.
    pub fn goal(self, ratio: f64) -> Self {
        Self { goal: Some(ratio), ..self }
    }

    /// With a largest peak memory, in MiB.
    pub fn goal_mib(self, mib: f64) -> Self {
        Self { goal_mib: Some(mib), memory: true, ..self }
    }

    /// With its peak memory measured.
    pub fn memory(self) -> Self {
        Self { memory: true, ..self }
    }

    /// Our seconds beside a peer's; without a unit it is the peer that they are divided by.
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

    /// `bench/size`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.bench, self.size)
    }
}
