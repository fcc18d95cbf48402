//! Tests of `soft_labels`: float64 loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::Array2;
use objectives::{Error, SoftLabelConfig, SoftmaxOver, soft_labels};

fn config(temperature: f64, over: SoftmaxOver) -> SoftLabelConfig {
    SoftLabelConfig { temperature, over }
}

fn row_config(temperature: f64) -> SoftLabelConfig {
    config(temperature, SoftmaxOver::Row)
}

const SOFTMAX_SCOPES: [SoftmaxOver; 3] =
    [SoftmaxOver::Row, SoftmaxOver::RowPositions, SoftmaxOver::Batch];

fn naive_softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let max_logit = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> =
        logits.iter().map(|x| ((x - max_logit) / temperature).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|power| power / sum).collect()
}

/// T² times the KL divergence of one pair of distributions.
fn naive_divergence(student: &[f64], teacher: &[f64], temperature: f64) -> f64 {
    let (q, p) = (naive_softmax(student, temperature), naive_softmax(teacher, temperature));
    let mut sum = 0.0;
    for (p, q) in p.iter().zip(&q) {
        if *p > 0.0 {
            sum += p * (p / q).ln();
        }
    }
    sum * temperature * temperature
}

/// The loss computed with loops; `None` if the mask is false everywhere. For `SoftmaxOver::Batch`,
/// the allowed elements of all rows are one list, and the divergence is divided by the length of
/// the list, as in the released code.
fn naive_loss(
    student: &Array2<f64>,
    teacher: &Array2<f64>,
    mask: Option<&Array2<bool>>,
    config: &SoftLabelConfig,
) -> Option<f64> {
    let unmasked = |array: &Array2<f64>, b: usize| -> Vec<f64> {
        let allowed = |c: usize| mask.is_none_or(|mask| mask[[b, c]]);
        (0..array.ncols()).filter(|&c| allowed(c)).map(|c| array[[b, c]]).collect()
    };
    let (mut total, mut rows) = (0.0, 0);
    let (mut flat_s, mut flat_t) = (Vec::new(), Vec::new());
    for b in 0..student.nrows() {
        let (s, t) = (unmasked(student, b), unmasked(teacher, b));
        if !s.is_empty() {
            total += naive_divergence(&s, &t, config.temperature);
            rows += 1;
        }
        flat_s.extend(s);
        flat_t.extend(t);
    }
    if rows == 0 {
        return None;
    }
    Some(match config.over {
        SoftmaxOver::Row => total / rows as f64,
        SoftmaxOver::RowPositions => total / flat_s.len() as f64,
        SoftmaxOver::Batch => {
            naive_divergence(&flat_s, &flat_t, config.temperature) / flat_s.len() as f64
        }
    })
}

fn mask_with_holes() -> Array2<bool> {
    let mut mask = Array2::from_elem((4, 6), true);
    for index in [[0, 0], [0, 5], [3, 1], [3, 2]] {
        mask[index] = false;
    }
    mask.row_mut(2).fill(false); // a row of padding
    mask
}

#[test]
fn equals_the_loops_and_its_gradient_equals_central_differences() {
    let (student, teacher) = (sines(4, 6, 0.731, 3.0), sines(4, 6, 1.137, 3.0));
    let mask = mask_with_holes();
    for mask in [None, Some(&mask)] {
        let tensor_mask = mask.map(mask_tensor);
        for temperature in [0.5, 1.0, 6.0] {
            for over in SOFTMAX_SCOPES {
                let config = config(temperature, over);
                let run = |x: &Tensor| {
                    soft_labels(x, &tensor(&teacher), tensor_mask.as_ref(), &config).unwrap()
                };
                let naive = naive_loss(&student, &teacher, mask, &config).unwrap();
                assert!(naive > 0.01);
                LossCase { inputs: [&student], loss: &|[x]| run(x), naive }.check(1e-12);
            }
        }
    }
}

