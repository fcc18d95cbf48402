//! Activation checkpointing: intermediate activations are recomputed in the backward pass instead
//! of stored.
use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ffi::{self, make_tensor};
use crate::{Error, Result};

type Body = Box<dyn Fn(&Tensor) -> std::result::Result<Tensor, String>>;

/// Computes `body(input)` with activation checkpointing (Chen et al. 2016).
///
/// Only `input` is stored. The backward pass calls `body` again, with the random generator state
/// and the autocast setting of the first call.
///
/// Checkpointing costs a second forward pass of `body`. The autograd graph of `body` exists only
/// during its part of the backward pass. Gradients of parameters that `body` uses are added to
/// their `grad` during the backward pass, so `Tensor::run_backward` does not return them. If
/// `input` requires no gradient, `body` is called without checkpointing. `body` must use only the
/// random generator of `input`'s device.
///
/// # Errors
/// [`Error::Libtorch`] if `body` or libtorch returns an error.
///
/// # Example
/// ```
/// use tch::{Kind, Tensor};
///
/// let x = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
/// let square = |x: &Tensor| x.f_square().map_err(|error| error.to_string());
/// torch_ext::recompute(&x, square)?.sum(Kind::Float).backward();
/// assert_eq!(Vec::<f32>::try_from(x.grad()).unwrap(), [2.0, 4.0]);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn recompute(
    input: &Tensor,
    body: impl Fn(&Tensor) -> std::result::Result<Tensor, String> + 'static,
) -> Result<Tensor> {
    if !input.requires_grad() {
        return body(input).map_err(Error::Libtorch);
    }
    let body: Body = Box::new(body);
    let body: *mut c_void = Box::into_raw(Box::new(body)).cast();
    // SAFETY: `input` is live. The shim takes ownership of `body`, and passes it to `free_body`
    // once. On success `out` is a new tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_recompute(run_body, free_body, body, input.as_ptr(), out, error)
    })
}

/// Function that the shim calls to run the body. A panic becomes an error message, because it must
/// not unwind into C++.
extern "C" fn run_body(
    body: *mut c_void,
    input: *const C_tensor,
    error: *mut *mut c_char,
) -> *mut C_tensor {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the shim passes a live tensor, and the body from `recompute`, which lives until
        // `free_body` is called. The cloned tensor shares the memory of `input`.
        let (body, input) =
            unsafe { (&*body.cast::<Body>(), Tensor::clone_from_ptr(input.cast_mut())) };
        body(&input)
    }));
    let message = match result {
        Ok(Ok(out)) => {
            let out = std::mem::ManuallyDrop::new(out);
            return out.as_ptr().cast_mut();
        }
        Ok(Err(message)) => message,
        Err(_) => "the recomputed function panicked".to_owned(),
    };
    let message = CString::new(message.replace('\0', " ")).expect("NUL was replaced");
    // SAFETY: `error` is a valid pointer from the shim, which frees the message with C's `free`.
    unsafe { *error = libc::strdup(message.as_ptr()) };
    std::ptr::null_mut()
}

extern "C" fn free_body(body: *mut c_void) {
    // SAFETY: `Box::into_raw` in `recompute` created the pointer, and the shim calls this function
    // once.
    drop(unsafe { Box::from_raw(body.cast::<Body>()) });
}
