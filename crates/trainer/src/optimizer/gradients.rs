//! Gradients of several ranks: their kinds, and sums of sparse gradients.
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, set_grad};

use crate::Result;

/// Kind of a parameter's gradient in a step, over all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GradientKind {
    /// No rank has a gradient.
    None,
    /// All gradients are sparse.
    Sparse,
    /// At least one rank has a dense gradient.
    Dense,
}

/// Returns the kind of each parameter's gradient in this step, and the maximum of `signal` over the
/// ranks.
pub(crate) fn gradient_kinds(
    group: &ProcessGroup,
    parameters: &[&Tensor],
    signal: i32,
) -> Result<(Vec<GradientKind>, i32)> {
    let mut codes = vec![i64::from(signal)];
    for parameter in parameters {
        let grad = parameter.f_grad()?;
        codes.push(match grad.defined() {
            false => 0,
            true if grad.is_sparse() => 1,
            true => 2,
        });
    }
    let codes = group.all_gather(&Tensor::f_from_slice(&codes)?)?;
    let max_codes = Vec::<i64>::try_from(&codes.f_amax([0i64], false)?)?;
    let kinds = max_codes.iter().skip(1).map(|code| match code {
        0 => GradientKind::None,
        1 => GradientKind::Sparse,
        _ => GradientKind::Dense,
    });
    let signal = i32::try_from(max_codes[0]).expect("the maximum of signals");
    Ok((kinds.collect(), signal))
}

/// Sums a sparse gradient over ranks: concatenates the rows of all ranks and adds rows with equal
/// indices.
pub(crate) fn sum_rows(group: &ProcessGroup, parameter: &Tensor) -> Result<()> {
    let grad = parameter.f_grad()?;
    let shape = parameter.size();
    let width: i64 = shape.iter().skip(1).product();
    let (rows, values) = match grad.defined() {
        true => {
            let grad = grad.f_coalesce()?;
            let values = grad.f_values()?.f_to_device(Device::Cpu)?.f_reshape([-1, width])?;
            (grad.f_indices()?.f_select(0, 0)?.f_to_device(Device::Cpu)?, values)
        }
        false => (
            Tensor::f_zeros([0], (Kind::Int64, Device::Cpu))?,
            Tensor::f_zeros([0, width], (parameter.f_kind()?, Device::Cpu))?,
        ),
    };
    let count = rows.size1()?;
    let counts = group.all_gather(&Tensor::f_from_slice(&[count])?)?;
    let counts = Vec::<i64>::try_from(&counts.f_view([-1])?)?;
    let max_count = *counts.iter().max().expect("a group has a process");
    let pad = |tensor: &Tensor, shape: &[i64]| -> Result<Tensor> {
        let padded = Tensor::f_zeros(shape, (tensor.f_kind()?, Device::Cpu))?;
        padded.f_narrow(0, 0, count)?.f_copy_(tensor)?;
        Ok(padded)
    };
    let all_rows = group.all_gather(&pad(&rows, &[max_count])?)?;
    let all_values = group.all_gather(&pad(&values, &[max_count, width])?)?;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (rank, count) in (0..).zip(counts) {
        rows.push(all_rows.f_get(rank)?.f_narrow(0, 0, count)?);
        values.push(all_values.f_get(rank)?.f_narrow(0, 0, count)?);
    }
    let mut value_shape = vec![-1];
    value_shape.extend(shape.iter().skip(1));
    let values = Tensor::f_cat(&values, 0)?.f_reshape(value_shape)?;
    let indices = Tensor::f_cat(&rows, 0)?.f_unsqueeze(0)?;
    let options = (parameter.f_kind()?, parameter.device());
    let sum = Tensor::f_sparse_coo_tensor_indices_size(
        &indices.f_to_device(parameter.device())?,
        &values.f_to_device(parameter.device())?,
        &shape,
        options,
        false,
    )?;
    Ok(set_grad(parameter, &sum.f_coalesce()?)?)
}
