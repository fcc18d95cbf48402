//! The state of a device's random generator: the same dropout can be drawn again.
use tch::{Device, Tensor};

use crate::ffi::{self, call};
use crate::{Error, Result};

fn index(device: Device) -> Result<i64> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => {
            i64::try_from(index).map_err(|_| Error::Libtorch(format!("no CUDA device {index}")))
        }
        other => Err(Error::Libtorch(format!("no generator of {other:?} can be read"))),
    }
}

/// The state of the default generator of `device`, as bytes on the CPU.
///
/// # Errors
/// [`Error::Libtorch`] for a device that is neither the CPU nor a CUDA device that libtorch sees.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let state = torch_ext::rng_state(Device::Cpu)?;
/// let first = Tensor::randn([8], (Kind::Float, Device::Cpu));
/// torch_ext::set_rng_state(Device::Cpu, &state)?;
/// assert_eq!(Tensor::randn([8], (Kind::Float, Device::Cpu)), first);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn rng_state(device: Device) -> Result<Tensor> {
    let index = index(device)?;
    let mut out = std::ptr::null_mut();
    // SAFETY: on success `out` is a new tensor that we own.
    call(|error| unsafe { ffi::polyqa_rng_state(index, &mut out, error) })?;
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Restores a state of [`rng_state`].
///
/// # Errors
/// [`Error::Libtorch`] if `state` is no state of this device's generator.
pub fn set_rng_state(device: Device, state: &Tensor) -> Result<()> {
    let index = index(device)?;
    // SAFETY: `state` is a live tensor.
    call(|error| unsafe { ffi::polyqa_set_rng_state(index, state.as_ptr(), error) })
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn what_is_no_state_is_refused() {
        let wrong = Tensor::zeros([3], (Kind::Uint8, Device::Cpu));
        assert!(set_rng_state(Device::Cpu, &wrong).is_err());
        assert!(rng_state(Device::Mps).is_err());
    }
}
