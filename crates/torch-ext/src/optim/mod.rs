//! Optimiser kernels for lists of parameters, with one call for all tensors.
mod row_adamw;

use tch::Tensor;

pub use row_adamw::{Gradient, TouchedRows};

use crate::ffi::{self, call, make_tensor, to_pointers};
use crate::{Error, Result};

/// Hyper-parameters of one [`fused_adamw`] step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay: each step first multiplies the parameter by `1 - lr * weight_decay`.
    pub weight_decay: f64,
    /// Constant added to the square root of the second moment.
    pub eps: f64,
    /// Divisor of the gradients; 1 means no scaling. The step first divides the gradients by this
    /// value, in place and in float32.
    pub grad_scale: f64,
}

/// Runs one AdamW step (Loshchilov and Hutter 2019, Algorithm 2) in place for all parameters, with
/// libtorch's fused kernel.
///
/// # Shapes
/// Entry i of `grads`, `exp_avgs` and `exp_avg_sqs` has the shape, strides, dtype and device of
/// `params[i]`; `steps[i]` is a float32 scalar on the device of `params[i]`: the number of steps of
/// this parameter including the current step.
///
/// # Errors
/// [`Error::ListLength`] if the lists differ in length, [`Error::Libtorch`] if an entry does not
/// match its parameter.
pub fn fused_adamw(
    params: &[&Tensor],
    grads: &[&Tensor],
    exp_avgs: &[&Tensor],
    exp_avg_sqs: &[&Tensor],
    steps: &[&Tensor],
    step: &AdamWStep,
) -> Result<()> {
    let expected = params.len();
    for (list, got) in [
        ("grads", grads.len()),
        ("exp_avgs", exp_avgs.len()),
        ("exp_avg_sqs", exp_avg_sqs.len()),
        ("steps", steps.len()),
    ] {
        if got != expected {
            return Err(Error::ListLength { list, expected, got });
        }
    }
    if params.is_empty() {
        return Ok(());
    }
    let [params, grads, exp_avgs, exp_avg_sqs, steps] =
        [params, grads, exp_avgs, exp_avg_sqs, steps].map(to_pointers);
    // SAFETY: each list has `expected` live tensors; the shim checks shapes, dtypes and devices.
    call(|error| unsafe {
        ffi::polyqa_fused_adamw(
            params.as_ptr(),
            grads.as_ptr(),
            exp_avgs.as_ptr(),
            exp_avg_sqs.as_ptr(),
            steps.as_ptr(),
            expected,
            step.lr,
            step.beta1,
            step.beta2,
            step.weight_decay,
            step.eps,
            step.grad_scale,
            error,
        )
    })
}

/// Returns the L2 norm of all elements of the tensors.
///
/// # Errors
/// [`Error::Libtorch`] if the list is empty or the tensors are on different devices.
pub fn total_norm(tensors: &[&Tensor]) -> Result<f64> {
    Ok(total_norm_tensor(tensors)?.f_double_value(&[])?)
}

/// Computes [`total_norm`], but returns a tensor `[]` on the tensors' device and does not wait for
/// a GPU.
///
/// # Errors
/// The errors of [`total_norm`].
pub fn total_norm_tensor(tensors: &[&Tensor]) -> Result<Tensor> {
    let list = to_pointers(tensors);
    // SAFETY: the list holds live tensors; on success `out` is a new tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_total_norm(list.as_ptr(), list.len(), out, error)
    })
}

/// Multiplies all tensors by `factor`, in place.
///
/// # Errors
/// [`Error::Libtorch`] if libtorch returns an error.
pub fn scale_all(tensors: &[&Tensor], factor: f64) -> Result<()> {
    let list = to_pointers(tensors);
    // SAFETY: the list holds live tensors.
    call(|error| unsafe { ffi::polyqa_scale_all(list.as_ptr(), list.len(), factor, error) })
}

