//! Initial weights that let a small encoder learn to match equal tokens within hundreds of steps.
//!
//! Follows mimetic initialisation (Trockman and Kolter 2023): the first layer's key weights equal
//! its query weights, so a token attends to equal tokens. Position embeddings are small sinusoids.
//! The two segment embeddings are opposite vectors, and the key weights ignore their direction.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor, no_grad};
use xlmr_model::Model;

/// Replaces position and segment embeddings and the first layer's query and key weights of a new
/// model.
///
/// `seed` determines the direction of the segment embeddings.
///
/// # Errors
/// If a parameter is missing or a libtorch operation fails.
pub fn mimetic_start(model: &Model, seed: u64) -> Result<()> {
    let parameters: BTreeMap<String, Tensor> = model.named_parameters().into_iter().collect();
    let parameter = |name: &str| {
        let tensor = parameters.get(name).with_context(|| format!("the model has no {name}"));
        tensor.map(Tensor::shallow_clone)
    };
    let config = model.config();
    let (width, range) = (config.hidden_size, config.initializer_range);
    let options = (Kind::Float, Device::Cpu);
    no_grad(|| -> Result<()> {
        let half = width / 2;
        let frequencies =
            Tensor::f_arange(half, options)?.f_mul_scalar(-(100f64.ln()) / half as f64)?.f_exp()?;
        let position = Tensor::f_arange(config.max_position_embeddings, options)?;
        let angle = position.f_unsqueeze(1)?.f_mul(&frequencies.f_unsqueeze(0)?)?;
        let sinusoids = Tensor::f_cat(&[angle.f_sin()?, angle.f_cos()?], 1)?;
        let sinusoids = sinusoids.f_mul_scalar(2f64.sqrt() * range * 0.5)?;
        let _ = sinusoids.f_select(0, config.pad_token_id)?.f_zero_()?;
        let mut positions = parameter("roberta.embeddings.position_embeddings.weight")?;
        positions.f_copy_(&sinusoids)?;

        // Without this call, libtorch's generator would start from a random seed.
        tch::manual_seed(trainer::seed_for(seed, "mimetic", 0));
        let direction = Tensor::f_randn([width], options)?.f_mul_scalar(range)?;
        let mut segments = parameter("roberta.embeddings.token_type_embeddings.weight")?;
        let rows = [direction.f_neg()?, direction.shallow_clone()];
        segments.f_copy_(&Tensor::f_stack(&rows, 0)?)?;

        let unit_direction = direction.f_div(&direction.f_norm()?)?.f_to_device(model.device())?;
        let attention = "roberta.encoder.layer.0.attention.self";
        let mut query = parameter(&format!("{attention}.query.weight"))?;
        let mut key = parameter(&format!("{attention}.key.weight"))?;
        query.f_copy_(&query.f_mul_scalar(1.5)?)?;
        let identity = Tensor::f_eye(width, (Kind::Float, model.device()))?;
        let complement = identity.f_sub(&unit_direction.f_outer(&unit_direction)?)?;
        key.f_copy_(&query.f_matmul(&complement)?)?;
        Ok(())
    })
}
