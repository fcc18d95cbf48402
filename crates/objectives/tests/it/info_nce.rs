//! Tests of `info_nce`: float64 double loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::Array2;
use objectives::{
    ContrastRowInfo, Direction, Error, InfoNceConfig, NegativeQueue, Negatives, QueueConfig,
    QueueStart, info_nce,
};

impl ContrastBatch {
    /// A full ring buffer whose oldest row is not at index 0.
    fn queue(&self) -> NegativeQueue {
        let (rows, width) = self.queue.dim();
        let size = (rows as i64).max(1);
        let config = QueueConfig { size, start: QueueStart::Empty, seed: 0 };
        let mut queue = NegativeQueue::new(width as i64, DOUBLE, &config).unwrap();
        if rows > 0 {
            let removed_keys = Tensor::ones([(rows as i64 + 1) / 2, width as i64], DOUBLE);
            queue.push(&removed_keys, None).unwrap();
            queue.push(&tensor(&self.queue), Some(&ids(&self.queue_ids))).unwrap();
        }
        queue
    }

    fn run(
        &self,
        query: &Tensor,
        key: &Tensor,
        skip_oldest: i64,
        config: &InfoNceConfig,
    ) -> Result<Tensor, Error> {
        let (ids, valid) = (ids(&self.ids), Tensor::from_slice(&self.valid));
        let row_info = ContrastRowInfo { ids: Some(&ids), valid: Some(&valid) };
        info_nce(query, key, Some(&self.queue()), skip_oldest, &row_info, config)
    }

    fn loss(&self, skip_oldest: i64, config: &InfoNceConfig) -> f64 {
        scalar(&self.run(&tensor(&self.query), &tensor(&self.key), skip_oldest, config).unwrap())
    }
}

/// Returns a config for every combination of direction, negatives, L2 norm and entity mask.
fn configs() -> Vec<InfoNceConfig> {
    let mut configs = Vec::new();
    for direction in [Direction::QueryToKey, Direction::Bidirectional] {
        for negatives in [Negatives::KeysAndQueue, Negatives::QueriesKeysAndQueue] {
            for l2_norm in [false, true] {
                for mask_same_entity in [false, true] {
                    configs.push(InfoNceConfig {
                        temperature: 0.7,
                        direction,
                        negatives,
                        l2_norm,
                        mask_same_entity,
                        ..Default::default()
                    });
                }
            }
        }
    }
    configs
}

#[test]
fn equals_the_loops_and_its_gradients_equal_central_differences() {
    let mut batch = ContrastBatch::sines(5, 8, 11);
    batch.ids = vec![3, 9, 3, -1, 4];
    batch.queue_ids = vec![9, -1, 3, 3, 0, 4, 9, 7, -1, -1, 4];
    batch.valid[1] = false;
    for config in configs() {
        for skip_oldest in [0, 4] {
            let expected = batch.naive_loss(skip_oldest as usize, &config);
            assert_near(batch.loss(skip_oldest, &config), expected, 1e-12);
        }
        let case = LossCase {
            inputs: [&batch.query, &batch.key],
            loss: &|[query, key]| batch.run(query, key, 2, &config).unwrap(),
            naive: batch.naive_loss(2, &config),
        };
        case.check(1e-12);
    }
}

