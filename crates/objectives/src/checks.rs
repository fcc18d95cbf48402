//! Input validation shared by all losses: shapes, dtypes, devices and ids.
use tch::{Device, Kind, Tensor};

use crate::Error;

/// Maximum temperature. Cosines divided by this temperature are from −0.001 to 0.001; larger
/// temperatures are assumed to be mistakes.
pub const MAX_TEMPERATURE: f64 = 1000.0;

/// Rejects temperatures outside the valid range.
pub(crate) fn check_temperature(value: f64) -> Result<(), Error> {
    let option = "temperature";
    if !value.is_finite() || value <= 0.0 {
        return Err(Error::Domain { option, value, rule: "finite and above 0" });
    }
    if value > MAX_TEMPERATURE {
        return Err(Error::Domain { option, value, rule: "at most 1000" });
    }
    Ok(())
}

/// The shape of a tensor. An undefined tensor is an error.
pub(crate) fn shape_of(name: &'static str, tensor: &Tensor) -> Result<Vec<i64>, Error> {
    if tensor.defined() { Ok(tensor.size()) } else { Err(Error::Undefined { tensor: name }) }
}

/// Checks that a tensor has two dimensions, and returns their sizes. `symbolic_shape` is the
/// documented shape, such as `[B, L]`.
pub(crate) fn check_matrix(
    name: &'static str,
    tensor: &Tensor,
    symbolic_shape: &str,
) -> Result<(i64, i64), Error> {
    match *shape_of(name, tensor)?.as_slice() {
        [rows, columns] => Ok((rows, columns)),
        ref got => {
            Err(Error::Shape { tensor: name, expected: symbolic_shape.into(), got: got.to_vec() })
        }
    }
}

/// Rejects every shape except `expected`; `symbolic_shape` is the documented shape.
pub(crate) fn check_shape(
    name: &'static str,
    tensor: &Tensor,
    expected: &[i64],
    symbolic_shape: &str,
) -> Result<(), Error> {
    let got = shape_of(name, tensor)?;
    if got == expected {
        return Ok(());
    }
    Err(Error::Shape { tensor: name, expected: format!("{symbolic_shape} = {expected:?}"), got })
}

/// Rejects every dtype except `kind`; `expected` is the name of `kind` in error messages.
pub(crate) fn check_kind(
    name: &'static str,
    tensor: &Tensor,
    kind: Kind,
    expected: &'static str,
) -> Result<(), Error> {
    let got = tensor.f_kind()?;
    if got == kind { Ok(()) } else { Err(Error::Dtype { tensor: name, expected, got }) }
}

/// Rejects tensors that do not have a real floating-point dtype.
pub(crate) fn check_float(name: &'static str, tensor: &Tensor) -> Result<(), Error> {
    match tensor.f_kind()? {
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double => Ok(()),
        got => Err(Error::Dtype { tensor: name, expected: "Float, BFloat16, Half or Double", got }),
    }
}

/// Rejects a tensor that is not on `device`. `reference` is the name of an argument that is on
/// `device`. The name is used in error messages.
pub(crate) fn check_device(
    name: &'static str,
    tensor: &Tensor,
    reference: &'static str,
    device: Device,
) -> Result<(), Error> {
    let got = tensor.device();
    if got == device {
        return Ok(());
    }
    Err(Error::Device { tensor: name, reference, expected: device, got })
}

/// Rejects an integer or bool tensor that is neither on the CPU nor on `device`, which is the
/// device of the argument `reference`. Values on the CPU can be read without waiting for a GPU.
pub(crate) fn check_device_or_cpu(
    name: &'static str,
    tensor: &Tensor,
    reference: &'static str,
    device: Device,
) -> Result<(), Error> {
    match tensor.device() {
        Device::Cpu => Ok(()),
        _ => check_device(name, tensor, reference, device),
    }
}

/// Rejects a mask unless it is a bool tensor of the shape `shape`, and is on the CPU or on
/// `device`, which is the device of the argument `reference`.
pub(crate) fn check_mask(
    name: &'static str,
    mask: &Tensor,
    shape: &[i64],
    symbolic_shape: &str,
    reference: &'static str,
    device: Device,
) -> Result<(), Error> {
    check_shape(name, mask, shape, symbolic_shape)?;
    check_kind(name, mask, Kind::Bool, "Bool")?;
    check_device_or_cpu(name, mask, reference, device)
}

/// Rejects a tensor unless it has dtype i64 and the shape `shape`, and is on the CPU or on
/// `device`, which is the device of the argument `reference`.
pub(crate) fn check_int64(
    name: &'static str,
    tensor: &Tensor,
    shape: &[i64],
    symbolic_shape: &str,
    reference: &'static str,
    device: Device,
) -> Result<(), Error> {
    check_shape(name, tensor, shape, symbolic_shape)?;
    check_kind(name, tensor, Kind::Int64, "Int64")?;
    check_device_or_cpu(name, tensor, reference, device)
}

/// The device on which the values of several tensors are read: the CPU if all tensors are on the
/// CPU, else `device`.
pub(crate) fn common_device<'a>(
    tensors: impl IntoIterator<Item = &'a Tensor>,
    device: Device,
) -> Device {
    let all_on_cpu = tensors.into_iter().all(|tensor| tensor.device() == Device::Cpu);
    if all_on_cpu { Device::Cpu } else { device }
}

/// The minimum and maximum of a non-empty integer tensor, in one transfer from the device.
pub(crate) fn min_max(ids: &Tensor) -> Result<(i64, i64), Error> {
    let (min, max) = ids.f_aminmax(None, false)?;
    let bounds = Tensor::f_stack(&[min, max], 0)?.f_to_device(Device::Cpu)?;
    Ok((bounds.f_int64_value(&[0])?, bounds.f_int64_value(&[1])?))
}

/// Rejects ids outside `0..upper`; `suffix` follows this range in the error message.
pub(crate) fn check_ids(
    name: &'static str,
    ids: &Tensor,
    upper: i64,
    suffix: &str,
) -> Result<(), Error> {
    let (min, max) = min_max(ids)?;
    if min >= 0 && max < upper {
        return Ok(());
    }
    Err(Error::Range { tensor: name, rule: format!("in 0..{upper}{suffix}"), min, max })
}

/// The index of the first true element, in row-major order.
pub(crate) fn first_true_index(mask: &Tensor) -> Result<Option<Vec<i64>>, Error> {
    let indices = mask.f_nonzero()?;
    let (count, dims) = indices.size2()?;
    if count == 0 {
        return Ok(None);
    }
    (0..dims).map(|dim| Ok(indices.f_int64_value(&[0, dim])?)).collect::<Result<_, _>>().map(Some)
}
