//! Context of a training step: the scale of its losses, and the processes that share the step.
use std::cell::Cell;
use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::{Error, ProcessGroup, Result, without_autocast};

/// Scale of a training step's losses, and the processes that share the step.
///
/// A trainer creates the context, and code that accumulates gradients uses
/// [`backward`](Self::backward) instead of `Tensor::backward`. With a large scale, small gradients
/// do not underflow in float16; the trainer divides the gradients by the scale. The default scale
/// is 1, without other processes.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use torch_ext::StepContext;
///
/// let weight = Tensor::from(2f32).set_requires_grad(true);
/// let context = StepContext::new(8.0, None);
/// context.backward(&(&weight * 3.0))?;
/// assert_eq!(weight.grad().double_value(&[]), 24.0);
/// assert!(context.has_backward());
/// # Ok::<(), torch_ext::Error>(())
/// ```
#[derive(Debug)]
pub struct StepContext {
    loss_scale: f64,
    group: Option<Rc<ProcessGroup>>,
    has_backward: Cell<bool>,
}

impl Default for StepContext {
    fn default() -> Self {
        Self::new(1.0, None)
    }
}

impl StepContext {
    /// Creates the context of a step whose losses are multiplied by `loss_scale`. `group` contains
    /// the processes that share the step; `None` for a single process.
    pub fn new(loss_scale: f64, group: Option<Rc<ProcessGroup>>) -> Self {
        Self { loss_scale, group, has_backward: Cell::new(false) }
    }

    /// Returns the processes that share the step; `None` for a single process.
    pub fn group(&self) -> Option<&Rc<ProcessGroup>> {
        self.group.as_ref()
    }

    /// Returns the rank of this process and the number of processes that share the step.
    pub fn rank_and_size(&self) -> (usize, usize) {
        self.group.as_ref().map_or((0, 1), |group| (group.rank(), group.size()))
    }

    /// Multiplies a loss `[]` by the scale, and runs its backward pass without autocast.
    ///
    /// # Errors
    /// [`Error::Torch`] if the loss has no graph; [`Error::Libtorch`] if autocast cannot be
    /// switched off.
    pub fn backward(&self, loss: &Tensor) -> Result<()> {
        self.has_backward.set(true);
        without_autocast(|| {
            if self.loss_scale == 1.0 {
                return loss.f_backward();
            }
            // The loss is converted to float32 first, because a scaled loss can overflow in
            // float16.
            let loss = match loss.f_kind()? {
                Kind::Half | Kind::BFloat16 => loss.f_to_kind(Kind::Float)?,
                _ => loss.shallow_clone(),
            };
            loss.f_mul_scalar(self.loss_scale)?.f_backward()
        })?
        .map_err(Error::from)
    }

    /// Records that this process adds no gradient in this step, for example because it computes no
    /// micro-batch. Code that accumulates gradients calls this method or
    /// [`backward`](Self::backward) in every step.
    pub fn skip_backward(&self) {
        self.has_backward.set(true);
    }

    /// Returns whether [`backward`](Self::backward) or [`skip_backward`](Self::skip_backward) was
    /// called.
    pub fn has_backward(&self) -> bool {
        self.has_backward.get()
    }
}