#[test]
fn hand_computed_values_are_returned() {
    // Two orthogonal pairs and one queued row: the loss of each pair is ln(e^1 + e^0 + e^1) - 1.
    let batch = ContrastBatch {
        query: ndarray::array![[1.0, 0.0], [0.0, 1.0]],
        key: ndarray::array![[1.0, 0.0], [0.0, 1.0]],
        queue: ndarray::array![[1.0, 1.0]],
        ids: vec![0, 1],
        queue_ids: vec![1],
        valid: vec![true, true],
    };
    let e = 1_f64.exp();
    assert_near(batch.loss(0, &InfoNceConfig::default()), (2.0 * e + 1.0).ln() - 1.0, 1e-14);
    // Half the temperature doubles the similarities.
    let half_temperature = InfoNceConfig { temperature: 0.5, ..Default::default() };
    assert_near(batch.loss(0, &half_temperature), (2.0 * e * e + 1.0).ln() - 2.0, 1e-14);
    // The queued row describes the second row's entity, so the second row has one candidate fewer.
    let masked = InfoNceConfig { mask_same_entity: true, ..Default::default() };
    let expected = ((2.0 * e + 1.0).ln() + (e + 1.0).ln()) / 2.0 - 1.0;
    assert_near(batch.loss(0, &masked), expected, 1e-14);
    // A single row without a queue has no negatives, so its loss and gradient are 0.
    let single_row = leaf(&ndarray::array![[2.0, 3.0]]);
    let row_info = ContrastRowInfo::default();
    let config = InfoNceConfig::default();
    let loss = info_nce(&single_row, &single_row, None, 0, &row_info, &config).unwrap();
    loss.backward();
    assert_eq!((scalar(&loss), max_abs(&single_row.grad())), (0.0, 0.0));
}

#[test]
fn large_close_similarities_retain_precision() {
    let options = FLOAT;
    for direction in [Direction::QueryToKey, Direction::Bidirectional] {
        let config = InfoNceConfig { direction, ..Default::default() };
        let query = Tensor::full([50, 1], 100.0, options).set_requires_grad(true);
        let key = Tensor::full([50, 1], 100.0, options).set_requires_grad(true);
        let loss = info_nce(&query, &key, None, 0, &ContrastRowInfo::default(), &config).unwrap();
        assert_near(scalar(&loss), 50_f64.ln(), 1e-6);
        loss.backward();
        // All keys are equal, so the gradient of the query is 0.
        let max_gradient = max_abs(&query.grad());
        assert!(max_gradient < 1e-5, "{max_gradient}");
    }
}

#[test]
fn the_largest_entity_id_is_valid() {
    let mut batch = ContrastBatch::sines(4, 3, 5);
    let config = InfoNceConfig { mask_same_entity: true, ..Default::default() };
    batch.ids = vec![7, -1, -1, 7];
    let expected = batch.loss(0, &config);
    for max_id in [i64::MAX, i64::MAX - 2] {
        batch.ids = vec![max_id, -1, -1, max_id];
        assert_near(batch.loss(0, &config), expected, 1e-14);
        assert_near(batch.loss(0, &config), batch.naive_loss(0, &config), 1e-12);
    }
}

#[test]
fn rows_without_loss_receive_exactly_zero() {
    let mut batch = ContrastBatch::sines(4, 3, 5);
    batch.valid = vec![true, false, true, false];
    batch.query.row_mut(1).fill(f64::NAN);
    batch.key.row_mut(3).fill(f64::INFINITY);
    for config in configs() {
        let (query, key) = (leaf(&batch.query), leaf(&batch.key));
        let loss = batch.run(&query, &key, 0, &config).unwrap();
        check_zero_gradients(&loss, &[&query, &key], &[&[1], &[3]]);
        for x in [query, key] {
            assert_all_nonzero(&x.grad().get(0));
        }
        let without_valid_rows = ContrastBatch { valid: vec![false; 4], ..batch.clone() };
        let (query, key) = (leaf(&batch.query), leaf(&batch.key));
        let loss = without_valid_rows.run(&query, &key, 0, &config).unwrap();
        check_zero_gradients(&loss, &[&query, &key], &[&[]]);
        assert_eq!(scalar(&loss), 0.0);
    }
}

#[test]
fn several_blocks_equal_one_block() {
    // 3000 queued rows are processed in three blocks; float32 agrees with float64.
    let batch = ContrastBatch::sines(6, 16, 3000);
    for config in configs() {
        let expected = batch.naive_loss(100, &config);
        assert_near(batch.loss(100, &config), expected, 1e-12);
        let (query, key) = (leaf(&batch.query), tensor(&batch.key));
        batch.run(&query, &key, 100, &config).unwrap().backward();
        let exact = query.grad();
        let low = |t: &Tensor| t.detach().to_kind(Kind::Float).set_requires_grad(true);
        let (query, key) = (low(&query), low(&key));
        let loss = batch.run(&query, &key, 100, &config).unwrap();
        loss.backward();
        assert_eq!(loss.kind(), Kind::Float);
        assert_near(scalar(&loss), expected, 1e-5);
        testkit::assert_close("gradient", &query.grad().to_kind(Kind::Double), &exact, 1e-5);
    }
}

