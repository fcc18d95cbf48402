//! Packing of a batch's rows without padding.
use tch::{Device, Kind, Tensor};
use torch_ext::{Attention, FlashConfig, to_usize};

use crate::{Config, Result};

/// Minimum hidden size for packing on the CPU. In models with a smaller hidden size, the additional
/// calls per row take longer than the computation of padding.
const MIN_WIDTH: i64 = 256;

/// Shape, device and padding of a batch.
pub(crate) struct Rows {
    pub(crate) batch: i64,
    pub(crate) length: i64,
    pub(crate) device: Device,
    /// One value per position, row by row: 1 if tokens may attend to the position, otherwise 0. If
    /// absent, tokens may attend to all positions.
    pub(crate) token_mask: Option<Vec<i64>>,
    /// `token_mask` as `[B, 1, 1, L]` bool, if attention uses it.
    pub(crate) mask: Option<Tensor>,
    /// Indices of rows without tokens. `token_mask` is set to 1 at all positions of these rows.
    pub(crate) empty_rows: Vec<usize>,
}

impl Rows {
    /// Creates rows. `token_mask` has one value per position, row by row: 1 for a token, 0 for
    /// padding. If it is absent, there is no padding.
    pub(crate) fn new(
        batch: i64,
        length: i64,
        device: Device,
        token_mask: Option<Vec<i64>>,
    ) -> Self {
        let unpadded =
            Self { batch, length, device, mask: None, token_mask: None, empty_rows: Vec::new() };
        let has_padding = |token_mask: &Vec<i64>| token_mask.contains(&0);
        let Some(mut token_mask) = token_mask.filter(has_padding) else { return unpadded };
        let mut empty_rows = Vec::new();
        for (row, token_mask) in token_mask.chunks_mut(to_usize(length)).enumerate() {
            if token_mask.iter().all(|&mask| mask == 0) {
                token_mask.fill(1);
                empty_rows.push(row);
            }
        }
        Self { token_mask: Some(token_mask), empty_rows, ..unpadded }
    }

    /// Adds `mask`, if there is a `token_mask`.
    pub(crate) fn with_mask(self) -> Result<Self> {
        let Some(token_mask) = &self.token_mask else { return Ok(self) };
        let mask = Tensor::f_from_slice(token_mask)?.f_view([self.batch, 1, 1, self.length])?;
        let mask = torch_ext::upload(&mask.f_to_kind(Kind::Bool)?, self.device)?;
        Ok(Self { mask: Some(mask), ..self })
    }

    /// Returns a bias of attention scores, `[.., L, L]` float, with -∞ at padding.
    pub(crate) fn mask_bias(&self, bias: Tensor) -> Result<Tensor> {
        let Some(mask) = &self.mask else { return Ok(bias) };
        let options = (bias.f_kind()?, bias.device());
        let padding_bias = Tensor::f_zeros(mask.size(), options)?
            .f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY)?;
        Ok(bias.f_add(&padding_bias)?)
    }

    /// Splits the last dimension into heads: `[B, L, heads * D]` to `[B, heads, L, D]`.
    pub(crate) fn split_heads(&self, x: &Tensor, heads: i64) -> Result<Tensor> {
        Ok(x.f_view([self.batch, self.length, heads, -1])?.f_transpose(1, 2)?)
    }

    /// Reverses [`split_heads`](Self::split_heads): `[B, heads, L, D]` to `[B, L, heads * D]`.
    pub(crate) fn join_heads(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_transpose(1, 2)?.f_reshape([self.batch, self.length, -1])?)
    }
}

/// Layout of a batch `[B, L]` without padding: N tokens, row after row.
pub(crate) struct Packing {
    /// Number of tokens in each row.
    pub(crate) lengths: Vec<i64>,
    /// Row offsets for attention on a GPU, stored on the GPU.
    pub(crate) flash: Option<FlashRows>,
    /// `[N]` i64, each token's index in the flat batch; absent without padding.
    token_indices: Option<Tensor>,
    batch: i64,
    length: i64,
}

/// Returns the reason why packed attention on a GPU does not support a model of this configuration;
/// `None` if it does.
pub(crate) fn flash_error(config: &Config, device: Device, kind: Kind) -> Option<String> {
    let head_dim = config.hidden_size / config.num_attention_heads.max(1);
    let rotary = config.architecture.rotary();
    let test_windows = rotary.is_some_and(|rotary| rotary.local.is_some());
    torch_ext::flash_attention_error(FlashConfig { device, kind, head_dim, test_windows })
}

