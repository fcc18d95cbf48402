//! Asynchronous copies of tensors to a GPU.
use tch::{Device, Tensor};

use crate::Result;
use crate::ffi::{self, make_tensor};

/// Copies `tensor` to `device`.
///
/// A copy from the CPU to a GPU uses pinned memory and is asynchronous. Later operations on the GPU
/// wait for the copy.
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) or [`Error::Torch`](crate::Error::Torch) if libtorch
/// cannot copy the tensor.
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
    // SAFETY: a live tensor; on success the shim returns a tensor that we own.
    make_tensor(|out, error| unsafe { ffi::polyqa_upload(tensor.as_ptr(), index, out, error) })
}