#[test]
fn large_similarities_are_summed_in_float32() {
    let mut batch = ContrastBatch::sines(4, 8, 12);
    for rows in [&mut batch.query, &mut batch.key, &mut batch.queue] {
        *rows *= 50.0;
    }
    for kind in [Kind::Half, Kind::BFloat16] {
        // Inputs are rounded first, so that only the arithmetic differs.
        let low = |rows: &Array2<f64>| tensor(rows).to_kind(kind);
        let rounded = |rows: &Array2<f64>| {
            let values: Vec<f64> = low(rows).to_kind(Kind::Double).view([-1]).try_into().unwrap();
            Array2::from_shape_vec(rows.dim(), values).unwrap()
        };
        let rounded_batch = ContrastBatch {
            query: rounded(&batch.query),
            key: rounded(&batch.key),
            ..batch.clone()
        };
        let (query, key) = (low(&batch.query).set_requires_grad(true), low(&batch.key));
        let loss = batch.run(&query, &key, 0, &InfoNceConfig::default()).unwrap();
        loss.backward();
        assert_eq!((loss.kind(), query.grad().kind()), (Kind::Float, kind));
        assert_near(scalar(&loss), rounded_batch.naive_loss(0, &InfoNceConfig::default()), 1e-4);
        assert_finite(&query.grad());
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let batch = ContrastBatch::sines(2, 3, 4);
    let (q, k, default) = (tensor(&batch.query), tensor(&batch.key), InfoNceConfig::default());
    let contrast_rows = ContrastRowInfo::default();
    let error_of =
        |q: &Tensor, k: &Tensor, row_info: &ContrastRowInfo<'_>, config: &InfoNceConfig| {
            error_message(info_nce(q, k, Some(&batch.queue()), 0, row_info, config))
        };
    let inputs = |q: &Tensor, k: &Tensor| error_of(q, k, &contrast_rows, &default);
    let error_with_config = |config: InfoNceConfig| error_of(&q, &k, &contrast_rows, &config);
    let other_width = Tensor::zeros([2, 5], DOUBLE);
    let one_element = ids(&[1]);
    let short_ids = ContrastRowInfo { ids: Some(&one_element), valid: None };
    let short_valid = ContrastRowInfo { ids: None, valid: Some(&one_element) };
    assert_messages([
        (inputs(&q, &k.narrow(1, 0, 2)), "key: expected shape [B, D] = [2, 3], got [2, 2]"),
        (inputs(&q.view([6]), &k), "query: expected shape [B, D]…"),
        (inputs(&q, &k.to_kind(Kind::Float)), "key: expected dtype…"),
        (inputs(&Tensor::new(), &k), "…undefined…"),
        (inputs(&other_width, &other_width), "queue: expected shape…"),
        (error_of(&q, &k, &short_ids, &default), "ids: expected shape…"),
        (error_of(&q, &k, &short_valid, &default), "valid: expected shape…"),
        (
            error_with_config(InfoNceConfig { mask_same_entity: true, ..default.clone() }),
            "ids: mask_same_entity…",
        ),
        (
            error_with_config(InfoNceConfig { temperature: 1e30, ..default.clone() }),
            "…must be at most 1000",
        ),
    ]);
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let message = error_with_config(InfoNceConfig { temperature, ..default.clone() });
        assert!(message.starts_with("temperature = "));
    }
    let empty = info_nce(&q.narrow(0, 0, 0), &k.narrow(0, 0, 0), None, 0, &contrast_rows, &default);
    assert!(matches!(empty, Err(Error::Empty { tensor: "query", .. })));
}

