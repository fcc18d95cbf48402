//! Entity completion: prediction of the masked entity of a knowledge triple.
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::{LossReduction, upload};

use crate::checks::{check_ids, check_int64};
use crate::{Error, TokenScores};

/// Options of [`entity_completion`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntityCompletionConfig {
    /// Weighting of entities.
    pub normalization: EntityNormalization,
}

/// Unit over which [`entity_completion`] averages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityNormalization {
    /// Every masked position has the same weight, so an entity of four sub-tokens has four times
    /// the weight of an entity of one sub-token.
    #[default]
    Token,
    /// Every entity has the same weight: the mean over entities of the mean over their sub-tokens
    /// (the mean likelihood of MLMLM, which the paper adopts).
    Entity,
}

/// Computes the entity-completion loss of *Bridging the Language Gap* (Eq. 2), in nats.
///
/// With `ℓᵢ = -ln softmax(logits[i])[targets[i]]`, the loss is `(1/N) Σᵢ ℓᵢ`
/// ([`EntityNormalization::Token`]) or `(1/E) Σₑ (1/kₑ) Σ_{i∈e} ℓᵢ`
/// ([`EntityNormalization::Entity`]), where entity e occupies kₑ masked positions.
///
/// Interpretation: Eq. 2 is printed as `log p(e | e′, r)` without the minus sign, and does not
/// define the score of an entity of several sub-tokens. In this function, an entity has one
/// `<mask>` per sub-token, and each sub-token is predicted independently. If a row concatenates two
/// triples, their masked entities count as two entities.
///
/// # Shapes
/// - `scores`: the logits `[N, V]` of the LM head on the masked positions, or
///   [`TokenScores::linear`] of the head's last layer; receives gradient
/// - `targets`: `[N]` i64, in `0..V`, the correct sub-token
/// - `entities`: `[N]` i64, the id of the masked entity that each position belongs to: 0 or more,
///   and different for any two masked entities of the batch. The ids may be unordered and may have
///   gaps. With [`EntityNormalization::Token`], the ids are validated but not used
/// - returns `[]`: f64 for f64 logits, f32 for all others (softmax and reduction use this dtype)
///
/// # Errors
/// [`Error::Empty`] if N = 0; [`Error::Range`] if a target is outside `0..V` or an entity id is
/// negative; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for
/// invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::Tensor;
/// use objectives::{EntityCompletionConfig, EntityNormalization, entity_completion};
///
/// // Three masked positions, V = 2: entity 0 has two sub-tokens, entity 1 has one.
/// let (zero, three) = (0_f64, 3_f64.ln());
/// let logits = Tensor::from_slice(&[zero, zero, zero, zero, three, zero]).view([3, 2]);
/// let targets = Tensor::from_slice(&[0_i64, 1, 0]);
/// let entities = Tensor::from_slice(&[0_i64, 0, 1]);
/// let normalization = EntityNormalization::Entity;
/// let config = EntityCompletionConfig { normalization };
/// let loss = entity_completion(&logits, &targets, &entities, &config)?;
/// // p = 1/2 for both sub-tokens of entity 0, 3/4 for entity 1.
/// let expected = (2_f64.ln() + (4.0 / 3_f64).ln()) / 2.0;
/// assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn entity_completion<'a>(
    scores: impl Into<TokenScores<'a>>,
    targets: &Tensor,
    entities: &Tensor,
    config: &EntityCompletionConfig,
) -> Result<Tensor, Error> {
    let scores = scores.into();
    let targets = &scores.check_targets(targets)?;
    let (reference, device) = (scores.name(), scores.device());
    check_int64("entities", entities, &targets.size(), "[N]", reference, device)?;
    check_ids("entities", entities, i64::MAX, ", the id of a masked entity")?;
    let position_weights = match config.normalization {
        EntityNormalization::Token => None,
        EntityNormalization::Entity => Some(upload(&position_weights(entities)?, scores.device())?),
    };
    let reduction = match position_weights {
        None => LossReduction::Mean,
        Some(_) => LossReduction::Sum,
    };
    scores.loss(targets, reduction, position_weights.as_ref())
}

/// `1 / (kₑ E)` for each position, `[N]` f64, so that all entities have equal weights and all
/// positions of an entity have equal weights.
fn position_weights(entities: &Tensor) -> Result<Tensor, Error> {
    let (_, entity_index, sizes) = entities.f_internal_unique2(false, true, true)?; // [N], [E]
    let entity_sizes = sizes.f_index_select(0, &entity_index)?; // kₑ of the entity of each position
    let entity_count = sizes.size1()?;
    Ok(entity_sizes.f_mul_scalar(entity_count)?.f_to_kind(Kind::Double)?.f_reciprocal()?)
}
