//! Tests of the losses against loops in float64.
use ndarray::Array2;
use tch::Device;

use super::*;
use crate::testing::{fingerprint_of, first_losses};

const WIDTHS: [usize; 2] = [4, 5];

/// Vectors without a regular pattern; the rows of `missing` are zero.
fn vectors(width: usize, step: f32, missing: &[usize]) -> Array2<f32> {
    Array2::from_shape_fn((6, width), |(r, c)| match missing.contains(&r) {
        true => 0.0,
        false => (step * (r * width + c + 1) as f32).sin(),
    })
}

/// Entity 0 has no text, entity 4 no structure, entity 5 neither.
fn first() -> EntityVectors {
    let text = vectors(WIDTHS[0], 0.731, &[0, 5]);
    let structure = vectors(WIDTHS[1], 1.137, &[4, 5]);
    EntityVectors::new(&text, &structure, Device::Cpu).unwrap()
}

/// Entities 1 and 2 have no text, entity 3 has no structure.
fn second() -> EntityVectors {
    let text = vectors(WIDTHS[0], 0.391, &[1, 2]);
    let structure = vectors(WIDTHS[1], 0.917, &[3]);
    EntityVectors::new(&text, &structure, Device::Cpu).unwrap()
}

fn network() -> AlignmentNetwork {
    AlignmentNetwork::new(WIDTHS, 7, Device::Cpu, 3).unwrap()
}

const PAIRS: [(usize, usize); 6] = [(0, 5), (1, 0), (2, 1), (3, 4), (4, 2), (5, 3)];

fn losses(network: &AlignmentNetwork, stage: AlignmentStage) -> StepLosses {
    let (first, second) = (first(), second());
    let config = AlignmentConfig::default();
    let graphs = [&first, &second];
    let mut task = AlignmentTask::new(network, graphs, PAIRS.to_vec(), stage, &config).unwrap();
    first_losses(&mut task, &[0, 1, 2, 3, 4, 5]).unwrap()
}

type Rows = Vec<Option<Vec<f64>>>;

fn parameter(network: &AlignmentNetwork, name: &str) -> Tensor {
    let parameters = network.named_parameters();
    let (_, tensor) = parameters.into_iter().find(|(other, _)| other == name).unwrap();
    tensor.detach().to_kind(Kind::Double)
}

fn unit(row: &[f64]) -> Vec<f64> {
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter().map(|x| x / norm).collect()
}

/// A linear layer and the scaling to length 1, for rows that are present.
fn layer(network: &AlignmentNetwork, name: &str, rows: &Rows) -> Rows {
    let weight = parameter(network, &format!("{name}.weight"));
    let bias = Vec::<f64>::try_from(parameter(network, &format!("{name}.bias"))).unwrap();
    let apply = |row: &Vec<f64>| {
        let product = |(k, bias): (usize, &f64)| {
            let weights = Vec::<f64>::try_from(weight.get(k as i64)).unwrap();
            weights.iter().zip(row).map(|(w, x)| w * x).sum::<f64>() + bias
        };
        unit(&bias.iter().enumerate().map(product).collect::<Vec<_>>())
    };
    rows.iter().map(|row| row.as_ref().map(apply)).collect()
}

/// The given vectors of the pairs' entities in one graph: text and structure.
fn given(vectors: &EntityVectors, entities: &[usize]) -> [Rows; 2] {
    [0, 1].map(|k| {
        let row = |&entity: &usize| {
            let row = vectors.tensors()[k].get(entity as i64).to_kind(Kind::Double);
            vectors.is_present()[k][entity].then(|| Vec::<f64>::try_from(row).unwrap())
        };
        entities.iter().map(row).collect()
    })
}

/// InfoNCE in both directions with the rows of both sides as negatives, by loops, over rows that
/// both sides have.
fn contrast(first: &Rows, second: &Rows) -> f64 {
    let pairs: Vec<(Vec<f64>, Vec<f64>)> = first
        .iter()
        .zip(second)
        .filter_map(|(x, y)| Some((unit(x.as_ref()?), unit(y.as_ref()?))))
        .collect();
    assert!(pairs.len() >= 2);
    let score = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>() / 0.1;
    let mut total = 0.0;
    for (i, (x, y)) in pairs.iter().enumerate() {
        let (mut forward, mut backward) = (score(x, y).exp(), score(x, y).exp());
        for (_, (other_x, other_y)) in pairs.iter().enumerate().filter(|(j, _)| *j != i) {
            forward += score(x, other_x).exp() + score(x, other_y).exp();
            backward += score(y, other_x).exp() + score(y, other_y).exp();
        }
        total += (forward.ln() + backward.ln()) / 2.0 - score(x, y);
    }
    total / pairs.len() as f64
}

