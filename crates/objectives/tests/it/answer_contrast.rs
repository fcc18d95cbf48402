//! Tests of `answer_contrast`: float64 loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::{Array2, Array3};
use objectives::{
    AnswerContrastConfig, CandidateSpans, Error, NegativeSelection, StepContext, answer_contrast,
};

fn config(count: usize) -> AnswerContrastConfig {
    // The temperature is not 1, so that a missing division is detected.
    AnswerContrastConfig { temperature: 0.5, selection: NegativeSelection::Hardest { count } }
}

/// A batch as plain arrays; empty slots may be anywhere.
#[derive(Clone, Debug)]
struct Batch {
    hidden: Array3<f64>,
    question: Array2<bool>,
    gold: Vec<(i64, i64)>,
    lists: Vec<Vec<Option<(i64, i64)>>>,
}

impl Batch {
    /// Row 1 has no gold span; row 3 has no candidate except the gold span. Gold spans are at the
    /// first and at the last position.
    fn sample() -> Self {
        let lists = vec![
            vec![Some((3, 4)), Some((6, 6)), None, Some((2, 5))],
            vec![Some((3, 4)), Some((6, 6)), Some((5, 5)), Some((2, 5))],
            vec![None, Some((4, 4)), Some((7, 7)), Some((3, 7))],
            vec![None, None, Some((5, 6)), None],
            vec![Some((2, 3)), Some((0, 0)), Some((4, 6)), Some((5, 5))],
        ];
        Self {
            hidden: states(5, 8, 3),
            question: Array2::from_shape_fn((5, 8), |(b, l)| l > 0 && l <= 1 + b % 2 && b != 1),
            gold: vec![(2, 5), (3, 8), (7, 7), (5, 6), (0, 0)],
            lists,
        }
    }

    fn run(&self, hidden: &Tensor, config: &AnswerContrastConfig) -> Result<Tensor, Error> {
        let list = |pick: fn((i64, i64)) -> i64| {
            let row = |row: &Vec<Option<_>>| row.iter().map(|span| span.map_or(0, pick)).collect();
            table(&self.lists.iter().map(row).collect::<Vec<_>>())
        };
        let (starts, ends) = (list(|span| span.0), list(|span| span.1));
        let row = |row: &Vec<Option<_>>| row.iter().map(Option::is_some).collect();
        let valid = flags(&self.lists.iter().map(row).collect::<Vec<_>>());
        let gold =
            |pick: fn(&(i64, i64)) -> i64| ids(&self.gold.iter().map(pick).collect::<Vec<_>>());
        answer_contrast(
            hidden,
            &mask_tensor(&self.question),
            &gold(|span| span.0),
            &gold(|span| span.1),
            &CandidateSpans { starts: &starts, ends: &ends, valid: &valid },
            config,
        )
    }

    fn value(&self, config: &AnswerContrastConfig) -> Result<f64, Error> {
        self.run(&tensor3(&self.hidden), config).map(|loss| scalar(&loss))
    }

