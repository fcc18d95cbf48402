//! A training step that costs the same whatever the rows say.
use objectives::{MaskedLmConfig, MaskedLmReduction, masked_lm, masked_positions};
use tch::{Device, Kind, Tensor};
use xlmr_model::{Config, Head, Inputs, Model};

/// A model of this size on the CPU, with the masked LM head: a head of attention for each 64.
///
/// # Errors
/// If there can be none.
pub fn small_model(layers: i64, hidden: i64, vocabulary: i64) -> anyhow::Result<Model> {
    let config = Config {
        num_hidden_layers: layers,
        hidden_size: hidden,
        num_attention_heads: hidden / 64,
        intermediate_size: 4 * hidden,
        vocab_size: vocabulary,
        ..Config::base()
    };
    Ok(Model::new(&config, &[Head::MaskedLm], Device::Cpu, 1)?)
}

/// The sum of losses of predicting every seventh token of rows `[B, L]` i64 on the CPU: ids from 5
/// on, without padding; 4 stands in their place.
///
/// # Errors
/// If the model does not take the rows.
pub fn every_seventh(model: &Model, ids: &Tensor) -> anyhow::Result<Tensor> {
    let width = ids.size().last().copied().unwrap_or(1);
    let places = Tensor::f_arange(i64::try_from(ids.numel())?, (Kind::Int64, Device::Cpu))?;
    let masked = places.f_view_as(ids)?.f_remainder(width)?.f_remainder(7)?.f_eq(0)?;
    let labels = ids.f_masked_fill(&masked.f_logical_not()?, -100)?;
    let hidden = model.encode(&Inputs::new(ids.f_masked_fill(&masked, 4)?), true)?;
    let masked = masked_positions(&labels)?;
    let logits = model.mlm_logits(&masked.gather(&hidden)?)?;
    let config = MaskedLmConfig { reduction: MaskedLmReduction::Sum, ..Default::default() };
    Ok(masked_lm(&logits, &masked.targets, &config)?)
}