/// Offsets and maximum length of rows for [`torch_ext::flash_attention`].
pub(crate) struct FlashRows {
    /// Cumulative lengths of the rows, `[B + 1]` int32.
    pub(crate) row_offsets: Tensor,
    pub(crate) max_length: i64,
}

impl Packing {
    /// Returns the packing of a batch, or `None` if the batch stays padded.
    ///
    /// On the CPU, packing requires float32 parameters and a hidden size of at least [`MIN_WIDTH`];
    /// matmuls may be in bfloat16. On a GPU, packing requires half-precision matmuls, and packed
    /// attention must have passed its test ([`flash_error`]). The decision does not depend on
    /// measured times, so it is reproducible.
    pub(crate) fn of(rows: &Rows, config: &Config, kind: Kind) -> Result<Option<Self>> {
        let device = rows.device;
        let (use_flash, is_supported) = match device {
            Device::Cpu => (false, config.hidden_size >= MIN_WIDTH),
            _ => match torch_ext::autocast_dtype(device)? {
                Some(half) => (true, flash_error(config, device, half).is_none()),
                None => return Ok(None),
            },
        };
        if !is_supported || kind != Kind::Float {
            return Ok(None);
        }
        let (batch, length) = (rows.batch, rows.length);
        let (lengths, token_indices) = match &rows.token_mask {
            None => ((0..batch).map(|_| length).collect(), None),
            Some(token_mask) => {
                let rows = token_mask.chunks(to_usize(length));
                let lengths: Vec<i64> = rows.map(|row| row.iter().sum()).collect();
                let token_indices: Vec<i64> = (0..)
                    .zip(token_mask)
                    .filter(|(_, mask)| **mask == 1)
                    .map(|(index, _)| index)
                    .collect();
                (lengths, Some(torch_ext::upload(&Tensor::f_from_slice(&token_indices)?, device)?))
            }
        };
        let flash = if use_flash { Some(FlashRows::new(&lengths, device)?) } else { None };
        Ok(Some(Self { lengths, flash, token_indices, batch, length }))
    }

    /// Computes attention within each row; queries, keys, values and the result are `[N, H]`.
    /// `offsets` are the tokens' offsets, which determine their dropout.
    pub(crate) fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        offsets: &Tensor,
        attention: &Attention,
    ) -> Result<Tensor> {
        Ok(match &self.flash {
            None => {
                torch_ext::packed_attention(query, key, value, &self.lengths, offsets, attention)?
            }
            Some(FlashRows { row_offsets, max_length }) => {
                torch_ext::flash_attention(query, key, value, row_offsets, *max_length, attention)?
            }
        })
    }

    /// Returns the number of tokens.
    pub(crate) fn n_tokens(&self) -> i64 {
        self.lengths.iter().sum()
    }

    /// Packs `[B, L, …]` to `[N, …]`.
    pub(crate) fn pack(&self, padded: &Tensor) -> Result<Tensor> {
        let flat = padded.f_flatten(0, 1)?;
        Ok(match &self.token_indices {
            None => flat,
            Some(indices) => flat.f_index_select(0, indices)?,
        })
    }

    /// Unpacks `[N, H]` to `[B, L, H]`, with zeros at padding.
    pub(crate) fn unpack(&self, packed: &Tensor) -> Result<Tensor> {
        let (_, width) = packed.size2()?;
        let flat = match &self.token_indices {
            None => packed.shallow_clone(),
            Some(indices) => {
                let options = (packed.f_kind()?, packed.device());
                let mut zeros = Tensor::f_zeros([self.batch * self.length, width], options)?;
                zeros.f_index_copy_(0, indices, packed)?
            }
        };
        Ok(flat.f_view([self.batch, self.length, width])?)
    }
}

impl FlashRows {
    #[expect(clippy::expect_used, reason = "empty inputs are rejected")]
    fn new(lengths: &[i64], device: Device) -> Result<Self> {
        let mut offsets = vec![0i64];
        let mut end = 0;
        for length in lengths {
            end += length;
            offsets.push(end);
        }
        let row_offsets = Tensor::f_from_slice(&offsets)?.f_to_kind(Kind::Int)?;
        let max_length = lengths.iter().copied().max().expect("a batch has rows");
        Ok(Self { row_offsets: torch_ext::upload(&row_offsets, device)?, max_length })
    }
}
