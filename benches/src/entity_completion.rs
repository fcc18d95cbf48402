//! Comparisons of entity completion with loops over the entities.
use anyhow::Result;
use objectives::{EntityCompletionConfig, EntityNormalization, entity_completion};
use tch::{Device, Kind, Reduction, Tensor};

use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec};

/// Returns the comparisons of `entity_completion`.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    [(4_000, 48), (250_002, 24)]
        .map(move |(vocabulary, entities)| {
            let name = format!("V={vocabulary},E={entities}");
            Spec::new("entity_completion", name, move || case(entities, vocabulary, device))
        })
        .into()
}

fn case(entities: i64, vocabulary: i64, device: Device) -> Result<Case> {
    let step = share_inputs(Inputs::random(entities, vocabulary, device)?);
    let baselines = vec![step("loop over losses", Inputs::loop_over_losses)];
    Ok(Case::new(step("at once", Inputs::at_once), baselines).with_tolerance(1e-4))
}

/// Random logits of E entities with 1, 2, 3, 4, 1, 2, … sub-tokens.
struct Inputs {
    logits: Tensor,
    targets: Tensor,
    entities: Tensor,
    count: i64,
}

impl Inputs {
    fn random(count: i64, vocabulary: i64, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let sizes =
            Tensor::f_arange(count, (Kind::Int64, device))?.f_remainder(4)?.f_add_scalar(1)?;
        let entities = Tensor::f_repeat_interleave(&sizes, None)?;
        let positions = entities.size1()?;
        Ok(Self {
            logits: Tensor::f_randn([positions, vocabulary], (Kind::Float, device))?
                .set_requires_grad(true),
            targets: Tensor::f_randint(vocabulary, [positions], (Kind::Int64, device))?,
            entities,
            count,
        })
    }

    /// This project's formulation: all entities at once. Runs the forward and backward passes, and
    /// returns the loss.
    fn at_once(&self) -> Result<f64> {
        let config = EntityCompletionConfig { normalization: EntityNormalization::Entity };
        let loss = entity_completion(&self.logits, &self.targets, &self.entities, &config)?;
        backward(loss, &[&self.logits])
    }

    /// Computes one cross-entropy for all positions, then a mean per entity.
    fn loop_over_losses(&self) -> Result<f64> {
        let (logits, targets) = (&self.logits, &self.targets);
        let position_losses =
            logits.f_cross_entropy_loss::<Tensor>(targets, None, Reduction::None, -100, 0.0)?;
        let mut losses = Vec::new();
        for entity in 0..self.count {
            let is_entity = self.entities.f_eq(entity)?;
            losses.push(position_losses.f_masked_select(&is_entity)?.f_mean(None::<Kind>)?);
        }
        backward(Tensor::f_stack(&losses, 0)?.f_mean(None::<Kind>)?, &[&self.logits])
    }
}
