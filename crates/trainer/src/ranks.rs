//! Communication between the processes of a run: start position and step results.
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, TensorMap, set_grad};

use crate::checkpoint::Checkpoint;
use crate::{Error, Result, TrainConfig};

/// The start position that rank 0 sends to all ranks.
#[derive(serde::Deserialize, serde::Serialize)]
struct Begin {
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

/// Describes the first difference between rank 0 and another rank: a setting of the stage, or the
/// data.
pub(crate) fn first_difference(
    group: &ProcessGroup,
    config: &TrainConfig,
    fingerprint: &str,
) -> Result<Option<String>> {
    type Own = (serde_json::Map<String, serde_json::Value>, String);
    let unreadable = |error: serde_json::Error| {
        Error::from(torch_ext::Error::Distributed(format!("settings of a stage: {error}")))
    };
    let own = serde_json::to_vec(&(config.identity(), fingerprint)).map_err(unreadable)?;
    let mut all: Vec<Own> = Vec::with_capacity(group.size());
    for bytes in group.all_gather_bytes(&own)? {
        all.push(serde_json::from_slice(&bytes).map_err(unreadable)?);
    }
    let Some(((lead, lead_fingerprint), others)) = all.split_first() else { return Ok(None) };
    for (rank, (settings, fingerprint)) in (1..).zip(others) {
        let keys = lead.keys().chain(settings.keys());
        let key = keys.into_iter().find(|key| lead.get(*key) != settings.get(*key));
        if let Some(key) = key {
            let shown = |settings: &serde_json::Map<String, serde_json::Value>| {
                settings.get(key).map_or_else(|| "absent".into(), serde_json::Value::to_string)
            };
            let (first, other) = (shown(lead), shown(settings));
            return Ok(Some(format!("{key} is {first} on rank 0 and {other} on rank {rank}")));
        }
        if fingerprint != lead_fingerprint {
            return Ok(Some(format!("rank {rank} has another task or other data than rank 0")));
        }
    }
    Ok(None)
}

/// Copies parameters, checkpoint, moments and task state of rank 0 to all ranks. Arguments other
/// than `parameters` matter on rank 0 only.
pub(crate) fn broadcast_initial_state(
    group: &ProcessGroup,
    parameters: &[(String, Tensor)],
    checkpoint: Option<Checkpoint>,
    moments: TensorMap,
    tasks: TensorMap,
) -> Result<(Option<Checkpoint>, TensorMap, TensorMap)> {
    let forms = |tensors: &TensorMap| {
        let form = |(name, tensor): (&String, &Tensor)| {
            let kind = tensor.f_kind()?;
            let place = KINDS.iter().position(|known| *known == kind).unwrap_or(0);
            Ok((name.clone(), tensor.size(), place))
        };
        tensors.iter().map(form).collect::<Result<Vec<_>>>()
    };
    let lead = group.rank() == 0;
    let unreadable = |error: serde_json::Error| {
        Error::from(torch_ext::Error::Distributed(format!("the start of a stage: {error}")))
    };
    let own = match lead {
        true => {
            let (moments, tasks) = (forms(&moments)?, forms(&tasks)?);
            serde_json::to_vec(&Begin { checkpoint, moments, tasks }).map_err(unreadable)?
        }
        false => Vec::new(),
    };
    let begin: Begin =
        serde_json::from_slice(&group.broadcast_bytes(&own, 0)?).map_err(unreadable)?;
    for (_, parameter) in parameters {
        group.copy_from(parameter, 0)?;
    }
    let share = |forms: &[(String, Vec<i64>, usize)], own: TensorMap| {
        let mut shared = TensorMap::new();
        for (name, shape, kind) in forms {
            let tensor = match own.get(name) {
                Some(tensor) => tensor.shallow_clone(),
                None => {
                    let kind = KINDS.get(*kind).copied().unwrap_or(Kind::Float);
                    Tensor::f_zeros(shape, (kind, Device::Cpu))?
                }
            };
            group.copy_from(&tensor, 0)?;
            shared.insert(name.clone(), tensor);
        }
        Ok::<_, Error>(shared)
    };
    let moments = share(&begin.moments, moments)?;
    let tasks = share(&begin.tasks, tasks)?;
    Ok((begin.checkpoint, moments, tasks))
}

/// Kind of gradient that a parameter has in a step, over all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Not,
    /// A sparse gradient on every rank that has one.
    Rows,
    All,
}

/// The kind of gradient of each parameter in this step, and the largest `signal` of any rank.
pub(crate) fn reached(
    group: &ProcessGroup,
    parameters: &[&Tensor],
    signal: i32,
) -> Result<(Vec<Reached>, i32)> {
    let mut own = vec![i64::from(signal)];
    for parameter in parameters {
        let grad = parameter.f_grad()?;
        own.push(match grad.defined() {
            false => 0,
            true if grad.is_sparse() => 1,
            true => 2,
        });
    }
    let all = group.all_gather(&Tensor::f_from_slice(&own)?)?;
    let largest = Vec::<i64>::try_from(&all.f_amax([0i64], false)?)?;
    let reached = largest.iter().skip(1).map(|reached| match reached {
        0 => Reached::Not,
        1 => Reached::Rows,
        _ => Reached::All,
    });
    let signal = largest.first().copied().unwrap_or(0);
    Ok((reached.collect(), i32::try_from(signal).unwrap_or(0)))
}

/// Sums a sparse gradient over ranks: concatenates the rows of all ranks and adds equal rows.
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
    let count = rows.size().first().copied().unwrap_or(0);
    let counts = group.all_gather(&Tensor::f_from_slice(&[count])?)?;
    let counts = Vec::<i64>::try_from(&counts.f_view([-1])?)?;
    let longest = counts.iter().copied().max().unwrap_or(0);
    let padded = |tensor: &Tensor, shape: &[i64]| -> Result<Tensor> {
        let padded = Tensor::f_zeros(shape, (tensor.f_kind()?, Device::Cpu))?;
        padded.f_narrow(0, 0, count)?.f_copy_(tensor)?;
        Ok(padded)
    };
    let all_rows = group.all_gather(&padded(&rows, &[longest])?)?;
    let all_values = group.all_gather(&padded(&values, &[longest, width])?)?;
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
