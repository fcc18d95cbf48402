//! Skip-gram with negative sampling.
//!
//! A window has a centre c, context nodes i, and negative samples n. Its loss is
//! `-Σ_i (log σ(v_i · u_c) + Σ_n log σ(-v_i · u_n))`, where `v` are input vectors and `u` output
//! vectors. As in word2vec, the context's input vector predicts the centre; the negative samples of
//! a window are the same for all of its contexts.
use rand::Rng;
use rand::distr::{Distribution, weighted::WeightedIndex};

use super::MatchGraph;

/// Draws negative samples with probabilities proportional to `degree^0.75`. Long random walks visit
/// nodes in proportion to their degree, so this is word2vec's distribution.
pub(super) struct NegativeSampler {
    index: WeightedIndex<f64>,
}

impl NegativeSampler {
    pub(super) fn new(graph: &MatchGraph) -> Self {
        let weights = (0..graph.len()).map(|at| (graph.neighbours(at).len() as f64).powf(0.75));
        let index = WeightedIndex::new(weights).expect("a graph has an edge");
        Self { index }
    }

    fn sample(&self, rng: &mut impl Rng) -> u32 {
        self.index.sample(rng) as u32
    }
}

/// A centre with its contexts and negative samples, as indices of rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Rows of input vectors.
    pub(super) contexts: Vec<usize>,
    /// Rows of output vectors: the centre, then the negative samples.
    pub(super) targets: Vec<usize>,
}

/// The windows of a walk, and the nodes whose vectors they use.
pub(super) struct WalkWindows {
    /// Nodes of the input rows, sorted.
    pub(super) inputs: Vec<u32>,
    /// Nodes of the output rows, sorted.
    pub(super) outputs: Vec<u32>,
    pub(super) windows: Vec<Window>,
}

impl WalkWindows {
    /// Draws a window size from 1 to `max_window` and `negatives` samples for each node of the walk.
    /// Samples that are the centre are skipped.
    pub(super) fn draw(
        walk: &[u32],
        max_window: usize,
        negatives: usize,
        sampler: &NegativeSampler,
        rng: &mut impl Rng,
    ) -> Self {
        let mut windows = Vec::with_capacity(walk.len());
        for (at, centre) in walk.iter().enumerate() {
            let size = rng.random_range(1..=max_window);
            let range = at.saturating_sub(size)..walk.len().min(at + size + 1);
            let contexts: Vec<u32> = range.filter(|k| *k != at).map(|k| walk[k]).collect();
            let samples = (0..negatives).map(|_| sampler.sample(rng));
            let samples = samples.filter(|sample| sample != centre);
            let targets: Vec<u32> = std::iter::once(*centre).chain(samples).collect();
            windows.push((contexts, targets));
        }
        let inputs = sorted_set(walk.iter().copied());
        let outputs = sorted_set(windows.iter().flat_map(|(_, targets)| targets.iter().copied()));
        let rows = |nodes: &[u32], all: &[u32]| {
            let row = |node| all.binary_search(node).expect("all nodes have a row");
            nodes.iter().map(row).collect()
        };
        let windows = windows
            .iter()
            .map(|(contexts, targets)| Window {
                contexts: rows(contexts, &inputs),
                targets: rows(targets, &outputs),
            })
            .collect();
        Self { inputs, outputs, windows }
    }
}

fn sorted_set(nodes: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut nodes: Vec<u32> = nodes.collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Input and output vectors, `[rows, dimensions]` each.
pub(super) struct Vectors<'a> {
    pub(super) dimensions: usize,
    pub(super) inputs: &'a mut [f32],
    pub(super) outputs: &'a mut [f32],
}

impl Vectors<'_> {
    /// Makes a step of gradient descent on the loss of a window.
    pub(super) fn step(&mut self, window: &Window, rate: f32) {
        let size = self.dimensions;
        let mut input_steps = vec![0.0; window.contexts.len() * size];
        let mut output_steps = vec![0.0; window.targets.len() * size];
        for (context, input_step) in window.contexts.iter().zip(input_steps.chunks_mut(size)) {
            let input = &self.inputs[context * size..][..size];
            let targets = window.targets.iter().zip(output_steps.chunks_mut(size)).enumerate();
            for (k, (target, output_step)) in targets {
                let output = &self.outputs[target * size..][..size];
                let label = if k == 0 { 1.0 } else { 0.0 };
                let scale = rate * (label - sigmoid(dot(input, output)));
                add_scaled(input_step, scale, output);
                add_scaled(output_step, scale, input);
            }
        }
        for (row, step) in window.contexts.iter().zip(input_steps.chunks(size)) {
            add_scaled(&mut self.inputs[row * size..][..size], 1.0, step);
        }
        for (row, step) in window.targets.iter().zip(output_steps.chunks(size)) {
            add_scaled(&mut self.outputs[row * size..][..size], 1.0, step);
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Adds `scale * values` to `sum`.
fn add_scaled(sum: &mut [f32], scale: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += scale * value;
    }
}

/// Number of partial sums of [`dot`], which the compiler vectorises.
const LANES: usize = 16;

/// Dot product, with a fixed order of additions.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.clone().zip(b_chunks.clone()) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest.map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests;
