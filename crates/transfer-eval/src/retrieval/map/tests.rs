//! Tests of maps and nearest neighbours, compared with known results, brute force and numpy.
use std::path::Path;

use super::{
    LinearMap, MapConfig, Normalization, Step, map_rows, mean_similarity, nearest_neighbours,
    procrustes,
};
use crate::Error;
use ndarray::{Array2, ArrayView2};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

fn random(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, width), || rng.random_range(-1.0..1.0))
}

fn unit_vectors(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut vectors = random(rows, width, seed);
    Normalization::fit(vectors.view(), &[Step::Unit]).unwrap().apply(&mut vectors).unwrap();
    vectors
}

/// Returns the largest absolute difference between WᵀW and the identity matrix.
fn orthogonality_error(matrix: ArrayView2<'_, f64>) -> f64 {
    let product = matrix.t().dot(&matrix) - Array2::<f64>::eye(matrix.ncols());
    product.iter().fold(0.0, |max, value| max.max(value.abs()))
}

fn distance(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> f64 {
    (&a - &b).iter().fold(0.0, |max, value| max.max(value.abs()))
}

/// Returns integer vectors, their products with an orthogonal matrix, and the matrix, whose
/// elements are 0 and ±0.5. All values are exact in float32.
fn rotated_pairs(rows: usize) -> (Array2<f32>, Array2<f32>, Array2<f64>) {
    let sign = |row: usize, column: usize| {
        if (row & column).count_ones().is_multiple_of(2) { 0.5 } else { -0.5 }
    };
    let matrix = Array2::from_shape_fn((8, 8), |(row, column)| match (row / 4, column / 4) {
        (0, 1) | (1, 0) => sign(row % 4, column % 4),
        _ => 0.0,
    });
    let source = random(rows, 8, 5).mapv(|value| (value * 100.0).round());
    let target = source.mapv(f64::from).dot(&matrix).mapv(|value| value as f32);
    (source, target, matrix)
}

#[test]
fn procrustes_finds_a_known_rotation_and_is_orthogonal() {
    let (source, target, matrix) = rotated_pairs(40);
    let pairs: Vec<_> = (0..40).map(|row| (row, row)).collect();
    let map = procrustes(source.view(), target.view(), &pairs).unwrap();
    assert!(distance(map.view(), matrix.view()) < 1e-10);
    assert!(orthogonality_error(map.view()) < 1e-12);

    let (source, target) = (random(300, 48, 1), random(200, 48, 2));
    let pairs: Vec<_> = (0..100).map(|row| (row + 7, 199 - row)).collect();
    assert!(
        orthogonality_error(procrustes(source.view(), target.view(), &pairs).unwrap().view())
            < 1e-12
    );
    // With fewer pairs than dimensions, the map is still orthogonal.
    let few_pairs: Vec<_> = (0..5).map(|row| (row, row)).collect();
    let (source, target) = (unit_vectors(5, 48, 1), unit_vectors(5, 48, 2));
    let map = procrustes(source.view(), target.view(), &few_pairs).unwrap();
    assert!(orthogonality_error(map.view()) < 1e-12);
}

#[test]
fn neighbours_equal_brute_force_for_any_number_of_threads() {
    // The candidates have more rows than one block, and duplicate rows.
    let queries = unit_vectors(300, 12, 6);
    let mut candidates = unit_vectors(1500, 12, 7);
    for (to, from) in [(1400, 3), (1401, 3), (900, 40)] {
        let row = candidates.row(from).to_owned();
        candidates.row_mut(to).assign(&row);
    }
    let cosine = |query: usize, candidate: usize| -> f64 {
        let pairs = queries.row(query).into_iter().zip(candidates.row(candidate));
        pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let brute_force = |score: &dyn Fn(usize) -> f64, count: usize| {
        let mut all: Vec<_> = (0..1500).map(|index| (index, score(index))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(count);
        all
    };
    let means = mean_similarity(candidates.view(), queries.view(), 10).unwrap();
    for (candidate, mean) in means.iter().enumerate() {
        let mut all: Vec<f64> = (0..300).map(|query| cosine(query, candidate)).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(*mean, all[..10].iter().sum::<f64>() / 10.0);
    }
    let search = |means: Option<&[f64]>, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| nearest_neighbours(queries.view(), candidates.view(), 5, means)).unwrap()
    };
    let (plain, csls) = (search(None, 1), search(Some(&means), 1));
    for query in 0..300 {
        let pairs = |found: &[crate::retrieval::map::Neighbour]| {
            found.iter().map(|one| (one.index, one.score)).collect::<Vec<_>>()
        };
        assert_eq!(pairs(&plain[query]), brute_force(&|candidate| cosine(query, candidate), 5));
        let score = |candidate: usize| 2.0 * cosine(query, candidate) - means[candidate];
        assert_eq!(pairs(&csls[query]), brute_force(&score, 5));
    }
    assert_eq!((plain, csls), (search(None, 3), search(Some(&means), 3)));
}

fn read_golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/map.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn from_json<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn array<T: Clone + serde::de::DeserializeOwned>(value: &Value) -> Array2<T> {
    let rows: Vec<Vec<T>> = from_json(value);
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

#[test]
fn results_equal_numpy() {
    let golden = read_golden();
    let pairs: Vec<(usize, usize)> = from_json(&golden["pairs"]);
    let results = golden["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for expected in results {
        let config = MapConfig { normalize: from_json(&expected["normalize"]) };
        let (mut source, mut target) = (array(&golden["source"]), array(&golden["target"]));
        let raw = source.clone();
        let map = LinearMap::fit(&mut source, &mut target, &pairs, &config).unwrap();
        let matrix: Array2<f64> = array(&expected["matrix"]);
        assert!(distance(map.matrix().view(), matrix.view()) < 1e-13);

        let mapped = map_rows(source.view(), map.matrix().view()).unwrap();
        assert_eq!(map.map_source(raw.clone()).unwrap(), mapped);
        // Further vectors are centred with the means of the vocabulary.
        let one = raw.slice(ndarray::s![3..4, ..]).to_owned();
        assert_eq!(map.map_source(one).unwrap().row(0), mapped.row(3));
        let means = mean_similarity(target.view(), mapped.view(), 10).unwrap();
        for (key, means) in [("nearest", None), ("csls_nearest", Some(means.as_slice()))] {
            let neighbours = nearest_neighbours(mapped.view(), target.view(), 5, means).unwrap();
            let neighbours: Vec<Vec<usize>> =
                neighbours.iter().map(|list| list.iter().map(|one| one.index).collect()).collect();
            assert_eq!(neighbours, from_json::<Vec<Vec<usize>>>(&expected[key]));
        }
        let means = mean_similarity(mapped.view(), target.view(), 10).unwrap();
        let expected: Vec<f64> = from_json(&expected["mean_similarity"]);
        assert!(means.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-14));
        assert!(matches!(map.map_source(random(2, 7, 1)), Err(Error::Array { .. })));
    }
}

#[test]
fn invalid_arguments_are_errors() {
    let (source, target) = (unit_vectors(4, 3, 1), unit_vectors(4, 5, 2));
    assert!(procrustes(source.view(), target.view(), &[(0, 0)]).is_err());
    assert!(matches!(procrustes(source.view(), source.view(), &[]), Err(Error::Nothing { .. })));
    let message = procrustes(source.view(), source.view(), &[(0, 4)]).unwrap_err().to_string();
    assert!(message.contains("rows 0 and 4"), "{message}");
    assert!(nearest_neighbours(source.view(), target.view(), 1, None).is_err());
    let longer_vectors = source.mapv(|value| value * 2.0);
    let message =
        nearest_neighbours(longer_vectors.view(), source.view(), 1, None).unwrap_err().to_string();
    assert!(message.contains("queries: the length of row 0"), "{message}");
    assert!(nearest_neighbours(source.view(), source.view(), 1, Some(&[0.0])).is_err());
    assert_eq!(nearest_neighbours(source.view(), source.view(), 0, None).unwrap(), vec![vec![]; 4]);
    assert_eq!(nearest_neighbours(source.view(), source.view(), 9, None).unwrap()[0].len(), 4);
    for steps in [&[][..], &[Step::Center], &[Step::Unit, Step::Center]] {
        let error = Normalization::fit(source.view(), steps).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{steps:?}");
    }
}
