//! Tensors from the CPU to where they are computed with.
use tch::{Device, Tensor};

use crate::Result;
use crate::ffi::{self, make};

/// `tensor` on `device`. From the CPU to a GPU it goes through pinned memory and nothing waits for
/// it: the copy takes its turn before the work that is asked for next.
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) or [`Error::Torch`](crate::Error::Torch) if libtorch
/// cannot copy there.
///
/// # Example
/// ```
/// use tch::{Device, Tensor};
///
/// let ids = Tensor::from_slice(&[3i64, 4]);
/// assert_eq!(torch_ext::upload(&ids, Device::Cpu)?, ids);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn upload(tensor: &Tensor, device: Device) -> Result<Tensor> {
    let Device::Cuda(index) = device else { return Ok(tensor.f_to_device(device)?) };
    if tensor.device() != Device::Cpu {
        return Ok(tensor.f_to_device(device)?);
    }
    // SAFETY: a live tensor; on success the shim hands over one that we own.
    make(|out, error| unsafe { ffi::polyqa_upload(tensor.as_ptr(), index, out, error) })
}
