//! Communication between the processes of a run: initial state and gradients.
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, TensorMap, set_grad};

use crate::checkpoint::Checkpoint;
use crate::{Error, Result, TrainConfig};

/// The initial state that rank 0 sends to all ranks.
#[derive(serde::Deserialize, serde::Serialize)]
struct InitialState {
    checkpoint: Option<Checkpoint>,
    /// Name, shape and index in `KINDS` of each moment.
    moments: Vec<(String, Vec<i64>, usize)>,
    tasks: Vec<(String, Vec<i64>, usize)>,
}

const KINDS: [Kind; 9] = [
    Kind::Float,
    Kind::Double,
    Kind::BFloat16,
    Kind::Half,
    Kind::Int64,
    Kind::Int,
    Kind::Int16,
    Kind::Uint8,
    Kind::Bool,
];

/// Describes the first difference between rank 0 and another rank, in a setting of the stage or in
/// the data.
pub(crate) fn first_difference(
    group: &ProcessGroup,
    config: &TrainConfig,
    fingerprint: &str,
) -> Result<Option<String>> {
    type RankSettings = (serde_json::Map<String, serde_json::Value>, String);
    let json_error = |error: serde_json::Error| {
        Error::from(torch_ext::Error::Distributed(format!("settings of a stage: {error}")))
    };
    let json = serde_json::to_vec(&(config.identity(), fingerprint)).map_err(json_error)?;
    let mut ranks: Vec<RankSettings> = Vec::with_capacity(group.size());
    for bytes in group.all_gather_bytes(&json)? {
        ranks.push(serde_json::from_slice(&bytes).map_err(json_error)?);
    }
    let ((rank_0, rank_0_fingerprint), others) =
        ranks.split_first().expect("a group has a process");
    for (rank, (settings, fingerprint)) in (1..).zip(others) {
        let keys = rank_0.keys().chain(settings.keys());
        let key = keys.into_iter().find(|key| rank_0.get(*key) != settings.get(*key));
        if let Some(key) = key {
            let value = |settings: &serde_json::Map<String, serde_json::Value>| {
                settings.get(key).map_or_else(|| "absent".into(), serde_json::Value::to_string)
            };
            let (rank_0, other) = (value(rank_0), value(settings));
            return Ok(Some(format!("{key} is {rank_0} on rank 0 and {other} on rank {rank}")));
        }
        if fingerprint != rank_0_fingerprint {
            return Ok(Some(format!("rank {rank} has another task or other data than rank 0")));
        }
    }
    Ok(None)
}

/// Copies parameters, checkpoint, moments and task state of rank 0 to all ranks. Ranks other than 0
/// ignore all arguments except `parameters`.
pub(crate) fn broadcast_initial_state(
    group: &ProcessGroup,
    parameters: &[(String, Tensor)],
    checkpoint: Option<Checkpoint>,
    moments: TensorMap,
    tasks: TensorMap,
) -> Result<(Option<Checkpoint>, TensorMap, TensorMap)> {
    let specs = |tensors: &TensorMap| {
        let spec = |(name, tensor): (&String, &Tensor)| {
            let kind = tensor.f_kind()?;
            let kind_index = KINDS.iter().position(|listed| *listed == kind).ok_or_else(|| {
                let message = format!("state {name}: {kind:?} cannot be sent to other ranks");
                torch_ext::Error::Distributed(message)
            })?;
            Ok((name.clone(), tensor.size(), kind_index))
        };
        tensors.iter().map(spec).collect::<Result<Vec<_>>>()
    };
    let is_rank_0 = group.rank() == 0;
    let json_error = |error: serde_json::Error| {
        Error::from(torch_ext::Error::Distributed(format!("initial state of a stage: {error}")))
    };
    let json = match is_rank_0 {
        true => {
            let (moments, tasks) = (specs(&moments)?, specs(&tasks)?);
            serde_json::to_vec(&InitialState { checkpoint, moments, tasks }).map_err(json_error)?
        }
        false => Vec::new(),
    };
    let initial: InitialState =
        serde_json::from_slice(&group.broadcast_bytes(&json, 0)?).map_err(json_error)?;
    for (_, parameter) in parameters {
        group.copy_from(parameter, 0)?;
    }
    let broadcast = |specs: &[(String, Vec<i64>, usize)], local: TensorMap| {
        let mut tensors = TensorMap::new();
        for (name, shape, kind) in specs {
            let tensor = match local.get(name) {
                Some(tensor) => tensor.shallow_clone(),
                None => Tensor::f_zeros(shape, (KINDS[*kind], Device::Cpu))?,
            };
            group.copy_from(&tensor, 0)?;
            tensors.insert(name.clone(), tensor);
        }
        Ok::<_, Error>(tensors)
    };
    let moments = broadcast(&initial.moments, moments)?;
    let tasks = broadcast(&initial.tasks, tasks)?;
    Ok((initial.checkpoint, moments, tasks))
}

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
