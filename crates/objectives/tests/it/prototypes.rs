//! Tests of class prototypes: float64 loops, central differences and invalid inputs.
use crate::common::*;
use objectives::{
    ClassPrototypes, IGNORE_INDEX, PrototypeConfig, class_prototypes, prototype_alignment,
    prototype_probabilities,
};

const CLASSES: usize = 4;
const SOURCE_LABELS: [i64; 8] = [0, 1, 2, IGNORE_INDEX, 1, 3, 2, 0];
/// Class 3 has no vector.
const TARGET_LABELS: [i64; 8] = [2, 1, 0, 1, IGNORE_INDEX, 0, 2, 2];

fn naive_prototypes(hidden: &Array2<f64>, labels: &[i64]) -> Vec<Option<Vec<f64>>> {
    let mut prototypes = Vec::new();
    for class in 0..CLASSES {
        let rows: Vec<usize> =
            (0..labels.len()).filter(|&row| labels[row] == class as i64).collect();
        let mean = |column: usize| {
            rows.iter().map(|&row| hidden[[row, column]]).sum::<f64>() / rows.len() as f64
        };
        prototypes.push((!rows.is_empty()).then(|| (0..hidden.ncols()).map(mean).collect()));
    }
    prototypes
}

fn cosine(u: &[f64], v: &[f64]) -> f64 {
    let dot = |u: &[f64], v: &[f64]| u.iter().zip(v).map(|(x, y)| x * y).sum::<f64>();
    dot(u, v) / (dot(u, u).sqrt() * dot(v, v).sqrt())
}

fn naive_alignment(source: &Array2<f64>, target: &Array2<f64>, config: &PrototypeConfig) -> f64 {
    let (source, target) =
        (naive_prototypes(source, &SOURCE_LABELS), naive_prototypes(target, &TARGET_LABELS));
    let first = usize::from(!config.with_class_0);
    let pairs: Vec<(Vec<f64>, Vec<f64>)> =
        source.into_iter().zip(target).skip(first).filter_map(|(s, t)| s.zip(t)).collect();
    let mut total = 0.0;
    for (k, (s, t)) in pairs.iter().enumerate() {
        let (mut from_source, mut from_target) = (0.0, 0.0);
        for (other_s, other_t) in &pairs {
            from_source += (cosine(s, other_t) / config.temperature).exp();
            from_target += (cosine(other_s, t) / config.temperature).exp();
        }
        let positive = cosine(&pairs[k].0, &pairs[k].1) / config.temperature;
        total += from_source.ln() + from_target.ln() - 2.0 * positive;
    }
    total / (2 * pairs.len()) as f64
}

fn states() -> (Array2<f64>, Array2<f64>) {
    (sines(8, 5, 0.731, 2.0), sines(8, 5, 1.137, 1.5))
}

#[test]
fn alignment_equals_loops_and_gradients_equal_central_differences() {
    let (source, target) = states();
    for temperature in [0.1, 1.0] {
        for with_class_0 in [false, true] {
            let config = PrototypeConfig { temperature, with_class_0 };
            let loss = |[s, t]: [&Tensor; 2]| {
                let prototypes = |hidden: &Tensor, labels: &[i64]| {
                    class_prototypes(hidden, &ids(labels), CLASSES as i64).unwrap()
                };
                let (s, t) = (prototypes(s, &SOURCE_LABELS), prototypes(t, &TARGET_LABELS));
                prototype_alignment(&s, &t, &config).unwrap()
            };
            let naive = naive_alignment(&source, &target, &config);
            LossCase { inputs: [&source, &target], loss: &loss, naive }.check(1e-12);
        }
    }
}

#[test]
fn prototypes_are_means_and_classes_without_a_vector_are_not_seen() {
    let (_, target) = states();
    let prototypes = class_prototypes(&tensor(&target), &ids(&TARGET_LABELS), 4).unwrap();
    let expected = naive_prototypes(&target, &TARGET_LABELS);
    let seen = Vec::<bool>::try_from(&prototypes.seen).unwrap();
    assert_eq!(seen, [true, true, true, false]);
    for (class, expected) in expected.iter().enumerate() {
        let actual = Vec::<f64>::try_from(prototypes.vectors.get(class as i64)).unwrap();
        let expected = expected.clone().unwrap_or_else(|| vec![0.0; 5]);
        for (actual, expected) in actual.into_iter().zip(expected) {
            assert_near(actual, expected, 1e-14);
        }
    }
    let none = class_prototypes(&tensor(&target), &ids(&[IGNORE_INDEX; 8]), 4).unwrap();
    assert_eq!(Vec::<bool>::try_from(&none.seen).unwrap(), [false; 4]);
}

#[test]
fn alignment_without_common_classes_is_0_with_a_gradient() {
    let (source, target) = states();
    let x = leaf(&source);
    let prototypes = class_prototypes(&x, &ids(&SOURCE_LABELS), 4).unwrap();
    let only_class_0 = class_prototypes(&tensor(&target), &ids(&[0; 8]), 4).unwrap();
    let loss = prototype_alignment(&prototypes, &only_class_0, &PrototypeConfig::default());
    let loss = loss.unwrap();
    assert_eq!(scalar(&loss), 0.0);
    loss.backward();
    assert_eq!(max_abs(&x.grad()), 0.0);
}

