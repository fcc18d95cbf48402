//! A start for a small encoder from which matching of equal tokens appears in hundreds of steps.
//!
//! In the manner of mimetic initialisation (Trockman and Kolter 2023): the first layer's keys begin
//! equal to its queries, so a token attends to equal tokens; positions begin as small sinusoids,
//! segments as opposite directions that the keys leave out.
//!
//! ModernBERT has no segments, and a token that attends to equal ones learns nothing from them
//! where they are the same as itself. So its first layer begins with a head that attends to a
//! separator before the token and marks what it finds: the passage. The second layer matches.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor, no_grad};
use xlmr_model::{Architecture, Config, LayerType, Model, ModernBert};

/// Rewrites position, segment and first-layer query and key weights of a fresh model; `seed`
/// decides the segments' direction.
///
/// # Errors
/// If a parameter is missing or libtorch refuses.
pub fn mimetic_start(model: &Model, seed: u64) -> Result<()> {
    let parameters: BTreeMap<String, Tensor> = model.named_parameters().into_iter().collect();
    let named = |name: &str| {
        let tensor = parameters.get(name).with_context(|| format!("the model has no {name}"));
        tensor.map(Tensor::shallow_clone)
    };
    let config = model.config();
    if let Architecture::ModernBert(modern) = &config.architecture {
        return no_grad(|| modern_start(&named, config, modern, seed));
    }
    let (width, range) = (config.hidden_size, config.initializer_range);
    let options = (Kind::Float, Device::Cpu);
    no_grad(|| -> Result<()> {
        let half = width / 2;
        let rate =
            Tensor::f_arange(half, options)?.f_mul_scalar(-(100f64.ln()) / half as f64)?.f_exp()?;
        let position = Tensor::f_arange(config.max_position_embeddings, options)?;
        let angle = position.f_unsqueeze(1)?.f_mul(&rate.f_unsqueeze(0)?)?;
        let waves = Tensor::f_cat(&[angle.f_sin()?, angle.f_cos()?], 1)?;
        let waves = waves.f_mul_scalar(2f64.sqrt() * range * 0.5)?;
        let _ = waves.f_select(0, config.pad_token_id)?.f_zero_()?;
        let mut positions = named("roberta.embeddings.position_embeddings.weight")?;
        positions.f_copy_(&waves)?;

        // libtorch's generator starts from a random seed.
        tch::manual_seed(trainer::seed_for(seed, "mimetic", 0));
        let direction = Tensor::f_randn([width], options)?.f_mul_scalar(range)?;
        let mut segments = named("roberta.embeddings.token_type_embeddings.weight")?;
        let rows = [direction.f_neg()?, direction.shallow_clone()];
        segments.f_copy_(&Tensor::f_stack(&rows, 0)?)?;

        let unit = direction.f_div(&direction.f_norm()?)?.f_to_device(model.device())?;
        let attention = "roberta.encoder.layer.0.attention.self";
        let mut query = named(&format!("{attention}.query.weight"))?;
        let mut key = named(&format!("{attention}.key.weight"))?;
        query.f_copy_(&query.f_mul_scalar(1.5)?)?;
        let identity = Tensor::f_eye(width, (Kind::Float, model.device()))?;
        let without = identity.f_sub(&unit.f_outer(&unit)?)?;
        key.f_copy_(&query.f_matmul(&without)?)?;
        Ok(())
    })
}

/// The common part of all words, the part of the separator alone, and the mark, relative to the
/// spread of words; how strongly the first head asks, answers, carries and writes.
const COMMON: f64 = 0.5;
const SEPARATOR: f64 = 2.0;
const ASK: f64 = 2.0;
const CARRY: f64 = 0.8;
/// The pair of a head's dimensions that tells before from after: slow enough that no passage goes
/// half way round, fast enough that neighbours differ.
const SLOW_PAIR: i64 = 6;

/// The start of ModernBERT's layers.
fn modern_start(
    named: &dyn Fn(&str) -> Result<Tensor>,
    config: &Config,
    modern: &ModernBert,
    seed: u64,
) -> Result<()> {
    let width = config.hidden_size;
    let depth = width / config.num_attention_heads;
    let separator = config.eos_token_id.context("the separator's id")?;
    let mut words = named("model.embeddings.tok_embeddings.weight")?;
    let [common, apart, mark] = directions(width, seed)?.map(|unit| unit.to(words.device()));
    let _ = words.f_add_(&common.f_mul_scalar(COMMON)?)?;
    let rare = common.f_mul_scalar(COMMON)?.f_add(&apart.f_mul_scalar(SEPARATOR)?)?;
    words.f_select(0, separator)?.f_copy_(&rare)?;

    // Of the first head a query is (1, 0) in one pair of dimensions, the separator's key (0, 1):
    // their product is the sine of how far the separator is before the token.
    let projections = named("model.layers.0.attn.Wqkv.weight")?;
    let half = depth / 2;
    let set = |row: i64, values: &Tensor| projections.f_select(0, row)?.f_copy_(values);
    for row in 0..depth {
        set(row, &common.f_zeros_like()?)?;
        set(width + row, &common.f_zeros_like()?)?;
        set(2 * width + row, &common.f_zeros_like()?)?;
    }
    set(SLOW_PAIR, &common.f_mul_scalar(ASK)?)?;
    set(width + half + SLOW_PAIR, &apart.f_mul_scalar(ASK)?)?;
    set(2 * width, &apart.f_mul_scalar(CARRY)?)?;
    let out = named("model.layers.0.attn.Wo.weight")?;
    out.f_select(1, 0)?.f_copy_(&mark.f_mul_scalar(CARRY)?)?;

    let global = |layer: usize| modern.layer_types.get(layer) == Some(&LayerType::Global);
    let matching = (1..modern.layer_types.len()).find(|&layer| global(layer));
    let layer = matching.context("a second global layer in model.layer_types")?;
    let rows = named(&format!("model.layers.{layer}.attn.Wqkv.weight"))?;
    let (mut query, mut key) = (rows.f_narrow(0, 0, width)?, rows.f_narrow(0, width, width)?);
    query.f_copy_(&query.f_mul_scalar(1.5)?)?;
    // Keys leave out what all tokens, or all of the passage, have in common.
    let mut kept = Tensor::f_eye(width, (Kind::Float, words.device()))?;
    for unit in [&common, &mark] {
        kept = kept.f_sub(&unit.f_outer(unit)?)?;
    }
    key.f_copy_(&query.f_matmul(&kept)?)?;
    Ok(())
}

/// Three unit vectors at right angles to each other, without a mean, which norms would take away.
fn directions(width: i64, seed: u64) -> Result<[Tensor; 3]> {
    tch::manual_seed(trainer::seed_for(seed, "mimetic", 0));
    let mut found: Vec<Tensor> = Vec::new();
    for _ in 0..3 {
        let mut drawn = Tensor::f_randn([width], (Kind::Float, Device::Cpu))?;
        drawn = drawn.f_sub(&drawn.f_mean(Kind::Float)?)?;
        for other in &found {
            drawn = drawn.f_sub(&other.f_mul(&drawn.f_dot(other)?)?)?;
        }
        found.push(drawn.f_div(&drawn.f_norm()?)?);
    }
    <[Tensor; 3]>::try_from(found).map_err(|_| anyhow::anyhow!("three directions"))
}
