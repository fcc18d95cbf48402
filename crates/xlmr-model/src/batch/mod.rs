//! Layout, dropout seeds and positions of a batch.
pub(crate) mod dropout;
pub(crate) mod inputs;
pub(crate) mod packing;
pub(crate) mod states;

use tch::{Device, Kind, Tensor};
use torch_ext::{to_i64, to_usize};

use crate::batch::dropout::DropoutSeeds;
use crate::batch::inputs::Ids;
use crate::batch::packing::{Packing, Rows};
use crate::family::deberta::attention::Distances;
use crate::family::mpnet::attention::Buckets;
use crate::family::positions::{PackingRule, Positions};
use crate::layers::lora::GateLanguages;
use crate::layers::rotary::RotaryPositions;
use crate::{Config, Error, Result};

/// Memory layout, dropout seeds and positions of a validated batch.
pub(crate) struct Batch {
    pub(crate) rows: Rows,
    /// Absent if the batch stays padded.
    pub(crate) packing: Option<Packing>,
    pub(crate) seeds: DropoutSeeds,
    /// Rotary positions.
    rotary: Option<RotaryPositions>,
    /// Relative positions.
    distances: Option<Distances>,
    /// Buckets of relative positions.
    buckets: Option<Buckets>,
    /// Position of each token, `[N]` i64 in the batch's layout; absent if the positions of tokens
    /// have no effect after the embeddings.
    token_positions: Option<Tensor>,
}

impl Batch {
    /// Creates a batch without positions, and packs it if device and architecture support this. The
    /// model's parameters have the dtype `kind`. If `joined`, each row consists of two texts.
    pub(crate) fn new(
        rows: Rows,
        config: &Config,
        kind: Kind,
        train: bool,
        joined: bool,
    ) -> Result<Self> {
        let on_cpu = rows.device == Device::Cpu;
        let family = config.architecture.family();
        let is_packed = match family.packing() {
            PackingRule::TrainingAndCpu => train || on_cpu,
            PackingRule::RightPadding => !joined && (train || on_cpu) && has_right_padding(&rows),
            PackingRule::Training => train,
        };
        let packing = if is_packed { Packing::of(&rows, config, kind)? } else { None };
        let needs_mask = match family.positions() {
            // Attention with relative positions runs on the padded batch.
            Positions::Relative(_) | Positions::AfterPadWithBias => true,
            // Packed attention needs no mask.
            Positions::FromZero | Positions::AfterPad | Positions::Rotary(_) => packing.is_none(),
        };
        let rows = if needs_mask { rows.with_mask()? } else { rows };
        let seeds = DropoutSeeds::for_batch(&rows, packing.as_ref(), train)?;
        let (rotary, distances, buckets) = (None, None, None);
        Ok(Self { rows, packing, seeds, rotary, distances, buckets, token_positions: None })
    }

    /// Adds the result of `compute_positions`, `[N]` i64 in the batch's layout, if the architecture
    /// uses positions after the embeddings. If `joined`, distances between tokens are computed from
    /// these positions, otherwise from the tokens' indices in the row.
    pub(crate) fn with_positions(
        self,
        compute_positions: impl FnOnce() -> Result<Tensor>,
        joined: bool,
        config: &Config,
        kind: Kind,
    ) -> Result<Self> {
        let (mut rotary, mut distances, mut buckets) = (None, None, None);
        let positions = match config.architecture.family().positions() {
            Positions::FromZero | Positions::AfterPad => return Ok(self),
            Positions::Rotary(angles) => {
                let (positions, is_packed) = (compute_positions()?, self.packing.is_some());
                let rows = &self.rows;
                rotary = Some(RotaryPositions::new(
                    &positions, joined, rows, is_packed, config, angles, kind,
                )?);
                positions
            }
            Positions::Relative(deberta) => {
                let positions = compute_positions()?;
                let padded_positions =
                    joined.then(|| self.to_padded_rows(&positions)).transpose()?;
                distances = Distances::new(config, deberta, &self.rows, padded_positions.as_ref())?;
                positions
            }
            Positions::AfterPadWithBias => {
                let positions = compute_positions()?;
                let padded_positions =
                    joined.then(|| self.to_padded_rows(&positions)).transpose()?;
                buckets = Some(Buckets::new(&self.rows, padded_positions.as_ref())?);
                positions
            }
        };
        Ok(Self { rotary, distances, buckets, token_positions: Some(positions), ..self })
    }

