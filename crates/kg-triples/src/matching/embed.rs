//! Training of vectors on random walks.
use rand::Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::MatchGraph;
use super::skip_gram::{NegativeSampler, Vectors, WalkWindows};
use super::walks::random_walk;
use crate::{Error, seed};

/// Number of walks whose updates are computed from the same vectors. Because it does not depend on
/// the number of threads, neither does the result.
const BATCH: usize = 64;

/// Options of [`embed`]. The defaults are those of the authors' program except for the walks, which
/// it draws 10 times and trains on 10 times each.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedConfig {
    /// Number of walks from each document. Each walk is used once.
    pub walks: usize,
    /// Number of steps of a walk.
    pub walk_length: usize,
    /// Number of dimensions of the vectors.
    pub dimensions: usize,
    /// Maximum distance of a context from the centre, in steps. The distance is drawn uniformly for
    /// each centre, as in word2vec.
    pub window: usize,
    /// Number of negative samples per centre.
    pub negatives: usize,
    /// Initial learning rate, which decreases linearly to 0. On one corpus, training diverged at
    /// 0.1.
    pub learning_rate: f32,
    /// Random seed.
    pub seed: u64,
}

impl Default for EmbedConfig {
    fn default() -> Self {
        Self {
            walks: 100,
            walk_length: 25,
            dimensions: 100,
            window: 3,
            negatives: 5,
            learning_rate: 0.025,
            seed: 0,
        }
    }
}

impl EmbedConfig {
    fn check(&self) -> Result<(), Error> {
        for (key, value) in [
            ("walks", self.walks),
            ("walk_length", self.walk_length),
            ("dimensions", self.dimensions),
            ("window", self.window),
        ] {
            if value == 0 {
                return Err(Error::Config { key, value: "0".into(), rule: "1 or more" });
            }
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            let value = self.learning_rate.to_string();
            return Err(Error::Config { key: "learning_rate", value, rule: "a number above 0" });
        }
        Ok(())
    }
}

/// Vectors of the nodes of a graph, `[nodes, dimensions]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    dimensions: usize,
    values: Vec<f32>,
}

impl Embeddings {
    /// The vector of a node. A document without neighbours has its initial, random vector.
    pub fn vector(&self, node: usize) -> &[f32] {
        &self.values[node * self.dimensions..][..self.dimensions]
    }
}

/// Trains a vector for each node by skip-gram with negative sampling on random walks from all
/// documents. `on_progress` is called with the number of finished walks.
///
/// The updates of 64 walks are computed from the same vectors and added in the order of the walks,
/// so the result does not depend on the number of threads.
///
/// # Errors
/// [`Error::Config`] for a size of 0, or a learning rate at which the vectors diverge.
pub fn embed(
    graph: &MatchGraph,
    config: &EmbedConfig,
    on_progress: impl Fn(usize),
) -> Result<Embeddings, Error> {
    config.check()?;
    let size = config.dimensions;
    let sampler = NegativeSampler::new(graph);
    let mut starts: Vec<usize> = (0..graph.second().end)
        .filter(|document| !graph.neighbours(*document).is_empty())
        .collect();
    let total = starts.len() * config.walks;
    let mut inputs = initial_vectors(graph.len(), config);
    let mut outputs = vec![0.0; graph.len() * size];
    let mut done = 0;
    for round in 0..config.walks {
        starts.shuffle(&mut seed::stream_rng(config.seed, "matching: order", round as u64));
        for batch in starts.chunks(BATCH) {
            let updates: Vec<Update> = batch
                .par_iter()
                .enumerate()
                .map(|(k, start)| {
                    let walk_index = done + k;
                    let fraction = walk_index as f32 / total as f32;
                    let rate = config.learning_rate * (1.0 - fraction);
                    let mut rng = seed::item_rng("matching: walk", config.seed, walk_index as u64);
                    let walk = random_walk(graph, *start, config.walk_length, &mut rng);
                    let windows = WalkWindows::draw(
                        &walk,
                        config.window,
                        config.negatives,
                        &sampler,
                        &mut rng,
                    );
                    Update::compute(windows, size, &inputs, &outputs, rate)
                })
                .collect();
            for update in updates {
                add_rows(&mut inputs, size, &update.inputs);
                add_rows(&mut outputs, size, &update.outputs);
            }
            done += batch.len();
            on_progress(done);
        }
    }
    if inputs.iter().any(|value| !value.is_finite()) {
        let value = config.learning_rate.to_string();
        return Err(Error::Config {
            key: "learning_rate",
            value,
            rule: "small enough to converge",
        });
    }
    Ok(Embeddings { dimensions: size, values: inputs })
}

/// Uniform numbers between -0.5 and 0.5, divided by the number of dimensions, as in word2vec.
fn initial_vectors(nodes: usize, config: &EmbedConfig) -> Vec<f32> {
    let size = config.dimensions;
    let row = |node: usize| {
        let mut rng = seed::item_rng("matching: initial", config.seed, node as u64);
        (0..size).map(move |_| (rng.random::<f32>() - 0.5) / size as f32)
    };
    (0..nodes).flat_map(row).collect()
}

/// Changes of rows: the nodes, and the changes `[nodes, dimensions]`.
type RowChanges = (Vec<u32>, Vec<f32>);

/// The changes of vectors by one walk.
struct Update {
    inputs: RowChanges,
    outputs: RowChanges,
}

impl Update {
    /// Trains copies of the rows of a walk, window after window.
    fn compute(
        windows: WalkWindows,
        size: usize,
        inputs: &[f32],
        outputs: &[f32],
        rate: f32,
    ) -> Self {
        let mut input_rows = copy_rows(inputs, size, &windows.inputs);
        let mut output_rows = copy_rows(outputs, size, &windows.outputs);
        let mut vectors =
            Vectors { dimensions: size, inputs: &mut input_rows, outputs: &mut output_rows };
        windows.windows.iter().for_each(|window| vectors.step(window, rate));
        subtract_rows(&mut input_rows, size, inputs, &windows.inputs);
        subtract_rows(&mut output_rows, size, outputs, &windows.outputs);
        Self { inputs: (windows.inputs, input_rows), outputs: (windows.outputs, output_rows) }
    }
}

fn row_of(values: &[f32], size: usize, node: u32) -> &[f32] {
    &values[node as usize * size..][..size]
}

fn copy_rows(values: &[f32], size: usize, nodes: &[u32]) -> Vec<f32> {
    let mut rows = Vec::with_capacity(nodes.len() * size);
    nodes.iter().for_each(|node| rows.extend_from_slice(row_of(values, size, *node)));
    rows
}

fn subtract_rows(rows: &mut [f32], size: usize, values: &[f32], nodes: &[u32]) {
    for (row, node) in rows.chunks_mut(size).zip(nodes) {
        for (changed, value) in row.iter_mut().zip(row_of(values, size, *node)) {
            *changed -= value;
        }
    }
}

fn add_rows(values: &mut [f32], size: usize, (nodes, changes): &RowChanges) {
    for (node, change) in nodes.iter().zip(changes.chunks(size)) {
        let row = &mut values[*node as usize * size..][..size];
        for (value, change) in row.iter_mut().zip(change) {
            *value += change;
        }
    }
}
