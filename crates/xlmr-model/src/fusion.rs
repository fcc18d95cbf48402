//! Fusion of two texts in some of the layers (FILTER, Fang et al. 2021, section 3).
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::{to_i64, to_usize};

use crate::batch::Batch;
use crate::batch::packing::Rows;
use crate::{Error, Inputs, Model, Result, States};

/// Division of a model's layers: the first `local` layers encode the two texts separately, the next
/// `cross` layers encode them together, and the remaining layers encode them separately again.
///
/// The default is FILTER's configuration for question answering with XLM-R large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FusionConfig {
    /// Number m of local layers, at most the number of layers.
    pub local: usize,
    /// Number k of cross layers, limited to the number of layers after the local layers; 0 disables
    /// fusion.
    pub cross: usize,
}

impl Default for FusionConfig {
    fn default() -> Self {
        Self { local: 1, cross: 20 }
    }
}

impl FusionConfig {
    /// Returns an error if there are more local layers than the model has layers.
    ///
    /// # Errors
    /// [`Error::Input`] naming `local`.
    pub fn validate(&self, layers: usize) -> Result<()> {
        if self.local <= layers {
            return Ok(());
        }
        let expected = format!("at most {layers}, the number of layers");
        Err(Error::input("local", expected, self.local.to_string()))
    }
}

/// Computes the last hidden states of two fused texts, `[B, L_t, H]` and `[B, L_s, H]`.
///
/// Row b of `target` and row b of `source` attend to each other in the layers given by `config`.
///
/// Let x be the embeddings of a text, t the target, s the source, and f the N layers of `model`.
/// Then `h = f_{1..m}(x)` for each text, `[g_t ; g_s] = f_{m+1..m+k}([h_t ; h_s])` under both
/// masks, and the result is `f_{m+k+1..N}(g)` for each text. Positions start from the beginning in
/// each text, and no embedding distinguishes the texts. A layer of ModernBERT with local attention
/// attends to near positions in both texts. Without cross layers, `target`'s hidden states are
/// bit-identical to the result of [`Model::encode`], also in training.
///
/// If `train`, the dropout of a row depends neither on other rows nor on padding.
///
/// # Errors
/// [`Error::Input`] if `target` and `source` differ in their number of rows, a tensor does not fit
/// the model, or there are fewer layers than `config.local`; [`Error::Torch`].
///
/// # Example
/// ```
/// use xlmr_model::{Config, FusionConfig, Inputs, Model, encode_fused};
///
/// let model = Model::new(&Config::tiny(50), &[], tch::Device::Cpu, 1)?; // of 3 layers
/// let german = Inputs::from_rows(&[&[0, 7, 8, 9, 2], &[0, 9, 2]], 1)?;
/// let english = Inputs::from_rows(&[&[0, 17, 2], &[0, 19, 18, 2]], 1)?;
/// let config = FusionConfig { local: 1, cross: 1 };
/// let (target, source) = encode_fused(&model, &german, &english, &config, false)?;
/// assert_eq!((target.size(), source.size()), (vec![2, 5, 128], vec![2, 4, 128]));
/// assert_ne!(target, model.encode(&german, false)?);
/// # Ok::<(), xlmr_model::Error>(())
/// ```
pub fn encode_fused(
    model: &Model,
    target: &Inputs,
    source: &Inputs,
    config: &FusionConfig,
    train: bool,
) -> Result<(Tensor, Tensor)> {
    let layers = model.layers.len();
    config.validate(layers)?;
    let rows = |inputs: &Inputs| inputs.input_ids.size().first().copied();
    if rows(target) != rows(source) {
        let expected = format!("as many rows as target, {:?}", target.input_ids.size());
        return Err(Error::input("source", expected, format!("{:?}", source.input_ids.size())));
    }
    let cross_end = config.local + config.cross.min(layers - config.local);
    if cross_end == config.local {
        return Ok((model.encode(target, train)?, model.encode(source, train)?));
    }
    if model.has_language_gates() {
        let got = format!("active: {}", model.active_adapters().join(", "));
        let expected =
            "no mixture with a gate for each language, because a fused row has two texts";
        return Err(Error::input("adapter", expected, got));
    }
    model.in_precision(|| {
        let encode_separately =
            |inputs| model.run_layers(model.embed(inputs, train)?, 0..config.local);
        let (target, source) = (encode_separately(target)?, encode_separately(source)?);
        let joined_batch = JoinedBatch::new(model, &target, &source)?;
        let joined = joined_batch.join(&target, &source)?;
        let joined = model.run_layers(joined, config.local..cross_end)?;
        let [target, source] = joined_batch.split(&joined, [&target, &source])?;
        let finish = |states| model.run_layers(states, cross_end..layers)?.to_padded();
        Ok((finish(target)?, finish(source)?))
    })
}

