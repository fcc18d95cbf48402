//! Tests of `masked_entity_prediction` and `object_entailment`: presets, time of the push, and the
//! ablation without contrast.
use crate::common::*;
use ndarray::{Array2, Axis, concatenate};
use objectives::{
    ContrastConfig, ContrastRows, InfoNceConfig, NegativeQueue, Push, QueueConfig, QueueStart,
    masked_entity_prediction, object_entailment, relation_classification,
};

fn queue_of(rows: &Array2<f64>) -> NegativeQueue {
    let (size, width) = rows.dim();
    let config = QueueConfig { size: size as i64, start: QueueStart::Empty, seed: 0 };
    let mut queue = NegativeQueue::new(width as i64, DOUBLE, &config).unwrap();
    queue.push(&tensor(rows), None).unwrap();
    queue
}

fn dot(a: &Array2<f64>, i: usize, b: &Array2<f64>, j: usize) -> f64 {
    a.row(i).iter().zip(b.row(j)).map(|(x, y)| x * y).sum()
}

fn log_sum_exp(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
}

/// The loss over Q candidates: the batch's keys and the queue rows that remain after the push.
fn naive_paper(query: &Array2<f64>, key: &Array2<f64>, queue: &Array2<f64>) -> f64 {
    let (batch, size) = (query.nrows(), queue.nrows());
    let mut list: Vec<Vec<f64>> = queue.rows().into_iter().map(|row| row.to_vec()).collect();
    list.extend(key.rows().into_iter().map(|row| row.to_vec()));
    let list = &list[list.len() - size..];
    let mut total = 0.0;
    for i in 0..batch {
        let similarities: Vec<f64> =
            list.iter().map(|row| row.iter().zip(query.row(i)).map(|(x, y)| x * y).sum()).collect();
        total += log_sum_exp(&similarities) - dot(query, i, key, i);
    }
    total / batch as f64
}

/// The loops of the released code: each query is compared with the other queries, all keys and the
/// queue, and each key with the other keys, all queries and the queue.
fn naive_released(
    query: &Array2<f64>,
    key: &Array2<f64>,
    queue: &Array2<f64>,
    temperature: f64,
) -> f64 {
    let normalised = |rows: &Array2<f64>| {
        let mut rows = rows.clone();
        for mut row in rows.rows_mut() {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-4);
            row /= norm;
        }
        rows
    };
    let (query, key, queue) = (normalised(query), normalised(key), normalised(queue));
    let batch = query.nrows();
    let mut total = 0.0;
    for (a, b) in [(&query, &key), (&key, &query)] {
        for i in 0..batch {
            let mut logits = Vec::new();
            for j in 0..batch {
                if j != i {
                    logits.push(dot(a, i, a, j) / temperature);
                }
            }
            for j in 0..batch {
                logits.push(dot(a, i, b, j) / temperature);
            }
            for j in 0..queue.nrows() {
                logits.push(dot(a, i, &queue, j) / temperature);
            }
            assert_eq!(logits.len(), 2 * batch - 1 + queue.nrows());
            total += log_sum_exp(&logits) - dot(a, i, b, i) / temperature;
        }
    }
    total / (2 * batch) as f64
}

type Task = fn(
    &Tensor,
    &Tensor,
    &mut NegativeQueue,
    &ContrastRows<'_>,
    &ContrastConfig,
) -> Result<Tensor, objectives::Error>;
const TASKS: [Task; 2] = [masked_entity_prediction, object_entailment];

