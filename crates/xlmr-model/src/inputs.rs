//! What a forward pass reads, and its checks.
use tch::{Device, Kind, Tensor};

use crate::{Config, Error, Result};

/// A batch of B sequences padded to L tokens.
///
/// Tensors on the CPU are best: ids are checked there before they move to the model's device, so
/// tensors that already lie on a GPU cost a copy back. Integer tensors of any width are taken, and
/// bool for the mask.
#[derive(Debug)]
pub struct Inputs {
    /// `[B, L]` integer, below `vocab_size`.
    pub input_ids: Tensor,
    /// `[B, L]` integer or bool: 1 for a token, 0 for padding. Absent: every position is a token,
    /// `<pad>` too. A row without any token attends to all its positions, so that it stays finite;
    /// its output means nothing.
    pub attention_mask: Option<Tensor>,
    /// `[B, L]` integer, below `type_vocab_size`. Absent: zeros.
    pub token_type_ids: Option<Tensor>,
    /// `[B, L]` integer, below `max_position_embeddings`. Absent: counted from `input_ids`, see
    /// [`position_ids`].
    pub position_ids: Option<Tensor>,
    /// `[B, L, H]` float, instead of the rows that `input_ids` selects from the word embeddings.
    /// Positions still come from `input_ids` (transformers would number them one after the other).
    /// Receives gradient.
    pub inputs_embeds: Option<Tensor>,
}

impl Inputs {
    /// `input_ids` alone.
    pub fn new(input_ids: Tensor) -> Self {
        Self {
            input_ids,
            attention_mask: None,
            token_type_ids: None,
            position_ids: None,
            inputs_embeds: None,
        }
    }

    /// `input_ids` and `attention_mask`.
    pub fn masked(input_ids: Tensor, attention_mask: Tensor) -> Self {
        Self { attention_mask: Some(attention_mask), ..Self::new(input_ids) }
    }

    /// The checks of a forward pass without the pass, for a whole data set at once.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first tensor with a shape, dtype, id or position that a model of
    /// this configuration cannot take, and the position in it.
    pub fn check(&self, config: &Config) -> Result<()> {
        Prepared::new(self, config, Device::Cpu).map(drop)
    }
}

/// Checked inputs on the model's device.
pub(crate) struct Prepared {
    pub(crate) ids: Tensor,
    pub(crate) positions: Tensor,
    /// Absent where all are 0.
    pub(crate) types: Option<Tensor>,
    /// `[B, 1, 1, L]` bool, true where a position may be attended to; absent where all may.
    pub(crate) mask: Option<Tensor>,
    pub(crate) batch: i64,
    pub(crate) length: i64,
}

/// Position ids of transformers: tokens other than `<pad>` count up from `pad_token_id + 1` in
/// their row, `<pad>` has `pad_token_id`.
///
/// `ids` holds rows of `length`; the result has the same layout.
pub fn position_ids(ids: &[i64], length: usize, pad_token_id: i64) -> Vec<i64> {
    let mut positions = Vec::with_capacity(ids.len());
    for row in ids.chunks(length.max(1)) {
        let mut next = pad_token_id;
        positions.extend(row.iter().map(|&id| {
            if id == pad_token_id {
                return pad_token_id;
            }
            next += 1;
            next
        }));
    }
    positions
}