/// Maps the tokens of two batches, called halves, to a joined batch. A row of the joined batch has
/// the tokens of the first text, then the tokens of the second text, then padding.
struct JoinedBatch {
    batch: Rc<Batch>,
    /// For each slot ([`Slots`]) of the joined batch, its index in the concatenated hidden states
    /// of both halves. Padding has the index after the last slot, which selects zeros.
    join_index: Tensor,
    /// For each slot of a half, its index in the joined batch.
    split_index: [Tensor; 2],
}

impl JoinedBatch {
    fn new(model: &Model, target: &States, source: &States) -> Result<Self> {
        let halves = [Slots::of(&target.batch), Slots::of(&source.batch)];
        let [first, second] = &halves;
        assert_eq!(first.by_row.len(), second.by_row.len(), "both texts have the same rows");
        let lengths = first.by_row.iter().zip(&second.by_row).map(|(t, s)| t.len() + s.len());
        let lengths: Vec<usize> = lengths.collect();
        // The length is at least 1, even if no row has a token.
        let max_length = lengths.iter().copied().fold(1, usize::max);
        let token_mask = lengths.iter().flat_map(|&length| {
            std::iter::repeat_n(1, length).chain(std::iter::repeat_n(0, max_length - length))
        });
        let (n_rows, device) = (target.batch.rows.batch, target.batch.rows.device);
        let length = to_i64(max_length);
        let rows = Rows::new(n_rows, length, device, Some(token_mask.collect()));
        let (config, kind) = (model.config(), model.kind()?);
        let batch = Batch::new(rows, config, kind, target.train, true)?;

        let joined = Slots::of(&batch);
        assert_eq!(joined.by_row.len(), first.by_row.len(), "joining does not change the rows");
        let mut join = vec![first.n_slots + second.n_slots; joined.n_slots];
        let mut split = halves.each_ref().map(|half| vec![joined.n_slots; half.n_slots]);
        for ((targets, sources), slots) in
            first.by_row.iter().zip(&second.by_row).zip(&joined.by_row)
        {
            let (joined_targets, joined_sources) = slots.split_at(targets.len());
            let [split_target, split_source] = &mut split;
            record_slots(joined_targets, targets, 0, &mut join, split_target);
            record_slots(joined_sources, sources, first.n_slots, &mut join, split_source);
        }
        let upload = |index: &[usize]| -> Result<Tensor> {
            let index: Vec<i64> = index.iter().map(|&slot| to_i64(slot)).collect();
            Ok(torch_ext::upload(&Tensor::f_from_slice(&index)?, device)?)
        };
        let [target_slots, source_slots] = &split;
        let split_index = [upload(target_slots)?, upload(source_slots)?];
        let join_index = upload(&join)?;
        // Padding has position 0.
        let token_positions = || -> Result<Tensor> {
            let (first, second) =
                (target.batch.token_positions()?, source.batch.token_positions()?);
            let padding_position = Tensor::f_zeros(1, (Kind::Int64, device))?;
            let halves = [first, second, &padding_position];
            Ok(Tensor::f_cat(&halves, 0)?.f_index_select(0, &join_index)?)
        };
        let batch = batch.with_positions(token_positions, true, config, kind)?;
        Ok(Self { batch: Rc::new(batch), join_index, split_index })
    }