/// Computes the contrastive loss of UMAEA's released code (`icl_loss`, zjukg/UMAEA at 83d7235c) with
/// loops: softmax over the rows of the other graph and the other rows of the same graph, in both
/// directions with weight 1/2.
fn naive_icl_loss(first: &Array2<f64>, second: &Array2<f64>, temperature: f64) -> f64 {
    let cosine = |a: usize, x: &Array2<f64>, b: usize, y: &Array2<f64>| {
        let (a, b) = (x.row(a), y.row(b));
        a.dot(&b) / a.dot(&a).sqrt() / b.dot(&b).sqrt()
    };
    let count = first.nrows();
    let mut total = 0.0;
    for (anchors, others) in [(first, second), (second, first)] {
        for i in 0..count {
            let mut sum = 0.0;
            for j in 0..count {
                sum += (cosine(i, anchors, j, others) / temperature).exp();
                if j != i {
                    sum += (cosine(i, anchors, j, anchors) / temperature).exp();
                }
            }
            total += 0.5 * (sum.ln() - cosine(i, anchors, i, others) / temperature);
        }
    }
    total / count as f64
}

/// The loss of the released code, in float64 with torch 2.11, for the inputs of the test.
const GOLDEN_LOSS: f64 = 9.496542626594476;
/// Its gradient of the first row of the first graph.
const GOLDEN_FIRST: [f64; 8] = [
    -0.38768689755420993,
    -0.2770789971836338,
    0.12888181783099373,
    0.4115440659194309,
    0.2818559669034021,
    -0.10427147749573318,
    -0.3295606656824329,
    -0.18361767166211246,
];
/// Its gradient of the last row of the second graph.
const GOLDEN_SECOND: [f64; 8] = [
    0.593786077627379,
    0.05137010973448164,
    -0.4683886748441678,
    -0.5651147190268593,
    -0.2675628066396238,
    0.07171468850494794,
    0.18897810996157563,
    0.14884364378018222,
];

fn umaea_config() -> InfoNceConfig {
    InfoNceConfig {
        temperature: 0.1,
        l2_norm: true,
        direction: Direction::Bidirectional,
        negatives: Negatives::QueriesKeysAndQueue,
        ..InfoNceConfig::default()
    }
}

#[test]
fn queries_keys_and_queue_in_both_directions_is_the_contrast_of_umaea() {
    let (first, second) = (sines(5, 8, 0.731, 1.5), sines(5, 8, 1.137, 1.2));
    let loss = |first: &Tensor, second: &Tensor| {
        let row_info = ContrastRowInfo::default();
        info_nce(first, second, None, 0, &row_info, &umaea_config()).unwrap()
    };
    let naive = naive_icl_loss(&first, &second, 0.1);
    let case = LossCase { inputs: [&first, &second], loss: &|[x, y]| loss(x, y), naive };
    case.check(1e-12);
    assert_near(naive, GOLDEN_LOSS, 1e-12);
    let (x, y) = (leaf(&first), leaf(&second));
    loss(&x, &y).backward();
    let golden = |values: &[f64]| Tensor::from_slice(values);
    testkit::assert_close("first", &x.grad().get(0), &golden(&GOLDEN_FIRST), 1e-12);
    testkit::assert_close("second", &y.grad().get(4), &golden(&GOLDEN_SECOND), 1e-12);
}

fn batches() -> impl Strategy<Value = ContrastBatch> {
    (1usize..5, 1usize..4, 0usize..6).prop_flat_map(|(n, d, q)| {
        let rows = move |count| matrix(prop_oneof![Just(0.0), -3.0..3.0], count, d);
        let entities = move |count: usize| prop::collection::vec(-1i64..4, count);
        let valid = prop::collection::vec(any::<bool>(), n);
        let fields = (rows(n), rows(n), rows(q), entities(n), entities(q), valid);
        fields.prop_map(|(query, key, queue, ids, queue_ids, valid)| ContrastBatch {
            query,
            key,
            queue,
            ids,
            queue_ids,
            valid,
        })
    })
}

proptest! {
    #![proptest_config(with_cases(64))]

    #[test]
    fn agrees_with_the_loops(batch in batches(), skip_oldest in 0i64..7) {
        for config in configs() {
            let skip_oldest = skip_oldest.min(batch.queue.nrows() as i64);
            let expected = batch.naive_loss(skip_oldest as usize, &config);
            assert_near(batch.loss(skip_oldest, &config), expected, 1e-9);
        }
    }
}