#[test]
fn hand_computed_values_are_returned() {
    // The divergence of (3/4, 1/4) from (1/2, 1/2) is 3/4 ln 3/2 + 1/4 ln 1/2.
    let teacher_logits = Tensor::from_slice(&[3_f64.ln(), 0.0, 0.0, 0.0]).view([2, 2]);
    let student_logits = Tensor::zeros([2, 2], DOUBLE);
    let loss = |temperature, over| {
        scalar(
            &soft_labels(&student_logits, &teacher_logits, None, &config(temperature, over))
                .unwrap(),
        )
    };
    let divergence_at_1 = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
    assert_near(loss(1.0, SoftmaxOver::Row), divergence_at_1 / 2.0, 1e-14);
    // At T = 2 the odds are √3 : 1.
    let p = 3_f64.sqrt() / (1.0 + 3_f64.sqrt());
    let divergence_at_2 = 4.0 * (p * (2.0 * p).ln() + (1.0 - p) * (2.0 - 2.0 * p).ln());
    assert_near(loss(2.0, SoftmaxOver::Row), divergence_at_2 / 2.0, 1e-14);
    // The mean over rows and classes equals libtorch's `kl_div`.
    let reference = student_logits.log_softmax(1, None::<Kind>).kl_div(
        &teacher_logits.softmax(1, None::<Kind>),
        objectives::tch::Reduction::Mean,
        false,
    );
    assert_near(loss(1.0, SoftmaxOver::RowPositions), divergence_at_1 / 4.0, 1e-14);
    assert_near(loss(1.0, SoftmaxOver::RowPositions), scalar(&reference), 1e-14);
    // With one softmax over all four elements, the teacher's probabilities have the ratio 3:1:1:1,
    // and the student's are equal. The loss is the divergence divided by the four positions.
    let batch_divergence = 0.5 * 2_f64.ln() + 0.5 * (4.0 / 6.0_f64).ln();
    assert_near(loss(1.0, SoftmaxOver::Batch), batch_divergence / 4.0, 1e-14);
    // With one class both probabilities are 1.
    let single_class = Tensor::from_slice(&[4.0, -2.0]).view([2, 1]);
    let student = single_class.zeros_like().set_requires_grad(true);
    let loss = soft_labels(&student, &single_class, None, &row_config(3.0)).unwrap();
    loss.backward();
    assert_eq!((scalar(&loss), max_abs(&student.grad())), (0.0, 0.0));
}

#[test]
fn transposed_tensors_give_the_same_loss() {
    let scores = |seed| {
        objectives::tch::manual_seed(seed);
        Tensor::randn([9, 16], DOUBLE).tr()
    };
    let (student, teacher) = (scores(1), scores(2));
    let mask = student.lt(1.0);
    for mask in [None, Some(&mask)] {
        for over in SOFTMAX_SCOPES {
            let run = |student: &Tensor, teacher: &Tensor| {
                scalar(&soft_labels(student, teacher, mask, &config(2.0, over)).unwrap())
            };
            let expected = run(&student.contiguous(), &teacher.contiguous());
            assert_near(run(&student, &teacher), expected, 1e-14);
            assert_near(run(&student.contiguous(), &teacher), expected, 1e-14);
        }
    }
}

