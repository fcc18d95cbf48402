//! Training of an arm in one setting.
use std::collections::BTreeSet;

use anyhow::Result;
use experiment::Trial;
use mlqa_eval::Language;
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};
use tasks::entity_alignment::{
    AlignmentNetwork, AlignmentStage, AlignmentTask, EntityVectors, Missing,
};
use tch::Tensor;
use trainer::TrainConfig;
use transfer_eval::retrieval::mutual_nearest;

use crate::data::{Graph, Graphs, Pairs, Texts, apply_arm, known_texts, split};
use crate::recipe::{Modality, Recipe, Setting};

/// Pairs that the iteration added in a setting.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Added {
    pub setting: Setting,
    /// Number of pairs.
    pub count: usize,
    /// Number of pairs of the same entity.
    pub correct: usize,
}

/// The result of a setting.
pub struct Aligned {
    /// Joint vectors of the held-out entities, one row per pair, in English and the other language.
    pub vectors: [Array2<f32>; 2],
    pub added: Added,
}

/// A setting during training.
struct Run<'a> {
    trial: &'a Trial<'a, Recipe>,
    setting: Setting,
    graphs: [&'a Graph; 2],
    texts: [Array2<f32>; 2],
    network: AlignmentNetwork,
}

/// Trains the arm: alignment, generators, completion, and rounds with further pairs.
pub fn align(
    trial: &Trial<Recipe>,
    setting: Setting,
    graphs: &Graphs,
    texts: &Texts,
) -> Result<Aligned> {
    let languages = [Language::EN, setting.language];
    let recipe = trial.recipe;
    let both = languages.map(|language| &graphs[&language]);
    let known = |language: Language| {
        let known = known_texts(&texts[&language], language, &setting, trial.seed)?;
        apply_arm(trial, language, Modality::Text, known)
    };
    let texts = [known(languages[0])?, known(languages[1])?];
    let Pairs { train: mut pairs, test } = split(recipe, both, trial.seed)?;
    let widths = [texts[0].ncols(), recipe.structure.width];
    let network = AlignmentNetwork::new(widths, recipe.hidden_size, trial.device(), trial.seed)?;
    let run = Run { trial, setting, graphs: both, texts, network };

    let mut vectors = run.vectors(&pairs)?;
    run.fit("align", &recipe.align, AlignmentStage::Align, &vectors, &pairs)?;
    if trial.arm.complete {
        run.fit("generate", &recipe.generate, AlignmentStage::Generate, &vectors, &pairs)?;
    }
    let stage = match trial.arm.complete {
        true => AlignmentStage::Complete,
        false => AlignmentStage::Align,
    };
    run.fit("complete", &recipe.complete, stage, &vectors, &pairs)?;

    // A pair is added if its entities are mutual nearest neighbours before and after the training of
    // a round.
    let known_count = pairs.len();
    let mut candidates = run.candidates(&vectors, &pairs)?;
    for round in 1..=recipe.iteration.rounds {
        let name = format!("round-{round}");
        run.fit(&name, &recipe.iteration.training, stage, &vectors, &pairs)?;
        if trial.arm.iterate && round < recipe.iteration.rounds {
            let found = run.candidates(&vectors, &pairs)?;
            pairs.extend(found.intersection(&candidates));
            // The added pairs are anchors of the structure vectors, too.
            vectors = run.vectors(&pairs)?;
            candidates = run.candidates(&vectors, &pairs)?;
        }
    }
    let added = pairs.split_off(known_count);
    let is_correct = |&&(x, y): &&(usize, usize)| both[0].ids[x] == both[1].ids[y];
    let correct = added.iter().filter(is_correct).count();
    let [english, other] = run.joint_vectors(&vectors)?;
    let (x, y): (Vec<usize>, Vec<usize>) = test.into_iter().unzip();
    Ok(Aligned {
        vectors: [english.select(Axis(0), &x), other.select(Axis(0), &y)],
        added: Added { setting, count: added.len(), correct },
    })
}

impl Run<'_> {
    /// The vectors of both graphs, with the entities of `pairs` as anchors.
    fn vectors(&self, pairs: &[(usize, usize)]) -> Result<[EntityVectors; 2]> {
        let (first, second): (Vec<usize>, Vec<usize>) = pairs.iter().copied().unzip();
        let Trial { recipe, seed, .. } = self.trial;
        let of_graph = |k: usize, language: Language, anchors: &[usize]| {
            let neighbours = &self.graphs[k].neighbours;
            let structure = neighbours.structure_vectors(anchors, &recipe.structure, *seed)?;
            let structure = apply_arm(self.trial, language, Modality::Structure, structure)?;
            anyhow::Ok(EntityVectors::new(&self.texts[k], &structure, self.trial.device())?)
        };
        Ok([of_graph(0, Language::EN, &first)?, of_graph(1, self.setting.language, &second)?])
    }

    /// Trains the parameters of a stage.
    fn fit(
        &self,
        name: &str,
        config: &TrainConfig,
        stage: AlignmentStage,
        [first, second]: &[EntityVectors; 2],
        pairs: &[(usize, usize)],
    ) -> Result<()> {
        let options = &self.trial.recipe.alignment;
        let mut task =
            AlignmentTask::new(&self.network, [first, second], pairs.to_vec(), stage, options)?;
        let trains_generators = stage == AlignmentStage::Generate;
        let is_trained =
            |(name, _): &(String, Tensor)| name.starts_with("generators.") == trains_generators;
        let parameters: Vec<_> =
            self.network.named_parameters().into_iter().filter(is_trained).collect();
        let name = format!("{}/{name}", self.setting.name());
        self.trial.fit(&name, config, &parameters, &mut task)?;
        Ok(())
    }

    fn joint_vectors(&self, [first, second]: &[EntityVectors; 2]) -> Result<[Array2<f32>; 2]> {
        let missing = match self.trial.arm.complete {
            true => Missing::Generated,
            false => Missing::Excluded,
        };
        let joint = |vectors| self.network.joint_vectors(vectors, missing);
        Ok([joint(first)?, joint(second)?])
    }

    /// The mutual nearest neighbours among the entities that are in no pair.
    fn candidates(
        &self,
        vectors: &[EntityVectors; 2],
        pairs: &[(usize, usize)],
    ) -> Result<BTreeSet<(usize, usize)>> {
        if !self.trial.arm.iterate {
            return Ok(BTreeSet::new());
        }
        let [first, second] = self.joint_vectors(vectors)?;
        let (x, y): (BTreeSet<usize>, BTreeSet<usize>) = pairs.iter().copied().unzip();
        let unpaired = |vectors: &Array2<f32>, paired: &BTreeSet<usize>| -> Vec<usize> {
            (0..vectors.nrows()).filter(|entity| !paired.contains(entity)).collect()
        };
        let (x, y) = (unpaired(&first, &x), unpaired(&second, &y));
        let (first, second) = (first.select(Axis(0), &x), second.select(Axis(0), &y));
        let found = mutual_nearest(first.view(), second.view())?;
        Ok(found.into_iter().map(|(i, j)| (x[i], y[j])).collect())
    }
}
