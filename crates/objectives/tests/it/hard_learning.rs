//! Tests of `hard_learning`: float64 loops, central differences, hand-computed values and
//! identities.
use crate::common::*;
use HardLearningWeighting::{HardEm, Learned, Mml, Uniform};
use ndarray::Array2;
use objectives::{
    Error, HardLearningConfig, HardLearningWeighting, hard_em_probability, hard_learning,
};

const WEIGHTINGS: [HardLearningWeighting; 4] = [Learned, HardEm, Mml, Uniform];

fn config(weighting: HardLearningWeighting) -> HardLearningConfig {
    HardLearningConfig { weighting, ..Default::default() }
}

/// Log-probabilities without a regular pattern, at most -0.5.
fn sample_log_probs(rows: usize, slots: usize, step: f64) -> Array2<f64> {
    sines(rows, slots, step, 2.0).mapv(|x| x - 2.5)
}

fn theta(slots: usize) -> Vec<f64> {
    (0..slots).map(|l| (1.3 * l as f64).cos()).collect()
}

/// The loss computed with loops; `None` if no row carries loss.
fn naive_loss(
    log_probs: &Array2<f64>,
    valid: &Array2<bool>,
    gold: Option<&[i64]>,
    theta: &[f64],
    config: &HardLearningConfig,
) -> Option<f64> {
    let (mut total, mut rows) = (0.0, 0);
    for b in 0..log_probs.nrows() {
        let slots: Vec<usize> = (0..log_probs.ncols()).filter(|&l| valid[[b, l]]).collect();
        let gold = gold.map(|gold| gold[b]);
        if slots.is_empty() || gold.is_some_and(|gold| gold < 0) {
            continue;
        }
        let probability: f64 = slots.iter().map(|&l| log_probs[[b, l]].exp()).sum();
        let theta_sum: f64 = slots.iter().map(|&l| theta[l].exp()).sum();
        let mut loss = 0.0;
        for &l in &slots {
            loss -= match config.weighting {
                Learned => theta[l].exp() / theta_sum * log_probs[[b, l]],
                Mml => probability.ln() / slots.len() as f64,
                Uniform => log_probs[[b, l]] / slots.len() as f64,
                HardEm => 0.0,
            };
        }
        if config.weighting == HardEm {
            loss = slots.iter().map(|&l| -log_probs[[b, l]]).fold(f64::INFINITY, f64::min);
        }
        if let Some(gold) = gold {
            loss -= config.gold_loss_weight * log_probs[[b, gold as usize]];
        }
        total += loss;
        rows += 1;
    }
    (rows > 0).then(|| total / rows as f64)
}

/// Row 1 lacks two candidates, row 2 has no gold span, row 3 has no candidate.
fn partly_valid_slots() -> (Array2<bool>, [i64; 5]) {
    let valid = Array2::from_shape_fn((5, 4), |(b, l)| b != 3 && (b != 1 || l == 0 || l == 2));
    (valid, [1, 2, -100, -100, 3])
}

#[test]
fn equals_the_loops_and_its_gradients_equal_central_differences() {
    let log_probs = sample_log_probs(5, 4, 0.731);
    let (valid, gold) = partly_valid_slots();
    let theta = theta(4);
    let mask = mask_tensor(&valid);
    for weighting in WEIGHTINGS {
        for (gold, gold_loss_weight) in [(None, 0.0), (Some(&gold), 0.0), (Some(&gold), 0.7)] {
            let config = HardLearningConfig { gold_loss_weight, ..config(weighting) };
            let index = gold.map(|gold| ids(gold));
            let run = |log_probs: &Tensor, theta: &Tensor| {
                hard_learning(log_probs, &mask, index.as_ref(), Some(theta), &config).unwrap()
            };
            let naive = naive_loss(&log_probs, &valid, gold.map(|gold| &gold[..]), &theta, &config)
                .unwrap();
            let weights = Tensor::from_slice(&theta);
            let loss = |[x]: [&Tensor; 1]| run(x, &weights);
            LossCase { inputs: [&log_probs], loss: &loss, naive }.check(1e-13);
            if weighting == Learned {
                let theta = Array2::from_shape_vec((1, 4), theta.clone()).unwrap();
                check_gradient(&theta, |theta| run(&tensor(&log_probs), &theta.view([4])));
            }
        }
    }
}

