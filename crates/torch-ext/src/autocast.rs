//! Mixed precision for a stretch of code, on the CPU or a GPU, in bfloat16 or float16.
use tch::{Device, Kind};

use crate::ffi::{self, call};
use crate::{Error, Result};

/// Leaves autocast when dropped, also when the body panics.
struct Guard {
    cuda: bool,
    was_enabled: bool,
    was_dtype: std::ffi::c_int,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: plain values only. Nothing can be done about an error here; libtorch raises none.
        let _ = call(|error| unsafe {
            ffi::polyqa_autocast_leave(self.cuda, self.was_enabled, self.was_dtype, error)
        });
    }
}

/// Runs `body` with libtorch's autocast: on tensors of `device`'s type, products run in `dtype` and
/// sums in float32.
///
/// `tch::autocast` supports only CUDA and its default dtype. At the end the earlier state is
/// restored; calls nest.
///
/// # Errors
/// [`Error::Libtorch`] unless `dtype` is `BFloat16` or `Half`.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let x = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
/// let product = torch_ext::autocast(Device::Cpu, Kind::BFloat16, || x.matmul(&x))?;
/// assert_eq!(product.kind(), Kind::BFloat16);
/// assert_eq!(x.matmul(&x).kind(), Kind::Float);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn autocast<T>(device: Device, dtype: Kind, body: impl FnOnce() -> T) -> Result<T> {
    // libtorch's numbers of the two dtypes; tch keeps them private.
    let code = match dtype {
        Kind::Half => 5,
        Kind::BFloat16 => 15,
        other => {
            let message = format!("autocast to {other:?}: only BFloat16 and Half are possible");
            return Err(Error::Libtorch(message));
        }
    };
    let cuda = matches!(device, Device::Cuda(_));
    let (mut was_enabled, mut was_dtype) = (false, 0);
    // SAFETY: the shim writes the two values it is given.
    call(|error| unsafe {
        ffi::polyqa_autocast_enter(cuda, code, &mut was_enabled, &mut was_dtype, error)
    })?;
    let _guard = Guard { cuda, was_enabled, was_dtype };
    Ok(body())
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    #[test]
    fn products_are_low_precision_inside_and_as_before_outside() {
        let x = Tensor::ones([3, 3], (Kind::Float, Device::Cpu));
        let kinds = autocast(Device::Cpu, Kind::BFloat16, || {
            let half = autocast(Device::Cpu, Kind::Half, || x.matmul(&x).kind());
            (half.ok(), x.matmul(&x).kind(), x.softmax(0, None::<Kind>).kind())
        });
        assert_eq!(kinds.unwrap(), (Some(Kind::Half), Kind::BFloat16, Kind::Float));
        assert_eq!(x.matmul(&x).kind(), Kind::Float);
        assert!(autocast(Device::Cpu, Kind::Int64, || ()).is_err());
    }

    #[test]
    fn a_panic_inside_leaves_autocast() {
        let x = Tensor::ones([3, 3], (Kind::Float, Device::Cpu));
        let caught = std::panic::catch_unwind(|| {
            autocast(Device::Cpu, Kind::BFloat16, || assert!(x.numel() == 0, "stop"))
        });
        assert!(caught.is_err());
        let x = Tensor::ones([3, 3], (Kind::Float, Device::Cpu));
        assert_eq!(x.matmul(&x).kind(), Kind::Float);
    }
}
