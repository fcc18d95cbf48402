//! The triples of an arm as masked sequences (section III-A), and how long an arm trains on them.
use anyhow::{Context, Result};
use kg_triples::{
    BuildReport, KnowledgeGraph, Sequence, SequenceConfig, build_sequences_for_pairs,
};
use tokenizers::Tokenizer;
use trainer::TrainConfig;

use crate::recipe::{Arm, Group, Recipe};

/// What the sequences of all arms are made from.
pub struct Knowledge<'a> {
    pub recipe: &'a Recipe,
    pub facts: &'a KnowledgeGraph,
    pub tokenizer: &'a Tokenizer,
}

impl Knowledge<'_> {
    /// The masked sequences of an arm.
    pub fn sequences(&self, arm: &Arm, group: &Group) -> Result<(Vec<Sequence>, BuildReport)> {
        let recipe = self.recipe;
        let config = SequenceConfig { kinds: arm.kinds.clone(), ..recipe.sequences.clone() };
        let unseen = match &arm.without_split {
            Some(split) => Some(recipe.data.facts.split.divide(self.facts)?.get(split)?.clone()),
            None => None,
        };
        let seen = self
            .facts
            .filter(|fact| unseen.as_ref().is_none_or(|heads| !heads.contains(fact.head)));
        Ok(build_sequences_for_pairs(&seen, &group.pairs, &config, self.tokenizer)?)
    }

    /// The configuration of an arm's injection; an arm of equal tokens gets the steps that make them equal.
    pub fn injection(
        &self,
        seed: u64,
        arm: &Arm,
        group: &Group,
        built: &BuildReport,
    ) -> Result<TrainConfig> {
        let mut config = TrainConfig { seed, ..self.recipe.injection.clone() };
        if let Some(other) = &arm.equal_tokens {
            let other = self.recipe.arms.get(other).context("equal_tokens")?;
            let (_, like) = self.sequences(other, group)?;
            let mean = |built: &BuildReport| built.tokens as f64 / built.sequences().max(1) as f64;
            let steps = config.total_steps(like.sequences()) as f64 * mean(&like) / mean(built);
            config.steps = Some(steps.round() as u64);
        }
        Ok(config)
    }
}