#[test]
fn probabilities_equal_loops() {
    let (source, target) = states();
    let prototypes = class_prototypes(&tensor(&target), &ids(&TARGET_LABELS), 4).unwrap();
    let means = naive_prototypes(&target, &TARGET_LABELS);
    let distance = |row: usize, mean: &[f64]| -> f64 {
        mean.iter().enumerate().map(|(k, m)| (source[[row, k]] - m).powi(2)).sum()
    };
    let all: Vec<f64> = (0..8)
        .flat_map(|row| means.iter().flatten().map(move |m| (row, m)))
        .map(|(row, m)| distance(row, m))
        .collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    for temperature in [0.2, 1.0, 1000.0] {
        let actual = prototype_probabilities(&tensor(&source), &prototypes, temperature).unwrap();
        for row in 0..8 {
            let weights: Vec<f64> = means
                .iter()
                .map(|m| {
                    m.as_ref().map_or(0.0, |m| (-distance(row, m) / (temperature * mean)).exp())
                })
                .collect();
            let sum: f64 = weights.iter().sum();
            for (class, weight) in weights.iter().enumerate() {
                let value = actual.double_value(&[row as i64, class as i64]);
                assert_near(value, weight / sum, 1e-12);
            }
            assert_eq!(actual.double_value(&[row as i64, 3]), 0.0);
        }
    }
    // A high temperature makes the classes equally probable.
    let flat = prototype_probabilities(&tensor(&source), &prototypes, 1000.0).unwrap();
    assert!((flat.double_value(&[0, 0]) - 1.0 / 3.0).abs() < 1e-2);
    // A vector at its prototype, and prototypes without distances.
    let equal = ClassPrototypes {
        vectors: Tensor::ones([2, 3], DOUBLE),
        seen: Tensor::from_slice(&[true, true]),
    };
    let half = prototype_probabilities(&Tensor::ones([1, 3], DOUBLE), &equal, 1.0).unwrap();
    assert_near(half.double_value(&[0, 1]), 0.5, 1e-12);
}

#[test]
fn invalid_inputs_are_reported() {
    let hidden = Tensor::zeros([2, 3], FLOAT);
    let error = class_prototypes(&hidden, &ids(&[0, 4]), 4).unwrap_err();
    assert!(matches!(error, Error::Range { tensor: "labels", .. }), "{error}");
    let error = class_prototypes(&hidden, &ids(&[0]), 4).unwrap_err();
    assert!(matches!(error, Error::Shape { tensor: "labels", .. }), "{error}");
    let error = class_prototypes(&hidden, &ids(&[0, 1]), 0).unwrap_err();
    assert!(matches!(error, Error::Domain { option: "classes", .. }), "{error}");
    let error = class_prototypes(&Tensor::zeros([0, 3], FLOAT), &ids(&[]), 2).unwrap_err();
    assert!(matches!(error, Error::Empty { tensor: "hidden", .. }), "{error}");
    let prototypes = |classes: i64, width: i64, seen: bool| ClassPrototypes {
        vectors: Tensor::zeros([classes, width], FLOAT),
        seen: Tensor::full([classes], i64::from(seen), BOOL),
    };
    let align = |s: &ClassPrototypes, t: &ClassPrototypes, temperature: f64| {
        let config = PrototypeConfig { temperature, ..PrototypeConfig::default() };
        prototype_alignment(s, t, &config).unwrap_err()
    };
    let (first, second) = (prototypes(3, 2, true), prototypes(4, 2, true));
    let error = align(&first, &second, 1.0);
    assert!(matches!(error, Error::Shape { tensor: "target", .. }), "{error}");
    let error = align(&first, &first, 0.0);
    assert!(matches!(error, Error::Domain { option: "temperature", .. }), "{error}");
    let probabilities = |prototypes: &ClassPrototypes, temperature: f64| {
        prototype_probabilities(&hidden, prototypes, temperature).unwrap_err()
    };
    let error = probabilities(&prototypes(2, 4, true), 1.0);
    assert!(matches!(error, Error::Shape { tensor: "prototypes", .. }), "{error}");
    let error = probabilities(&prototypes(2, 3, false), 1.0);
    assert!(matches!(error, Error::Empty { tensor: "prototypes", .. }), "{error}");
    let error = probabilities(&prototypes(2, 3, true), -1.0);
    assert!(matches!(error, Error::Domain { .. }), "{error}");
}

proptest! {
    #![proptest_config(with_cases(30))]

    /// The order of the vectors and their scale do not change the alignment.
    #[test]
    fn order_and_scale(
        source in matrix(-2.0..2.0_f64, 8, 5),
        target in matrix(-2.0..2.0_f64, 8, 5),
        scale in 0.5..4.0_f64,
    ) {
        let config = PrototypeConfig { temperature: 0.5, with_class_0: true };
        let run = |source: &Tensor, source_labels: &[i64]| {
            let source = class_prototypes(source, &ids(source_labels), 4).unwrap();
            let target = class_prototypes(&tensor(&target), &ids(&TARGET_LABELS), 4).unwrap();
            scalar(&prototype_alignment(&source, &target, &config).unwrap())
        };
        let expected = run(&tensor(&source), &SOURCE_LABELS);
        let reversed: Vec<i64> = SOURCE_LABELS.iter().rev().copied().collect();
        assert_near(run(&tensor(&source).flip([0]), &reversed), expected, 1e-9);
        assert_near(run(&(tensor(&source) * scale), &SOURCE_LABELS), expected, 1e-9);
    }
}
