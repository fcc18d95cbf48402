//! Tests of `masked_entity_prediction` and `object_entailment`: presets, time of the push, and the
//! ablation without contrast.
use crate::common::*;
use ndarray::{Array2, Axis, concatenate};
use objectives::{
    ContrastConfig, ContrastRowInfo, Direction, InfoNceConfig, NegativeQueue, Negatives, Push,
    QueueConfig, QueueStart, masked_entity_prediction, object_entailment, relation_classification,
};

fn queue_of(rows: &Array2<f64>) -> NegativeQueue {
    let (size, width) = rows.dim();
    let config = QueueConfig { size: size as i64, start: QueueStart::Empty, seed: 0 };
    let mut queue = NegativeQueue::new(width as i64, DOUBLE, &config).unwrap();
    queue.push(&tensor(rows), None).unwrap();
    queue
}

/// Queries, keys and queue.
fn inputs(batch: usize, queue: usize, width: usize) -> [Array2<f64>; 3] {
    [(batch, 0.731), (batch, 1.137), (queue, 0.391)]
        .map(|(rows, step)| sines(rows, width, step, 1.0))
}

/// The paper's loss over Q candidates: the batch's keys and the queue rows that remain after the
/// push.
fn naive_paper(query: &Array2<f64>, key: &Array2<f64>, queue: &Array2<f64>) -> f64 {
    let config = InfoNceConfig {
        temperature: 1.0,
        direction: Direction::QueryToKey,
        negatives: Negatives::KeysAndQueue,
        l2_norm: false,
        mask_same_entity: false,
        l2_eps: 1e-4,
    };
    let batch = ContrastBatch::new(query.clone(), key.clone(), queue.clone());
    // The push replaces as many of the oldest rows as there are keys.
    batch.naive_loss(query.nrows(), &config)
}

/// The loss of the released code: each query is compared with the other queries, all keys and the
/// queue, and each key with the other keys, all queries and the queue.
fn naive_released(
    query: &Array2<f64>,
    key: &Array2<f64>,
    queue: &Array2<f64>,
    temperature: f64,
) -> f64 {
    let config = InfoNceConfig {
        temperature,
        direction: Direction::Bidirectional,
        negatives: Negatives::QueriesKeysAndQueue,
        l2_norm: true,
        mask_same_entity: false,
        l2_eps: 1e-4,
    };
    ContrastBatch::new(query.clone(), key.clone(), queue.clone()).naive_loss(0, &config)
}

type Task = fn(
    &Tensor,
    &Tensor,
    &mut NegativeQueue,
    &ContrastRowInfo<'_>,
    &ContrastConfig,
) -> Result<Tensor, objectives::Error>;
const TASKS: [Task; 2] = [masked_entity_prediction, object_entailment];

#[test]
fn each_preset_equals_its_naive_loss_and_keys_receive_gradient() {
    let [query, key, rows] = inputs(5, 11, 8);
    let no_ids = ContrastRowInfo::default();
    for task in TASKS {
        for (config, naive) in [
            (ContrastConfig::paper(), naive_paper(&query, &key, &rows)),
            (ContrastConfig::released(0.3), naive_released(&query, &key, &rows, 0.3)),
        ] {
            let run = |q: &Tensor, k: &Tensor| {
                task(q, k, &mut queue_of(&rows), &no_ids, &config).unwrap()
            };
            LossCase { inputs: [&query, &key], loss: &|[q, k]| run(q, k), naive }.check(1e-10);
            let (q, k) = (leaf(&query), leaf(&key));
            run(&q, &k).backward();
            assert!(k.grad().ne(0.0).any().int64_value(&[]) == 1, "keys receive gradient");
        }
    }
    assert_eq!(ContrastConfig::paper(), ContrastConfig::default());
}

#[test]
fn keys_are_queued_except_in_evaluation() {
    let [query, key, rows] = inputs(2, 4, 3);
    for push in [Push::BeforeLoss, Push::AfterLoss, Push::Never] {
        let mut queue = queue_of(&rows);
        let config = ContrastConfig { push, ..Default::default() };
        let entities = ids(&[5, 6]);
        let contrast_rows = ContrastRowInfo { ids: Some(&entities), valid: None };
        let (query, keys) = (tensor(&query), leaf(&key));
        let loss =
            masked_entity_prediction(&query, &keys, &mut queue, &contrast_rows, &config).unwrap();
        assert!(scalar(&loss) > 0.0);
        let stored_keys = queue.keys().unwrap();
        if push == Push::Never {
            assert_eq!(stored_keys, tensor(&rows));
        } else {
            let expected = concatenate![Axis(0), rows.slice(ndarray::s![2.., ..]), key];
            assert_eq!(stored_keys, tensor(&expected.as_standard_layout().into_owned()));
            assert_eq!(Vec::<i64>::try_from(queue.ids().unwrap()).unwrap(), [-1, -1, 5, 6]);
        }
        assert!(!stored_keys.requires_grad());
    }
}

