use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;

const DIMENSIONS: usize = 19; // more than the partial sums of a dot product

/// The loss of a window as in the documentation of the module, in float64.
fn loss(window: &Window, inputs: &[f64], outputs: &[f64]) -> f64 {
    let row = |values: &[f64], row: usize| values[row * DIMENSIONS..][..DIMENSIONS].to_vec();
    let mut loss = 0.0;
    for context in &window.contexts {
        for (k, target) in window.targets.iter().enumerate() {
            let (input, output) = (row(inputs, *context), row(outputs, *target));
            let product: f64 = input.iter().zip(&output).map(|(a, b)| a * b).sum();
            let product = if k == 0 { product } else { -product };
            loss -= (1.0 / (1.0 + (-product).exp())).ln();
        }
    }
    loss
}

fn random(count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Row 1 is a context twice, and row 2 is a negative sample twice.
fn window() -> Window {
    Window { contexts: vec![0, 1, 1], targets: vec![1, 2, 0, 2] }
}

#[test]
fn a_step_follows_the_numerical_gradient_of_the_loss() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (inputs, outputs) = (random(2 * DIMENSIONS, &mut rng), random(3 * DIMENSIONS, &mut rng));
    let (mut new_inputs, mut new_outputs) = (inputs.clone(), outputs.clone());
    let rate = 0.5;
    let mut vectors =
        Vectors { dimensions: DIMENSIONS, inputs: &mut new_inputs, outputs: &mut new_outputs };
    vectors.step(&window(), rate);

    let step = 1e-6;
    let (inputs, outputs) = (to_f64(&inputs), to_f64(&outputs));
    let gradient = |at: usize, of_inputs: bool| {
        let loss_at = |change: f64| {
            let (mut inputs, mut outputs) = (inputs.clone(), outputs.clone());
            let values = if of_inputs { &mut inputs } else { &mut outputs };
            values[at] += change;
            loss(&window(), &inputs, &outputs)
        };
        (loss_at(step) - loss_at(-step)) / (2.0 * step)
    };
    for (values, new_values, of_inputs) in
        [(&inputs, &new_inputs, true), (&outputs, &new_outputs, false)]
    {
        for (at, (value, new_value)) in values.iter().zip(new_values).enumerate() {
            let expected = value - f64::from(rate) * gradient(at, of_inputs);
            let difference = (f64::from(*new_value) - expected).abs();
            assert!(difference < 2e-6, "{at} {of_inputs}: {new_value}, expected {expected}");
        }
    }
}

#[test]
fn steps_match_a_float64_reference() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut inputs, mut outputs) = (random(2 * DIMENSIONS, &mut rng), vec![0.0; 3 * DIMENSIONS]);
    let (mut wide_inputs, mut wide_outputs) = (to_f64(&inputs), to_f64(&outputs));
    let rate = 0.1;
    let window = window();
    for _ in 0..50 {
        let mut vectors =
            Vectors { dimensions: DIMENSIONS, inputs: &mut inputs, outputs: &mut outputs };
        vectors.step(&window, rate);

        let (old_inputs, old_outputs) = (wide_inputs.clone(), wide_outputs.clone());
        for context in &window.contexts {
            for (k, target) in window.targets.iter().enumerate() {
                let (input, output) = (context * DIMENSIONS, target * DIMENSIONS);
                let product: f64 =
                    (0..DIMENSIONS).map(|d| old_inputs[input + d] * old_outputs[output + d]).sum();
                let label = if k == 0 { 1.0 } else { 0.0 };
                let scale = f64::from(rate) * (label - 1.0 / (1.0 + (-product).exp()));
                for d in 0..DIMENSIONS {
                    wide_inputs[input + d] += scale * old_outputs[output + d];
                    wide_outputs[output + d] += scale * old_inputs[input + d];
                }
            }
        }
    }
    for (value, expected) in
        inputs.iter().chain(&outputs).zip(wide_inputs.iter().chain(&wide_outputs))
    {
        assert!((f64::from(*value) - expected).abs() < 1e-5, "{value}, expected {expected}");
    }
    assert!(loss(&window, &wide_inputs, &wide_outputs) < 8.0, "the loss decreases from 8.3");
}

#[test]
fn windows_contain_the_neighbours_of_a_centre_and_no_centre_as_negative_sample() {
    let weights = [1.0, 0.0, 3.0, 1.0, 1.0];
    let sampler = NegativeSampler { index: WeightedIndex::new(weights).unwrap() };
    let walk = [4, 2, 4, 0, 3];
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (mut sizes, mut negatives) = ([0; 5], [0; 5]);
    for _ in 0..200 {
        let windows = WalkWindows::draw(&walk, 2, 5, &sampler, &mut rng);
        assert_eq!(windows.inputs, [0, 2, 3, 4]);
        assert_eq!(windows.windows.len(), walk.len());
        for (at, window) in windows.windows.iter().enumerate() {
            let nodes = |rows: &[usize], all: &[u32]| {
                rows.iter().map(|row| all[*row]).collect::<Vec<u32>>()
            };
            let contexts = nodes(&window.contexts, &windows.inputs);
            let targets = nodes(&window.targets, &windows.outputs);
            assert_eq!(targets[0], walk[at]);
            assert!(!targets[1..].contains(&walk[at]));
            let expected = [1, 2].map(|size: usize| {
                let range = at.saturating_sub(size)..(at + size + 1).min(5);
                range.filter(|k| *k != at).map(|k| walk[k]).collect::<Vec<_>>()
            });
            assert!(expected.contains(&contexts), "{at}: {contexts:?}");
            sizes[contexts.len()] += 1;
            targets[1..].iter().for_each(|node| negatives[*node as usize] += 1);
        }
    }
    assert!(sizes[1..].iter().all(|count| *count > 50), "{sizes:?}");
    assert!(negatives[1] == 0 && negatives[2] > negatives[0] * 2, "{negatives:?}");
}
