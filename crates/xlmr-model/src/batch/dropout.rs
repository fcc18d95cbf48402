//! Dropout, and what else linear layers need of a batch. On the CPU, the dropout mask of a row does
//! not depend on other rows of the batch.
use tch::{Device, Kind, Tensor};
use torch_ext::{dropout_factors_like, token_offsets};

use crate::Result;
use crate::batch::packing::{Packing, Rows};
use crate::layers::lora::GateLanguages;

/// Dropout seeds of one forward pass: the offsets of the batch's tokens. They are passed to every
/// linear layer, and so are the tokens' languages.
pub(crate) struct DropoutSeeds {
    pub(crate) train: bool,
    /// Offset of each token ([`token_offsets`]), padded or packed like the batch. Empty or unused
    /// without dropout, and on a GPU, whose generator does not use offsets.
    pub(crate) offsets: Tensor,
    /// Languages of the tokens, if a mixture of LoRA modules with gates by language is active.
    pub(crate) gate_languages: Option<GateLanguages>,
}

impl DropoutSeeds {
    /// Creates seeds for a batch `[rows, length]` on `device`.
    pub(crate) fn new(rows: i64, length: i64, device: Device, train: bool) -> Result<Self> {
        let uses_offsets = train && device == Device::Cpu;
        let (rows, length) = if uses_offsets { (rows, length) } else { (0, 0) };
        Ok(Self { train, offsets: token_offsets(rows, length)?, gate_languages: None })
    }

    /// Creates seeds for a batch of the encoder. The batch is packed if `packing` is given.
    pub(crate) fn for_batch(rows: &Rows, packing: Option<&Packing>, train: bool) -> Result<Self> {
        let padded = Self::new(rows.batch, rows.length, rows.device, train)?;
        match packing {
            Some(packing) if !padded.offsets.size().contains(&0) => {
                let offsets = packing.pack(&padded.offsets.f_view([rows.batch, rows.length])?)?;
                Ok(Self { offsets, ..padded })
            }
            // Packed attention requires one offset per token even without dropout, so all offsets
            // are 0.
            Some(packing) if rows.device == Device::Cpu => {
                let offsets = Tensor::f_zeros(packing.n_tokens(), (Kind::Int64, Device::Cpu))?;
                Ok(Self { offsets, ..padded })
            }
            _ => Ok(padded),
        }
    }

    /// Converts the seeds of a packed batch to the padded layout, without the languages, which
    /// attention does not need.
    pub(crate) fn to_padded(&self, packing: &Packing) -> Result<Self> {
        let offsets = match self.offsets.size().contains(&0) {
            true => self.offsets.shallow_clone(),
            false => packing.unpack(&self.offsets.f_unsqueeze(1)?)?.f_flatten(0, -1)?,
        };
        Ok(Self { train: self.train, offsets, gate_languages: None })
    }

    /// Creates seeds for the hidden states `[B, H]` or `[B, L, H]` that are the input of a head.
    pub(crate) fn for_states(states: &Tensor, train: bool) -> Result<Self> {
        let size = states.size();
        let (rows, length) = match size.as_slice() {
            [rows, between @ .., _] => (*rows, between.iter().product()),
            [] | [_] => (1, 1),
        };
        Self::new(rows, length, states.device(), train)
    }

    /// Applies dropout in training; otherwise returns `x`. `x` is `[.., H]`, one row of H per
    /// token.
    pub(crate) fn dropout(&self, x: Tensor, p: f64) -> Result<Tensor> {
        if !self.train || p == 0.0 {
            return Ok(x);
        }
        match x.device() {
            Device::Cpu => Ok(x.f_mul(&dropout_factors_like(&x, &self.offsets, p)?)?),
            _ => Ok(x.f_dropout(p, true)?),
        }
    }

    /// Creates seeds for the rows `first..first + count` of an embedding table that does not depend
    /// on the batch, such as relative position embeddings.
    pub(crate) fn for_table(&self, first: i64, count: i64) -> Result<Self> {
        let offsets = Tensor::f_arange_start(first, first + count, (Kind::Int64, Device::Cpu))?;
        Ok(Self { train: self.train, offsets, gate_languages: None })
    }

    /// Computes `dropout(softmax(Q Kᵀ / √D + mask)) V` for `[B, heads, L, D]`. A bool `mask` is
    /// true where a key may be attended to; a float `mask` is added to the scores.
    pub(crate) fn attention(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
        p: f64,
    ) -> Result<Tensor> {
        let p = if self.train { p } else { 0.0 };
        if p == 0.0 || query.device() != Device::Cpu {
            return Ok(Tensor::f_scaled_dot_product_attention(
                query, key, value, mask, p, false, None, false,
            )?);
        }
        let (_, heads, _, head_size) = query.size4()?;
        let query = query.f_mul_scalar((head_size as f64).sqrt().recip())?;
        let mut scores = query.f_matmul(&key.f_transpose(2, 3)?)?; // [B, heads, L, L]
        if let Some(mask) = mask {
            scores = match mask.f_kind()? {
                Kind::Bool => scores.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY)?,
                _ => scores.f_add(mask)?,
            };
        }
        let probabilities = scores.f_softmax(-1, None::<Kind>)?;
        let (batch, _, length, _) = probabilities.size4()?;
        // Offsets of each head: [B, heads, L].
        let head = Tensor::f_arange(heads, (Kind::Int64, Device::Cpu))?.f_view([1, heads, 1])?;
        let offsets = self.offsets.f_view([batch, 1, length])?.f_mul_scalar(heads)?.f_add(&head)?;
        let factors = dropout_factors_like(&probabilities, &offsets.f_flatten(0, 2)?, p)?;
        let weights = probabilities.f_mul(&factors)?;
        Ok(weights.f_matmul(&value.f_to_kind(weights.f_kind()?)?)?)
    }
}
