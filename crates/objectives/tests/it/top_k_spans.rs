//! Tests of `top_k_spans`: comparison with a sorted enumeration of all spans.
use crate::common::*;
use ndarray::Array2;
use objectives::{Error, TopKConfig, TopKSpans, top_k_spans};

/// Start, end, score.
type Span = (i64, i64, f64);

fn config(k: usize, max_answer_len: Option<usize>) -> TopKConfig {
    TopKConfig { k, max_answer_len }
}

/// All allowed spans of a row, best first; ties are ordered by start, then by end.
fn naive_spans(
    start: &Array2<f64>,
    end: &Array2<f64>,
    mask: Option<&Array2<bool>>,
    row: usize,
    config: &TopKConfig,
) -> Vec<Span> {
    let length = start.ncols();
    let allowed = |l: usize| mask.is_none_or(|mask| mask[[row, l]]);
    let mut spans = Vec::new();
    for s in 0..length {
        for e in s..length {
            let score = start[[row, s]] + end[[row, e]];
            let is_short = config.max_answer_len.is_none_or(|max_len| e - s < max_len);
            if is_short && allowed(s) && allowed(e) && score > f64::NEG_INFINITY {
                spans.push((s as i64, e as i64, score));
            }
        }
    }
    spans.sort_by(|x, y| y.2.total_cmp(&x.2)); // stable
    spans.truncate(config.k);
    spans
}

/// Returns the list of each row, and checks the shapes and the padding.
#[track_caller]
fn rows(spans: &TopKSpans, batch: usize, k: usize) -> Vec<Vec<Span>> {
    let shape = [batch as i64, k as i64];
    for tensor in [&spans.starts, &spans.ends, &spans.scores, &spans.valid] {
        assert_eq!(tensor.size(), shape);
    }
    assert_eq!((spans.starts.kind(), spans.ends.kind()), (Kind::Int64, Kind::Int64));
    let (starts, ends) = (ints(&spans.starts), ints(&spans.ends));
    let (scores, valid) = (floats(&spans.scores), bools(&spans.valid));
    let mut lists = Vec::new();
    for row in 0..batch {
        let mut list = Vec::new();
        for i in row * k..(row + 1) * k {
            if valid[i] {
                assert_eq!(list.len(), i - row * k, "an empty slot before a filled slot");
                list.push((starts[i], ends[i], scores[i]));
            } else {
                assert_eq!((starts[i], ends[i], scores[i]), (0, 0, f64::NEG_INFINITY));
            }
        }
        lists.push(list);
    }
    lists
}

#[test]
fn equals_the_enumeration_for_realistic_sizes() {
    // Logits are rounded to quarters, so that several scores are equal at rank k.
    let rounded = |step| sines(3, 384, step, 3.0).mapv(|x| (x * 4.0).round() / 4.0);
    let (start, end) = (rounded(0.731), rounded(1.137));
    let mask = Array2::from_shape_fn((3, 384), |(b, l)| l > 20 && l < 370 - 50 * b);
    for k in [1, 20, 50] {
        let config = config(k, Some(30));
        for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
            let leaf = |logits| tensor(logits).to_kind(kind).set_requires_grad(true);
            let [x, y] = [&start, &end].map(leaf);
            let spans = top_k_spans(&x, &y, Some(&mask_tensor(&mask)), &config).unwrap();
            assert!(!spans.scores.requires_grad());
            let score_kind = if kind == Kind::Double { Kind::Double } else { Kind::Float };
            assert_eq!(spans.scores.kind(), score_kind);
            for (b, list) in rows(&spans, 3, k).into_iter().enumerate() {
                assert_eq!(list, naive_spans(&start, &end, Some(&mask), b, &config), "{kind:?}");
            }
        }
    }
}