/// Removes the gradients of `params`.
///
/// The gradient of a parameter that the next backward pass does not reach stays undefined, so
/// optimisers skip the parameter. With a gradient of zeros, optimisers would still apply weight
/// decay.
///
/// # Errors
/// [`Error::Libtorch`] if libtorch returns an error.
pub fn clear_grads(params: &[&Tensor]) -> Result<()> {
    let list = to_pointers(params);
    // SAFETY: the list holds live tensors.
    call(|error| unsafe { ffi::polyqa_clear_grads(list.as_ptr(), list.len(), error) })
}

/// Replaces the gradient of `param` by a dense or sparse gradient.
///
/// # Errors
/// [`Error::Libtorch`] if shape, dtype or device differ from the parameter's.
pub fn set_grad(param: &Tensor, grad: &Tensor) -> Result<()> {
    // SAFETY: live tensors.
    call(|error| unsafe { ffi::polyqa_set_grad(param.as_ptr(), grad.as_ptr(), error) })
}

#[cfg(test)]
pub(crate) mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    pub(crate) const STEP: AdamWStep = AdamWStep {
        lr: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        weight_decay: 0.1,
        eps: 1e-8,
        grad_scale: 1.0,
    };

    #[test]
    fn grad_scale_equals_a_division_of_the_gradient() {
        for kind in [Kind::Float, Kind::BFloat16] {
            tch::manual_seed(5);
            let start = Tensor::randn([40, 16], (kind, Device::Cpu));
            let grad = Tensor::randn([40, 16], (kind, Device::Cpu)) * 8.0;
            let steps = Tensor::from(1f32);
            let adamw = |grad: &Tensor, grad_scale: f64| {
                let (param, first, second) = (start.copy(), start.zeros_like(), start.zeros_like());
                let step = AdamWStep { grad_scale, ..STEP };
                fused_adamw(&[&param], &[grad], &[&first], &[&second], &[&steps], &step).unwrap();
                (param, first, second)
            };
            // Division by a power of two is exact in every dtype, so the results must be equal.
            let scaled_grad = grad.copy();
            assert_eq!(adamw(&scaled_grad, 16.0), adamw(&(&grad / 16.0), 1.0));
            assert_eq!(scaled_grad, &grad / 16.0);
            let (scaled, divided) = (adamw(&grad.copy(), 1.7).0, adamw(&(&grad / 1.7), 1.0).0);
            let error = (&scaled - &divided).abs().max().double_value(&[]);
            assert!(error <= if kind == Kind::Float { 1e-6 } else { 1e-2 }, "{kind:?}: {error:e}");
        }
    }

    #[test]
    fn a_gradient_of_another_shape_is_an_error() {
        let options = (Kind::Float, Device::Cpu);
        let (param, grad) = (Tensor::zeros([3], options), Tensor::zeros([4], options));
        let step = Tensor::from(1f32);
        let error = fused_adamw(&[&param], &[&grad], &[&param], &[&param], &[&step], &STEP);
        assert!(error.unwrap_err().to_string().contains("entry 0 does not fit"));
        let error = fused_adamw(&[&param], &[], &[&param], &[&param], &[&step], &STEP);
        assert!(matches!(error, Err(Error::ListLength { list: "grads", .. })));
    }

    #[test]
    fn a_transposed_gradient_of_one_row_is_accepted() {
        let options = (Kind::Double, Device::Cpu);
        let grad = Tensor::randn([5, 1], options).tr();
        let param = Tensor::zeros([1, 5], options);
        assert_ne!(grad.stride(), param.stride());
        let (exp_avg, exp_avg_sq) = (param.zeros_like(), param.zeros_like());
        let step = Tensor::from(1f32);
        fused_adamw(&[&param], &[&grad], &[&exp_avg], &[&exp_avg_sq], &[&step], &STEP).unwrap();
        assert_eq!(param.sign(), -grad.sign());
    }

    #[test]
    fn cleared_gradients_are_undefined() {
        let x = Tensor::from_slice(&[2.0f64]).set_requires_grad(true);
        (&x * &x).backward();
        assert!(x.grad().defined());
        clear_grads(&[&x]).unwrap();
        assert!(!x.grad().defined());
    }
}