/// Concatenates the modalities with equal weights; a missing one is 0.
fn joint([text, structure]: &[Rows; 2]) -> Rows {
    let zero = vec![0.0; 7];
    let row = |(text, structure): (&Option<Vec<f64>>, &Option<Vec<f64>>)| {
        text.as_ref().or(structure.as_ref())?;
        let parts = [text, structure].map(|part| part.as_ref().unwrap_or(&zero).clone());
        Some(unit(&parts.concat()))
    };
    text.iter().zip(structure).map(row).collect()
}

/// Projections of both graphs, and the vectors generated from them.
fn reference(network: &AlignmentNetwork) -> ([[Rows; 2]; 2], [[Rows; 2]; 2]) {
    let (x, y): (Vec<usize>, Vec<usize>) = PAIRS.into_iter().unzip();
    let projected = [given(&first(), &x), given(&second(), &y)].map(|[text, structure]| {
        [layer(network, "text", &text), layer(network, "structure", &structure)]
    });
    let generated = projected.clone().map(|[text, structure]| {
        let text_of = layer(network, "generators.text", &structure);
        [text_of, layer(network, "generators.structure", &text)]
    });
    (projected, generated)
}

fn completed(projected: &[Rows; 2], generated: &[Rows; 2]) -> [Rows; 2] {
    [0, 1].map(|k| {
        let rows = projected[k].iter().zip(&generated[k]);
        rows.map(|(row, generated)| row.clone().or(generated.clone())).collect()
    })
}

fn part(losses: &StepLosses, name: &str) -> f64 {
    losses.parts.iter().find(|part| part.0 == name).unwrap().1.double_value(&[])
}

fn assert_close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-5 * expected.abs().max(1.0), "{actual}, {expected}");
}

#[test]
fn losses_equal_the_loops() {
    let network = network();
    let ([x, y], [generated_x, generated_y]) = reference(&network);
    let (filled_x, filled_y) = (completed(&x, &generated_x), completed(&y, &generated_y));
    let stages =
        [(AlignmentStage::Align, &x, &y), (AlignmentStage::Complete, &filled_x, &filled_y)];
    for (stage, x, y) in stages {
        let losses = losses(&network, stage);
        let expected =
            [contrast(&joint(x), &joint(y)), contrast(&x[0], &y[0]), contrast(&x[1], &y[1])];
        for (name, expected) in ["joint", "text", "structure"].iter().zip(expected) {
            assert_close(part(&losses, name), expected);
        }
        // All log-variances are 0.
        assert_close(losses.total.double_value(&[]), expected.iter().sum());
    }
}

#[test]
fn the_loss_of_generators_equals_the_loops() {
    let network = network();
    let ([x, y], [generated_x, generated_y]) = reference(&network);
    let losses = losses(&network, AlignmentStage::Generate);
    let filled = [completed(&x, &generated_x), completed(&y, &generated_y)];
    assert_close(part(&losses, "joint"), contrast(&joint(&filled[0]), &joint(&filled[1])));
    let contrasts: f64 = [0, 1].map(|k| contrast(&generated_x[k], &generated_y[k])).iter().sum();
    assert_close(part(&losses, "generated"), contrasts);
    let divergence = |actual: &[f64], generated: &[f64]| {
        let softmax = |row: &[f64]| -> Vec<f64> {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(|x| x.exp() / sum).collect()
        };
        let (p, q) = (softmax(actual), softmax(generated));
        p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
    };
    let mut distance = 0.0;
    for (actual, generated) in [(&x, &generated_x), (&y, &generated_y)] {
        for k in [0, 1] {
            let rows = actual[k].iter().zip(&generated[k]);
            let distances: Vec<f64> = rows
                .filter_map(|(row, generated)| Some(divergence(row.as_ref()?, generated.as_ref()?)))
                .collect();
            distance += distances.iter().sum::<f64>() / distances.len() as f64;
        }
    }
    assert_close(part(&losses, "reconstruction"), distance);
    let total = losses.total.double_value(&[]);
    assert_close(total, part(&losses, "joint") + contrasts + 6000.0 * distance);
}