impl Prepared {
    pub(crate) fn new(inputs: &Inputs, config: &Config, device: Device) -> Result<Self> {
        let size = inputs.input_ids.size();
        let &[batch, length] = size.as_slice() else {
            return Err(Error::input("input_ids", "shape [B, L]", format!("{size:?}")));
        };
        if batch == 0 || length == 0 {
            let expected = "at least one row and one column";
            return Err(Error::input("input_ids", expected, format!("{size:?}")));
        }
        let read = |name, tensor| integers(name, tensor, &size);
        let upload = |values: &[i64]| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(values)?.f_view([batch, length])?.f_to_device(device)?)
        };

        let ids = read("input_ids", &inputs.input_ids)?;
        let vocab = format!("ids from 0 to vocab_size - 1 = {}", config.vocab_size - 1);
        in_range("input_ids", &ids, length, config.vocab_size, &vocab)?;

        let positions = match &inputs.position_ids {
            Some(tensor) => read("position_ids", tensor)?,
            None => position_ids(&ids, usize::try_from(length).unwrap_or(1), config.pad_token_id),
        };
        let limit = format!(
            "positions below max_position_embeddings = {} (at most {} tokens in a row; cut \
             the input or window it)",
            config.max_position_embeddings,
            config.max_length()
        );
        in_range("position_ids", &positions, length, config.max_position_embeddings, &limit)?;

        let types = match &inputs.token_type_ids {
            None => None,
            Some(tensor) => {
                let types = read("token_type_ids", tensor)?;
                let expected = format!(
                    "ids from 0 to type_vocab_size - 1 = {}{}",
                    config.type_vocab_size - 1,
                    if config.type_vocab_size == 1 {
                        " (load with `Segments::Learned2` for a second segment)"
                    } else {
                        ""
                    }
                );
                in_range("token_type_ids", &types, length, config.type_vocab_size, &expected)?;
                if types.iter().all(|&id| id == 0) { None } else { Some(upload(&types)?) }
            }
        };

        let mask = match &inputs.attention_mask {
            None => None,
            Some(tensor) => {
                let mut mask = read("attention_mask", tensor)?;
                in_range("attention_mask", &mask, length, 2, "1 for a token, 0 for padding")?;
                if mask.iter().all(|&keep| keep == 1) {
                    None
                } else {
                    for row in mask.chunks_mut(usize::try_from(length).unwrap_or(1)) {
                        if row.iter().all(|&keep| keep == 0) {
                            row.fill(1);
                        }
                    }
                    let mask = upload(&mask)?.f_to_kind(Kind::Bool)?;
                    Some(mask.f_view([batch, 1, 1, length])?)
                }
            }
        };
        if let Some(embeds) = &inputs.inputs_embeds {
            let (expected, got) = (vec![batch, length, config.hidden_size], embeds.size());
            if got != expected || !embeds.is_floating_point() {
                let got = format!("{got:?} {:?}", embeds.f_kind()?);
                return Err(Error::input("inputs_embeds", format!("{expected:?} float"), got));
            }
        }
        let (ids, positions) = (upload(&ids)?, upload(&positions)?);
        Ok(Self { ids, positions, types, mask, batch, length })
    }
}

/// The values of an integer tensor of the same shape as `input_ids`, row by row.
fn integers(name: &'static str, tensor: &Tensor, size: &[i64]) -> Result<Vec<i64>> {
    let kind = tensor.f_kind()?;
    let fits = match kind {
        Kind::Int64 | Kind::Int | Kind::Int16 | Kind::Int8 | Kind::Uint8 => true,
        Kind::Bool => name == "attention_mask",
        _ => false,
    };
    if !fits {
        return Err(Error::input(name, "an integer tensor, best int64", format!("{kind:?}")));
    }
    if tensor.size() != size {
        let (expected, got) = (format!("{size:?} as input_ids"), format!("{:?}", tensor.size()));
        return Err(Error::input(name, expected, got));
    }
    let flat = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Int64)?.f_reshape([-1i64])?;
    Ok(Vec::try_from(&flat.f_contiguous()?)?)
}

/// Refuses the first value outside `0..end`, naming its position.
fn in_range(
    name: &'static str,
    values: &[i64],
    length: i64,
    end: i64,
    expected: &str,
) -> Result<()> {
    let Some(at) = values.iter().position(|value| !(0..end).contains(value)) else {
        return Ok(());
    };
    let at = i64::try_from(at).unwrap_or(i64::MAX);
    let value = values.iter().find(|value| !(0..end).contains(*value)).copied().unwrap_or(-1);
    let got = format!("{value} in row {}, column {}", at / length, at % length);
    Err(Error::input(name, expected, got))
}
