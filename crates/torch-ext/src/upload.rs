//! Tensors from the CPU to where they are computed with.
use tch::{Device, TchError, Tensor};

/// `tensor` on `device`. From the CPU to a GPU it goes through pinned memory and nothing waits for
/// it: the copy takes its turn before the work that is asked for next.
///
/// # Errors
/// If libtorch cannot copy there.
///
/// # Example
/// ```
/// use tch::{Device, Tensor};
///
/// let ids = Tensor::from_slice(&[3i64, 4]);
/// assert_eq!(torch_ext::upload(&ids, Device::Cpu)?, ids);
/// # Ok::<(), tch::TchError>(())
/// ```
pub fn upload(tensor: &Tensor, device: Device) -> Result<Tensor, TchError> {
    if !matches!(device, Device::Cuda(_)) || tensor.device() != Device::Cpu {
        return tensor.f_to_device(device);
    }
    // libtorch's allocator hands pinned memory out again only once the copy from it is done.
    let pinned = tensor.f_pin_memory(device)?;
    pinned.f_to_device_(device, tensor.f_kind()?, true, false)
}