    /// The loss computed with loops; `None` if no row carries loss.
    fn naive_loss(&self, config: &AnswerContrastConfig) -> Option<f64> {
        let length = self.hidden.dim().1 as i64;
        let is_inside = |position: i64| (0..length).contains(&position);
        let mean = |b: usize, (start, end): (i64, i64)| {
            naive_mean(&self.hidden, b, start as usize, end as usize)
        };
        let rows: Vec<usize> = (0..self.gold.len())
            .filter(|&b| is_inside(self.gold[b].0) && is_inside(self.gold[b].1))
            .collect();
        let NegativeSelection::Hardest { count } = config.selection else { unreachable!() };
        let (mut questions, mut gold_means, mut negative_means) =
            (Vec::new(), Vec::new(), Vec::new());
        for &b in &rows {
            let gold = mean(b, self.gold[b]);
            let mut hardest: Vec<Vec<f64>> = self.lists[b]
                .iter()
                .flatten()
                .filter(|&&span| span != self.gold[b])
                .map(|&span| mean(b, span))
                .collect();
            hardest.sort_by(|x, y| naive_cosine(y, &gold).total_cmp(&naive_cosine(x, &gold)));
            hardest.truncate(count);
            negative_means.push(hardest);
            gold_means.push(gold);
            let mut question = vec![0.0; self.hidden.dim().2];
            for l in 0..length as usize {
                if self.question[[b, l]] {
                    for (h, sum) in question.iter_mut().enumerate() {
                        *sum += self.hidden[[b, l, h]]; // cosines do not depend on the norm
                    }
                }
            }
            questions.push(question);
        }
        let mut losses = Vec::new();
        for i in 0..rows.len() {
            let term = |answer: &Vec<f64>| {
                (naive_cosine(&questions[i], answer) / config.temperature).exp()
            };
            let other_terms = (0..rows.len()).filter(|&j| j != i).map(|j| term(&gold_means[j]));
            let other_terms: Vec<f64> =
                other_terms.chain(negative_means.iter().flatten().map(term)).collect();
            if !other_terms.is_empty() {
                let gold_term = term(&gold_means[i]);
                losses.push(((gold_term + other_terms.iter().sum::<f64>()) / gold_term).ln());
            }
        }
        (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
    }
}

#[test]
fn equals_the_loops_and_its_gradient_equals_central_differences() {
    let batch = Batch::sample();
    let flat = batch.hidden.clone().into_shape_with_order((40, 3)).unwrap();
    for count in [1, 2, 9] {
        let config = config(count);
        let naive = batch.naive_loss(&config).unwrap();
        let loss = |[x]: [&Tensor; 1]| batch.run(&x.view([5, 8, 3]), &config).unwrap();
        LossCase { inputs: [&flat], loss: &loss, naive }.check(1e-13);
    }
}

/// Creates `batch` rows of `<s>`, a question token, the gold token and incorrect candidates, whose
/// number is `incorrect`. All hidden states are equal.
fn equal_tokens_batch(batch: usize, incorrect: usize) -> Batch {
    let list = (0..=incorrect).map(|i| Some((2 + i as i64, 2 + i as i64))).collect();
    Batch {
        hidden: Array3::from_elem((batch, 3 + incorrect, 4), 0.7),
        question: Array2::from_shape_fn((batch, 3 + incorrect), |(_, l)| l == 1),
        gold: vec![(2, 2); batch],
        lists: vec![list; batch],
    }
}

#[test]
fn hand_computed_values_are_returned() {
    // With equal similarities, the loss is the logarithm of the number of terms.
    for rows in [2_usize, 5] {
        for count in [1_usize, 3] {
            let loss = equal_tokens_batch(rows, 3).value(&config(count)).unwrap();
            assert_near(loss, ((rows + rows * count) as f64).ln(), 1e-14);
        }
    }
    // One row, τ = 1/2: the angles of question, gold span and incorrect answer are 0, 60 and 90
    // degrees.
    let (half, root) = (0.5, 0.75_f64.sqrt());
    let batch = Batch {
        hidden: Array3::from_shape_vec((1, 3, 2), vec![2.0, 0.0, half, root, 0.0, 1.0]).unwrap(),
        question: Array2::from_shape_fn((1, 3), |(_, l)| l == 0),
        gold: vec![(1, 1)],
        lists: vec![vec![Some((2, 2))]],
    };
    let expected = ((1_f64.exp() + 1.0) / 1_f64.exp()).ln(); // cosines 1/2 and 0
    assert_near(batch.value(&config(1)).unwrap(), expected, 1e-14);
}

#[test]
fn rows_and_tokens_without_loss_receive_exactly_zero() {
    let mut batch = Batch::sample();
    batch.question.row_mut(1).fill(true);
    batch.hidden.slice_mut(ndarray::s![1, .., ..]).fill(f64::NAN); // no gold span
    batch.hidden.slice_mut(ndarray::s![0, 7, ..]).fill(f64::INFINITY); // in no span
    let x = tensor3(&batch.hidden).set_requires_grad(true);
    let loss = batch.run(&x, &config(1)).unwrap();
    check_zero_gradients(&loss, &[&x], &[&[1], &[0, 0], &[0, 7], &[2, 0], &[3, 0]]);
    assert_finite(&x.grad());
    assert!(x.grad().get(0).get(1).ne(0.0).any().int64_value(&[]) == 1);
}

#[test]
fn each_selection_contrasts_the_selected_negative() {
    // The first incorrect answer is orthogonal to the question, the second is close to the gold
    // span. Vectors of `<s>`, question, gold span, first and second incorrect answer:
    let tokens = [0.0, 0.0, 1.0, 0.0, 1.0, 0.2, 0.0, 1.0, 1.0, 0.3];
    let batch = Batch {
        hidden: Array3::from_shape_vec((1, 5, 2), tokens.to_vec()).unwrap(),
        question: Array2::from_shape_fn((1, 5), |(_, l)| l == 1),
        gold: vec![(2, 2)],
        lists: vec![vec![Some((3, 3)), Some((2, 2)), Some((4, 4))]],
    };
    let loss_with_slot = |slot: usize| {
        let mut single_candidate = batch.clone();
        single_candidate.lists[0] = vec![batch.lists[0][slot]];
        single_candidate.value(&config(1)).unwrap()
    };
    let run = |selection| batch.value(&AnswerContrastConfig { selection, ..config(1) }).unwrap();
    assert_eq!(run(NegativeSelection::default()), loss_with_slot(2));
    assert_eq!(run(NegativeSelection::TopPrediction), loss_with_slot(0));
    let drawn: Vec<f64> = (0..32).map(|seed| run(NegativeSelection::Random { seed })).collect();
    assert!(drawn.iter().all(|&loss| loss == loss_with_slot(0) || loss == loss_with_slot(2)));
    assert!(drawn.contains(&loss_with_slot(0)) && drawn.contains(&loss_with_slot(2)));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    // The inputs are large enough for libtorch to use several threads.
    let mut batch = equal_tokens_batch(16, 20);
    batch.hidden = states(16, 23, 256);
    let run = |threads| {
        objectives::tch::set_num_threads(threads);
        let x = tensor3(&batch.hidden).to_kind(Kind::Float).set_requires_grad(true);
        let loss = batch.run(&x, &config(2)).unwrap();
        loss.backward();
        (scalar(&loss), x.grad())
    };
    let ((one_thread_loss, one_thread_grad), (two_thread_loss, two_thread_grad)) = (run(1), run(2));
    assert_eq!(one_thread_loss, two_thread_loss);
    assert!(one_thread_grad.equal(&two_thread_grad));
}

#[test]
fn a_batch_without_negatives_is_an_error() {
    let mut without_gold = Batch::sample();
    without_gold.gold = vec![(-1, 2), (8, 8), (2, 9), (-100, -100), (99, 3)];
    let mut single_row = equal_tokens_batch(1, 0);
    let error = without_gold.value(&config(1)).unwrap_err();
    assert!(matches!(error, Error::Empty { tensor: "gold_starts", .. }), "{error}");
    let error = single_row.value(&config(1)).unwrap_err();
    assert!(matches!(error, Error::Empty { tensor: "candidates.valid", .. }), "{error}");
    assert!(error.to_string().contains("no row has an incorrect answer to contrast with"));
    single_row = equal_tokens_batch(1, 2);
    assert_near(single_row.value(&config(1)).unwrap(), 2_f64.ln(), 1e-14);
    let empty_batch = Batch {
        hidden: Array3::zeros((0, 4, 3)),
        question: Array2::from_elem((0, 4), true),
        gold: vec![],
        lists: vec![],
    };
    assert!(matches!(empty_batch.value(&config(1)), Err(Error::Empty { .. })));
}

#[test]
fn low_precision_is_computed_in_float32() {
    let batch = Batch::sample();
    let flat = batch.hidden.clone().into_shape_with_order((40, 3)).unwrap();
    let config = config(1);
    let naive = batch.naive_loss(&config).unwrap();
    let loss = |[x]: [&Tensor; 1]| batch.run(&x.view([5, 8, 3]), &config).unwrap();
    // Rounding changes a vector by at most 2^-8. The error doubles three times: a cosine has two
    // vectors, τ is 1/2, and the loss is a difference of logits.
    LossCase { inputs: [&flat], loss: &loss, naive }.check_low_precision(0.032);
    let x = tensor3(&batch.hidden).to_kind(Kind::Float).set_requires_grad(true);
    let loss = batch.run(&x, &config).unwrap();
    loss.backward();
    assert_eq!((loss.kind(), x.grad().kind()), (Kind::Float, Kind::Float));
    assert!((scalar(&loss) - naive).abs() < 1e-5);
}

#[test]
fn invalid_arguments_are_reported() {
    let batch = Batch::sample();
    let default = AnswerContrastConfig::default();
    let hidden = tensor3(&batch.hidden);
    let error_of = |batch: &Batch, config: &AnswerContrastConfig| {
        error_message(batch.run(&tensor3(&batch.hidden), config))
    };
    let high_temperature = AnswerContrastConfig { temperature: 1000.5, ..default.clone() };
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let config = AnswerContrastConfig { temperature, ..default.clone() };
        let expected = format!("temperature = {temperature}: must be finite and above 0");
        assert_eq!(error_of(&batch, &config), expected);
    }
    let mut without_question = batch.clone();
    without_question.question.row_mut(2).fill(false);
    let mut reversed = batch.clone();
    reversed.gold[3] = (6, 5);
    let mut out_of_window = batch.clone();
    out_of_window.lists[0][1] = Some((6, 8));
    let hidden_error = |hidden: &Tensor| error_message(batch.run(hidden, &default));
    assert_messages([
        (error_of(&batch, &high_temperature), "temperature = 1000.5: must be at most 1000"),
        (error_of(&out_of_window, &default), "candidates.ends: every value must be in 0..8…"),
        (error_of(&batch, &config(0)), "count = 0: must be at least 1"),
        (
            error_of(&without_question, &default),
            "question_mask[2]: no token of the question is marked…",
        ),
        (error_of(&reversed, &default), "gold_ends[3] = 5: the span starts at 6…"),
        (
            hidden_error(&hidden.narrow(1, 0, 7)),
            "question_mask: expected shape [B, L] = [5, 7], got [5, 8]",
        ),
        (hidden_error(&hidden.view([40, 3])), "hidden: expected shape [B, L, H], got [40, 3]"),
        (hidden_error(&Tensor::new()), "hidden: the tensor is undefined…"),
        (hidden_error(&hidden.to_kind(Kind::Int64)), "hidden: expected dtype Float…"),
        (hidden_error(&Tensor::zeros([5, 0, 3], FLOAT)), "question_mask: expected shape…"),
    ]);
}

