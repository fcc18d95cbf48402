//! Activation checkpointing: inner states are recomputed in the backward pass instead of stored.
use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ffi::{self, make};
use crate::{Error, Result};

type Body = Box<dyn Fn(&Tensor) -> std::result::Result<Tensor, String>>;

/// `body(input)`, of which only `input` is kept for the way back: backward calls `body` again, with
/// the dropout and the autocast of the first time (activation checkpointing, Chen et al. 2016).
///
/// It costs one more forward pass of `body`, and memory for the graph of one `body` at a time.
/// Gradients of parameters that `body` uses are added to their `grad` as the way back passes, so
/// gradients taken with `Tensor::run_backward` miss them. Where `input` needs no gradient, `body`
/// is called as it is. It must draw randomness from the generator of `input`'s device alone.
///
/// # Errors
/// [`Error::Libtorch`] with what `body` returned, or if libtorch refuses.
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
    // SAFETY: `input` is live; the shim owns `body` from here on and gives it to `free` once; on
    // success `out` is a new tensor that we own.
    make(|out, error| unsafe { ffi::polyqa_recompute(run, free, body, input.as_ptr(), out, error) })
}

/// Calls the body for the shim; no panic passes through C++.
extern "C" fn run(
    body: *mut c_void,
    input: *const C_tensor,
    error: *mut *mut c_char,
) -> *mut C_tensor {
    let called = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the shim hands back the body that it was given, alive until `free`, and a live
        // tensor, of which the clone shares the memory.
        let (body, input) =
            unsafe { (&*body.cast::<Body>(), Tensor::clone_from_ptr(input.cast_mut())) };
        body(&input)
    }));
    let message = match called {
        Ok(Ok(out)) => {
            let out = std::mem::ManuallyDrop::new(out);
            return out.as_ptr().cast_mut();
        }
        Ok(Err(message)) => message,
        Err(_) => "the recomputed part panicked".to_owned(),
    };
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the shim gave a place for a message from `malloc`.
    unsafe { *error = libc::strdup(message.as_ptr()) };
    std::ptr::null_mut()
}

/// Frees the body.
extern "C" fn free(body: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `recompute`, and freed once.
    drop(unsafe { Box::from_raw(body.cast::<Body>()) });
}
