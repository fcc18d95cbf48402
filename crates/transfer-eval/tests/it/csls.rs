//! Tests of `rank_by_csls` and `mutual_nearest` against loops over all pairs.
use ndarray::{Array2, array};
use transfer_eval::retrieval::{mutual_nearest, rank_by_csls};

/// Unit vectors without a regular pattern; the rows of `zero` are zero.
fn vectors(rows: usize, step: f32, zero: &[usize]) -> Array2<f32> {
    let mut vectors =
        Array2::from_shape_fn((rows, 6), |(r, c)| (step * (r * 6 + c + 1) as f32).sin());
    for (index, mut row) in vectors.outer_iter_mut().enumerate() {
        let norm = row.dot(&row).sqrt();
        row.mapv_inplace(|value| if zero.contains(&index) { 0.0 } else { value / norm });
    }
    vectors
}

fn naive_csls_rank(
    queries: &Array2<f32>,
    candidates: &Array2<f32>,
    query: usize,
    k: usize,
) -> usize {
    let cosine = |q: usize, c: usize| f64::from(queries.row(q).dot(&candidates.row(c)));
    let score = |c: usize| {
        if candidates.row(c).iter().all(|value| *value == 0.0) {
            return f64::NEG_INFINITY;
        }
        let mut all: Vec<f64> = (0..queries.nrows()).map(|q| cosine(q, c)).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        let mean = all.iter().take(k).sum::<f64>() / k as f64;
        2.0 * cosine(query, c) - mean
    };
    // The gold candidate has the query's index.
    (0..candidates.nrows()).filter(|&c| c == query || score(c) >= score(query)).count()
}

#[test]
fn ranks_equal_the_loops() {
    let (queries, candidates) = (vectors(40, 0.731, &[]), vectors(50, 1.137, &[3, 45]));
    let gold: Vec<usize> = (0..40).collect();
    for k in [1, 3, 10] {
        let ranks = rank_by_csls(queries.view(), candidates.view(), &gold, k).unwrap();
        let expected: Vec<usize> =
            gold.iter().map(|&q| naive_csls_rank(&queries, &candidates, q, k)).collect();
        assert_eq!(ranks, expected);
        assert_eq!(ranks[3], 50, "the gold candidate is zero");
    }
}

#[test]
fn a_zero_query_has_the_last_rank() {
    let (queries, candidates) = (vectors(4, 0.731, &[2]), vectors(4, 1.137, &[]));
    let ranks = rank_by_csls(queries.view(), candidates.view(), &[0, 1, 2, 3], 3).unwrap();
    assert_eq!(ranks[2], 4);
}

#[test]
fn mutual_neighbours_equal_the_loops() {
    let (first, second) = (vectors(40, 0.731, &[0, 7]), vectors(30, 1.137, &[5]));
    let products = first.dot(&second.t());
    let best = |values: Vec<f32>| {
        (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap()
    };
    let mut expected = Vec::new();
    for row in (0..40).filter(|row| ![0, 7].contains(row)) {
        let nearest = best(products.row(row).to_vec());
        if best(products.column(nearest).to_vec()) == row {
            expected.push((row, nearest));
        }
    }
    assert!(expected.len() > 5, "{expected:?}");
    assert_eq!(mutual_nearest(first.view(), second.view()).unwrap(), expected);
    // Without candidates, or with zero vectors only, there is no pair.
    let none = Array2::<f32>::zeros((0, 6));
    assert!(mutual_nearest(first.view(), none.view()).unwrap().is_empty());
    let zero = Array2::<f32>::zeros((1, 6));
    assert!(mutual_nearest(first.view(), zero.view()).unwrap().is_empty());
}

#[test]
fn vectors_of_another_length_are_errors() {
    let (long, unit) = (array![[2.0, 0.0]], array![[1.0, 0.0]]);
    for error in [
        rank_by_csls(long.view(), unit.view(), &[0], 3).unwrap_err(),
        mutual_nearest(unit.view(), long.view()).map(drop).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(message.contains("the length of row 0 is not 1"), "{message}");
    }
}