#[test]
fn low_precision_logits_are_summed_in_float32() {
    let (start, end) = (sines(2, 9, 0.7, 5.0), sines(2, 9, 1.3, 5.0));
    for kind in [Kind::BFloat16, Kind::Half] {
        let [x, y] = [&start, &end].map(|logits| tensor(logits).to_kind(kind));
        let low = top_k_spans(&x, &y, None, &config(9, None)).unwrap();
        let [x, y] = [x, y].map(|logits| logits.to_kind(Kind::Float));
        let upcast = top_k_spans(&x, &y, None, &config(9, None)).unwrap();
        assert_eq!(rows(&low, 2, 9), rows(&upcast, 2, 9));
        // Rounding changes a logit below 8 by at most 2^-6, and therefore the score of each rank by
        // at most 2 · 2^-6.
        let exact = top_k_spans(&tensor(&start), &tensor(&end), None, &config(9, None)).unwrap();
        testkit::assert_close("scores", &low.scores, &exact.scores, 0.032);
    }
}

#[test]
fn rows_with_too_few_spans_are_padded() {
    let x = Tensor::ones([3, 3], FLOAT);
    let mask = Array2::from_shape_fn((3, 3), |(b, l)| b == 2 || (b == 1 && l == 1));
    let spans = top_k_spans(&x, &x, Some(&mask_tensor(&mask)), &config(20, Some(30))).unwrap();
    let counts: Vec<usize> = rows(&spans, 3, 20).iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 1, 6]);
    let single_column = x.narrow(1, 0, 1);
    let spans = top_k_spans(&single_column, &single_column, None, &config(2, None)).unwrap();
    assert_eq!(rows(&spans, 3, 2)[0], [(0, 0, 2.0)]);
    for (batch, length) in [(0, 5), (4, 0), (0, 0)] {
        let zeros = Tensor::zeros([batch, length], DOUBLE);
        let spans = top_k_spans(&zeros, &zeros, None, &config(2, Some(3))).unwrap();
        assert!(rows(&spans, batch as usize, 2).iter().all(Vec::is_empty));
        assert_eq!(spans.scores.kind(), Kind::Double);
    }
}

#[test]
fn spans_of_probability_zero_are_excluded() {
    let start = Tensor::from_slice(&[0.0, f64::NEG_INFINITY, 1.0]).view([1, 3]);
    let end = Tensor::from_slice(&[0.0, 5.0, f64::NEG_INFINITY]).view([1, 3]);
    let spans = top_k_spans(&start, &end, None, &config(4, None)).unwrap();
    assert_eq!(rows(&spans, 1, 4)[0], [(0, 1, 5.0), (0, 0, 0.0)]);
}

