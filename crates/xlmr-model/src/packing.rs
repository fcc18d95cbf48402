//! Rows of a training batch one after the other, without their padding.
use tch::{Device, Kind, Tensor};

use crate::inputs::Prepared;
use crate::{Config, Result};

/// The narrowest model whose training batches are packed on the CPU: below, a step is so short that
/// the calls for each row cost more than the padding.
const SMALLEST_WIDTH: i64 = 256;

/// How a batch `[B, L]` lies without padding: N tokens, row after row.
pub(crate) struct Packing {
    /// The number of tokens in each row.
    pub(crate) lengths: Vec<i64>,
    /// `[N]` i64, each token's place in the flat batch; absent where nothing is padded.
    places: Option<Tensor>,
    batch: i64,
    length: i64,
}

impl Packing {
    /// Of a batch that is to be trained, where that pays: on the CPU, in float32, for a model of at
    /// least [`SMALLEST_WIDTH`]. Shapes alone decide, never a measurement.
    pub(crate) fn of(inputs: &Prepared, config: &Config, kind: Kind) -> Result<Option<Self>> {
        let on_cpu = inputs.ids.device() == Device::Cpu;
        if !on_cpu || kind != Kind::Float || config.hidden_size < SMALLEST_WIDTH {
            return Ok(None);
        }
        let (batch, length) = (inputs.batch, inputs.length);
        let Some(mask) = &inputs.mask else {
            let lengths = (0..batch).map(|_| length).collect();
            return Ok(Some(Self { lengths, places: None, batch, length }));
        };
        let mask = mask.f_view([batch, length])?;
        let lengths = mask.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)?;
        let places = mask.f_view([-1])?.f_nonzero()?.f_view([-1])?;
        Ok(Some(Self { lengths: Vec::try_from(&lengths)?, places: Some(places), batch, length }))
    }

    /// `[B, L, …]` to `[N, …]`.
    pub(crate) fn pack(&self, padded: &Tensor) -> Result<Tensor> {
        let flat = padded.f_flatten(0, 1)?;
        Ok(match &self.places {
            None => flat,
            Some(places) => flat.f_index_select(0, places)?,
        })
    }

    /// `[N, H]` to `[B, L, H]`, zero where there is padding.
    pub(crate) fn unpack(&self, packed: &Tensor) -> Result<Tensor> {
        let width = packed.size().last().copied().unwrap_or(0);
        let flat = match &self.places {
            None => packed.shallow_clone(),
            Some(places) => {
                let options = (packed.f_kind()?, packed.device());
                let zeros = Tensor::f_zeros([self.batch * self.length, width], options)?;
                zeros.f_index_copy(0, places, packed)?
            }
        };
        Ok(flat.f_view([self.batch, self.length, width])?)
    }
}
