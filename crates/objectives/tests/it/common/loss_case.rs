//! Checks of a loss for one set of inputs: the value, the gradients and low precision.
use super::*;

/// A loss of N float64 inputs, and the reference value computed with loops.
pub struct LossCase<'a, const N: usize> {
    pub inputs: [&'a Array2<f64>; N],
    pub loss: &'a dyn Fn([&Tensor; N]) -> Tensor,
    pub naive: f64,
}

impl<const N: usize> LossCase<'_, N> {
    /// Checks the value, and the gradient of every input.
    #[track_caller]
    pub fn check(&self, tolerance: f64) {
        let tensors = self.inputs.map(tensor);
        assert_near(scalar(&(self.loss)(tensors.each_ref())), self.naive, tolerance);
        for (k, input) in self.inputs.into_iter().enumerate() {
            check_gradient(input, |x| {
                let mut inputs = tensors.each_ref();
                inputs[k] = x;
                (self.loss)(inputs)
            });
        }
    }

    /// Checks inputs in bfloat16 and float16: the loss is float32 and within `tolerance` of the
    /// reference, and gradients have the dtype of the inputs.
    #[track_caller]
    pub fn check_low_precision(&self, tolerance: f64) {
        for kind in [Kind::BFloat16, Kind::Half] {
            let leaves = self.inputs.map(|x| tensor(x).to_kind(kind).set_requires_grad(true));
            let loss = (self.loss)(leaves.each_ref());
            loss.backward();
            assert_eq!(loss.kind(), Kind::Float);
            assert!(leaves.iter().all(|leaf| leaf.grad().kind() == kind), "{kind:?}");
            let error = (scalar(&loss) - self.naive).abs();
            assert!(error < tolerance, "{kind:?}: error {error:e}");
        }
    }
}

/// Runs the backward pass of a finite loss, and asserts that the gradients of `leaves` are exactly
/// 0 at `indices`. An index with fewer dimensions than a gradient selects a whole row.
#[track_caller]
pub fn check_zero_gradients(loss: &Tensor, leaves: &[&Tensor], indices: &[&[i64]]) {
    assert!(scalar(loss).is_finite());
    loss.backward();
    for leaf in leaves {
        for index in indices {
            assert_zero_row(&leaf.grad(), index);
        }
    }
}