    /// Adds the languages of the rows, as rows of the gates of the mixture of this name.
    pub(crate) fn with_gate_languages(mut self, mixture: &str, languages: &[i64]) -> Result<Self> {
        let Rows { batch, length, device, .. } = self.rows;
        let indices = Tensor::f_from_slice(languages)?.f_view([batch, 1])?;
        let mut indices = torch_ext::upload(&indices, device)?;
        if let Some(packing) = &self.packing {
            indices = packing.pack(&indices.f_expand([batch, length], false)?)?;
        }
        self.seeds.gate_languages = Some(GateLanguages { mixture: mixture.into(), indices });
        Ok(self)
    }

    /// Converts one value per token, `[N]` in the batch's layout, to `[B, L]`.
    fn to_padded_rows(&self, values: &Tensor) -> Result<Tensor> {
        match &self.packing {
            None => Ok(values.f_view([self.rows.batch, self.rows.length])?),
            Some(packing) => Ok(packing.unpack(&values.f_unsqueeze(1)?)?.f_squeeze_dim(-1)?),
        }
    }

    pub(crate) fn rotary(&self) -> Result<&RotaryPositions> {
        let missing_error =
            || Error::input("states", "states of a model with rotary positions", "other states");
        self.rotary.as_ref().ok_or_else(missing_error)
    }

    pub(crate) fn distances(&self) -> Option<&Distances> {
        self.distances.as_ref()
    }

    pub(crate) fn buckets(&self) -> Option<&Buckets> {
        self.buckets.as_ref()
    }

    /// Returns the tokens' positions, `[N]` i64 in the batch's layout.
    pub(crate) fn token_positions(&self) -> Result<&Tensor> {
        let missing_error =
            || Error::input("states", "states of a model with token positions", "other states");
        self.token_positions.as_ref().ok_or_else(missing_error)
    }

    /// Copies all ids to the device in a single transfer. Each returned tensor is `[B, L]`, or
    /// `[N]` if the batch is packed.
    pub(crate) fn upload(&self, ids: &Ids<Vec<i64>>) -> Result<Ids<Tensor>> {
        let (rows, is_packed) = (&self.rows, self.packing.is_some());
        let in_layout = |list: &Vec<i64>| -> Vec<i64> {
            let Some(token_mask) = rows.token_mask.as_ref().filter(|_| is_packed) else {
                return list.clone();
            };
            assert_eq!(list.len(), token_mask.len(), "each id has a mask");
            list.iter().zip(token_mask).filter(|(_, mask)| **mask == 1).map(|(&id, _)| id).collect()
        };
        let token_ids = in_layout(&ids.token_ids);
        let pad = ids.pad.filter(|pad| token_ids.contains(pad));
        let mut lists = vec![token_ids, in_layout(&ids.positions)];
        lists.extend(ids.types.as_ref().map(in_layout));
        let n_lists = to_i64(lists.len());
        let stacked = Tensor::f_from_slice(&lists.concat())?;
        let stacked = match is_packed {
            true => stacked.f_view([n_lists, -1])?,
            false => stacked.f_view([n_lists, rows.batch, rows.length])?,
        };
        let stacked = torch_ext::upload(&stacked, rows.device)?;
        let types = ids.types.as_ref().map(|_| stacked.f_select(0, 2)).transpose()?;
        let (token_ids, positions) = (stacked.f_select(0, 0)?, stacked.f_select(0, 1)?);
        Ok(Ids { token_ids, positions, types, pad })
    }

    /// Converts a padded tensor, `[B, L, …]`, to the batch's layout.
    pub(crate) fn to_layout(&self, padded: &Tensor) -> Result<Tensor> {
        match &self.packing {
            None => Ok(padded.shallow_clone()),
            Some(packing) => packing.pack(padded),
        }
    }
}

/// Returns whether all padding is on the right, so that packing does not change the index of a
/// token in its row.
fn has_right_padding(rows: &Rows) -> bool {
    let length = to_usize(rows.length);
    let is_right_padded = |row: &[i64]| row.is_sorted_by(|a, b| a >= b);
    rows.token_mask.as_ref().is_none_or(|token_mask| token_mask.chunks(length).all(is_right_padded))
}