#[test]
fn masked_positions_receive_exactly_zero() {
    let mask = mask_with_holes();
    let mut logits_with_nan = sines(4, 6, 0.417, 2.0);
    for (index, &is_allowed) in mask.indexed_iter() {
        if !is_allowed {
            logits_with_nan[index] = f64::NAN;
        }
    }
    for over in SOFTMAX_SCOPES {
        let student = leaf(&logits_with_nan);
        let mask = mask_tensor(&mask);
        let teacher = leaf(&(&logits_with_nan * 0.3));
        let loss = soft_labels(&student, &teacher, Some(&mask), &config(2.0, over)).unwrap();
        assert!(scalar(&loss) > 0.0);
        check_zero_gradients(&loss, &[&student], &[&[2]]);
        assert_eq!(max_abs(&student.grad().masked_select(&mask.logical_not())), 0.0);
        assert_all_nonzero(&student.grad().masked_select(&mask));
        assert!(!teacher.grad().defined());
    }
    // A position with teacher probability 0 adds 0 to the loss, but its student logit has a positive
    // gradient.
    let teacher = Tensor::from_slice(&[0.0, f64::NEG_INFINITY, 0.0]).view([1, 3]);
    let x = teacher.zeros_like().set_requires_grad(true);
    let loss = soft_labels(&x, &teacher, None, &row_config(1.0)).unwrap();
    loss.backward();
    assert_near(scalar(&loss), 1.5_f64.ln(), 1e-14);
    assert_near(x.grad().double_value(&[0, 1]), 1.0 / 3.0, 1e-14);
}

#[test]
fn invalid_arguments_are_reported() {
    let x = Tensor::zeros([2, 4], FLOAT);
    let default = SoftLabelConfig::default();
    let run = |s: &Tensor, t: &Tensor| error_message(soft_labels(s, t, None, &default));
    let mask = Tensor::ones([2, 4], INT64);
    assert_messages([
        (run(&x.view([8]), &x), "student: expected shape [B, C], got [8]"),
        (run(&x, &x.narrow(1, 0, 3)), "teacher: expected shape [B, C] = [2, 4], got [2, 3]"),
        (run(&x.to_kind(Kind::Int64), &x), "student: expected dtype…"),
        (run(&x, &x.to_kind(Kind::Int64)), "teacher: expected dtype…"),
        (run(&x, &Tensor::new()), "teacher: the tensor is undefined…"),
        (
            error_message(soft_labels(&x, &x, Some(&mask), &default)),
            "mask: expected dtype Bool, got Int64…",
        ),
    ]);
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e4] {
        let error = error_message(soft_labels(&x, &x, None, &row_config(temperature)));
        assert!(error.starts_with("temperature = "), "{error}");
    }
}

#[test]
fn low_precision_logits_are_reduced_in_float32() {
    let (student, teacher) = (sines(5, 384, 0.731, 6.0), sines(5, 384, 1.137, 6.0));
    let naive = naive_loss(&student, &teacher, None, &row_config(6.0)).unwrap();
    // The teacher may have a different dtype from the student.
    let teacher = tensor(&teacher).to_kind(Kind::Float);
    let loss = |[x]: [&Tensor; 1]| soft_labels(x, &teacher, None, &row_config(6.0)).unwrap();
    LossCase { inputs: [&student], loss: &loss, naive }.check_low_precision(0.01 * naive);
}

/// Student logits, teacher logits and mask of one shape; some have no rows or no columns.
fn batches() -> impl Strategy<Value = (Array2<f64>, Array2<f64>, Array2<bool>)> {
    (0usize..5, 0usize..6).prop_flat_map(|(rows, columns)| {
        let logits = move || matrix(-20.0..20.0, rows, columns);
        (logits(), logits(), matrix(any::<bool>(), rows, columns))
    })
}

proptest! {
    #![proptest_config(with_cases(128))]

    #[test]
    fn agrees_with_the_loops((student, teacher, mask) in batches(), temperature in 0.5..8.0) {
        for over in SOFTMAX_SCOPES {
            let config = config(temperature, over);
            for mask in [None, Some(&mask)] {
                let tensor_mask = mask.map(mask_tensor);
                let actual =
                    soft_labels(&tensor(&student), &tensor(&teacher), tensor_mask.as_ref(), &config);
                match naive_loss(&student, &teacher, mask, &config) {
                    Some(expected) => assert_near(scalar(&actual.unwrap()), expected, 1e-9),
                    None => {
                        let is_empty = matches!(actual, Err(Error::Empty { tensor: "student", .. }));
                        prop_assert!(is_empty, "{:?}", actual);
                    }
                }
            }
        }
    }
}
