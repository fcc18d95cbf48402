//! The states that stand for mentions, descriptions, subjects and objects.
use anyhow::{Context, Result};
use kg_triples::knowledge::{MentionExample, ObjectExample};
use objectives::masking::{EntityMaskingConfig, MaskingVocab, entity_masking};
use objectives::tch::{Device, Kind, Tensor};
use trainer::{pad_mask, pad_rows};
use xlmr_model::{Inputs, Model, SpecialTokens};

use super::Pooling;

pub(super) fn wide(ids: &[u32]) -> Vec<i64> {
    ids.iter().map(|&id| i64::from(id)).collect()
}

/// Which tokens masking leaves alone, and what it draws from.
pub(super) fn masking_vocab(model: &Model, specials: SpecialTokens) -> Result<MaskingVocab> {
    let [bos, pad, eos, unk, mask] = specials.ids().map(i64::from);
    Ok(MaskingVocab::new([bos, pad, eos, unk, mask], mask, 0..model.config().vocab_size)?)
}

/// A passage whose mention is masked.
pub(super) struct MaskedMention {
    pub(super) ids: Vec<i64>,
    /// Where the mention begins.
    pub(super) position: i64,
}

/// The passage with its mention masked.
pub(super) fn mask_mention(
    example: &MentionExample,
    vocab: &MaskingVocab,
    config: &EntityMaskingConfig,
) -> Result<MaskedMention> {
    let ids = wide(&example.input_ids);
    let span = example.mention.start..example.mention.end;
    let masked = entity_masking(ids.as_slice().into(), &[span], vocab, example.passage, config)?;
    let query = masked.queries.first().context("a mention was not masked")?;
    Ok(MaskedMention { ids: masked.input_ids, position: i64::try_from(query.position)? })
}

/// Hidden states `[B, L, H]` of padded rows.
pub(super) fn encode(model: &Model, rows: &[&[i64]], train: bool) -> Result<Tensor> {
    let inputs = Inputs {
        attention_mask: pad_mask(rows, Device::Cpu)?,
        ..Inputs::new(pad_rows(rows, model.config().pad_token_id, Device::Cpu)?)
    };
    Ok(model.encode(&inputs, train)?)
}

/// What stands for each of some descriptions, `[b, H]`.
pub(super) fn pooled(
    model: &Model,
    rows: &[&[i64]],
    pooling: Pooling,
    train: bool,
) -> Result<Tensor> {
    let hidden = encode(model, rows, train)?;
    match (pooling, pad_mask(rows, Device::Cpu)?) {
        (Pooling::First, _) => Ok(hidden.f_select(1, 0)?),
        (Pooling::Mean, None) => Ok(hidden.f_mean_dim([1i64].as_slice(), false, None::<Kind>)?),
        (Pooling::Mean, Some(mask)) => {
            let mask = mask.f_to_device(hidden.device())?.f_to_kind(hidden.f_kind()?)?;
            let counts = mask.f_sum_dim_intlist([1i64].as_slice(), true, None::<Kind>)?;
            let sums = hidden.f_mul(&mask.f_unsqueeze(2)?)?;
            let sums = sums.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
            Ok(sums.f_div(&counts)?)
        }
    }
}

/// The state of one position of each row: `[B, L, H]` to `[B, H]`.
pub(super) fn at(hidden: &Tensor, places: &[i64]) -> Result<Tensor> {
    let (rows, length, _) = hidden.size3()?;
    let first = Tensor::f_arange(rows, (Kind::Int64, Device::Cpu))?.f_mul_scalar(length)?;
    let index = first.f_add(&Tensor::f_from_slice(places)?)?.f_to_device(hidden.device())?;
    Ok(hidden.f_flatten(0, 1)?.f_index_select(0, &index)?)
}

/// The states of the mentions' first tokens and of their descriptions, `[b, H]` each.
pub(super) fn mention_states(
    model: &Model,
    rows: &[(MaskedMention, Vec<i64>)],
    pooling: Pooling,
) -> Result<Vec<Tensor>> {
    let passages: Vec<&[i64]> = rows.iter().map(|(query, _)| query.ids.as_slice()).collect();
    let places: Vec<i64> = rows.iter().map(|(query, _)| query.position).collect();
    let descriptions: Vec<&[i64]> = rows.iter().map(|(_, ids)| ids.as_slice()).collect();
    Ok(vec![
        at(&encode(model, &passages, true)?, &places)?,
        pooled(model, &descriptions, pooling, true)?,
    ])
}

/// The states of subjects and objects, `[b, H]` each.
pub(super) fn object_states(
    model: &Model,
    rows: &[ObjectExample],
    pooling: Pooling,
) -> Result<Vec<Tensor>> {
    let subjects: Vec<Vec<i64>> = rows.iter().map(|row| wide(&row.subject_ids)).collect();
    let objects: Vec<Vec<i64>> = rows.iter().map(|row| wide(&row.object_ids)).collect();
    let subjects: Vec<&[i64]> = subjects.iter().map(Vec::as_slice).collect();
    let objects: Vec<&[i64]> = objects.iter().map(Vec::as_slice).collect();
    Ok(vec![pooled(model, &subjects, pooling, true)?, pooled(model, &objects, pooling, true)?])
}
