//! Communication between the processes of a run: settings and initial state.
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, TensorMap};

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
    let ranks: Vec<RankSettings> = group.all_gather_json(&(config.identity(), fingerprint))?;
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
    let initial = match is_rank_0 {
        true => {
            let (moments, tasks) = (specs(&moments)?, specs(&tasks)?);
            Some(InitialState { checkpoint, moments, tasks })
        }
        false => None,
    };
    let initial = group.broadcast_json(initial, 0)?;
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