#[test]
fn hand_computed_values_are_returned() {
    // Candidates of probability 1/2, 1/4 and 1/8; θ gives the weights 1/2, 1/4 and 1/4.
    let log_probs = Tensor::from_slice(&[0.5_f64, 0.25, 0.125]).log().view([1, 3]);
    let theta = Tensor::from_slice(&[2_f64, 1.0, 1.0]).log();
    let valid = flags(&[vec![true; 3]]);
    let ln2 = 2_f64.ln();
    let run = |weighting, valid: &Tensor| {
        scalar(&hard_learning(&log_probs, valid, None, Some(&theta), &config(weighting)).unwrap())
    };
    for (weighting, expected) in [
        (Mml, (8.0 / 7.0_f64).ln()),
        (HardEm, ln2),
        (Uniform, 2.0 * ln2),
        (Learned, (0.5 + 0.5 + 0.75) * ln2),
    ] {
        assert_near(run(weighting, &valid), expected, 1e-14);
    }
    // Without the second candidate, the weights of the first and third become 2/3 and 1/3.
    let valid = flags(&[vec![true, false, true]]);
    assert_near(run(Learned, &valid), (2.0 / 3.0 + 1.0) * ln2, 1e-14);
    assert_near(run(Mml, &valid), (8.0 / 5.0_f64).ln(), 1e-14);
    // λ = 2 adds 2 · ln 8 for a gold span in slot 2.
    let config = HardLearningConfig { gold_loss_weight: 2.0, ..config(HardEm) };
    let loss = hard_learning(&log_probs, &valid, Some(&ids(&[2])), None, &config).unwrap();
    assert_near(scalar(&loss), 7.0 * ln2, 1e-14);
}

#[test]
fn rows_and_slots_without_loss_receive_exactly_zero() {
    let (valid, gold) = partly_valid_slots();
    let mut log_probs_with_nan = sample_log_probs(5, 4, 0.417);
    for row in [2, 3] {
        log_probs_with_nan.row_mut(row).fill(f64::NAN);
    }
    (log_probs_with_nan[[1, 1]], log_probs_with_nan[[1, 3]]) = (f64::NAN, f64::NEG_INFINITY);
    let theta = Tensor::from_slice(&theta(4));
    for weighting in WEIGHTINGS {
        let x = leaf(&log_probs_with_nan);
        let config = HardLearningConfig { gold_loss_weight: 0.5, ..config(weighting) };
        let loss =
            hard_learning(&x, &mask_tensor(&valid), Some(&ids(&gold)), Some(&theta), &config);
        check_zero_gradients(&loss.unwrap(), &[&x], &[&[2], &[3], &[1, 1], &[1, 3]]);
        assert_finite(&x.grad());
    }
}

#[test]
fn tied_candidates_share_the_gradient_of_hard_em() {
    let x = Tensor::from_slice(&[-1.0, -0.5, -0.5]).view([1, 3]).set_requires_grad(true);
    let valid = flags(&[vec![true; 3]]);
    hard_learning(&x, &valid, None, None, &config(HardEm)).unwrap().backward();
    assert_eq!(floats(&x.grad()), [0.0, -0.5, -0.5]);
}