#[test]
fn stages_have_gradients_of_their_parameters_only() {
    for stage in [AlignmentStage::Align, AlignmentStage::Generate, AlignmentStage::Complete] {
        let network = network();
        losses(&network, stage).total.backward();
        for (name, parameter) in network.named_parameters() {
            let gradient = parameter.grad();
            let is_generator = name.starts_with("generators.");
            let is_trained = is_generator == (stage == AlignmentStage::Generate);
            assert_eq!(gradient.defined(), is_trained, "{stage:?}, {name}");
            if is_trained {
                assert!(gradient.abs().max().double_value(&[]) > 0.0, "{stage:?}, {name}");
                assert!(gradient.isfinite().all().int64_value(&[]) == 1, "{stage:?}, {name}");
            }
        }
    }
}

#[test]
fn batches_without_a_contrast_have_the_loss_zero() {
    let (network, first, second) = (network(), first(), second());
    let config = AlignmentConfig::default();
    // Pairs of entities of which one has neither text nor structure.
    let pairs = vec![(5, 0), (5, 1)];
    for stage in [AlignmentStage::Align, AlignmentStage::Generate, AlignmentStage::Complete] {
        let mut task =
            AlignmentTask::new(&network, [&first, &second], pairs.clone(), stage, &config).unwrap();
        let losses = first_losses(&mut task, &[0, 1]).unwrap();
        assert_eq!(part(&losses, "joint"), 0.0);
        if stage != AlignmentStage::Generate {
            assert_eq!(losses.total.double_value(&[]), 0.0);
        }
        losses.total.backward();
    }
}

#[test]
fn fingerprints_depend_on_stage_and_vectors() {
    let (network, first, second) = (network(), first(), second());
    let fingerprint = |graphs: [&EntityVectors; 2], stage| {
        let config = AlignmentConfig::default();
        let task = AlignmentTask::new(&network, graphs, PAIRS.to_vec(), stage, &config);
        fingerprint_of(&task.unwrap())
    };
    let align = fingerprint([&first, &second], AlignmentStage::Align);
    assert_ne!(align, fingerprint([&first, &second], AlignmentStage::Complete));
    assert_ne!(align, fingerprint([&second, &second], AlignmentStage::Align));
    assert_eq!(align, fingerprint([&first, &second], AlignmentStage::Align));
}

#[test]
fn invalid_arguments_are_errors() {
    let (network, first, second) = (network(), first(), second());
    let error = |pairs: &[(usize, usize)], config: &AlignmentConfig| {
        let stage = AlignmentStage::Align;
        let task = AlignmentTask::new(&network, [&first, &second], pairs.to_vec(), stage, config);
        task.map(drop).unwrap_err().to_string()
    };
    let config = AlignmentConfig::default();
    assert_eq!(error(&[(0, 0)], &config), "no 2 pairs of entities to train on");
    let message = error(&[(0, 0), (1, 6)], &config);
    assert_eq!(message, "a pair: expected 6 and 6 entities, got (1, 6)");
    let weight = AlignmentConfig { reconstruction_weight: -1.0, ..config.clone() };
    let message = error(&PAIRS, &weight);
    let expected = "alignment.reconstruction_weight = -1: must be finite, not negative";
    assert_eq!(message, expected);
    let temperature = AlignmentConfig { temperature: 0.0, ..config };
    let message = error(&PAIRS, &temperature);
    assert!(message.starts_with("alignment.temperature = 0"), "{message}");
    let (text, structure) = (vectors(4, 1.0, &[]), Array2::zeros((5, 5)));
    let message = EntityVectors::new(&text, &structure, Device::Cpu).unwrap_err().to_string();
    assert_eq!(message, "structure vectors: expected 6 rows, got 5");
    let message = AlignmentNetwork::new([0, 1], 7, Device::Cpu, 0).unwrap_err().to_string();
    assert_eq!(message, "width of the text vectors = 0: must be 1 or more");
}