#[test]
fn each_preset_equals_its_loops_with_gradients_for_keys_only() {
    let (query, key, rows) =
        (ramp(5, 8, 0.731, 1.0), ramp(5, 8, 1.137, 1.0), ramp(11, 8, 0.391, 1.0));
    let none = ContrastRows::default();
    for task in TASKS {
        for (config, naive) in [
            (ContrastConfig::paper(), naive_paper(&query, &key, &rows)),
            (ContrastConfig::released(0.3), naive_released(&query, &key, &rows, 0.3)),
        ] {
            let run =
                |q: &Tensor, k: &Tensor| task(q, k, &mut queue_of(&rows), &none, &config).unwrap();
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
    let (query, key, rows) =
        (ramp(2, 3, 0.731, 1.0), ramp(2, 3, 1.137, 1.0), ramp(4, 3, 0.391, 1.0));
    for push in [Push::BeforeLoss, Push::AfterLoss, Push::Never] {
        let mut queue = queue_of(&rows);
        let config = ContrastConfig { push, ..Default::default() };
        let entities = ids(&[5, 6]);
        let contrast_rows = ContrastRows { ids: Some(&entities), valid: None };
        let loss = masked_entity_prediction(
            &tensor(&query),
            &leaf(&key),
            &mut queue,
            &contrast_rows,
            &config,
        )
        .unwrap();
        assert!(scalar(&loss) > 0.0);
        let stored = queue.keys().unwrap();
        if push == Push::Never {
            assert_eq!(stored, tensor(&rows));
        } else {
            let expected = concatenate![Axis(0), rows.slice(ndarray::s![2.., ..]), key];
            assert_eq!(stored, tensor(&expected.as_standard_layout().into_owned()));
            assert_eq!(Vec::<i64>::try_from(queue.ids().unwrap()).unwrap(), [-1, -1, 5, 6]);
        }
        assert!(!stored.requires_grad());
    }
}

#[test]
fn a_batch_larger_than_the_queue_replaces_all_keys() {
    let (query, key, rows) =
        (ramp(6, 3, 0.731, 1.0), ramp(6, 3, 1.137, 1.0), ramp(4, 3, 0.391, 1.0));
    let mut queue = queue_of(&rows);
    let none = ContrastRows::default();
    let paper = ContrastConfig::paper();
    let loss = masked_entity_prediction(&tensor(&query), &tensor(&key), &mut queue, &none, &paper);
    let loss = loss.unwrap();
    // All six keys are candidates, although the queue stores only four.
    let mut expected = 0.0;
    for i in 0..6 {
        let similarities: Vec<f64> = (0..6).map(|j| dot(&query, i, &key, j)).collect();
        expected += (log_sum_exp(&similarities) - dot(&query, i, &key, i)) / 6.0;
    }
    assert_near(scalar(&loss), expected, 1e-12);
    assert_eq!(queue.keys().unwrap(), tensor(&key).narrow(0, 2, 4));
}

#[test]
fn rows_without_a_mention_are_queued_only_by_the_released_preset() {
    let (query, key, rows) =
        (ramp(3, 2, 0.731, 1.0), ramp(3, 2, 1.137, 1.0), ramp(5, 2, 0.391, 1.0));
    let valid = Tensor::from_slice(&[true, false, true]);
    let contrast_rows = ContrastRows { ids: None, valid: Some(&valid) };
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
    let _ = masked_entity_prediction(
        &tensor(&query),
        &key_tensor,
        &mut queue,
        &contrast_rows,
        &released,
    )
    .unwrap();
    assert_eq!(queue.keys().unwrap().narrow(0, 2, 3), key_tensor);
    // Without a mention the loss is 0, and the paper's preset pushes nothing.
    let no_valid_row = Tensor::from_slice(&[false, false, false]);
    let contrast_rows = ContrastRows { ids: None, valid: Some(&no_valid_row) };
    let mut queue = queue_of(&rows);
    let loss =
        masked_entity_prediction(&leaf(&query), &key_tensor, &mut queue, &contrast_rows, &paper)
            .unwrap();
    loss.backward();
    assert_eq!((scalar(&loss), queue.keys().unwrap()), (0.0, tensor(&rows)));
}

#[test]
fn an_error_does_not_change_the_queue() {
    let rows = ramp(4, 3, 0.391, 1.0);
    let mut queue = queue_of(&rows);
    let (query, key) = (tensor(&ramp(2, 3, 0.7, 1.0)), tensor(&ramp(2, 3, 0.9, 1.0)));
    let config = ContrastConfig {
        loss: InfoNceConfig { temperature: -1.0, ..Default::default() },
        ..Default::default()
    };
    let contrast_rows = ContrastRows::default();
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
    let (subject, object) = (ramp(4, 3, 0.731, 1.0), ramp(4, 3, 1.137, 1.0));
    let (weight, bias) = (ramp(5, 6, 0.391, 1.0), ramp(1, 5, 0.9, 1.0));
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
    let short = o.narrow(0, 0, 3);
    let message = error_message(relation_classification(&s, &short, &w, None, &ids(&relations)));
    assert!(message.starts_with("object: expected shape"), "{message}");
}