#[test]
fn low_precision_is_reduced_in_float32() {
    let log_probs = sample_log_probs(3, 20, 0.731);
    let valid = Array2::from_elem((3, 20), true);
    let theta = theta(20);
    let weights = Tensor::from_slice(&theta).to_kind(Kind::Float);
    for weighting in WEIGHTINGS {
        let config = config(weighting);
        let loss = |[x]: [&Tensor; 1]| {
            hard_learning(x, &mask_tensor(&valid), None, Some(&weights), &config).unwrap()
        };
        let naive = naive_loss(&log_probs, &valid, None, &theta, &config).unwrap();
        // Rounding changes a log-probability above -8 by at most 2^-6; no weighting increases the
        // error.
        LossCase { inputs: [&log_probs], loss: &loss, naive }.check_low_precision(0.016);
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let log_probs = Tensor::zeros([2, 3], FLOAT);
    let valid = flags(&[vec![true; 3], vec![true, true, false]]);
    let theta = Tensor::zeros([3], FLOAT);
    let run = |valid: &Tensor, gold: Option<&[i64]>, theta: Option<&Tensor>, config: &_| {
        error_message(hard_learning(&log_probs, valid, gold.map(ids).as_ref(), theta, config))
    };
    let learned_config = config(Learned);
    let with_gold_loss = HardLearningConfig { gold_loss_weight: 1.0, ..config(Mml) };
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        let config = HardLearningConfig { gold_loss_weight: value, ..config(Mml) };
        let message = run(&valid, Some(&[0, 0]), None, &config);
        assert!(message.starts_with("gold_loss_weight = "), "{message}");
    }
    let gold = |gold: &[i64]| run(&valid, Some(gold), Some(&theta), &learned_config);
    let mask = |valid: &Tensor| run(valid, None, Some(&theta), &learned_config);
    let short_theta = theta.narrow(0, 0, 2);
    assert_messages([
        (
            run(&valid, None, None, &learned_config),
            "weights: learned weighting has one parameter per slot…",
        ),
        (run(&valid, None, None, &with_gold_loss), "gold_index: gold_loss_weight is above 0…"),
        (gold(&[0, 3]), "gold_index: every value must be in 0..3…"),
        (gold(&[-1, 0]), "…from -1 to 0"),
        (gold(&[0, 2]), "gold_index[1] = 2: valid[1, 2] is false…"),
        (gold(&[0]), "gold_index: expected shape [B] = [2], got [1]"),
        (
            run(&valid, None, Some(&short_theta), &learned_config),
            "weights: expected shape [K] = [3], got [2]",
        ),
        (mask(&valid.to_kind(Kind::Int64)), "valid: expected dtype Bool…"),
        (mask(&valid.narrow(1, 0, 2)), "valid: expected shape [B, K] = [2, 3], got [2, 2]"),
    ]);
}

#[test]
fn the_hard_em_probability_increases_to_0_8() {
    let at = |step| hard_em_probability(step, Some(1_000));
    assert_eq!([0, 100, 800, 801, 9_000].map(at), [0.0, 0.1, 0.8, 0.8, 0.8]);
    assert_eq!([0, 7].map(|step| hard_em_probability(step, Some(0))), [0.8, 0.8]);
    assert_eq!([0, 7].map(|step| hard_em_probability(step, None)), [1.0, 1.0]);
}

/// Log-probabilities of spans (the probabilities of a row sum to at most 1), the validity of each
/// slot, and the gold slot of each row. Some batches have no rows or no slots.
fn batches() -> impl Strategy<Value = (Array2<f64>, Array2<bool>, Vec<i64>)> {
    (0usize..5, 0usize..7).prop_flat_map(|(b, k)| {
        // One additional slot holds the remaining probability.
        let logits = matrix(-20.0..20.0_f64, b, k + 1);
        let slot = prop::option::weighted(0.8, 0..k.max(1));
        let slot = slot.prop_map(move |slot| slot.filter(|_| k > 0));
        let gold = prop::collection::vec(slot, b);
        (logits, matrix(any::<bool>(), b, k), gold).prop_map(move |(logits, mut valid, gold)| {
            let log_probs =
                Array2::from_shape_fn((b, k), |(r, l)| -naive_nll(logits.row(r), l, |_| true));
            for (row, slot) in gold.iter().enumerate() {
                if let Some(slot) = slot {
                    valid[[row, *slot]] = true;
                }
            }
            let gold = gold.iter().map(|slot| slot.map_or(-100, |slot| slot as i64)).collect();
            (log_probs, valid, gold)
        })
    })
}

proptest! {
    #![proptest_config(with_cases(128))]

    #[test]
    fn agrees_with_the_loops((log_probs, valid, gold) in batches()) {
        let theta = theta(log_probs.ncols());
        let (x, mask, index) = (tensor(&log_probs), mask_tensor(&valid), ids(&gold));
        let weights = Tensor::from_slice(&theta);
        for weighting in WEIGHTINGS {
            for with_gold in [false, true] {
                let config = config(weighting);
                let index = with_gold.then_some(&index);
                let actual = hard_learning(&x, &mask, index, Some(&weights), &config);
                match naive_loss(&log_probs, &valid, with_gold.then_some(&gold[..]), &theta, &config) {
                    Some(expected) => assert_near(scalar(&actual.unwrap()), expected, 1e-12),
                    None => {
                        let is_empty = matches!(actual, Err(Error::Empty { tensor: "valid", .. }));
                        prop_assert!(is_empty, "{:?}", actual);
                    }
                }
            }
        }
    }
}