fn batches() -> impl Strategy<Value = Batch> {
    const LENGTH: usize = 6;
    let span = (0..LENGTH as i64, 0..LENGTH as i64).prop_map(|(a, b)| (a.min(b), a.max(b)));
    (1usize..5, 0usize..5).prop_flat_map(move |(b, m)| {
        let values = prop::collection::vec(-3.0..3.0_f64, b * LENGTH * 3);
        let question = matrix(any::<bool>(), b, LENGTH);
        let gold =
            prop_oneof![4 => span.clone(), 1 => Just((-1, 2)), 1 => Just((3, LENGTH as i64))];
        let gold = prop::collection::vec(gold, b);
        // Spans are distinct, because the order of equal cosines would depend on rounding.
        let list = prop::collection::hash_set(span.clone(), m)
            .prop_map(|set| set.into_iter().collect::<Vec<_>>())
            .prop_flat_map(|list| {
                let valid = prop::collection::vec(any::<bool>(), list.len());
                (Just(list), valid)
            })
            .prop_map(|(list, valid)| {
                list.into_iter().zip(valid).map(|(span, valid)| valid.then_some(span)).collect()
            });
        let lists = prop::collection::vec(list, b);
        (values, question, gold, lists).prop_map(move |(values, mut question, gold, lists)| {
            question.column_mut(1).fill(true);
            let hidden = Array3::from_shape_vec((b, LENGTH, 3), values).unwrap();
            Batch { hidden, question, gold, lists }
        })
    })
}

proptest! {
    #![proptest_config(with_cases(96))]

    #[test]
    fn agrees_with_the_loops(batch in batches(), count in 1usize..4) {
        let config = config(count);
        match (batch.naive_loss(&config), batch.value(&config)) {
            (Some(expected), Ok(got)) => assert_near(got, expected, 1e-10),
            (None, Err(Error::Empty { .. })) => {}
            (expected, got) => prop_assert!(false, "got {got:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn autocast_leaves_the_loss_in_float32() {
    let batch = Batch::sample();
    let values = tensor3(&batch.hidden).to_kind(Kind::Float);
    let run = |kind: Option<Kind>| {
        let hidden = values.detach().copy().set_requires_grad(true);
        let loss = || batch.run(&hidden, &config(2)).unwrap();
        let loss = match kind {
            Some(kind) => torch_ext::autocast(Device::Cpu, kind, loss).unwrap(),
            None => loss(),
        };
        StepContext::default().backward(&loss).unwrap();
        (loss, hidden.grad())
    };
    assert_eq!(run(Some(Kind::BFloat16)), run(None));
}
