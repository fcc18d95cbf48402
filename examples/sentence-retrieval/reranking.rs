//! *xMEN* (Borchert et al. 2023): candidates of a name, re-ranked by a cross-encoder.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::Trial;
use mlqa_eval::Language;
use objectives::ListwiseConfig;
use tasks::reranking::{RERANKING_HEAD, RerankingTask, rerank};

use crate::candidates::{Candidates, Entities, Generator};
use crate::recipe::Recipe;
use crate::report::PairRanks;

/// Trains a cross-encoder on the candidates of the training names, and returns the number of
/// tokens.
pub fn train(trial: &Trial<Recipe>, entities: &Entities, config: &ListwiseConfig) -> Result<u64> {
    let Recipe { model, reranking, .. } = trial.recipe;
    let generator = Generator::new(trial, entities)?;
    let lists = generator.train(trial.recipe, trial.seed);
    let mut encoder = trial.load_model(&model.path, &[RERANKING_HEAD], model.segments)?;
    let lists = generator.encode(&lists, &encoder, reranking.max_length)?;
    let mut task = RerankingTask::new(&encoder.model, lists, config.clone())?;
    let parameters = encoder.model.named_parameters();
    trial.fit("train", &reranking.training, &parameters, &mut task)?;
    trial.save(&mut encoder, RERANKING_HEAD, trial.dir("model"))?;
    Ok(trial.tokens())
}

/// Ranks of the correct descriptions by the generator: BM25, vectors, and both.
pub fn generator_ranks(trial: &Trial<Recipe>, entities: &Entities) -> Result<[Vec<PairRanks>; 3]> {
    let lists = Generator::new(trial, entities)?.test(trial.recipe);
    Ok([0, 1, 2].map(|k| by_pair(&lists, lists.iter().map(|list| list.ranks[k]))))
}

/// Ranks of the correct descriptions after re-ranking by the trained cross-encoder.
pub fn reranked_ranks(trial: &Trial<Recipe>, entities: &Entities) -> Result<Vec<PairRanks>> {
    let Recipe { model, reranking, evaluation, .. } = trial.recipe;
    let generator = Generator::new(trial, entities)?;
    let lists = generator.test(trial.recipe);
    let encoder = trial.load(trial.dir("model"), &[RERANKING_HEAD], model.segments)?;
    let encoded = generator.encode(&lists, &encoder, reranking.max_length)?;
    let scores = rerank(&encoder.model, &encoded, evaluation.batch_size)?;
    Ok(by_pair(&lists, lists.iter().zip(&scores).map(|(list, scores)| list.reranked(scores))))
}

fn by_pair(lists: &[Candidates], ranks: impl Iterator<Item = usize>) -> Vec<PairRanks> {
    let mut pairs: BTreeMap<(Language, Language), Vec<usize>> = BTreeMap::new();
    for (list, rank) in lists.iter().zip(ranks) {
        pairs.entry((list.query, list.candidate)).or_default().push(rank);
    }
    let pairs = pairs.into_iter();
    pairs.map(|((query, candidate), ranks)| PairRanks { query, candidate, ranks }).collect()
}