#[test]
fn invalid_logits_are_ranked_first() {
    let valid = tensor(&sines(2, 5, 0.9, 1.0));
    let mask = Array2::from_shape_fn((2, 5), |(_, l)| l < 4);
    let mask = mask_tensor(&mask);
    for value in [f64::NAN, f64::INFINITY] {
        let mut logits = sines(2, 5, 0.9, 1.0);
        logits[[0, 4]] = value; // outside the mask
        let top_three = config(3, None);
        let spans = top_k_spans(&tensor(&logits), &valid, Some(&mask), &top_three).unwrap();
        let without_invalid = top_k_spans(&valid, &valid, Some(&mask), &top_three).unwrap();
        assert_eq!(rows(&spans, 2, 3), rows(&without_invalid, 2, 3));
        logits[[1, 2]] = value;
        // The spans that end at position 2 are ranked first, in order of their start.
        let spans = top_k_spans(&valid, &tensor(&logits), Some(&mask), &config(4, None)).unwrap();
        assert_eq!(ints(&spans.starts.get(1))[..3], [0, 1, 2]);
        assert_eq!(ints(&spans.ends.get(1))[..3], [2, 2, 2]);
        assert!(floats(&spans.scores.get(1))[..3].iter().all(|score| !score.is_finite()));
        assert!(spans.valid.all().int64_value(&[]) == 1);
        assert_finite(&spans.scores.get(0));
        // No span extends beyond the last column.
        logits[[1, 2]] = 0.0;
        let spans = top_k_spans(&tensor(&logits), &valid, None, &config(20, Some(3)));
        let spans = spans.unwrap();
        assert_eq!((ints(&spans.starts.get(0))[0], ints(&spans.ends.get(0))[0]), (4, 4));
        assert!(ints(&spans.ends).iter().all(|&end| end < 5));
        assert_eq!(bools(&spans.valid).iter().filter(|&&valid| valid).count(), 2 * (5 + 4 + 3));
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let x = Tensor::zeros([2, 4], FLOAT);
    let default = TopKConfig::default();
    let logits = |x: &Tensor, y: &Tensor| error_message(top_k_spans(x, y, None, &default));
    let config_error = |config| error_message(top_k_spans(&x, &x, None, &config));
    let ids = x.to_kind(Kind::Int64);
    assert_messages([
        (logits(&x.view([8]), &x), "start_logits: expected shape [B, L], got [8]"),
        (logits(&x, &x.narrow(1, 0, 3)), "end_logits: expected shape [B, L] = [2, 4], got [2, 3]"),
        (logits(&x, &x.to_kind(Kind::Double)), "end_logits: expected dtype of start_logits…"),
        (logits(&ids, &ids), "start_logits: expected dtype Float…"),
        (logits(&Tensor::new(), &x), "start_logits: the tensor is…"),
        (
            error_message(top_k_spans(&x, &x, Some(&ids), &default)),
            "context_mask: expected dtype Bool…",
        ),
        (config_error(config(0, None)), "k = 0: must be at least 1"),
        (config_error(config(1, Some(0))), "max_answer_len = 0: must be at least 1"),
    ]);
    let error = top_k_spans(&x, &x, None, &config(0, None));
    assert!(matches!(error, Err(Error::Domain { option: "k", .. })));
}

#[test]
fn an_empty_table_is_the_default_and_unknown_keys_are_rejected() {
    check_config([("k = 50\nmax_answer_len = 12", config(50, Some(12)))], ["n_best = 20"]);
}

/// Start and end logits with few distinct values, and a mask.
fn batches() -> impl Strategy<Value = (Array2<f64>, Array2<f64>, Array2<bool>)> {
    (1usize..4, 1usize..8).prop_flat_map(|(b, l)| {
        let logit = prop_oneof![9 => (-2..3i32).prop_map(f64::from), 1 => Just(f64::NEG_INFINITY)];
        let logits = || matrix(logit.clone(), b, l);
        (logits(), logits(), matrix(prop::bool::weighted(0.8), b, l))
    })
}

proptest! {
    #![proptest_config(with_cases(256))]

    #[test]
    fn equals_the_enumeration(
        (start, end, mask) in batches(),
        k in 1usize..40,
        max_len in prop::option::of(1usize..10),
    ) {
        let config = config(k, max_len);
        let batch = start.nrows();
        for mask in [None, Some(&mask)] {
            let tensor_mask = mask.map(mask_tensor);
            let (x, y) = (tensor(&start), tensor(&end));
            let actual = top_k_spans(&x, &y, tensor_mask.as_ref(), &config).unwrap();
            let actual = rows(&actual, batch, k);
            for (b, list) in actual.iter().enumerate() {
                prop_assert_eq!(list, &naive_spans(&start, &end, mask, b, &config));
            }
            // The order of the rows does not matter.
            let reversed_mask = tensor_mask.map(|mask| mask.flip([0]));
            let spans = top_k_spans(&x.flip([0]), &y.flip([0]), reversed_mask.as_ref(), &config).unwrap();
            let mut reversed_rows = rows(&spans, batch, k);
            reversed_rows.reverse();
            prop_assert_eq!(reversed_rows, actual);
        }
    }
}