#[test]
fn a_batch_larger_than_the_queue_replaces_all_keys() {
    let [query, key, rows] = inputs(6, 4, 3);
    let mut queue = queue_of(&rows);
    let no_ids = ContrastRowInfo::default();
    let paper = ContrastConfig::paper();
    let loss =
        masked_entity_prediction(&tensor(&query), &tensor(&key), &mut queue, &no_ids, &paper);
    let loss = loss.unwrap();
    // All six keys are candidates, although the queue stores only four.
    assert_near(scalar(&loss), naive_paper(&query, &key, &rows), 1e-12);
    assert_eq!(queue.keys().unwrap(), tensor(&key).narrow(0, 2, 4));
}

#[test]
fn rows_without_a_mention_are_queued_only_by_the_released_preset() {
    let [query, key, rows] = inputs(3, 5, 2);
    let valid = Tensor::from_slice(&[true, false, true]);
    let contrast_rows = ContrastRowInfo { ids: None, valid: Some(&valid) };
    let valid_indices = Tensor::from_slice(&[0i64, 2]);
    let (valid_queries, key_tensor) = (query.select(Axis(0), &[0, 2]), tensor(&key));
    let paper = ContrastConfig::paper();
    let mut queue = queue_of(&rows);
    let loss =
        masked_entity_prediction(&tensor(&query), &key_tensor, &mut queue, &contrast_rows, &paper)
            .unwrap();
    assert_near(
        scalar(&loss),
        naive_paper(&valid_queries, &key.select(Axis(0), &[0, 2]), &rows),
        1e-12,
    );
    assert_eq!(queue.keys().unwrap().narrow(0, 3, 2), key_tensor.index_select(0, &valid_indices));
    let mut queue = queue_of(&rows);
    let released = ContrastConfig::released(0.1);
    let run = masked_entity_prediction;
    let _ = run(&tensor(&query), &key_tensor, &mut queue, &contrast_rows, &released).unwrap();
    assert_eq!(queue.keys().unwrap().narrow(0, 2, 3), key_tensor);
    // If no row has a mention, the loss is 0, and with the paper's options no key is pushed to the
    // queue.
    let no_valid_row = Tensor::from_slice(&[false, false, false]);
    let contrast_rows = ContrastRowInfo { ids: None, valid: Some(&no_valid_row) };
    let mut queue = queue_of(&rows);
    let loss =
        masked_entity_prediction(&leaf(&query), &key_tensor, &mut queue, &contrast_rows, &paper)
            .unwrap();
    loss.backward();
    assert_eq!((scalar(&loss), queue.keys().unwrap()), (0.0, tensor(&rows)));
}

#[test]
fn an_error_does_not_change_the_queue() {
    let rows = sines(4, 3, 0.391, 1.0);
    let mut queue = queue_of(&rows);
    let (query, key) = (tensor(&sines(2, 3, 0.7, 1.0)), tensor(&sines(2, 3, 0.9, 1.0)));
    let config = ContrastConfig {
        loss: InfoNceConfig { temperature: -1.0, ..Default::default() },
        ..Default::default()
    };
    let contrast_rows = ContrastRowInfo::default();
    let message =
        error_message(object_entailment(&query, &key, &mut queue, &contrast_rows, &config));
    assert!(message.starts_with("temperature"), "{message}");
    assert_eq!(queue.keys().unwrap(), tensor(&rows));
}

#[test]
fn configs_are_read_from_toml() {
    let text = "push = \"after_loss\"\npush_invalid = true\n[loss]\ntemperature = 0.05\n\
                l2_norm = true\ndirection = \"bidirectional\"\nnegatives = \"queries_keys_and_queue\"";
    check_config([(text, ContrastConfig::released(0.05))], ["temperature = 1"]);
}

#[test]
fn without_contrast_the_relation_is_classified_from_both_states() {
    let (subject, object) = (sines(4, 3, 0.731, 1.0), sines(4, 3, 1.137, 1.0));
    let (weight, bias) = (sines(5, 6, 0.391, 1.0), sines(1, 5, 0.9, 1.0));
    let relations = [4, 0, -100, 2];
    let states = concatenate![Axis(1), subject, object];
    let logits = states.dot(&weight.t()) + &bias;
    let mut naive = 0.0;
    for (i, &relation) in relations.iter().enumerate() {
        if relation >= 0 {
            naive += naive_nll(logits.row(i), relation as usize, |_| true) / 3.0;
        }
    }
    let run = |s: &Tensor, o: &Tensor, w: &Tensor| {
        let bias = tensor(&bias).view([-1]);
        relation_classification(s, o, w, Some(&bias), &ids(&relations)).unwrap()
    };
    let inputs = [&subject, &object, &weight];
    LossCase { inputs, loss: &|[s, o, w]| run(s, o, w), naive }.check(1e-12);
    let [s, o, w] = inputs.map(tensor);
    let three_rows = o.narrow(0, 0, 3);
    let message =
        error_message(relation_classification(&s, &three_rows, &w, None, &ids(&relations)));
    assert!(message.starts_with("object: expected shape"), "{message}");
}