    /// Concatenates the hidden states of each row's two texts: `[h_t ; h_s]`.
    fn join(&self, target: &States, source: &States) -> Result<States> {
        let (first, second) = (flatten_slots(target)?, flatten_slots(source)?);
        let hidden = gather(&first, Some(&second), &self.join_index, &self.batch)?;
        let (batch, output_kind) = (Rc::clone(&self.batch), target.output_kind);
        Ok(States { hidden, output_kind, batch, train: target.train })
    }

    /// Returns `g_t` and `g_s` in the layout of `halves`.
    fn split(&self, joined: &States, halves: [&States; 2]) -> Result<[States; 2]> {
        let hidden = flatten_slots(joined)?;
        let states_of_half = |index: &Tensor, half: &States| -> Result<States> {
            let hidden = gather(&hidden, None, index, &half.batch)?;
            let (batch, output_kind) = (Rc::clone(&half.batch), half.output_kind);
            Ok(States { hidden, output_kind, batch, train: half.train })
        };
        let ([first, second], [target, source]) = (&self.split_index, halves);
        Ok([states_of_half(first, target)?, states_of_half(second, source)?])
    }
}

/// Records in the index lists `join` and `split` that the slots `joined[n]` and `half[n]` hold the
/// same token. The indices of this half in `join` start at `offset`.
fn record_slots(
    joined: &[usize],
    half: &[usize],
    offset: usize,
    join: &mut [usize],
    split: &mut [usize],
) {
    assert_eq!(joined.len(), half.len(), "each token of a half is in the joined row");
    for (&slot, &half_slot) in joined.iter().zip(half) {
        (join[slot], split[half_slot]) = (offset + half_slot, slot);
    }
}

/// Returns hidden states as `[slots, H]`.
fn flatten_slots(states: &States) -> Result<Tensor> {
    match states.batch.packing {
        Some(_) => Ok(states.hidden.shallow_clone()),
        None => Ok(states.hidden.f_flatten(0, 1)?),
    }
}

/// Gathers rows of the concatenated tensors `first` and `second` by `index`, in the layout of
/// `batch`. The index after the last row selects zeros.
fn gather(
    first: &Tensor,
    second: Option<&Tensor>,
    index: &Tensor,
    batch: &Batch,
) -> Result<Tensor> {
    let zeros = first.f_narrow(0, 0, 1)?.f_zeros_like()?;
    let segments: Vec<&Tensor> =
        [Some(first), second, Some(&zeros)].into_iter().flatten().collect();
    let rows = Tensor::f_cat(&segments, 0)?.f_index_select(0, index)?;
    match batch.packing {
        Some(_) => Ok(rows),
        None => Ok(rows.f_view([batch.rows.batch, batch.rows.length, -1])?),
    }
}

/// Slots of a batch's tokens: their row indices in the hidden states, flattened to `[slots, H]`.
struct Slots {
    /// Slots of each row's tokens, in order.
    by_row: Vec<Vec<usize>>,
    /// Total number of slots, including padding if the batch is not packed.
    n_slots: usize,
}

impl Slots {
    fn of(batch: &Batch) -> Self {
        let (rows, is_packed) = (&batch.rows, batch.packing.is_some());
        let length = to_usize(rows.length);
        let (mut by_row, mut n_slots) = (Vec::new(), 0);
        for row in 0..to_usize(rows.batch) {
            let mut slots = Vec::with_capacity(length);
            for offset in row * length..(row + 1) * length {
                let is_token = rows.token_mask.as_ref().is_none_or(|mask| mask[offset] == 1);
                if is_token && !rows.empty_rows.contains(&row) {
                    slots.push(n_slots);
                }
                n_slots += usize::from(is_token || !is_packed);
            }
            by_row.push(slots);
        }
        Self { by_row, n_slots }
    }
}
