//! Tests of `listwise`: float64 loops, central differences, xMEN's values and invalid inputs.
use crate::common::*;
use objectives::{IGNORE_INDEX, ListwiseConfig, listwise};

const GOLD: [i64; 4] = [2, 0, IGNORE_INDEX, 4];

fn config(rank_weight: f64) -> ListwiseConfig {
    ListwiseConfig { rank_weight }
}

fn naive_loss(
    logits: &Array2<f64>,
    prior: &Array2<f64>,
    gold: &[i64],
    valid: Option<&Array2<bool>>,
    rank_weight: f64,
) -> f64 {
    let mut total = 0.0;
    for (row, &gold) in gold.iter().enumerate() {
        let allowed = |k: usize| valid.is_none_or(|valid| valid[[row, k]]);
        if gold != IGNORE_INDEX {
            total += naive_nll(logits.row(row), gold as usize, allowed);
        }
        let mut squares = 0.0;
        for k in 0..logits.ncols() {
            if allowed(k) {
                squares += (logits[[row, k]] - prior[[row, k]] + 1e-6).powi(2);
            }
        }
        total += rank_weight * squares.sqrt();
    }
    total / gold.len() as f64
}

fn inputs() -> (Array2<f64>, Array2<f64>) {
    (sines(4, 5, 0.731, 3.0), sines(4, 5, 1.137, 1.0))
}

fn mask_with_holes() -> Array2<bool> {
    let mut valid = Array2::from_elem((4, 5), true);
    for index in [[0, 4], [1, 3], [1, 4], [3, 0]] {
        valid[index] = false;
    }
    valid.row_mut(2).fill(false); // a list of padding
    valid
}

#[test]
fn equals_the_loops_and_its_gradient_equals_central_differences() {
    let (logits, prior) = inputs();
    let valid = mask_with_holes();
    for valid in [None, Some(&valid)] {
        let mask = valid.map(mask_tensor);
        for weight in [0.0, 1.0, 0.25] {
            let naive = naive_loss(&logits, &prior, &GOLD, valid, weight);
            let loss = |[x]: [&Tensor; 1]| {
                let (prior, gold) = (tensor(&prior), ids(&GOLD));
                listwise(x, &prior, &gold, mask.as_ref(), &config(weight)).unwrap()
            };
            let case = LossCase { inputs: [&logits], loss: &loss, naive };
            case.check(1e-12);
            case.check_low_precision(0.05);
        }
    }
}

/// Values and gradients of `scripts/listwise_golden.py`: `rank_regularizer` of xmen 1.0.8 and
/// `CrossEntropyLoss` of torch 2.11.0 in float64, on the inputs of [`inputs`].
#[test]
#[rustfmt::skip]
fn equals_xmen() {
    let cases: [(f64, f64, [f64; 20]); 3] = [
        (0.0, 1.967619093042512, [
            0.04548263500928528, 0.12111611610677395, -0.17973488907820157, 0.011729724630676997, 0.00140641333146537,
            -0.24907867804955325, 0.0010019081974110093, 0.004459059314386373, 0.03787271450372475, 0.20574499603403112,
            0.0, 0.0, 0.0, 0.0, 0.0,
            0.0006523485854469858, 0.0042621247429713025, 0.03445554697024914, 0.1184653222842235, -0.15783534258289095,
        ]),
        (1.0, 6.878913165920022, [
            0.11202924694551719, 0.2559438877650494, -0.015477507657730816, 0.11100029574407622, -0.05389174928884272,
            -0.3775149901138885, -0.14265346435942997, -0.05632311100944267, 0.09903765399948433, 0.3396540159918854,
            0.17271475513109702, 0.05406837092065062, -0.05940295335945647, -0.11273489392280338, -0.11622545956192488,
            -0.08985994379620438, -0.04297291823458699, 0.0707238323540779, 0.2545479797536195, 0.021726617347688076,
        ]),
        (0.25, 3.1954426112618894, [
            0.06211928799334326, 0.1548230590213428, -0.13867054372308388, 0.0365473674090268, -0.012418127323611654,
            -0.28118775606563706, -0.034911934941799234, -0.010736483266570888, 0.05316394937766465, 0.2392222510234947,
            0.043178688782774255, 0.013517092730162656, -0.014850738339864118, -0.028183723480700845, -0.02905636489048122,
            -0.021975724509965853, -0.00754663600141827, 0.04352261831620633, 0.1524859866515725, -0.1129448526002462,
        ]),
    ];
    let (logits, prior) = inputs();
    for (weight, value, gradient) in cases {
        let x = leaf(&logits);
        let loss = listwise(&x, &tensor(&prior), &ids(&GOLD), None, &config(weight)).unwrap();
        assert_near(scalar(&loss), value, 1e-14);
        loss.backward();
        let expected = Tensor::from_slice(&gradient).view([4, 5]);
        testkit::assert_close("gradient", &x.grad(), &expected, 1e-14);
    }
}

#[test]
fn padding_has_no_effect_and_no_gradient() {
    let (logits, prior) = inputs();
    let valid = mask_with_holes();
    let run = |fill: f64| {
        let mut logits = logits.clone();
        let mut prior = prior.clone();
        for (index, &valid) in valid.indexed_iter() {
            if !valid {
                logits[index] = fill;
                prior[index] = -fill;
            }
        }
        let x = leaf(&logits);
        let mask = mask_tensor(&valid);
        let loss = listwise(&x, &tensor(&prior), &ids(&GOLD), Some(&mask), &config(1.0)).unwrap();
        loss.backward();
        assert_finite(&x.grad());
        let at_padding = x.grad().masked_select(&mask.logical_not());
        assert_eq!(max_abs(&at_padding), 0.0);
        scalar(&loss)
    };
    assert_eq!(run(0.0), run(1e30));
}

#[test]
fn equal_scores_have_a_finite_gradient_and_nearly_no_distance() {
    let prior = sines(3, 4, 0.4, 1.0);
    let gold = ids(&[IGNORE_INDEX; 3]);
    let x = leaf(&prior);
    let loss = listwise(&x, &tensor(&prior), &gold, None, &config(1.0)).unwrap();
    assert_near(scalar(&loss), 2e-6, 1e-9); // ε √4
    loss.backward();
    assert_finite(&x.grad());
    // At the distance 0, the gradient is 0 and not NaN.
    let x = (tensor(&prior) - 1e-6).detach().set_requires_grad(true);
    let zero_prior = x.detach() + 1e-6;
    listwise(&x, &zero_prior, &gold, None, &config(1.0)).unwrap().backward();
    assert_finite(&x.grad());
}

#[test]
fn the_prior_receives_no_gradient() {
    let (logits, prior) = inputs();
    let (x, prior) = (leaf(&logits), leaf(&prior));
    listwise(&x, &prior, &ids(&GOLD), None, &config(1.0)).unwrap().backward();
    assert!(!prior.grad().defined() && x.grad().defined());
}

#[test]
fn invalid_inputs_are_reported() {
    let (logits, prior) = (Tensor::zeros([2, 3], FLOAT), Tensor::zeros([2, 3], FLOAT));
    let gold = ids(&[0, 1]);
    let run = |logits: &Tensor, prior: &Tensor, gold: &Tensor, valid: Option<&Tensor>| {
        listwise(logits, prior, gold, valid, &config(1.0))
    };
    let error = run(&logits, &Tensor::zeros([2, 4], FLOAT), &gold, None).unwrap_err();
    assert!(matches!(error, Error::Shape { tensor: "prior", .. }), "{error}");
    let error = run(&logits, &prior.to_kind(Kind::Int64), &gold, None).unwrap_err();
    assert!(matches!(error, Error::Dtype { tensor: "prior", .. }), "{error}");
    let error = run(&logits, &prior, &ids(&[0]), None).unwrap_err();
    assert!(matches!(error, Error::Shape { tensor: "gold_index", .. }), "{error}");
    for invalid in [3, -1] {
        let error = run(&logits, &prior, &ids(&[0, invalid]), None).unwrap_err();
        assert!(matches!(error, Error::Range { tensor: "gold_index", .. }), "{error}");
    }
    let valid = Tensor::from_slice(&[true, true, true, true, false, true]).view([2, 3]);
    let error = run(&logits, &prior, &gold, Some(&valid)).unwrap_err();
    assert!(matches!(error, Error::GoldSlot { row: 1, slot: 1 }), "{error}");
    let error = run(&Tensor::zeros([0, 3], FLOAT), &Tensor::zeros([0, 3], FLOAT), &ids(&[]), None);
    assert!(matches!(error.unwrap_err(), Error::Empty { tensor: "logits", .. }));
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        let error = listwise(&logits, &prior, &gold, None, &config(weight)).unwrap_err();
        assert!(matches!(error, Error::Domain { option: "rank_weight", .. }), "{error}");
    }
    assert!(toml::from_str::<ListwiseConfig>("rank_wieght = 1.0").is_err());
}

proptest! {
    #![proptest_config(with_cases(40))]

    /// The cross-entropy does not depend on a constant that is added to all scores, and the loss does
    /// not depend on the order of the candidates.
    #[test]
    fn constants_and_order(
        logits in matrix(-3.0..3.0_f64, 3, 4),
        prior in matrix(-1.0..1.0_f64, 3, 4),
        gold in prop::collection::vec(0..4_i64, 3),
        constant in -5.0..5.0_f64,
        weight in 0.0..2.0_f64,
    ) {
        let run = |logits: &Tensor, prior: &Tensor, gold: &[i64], weight: f64| {
            scalar(&listwise(logits, prior, &ids(gold), None, &config(weight)).unwrap())
        };
        let expected = naive_loss(&logits, &prior, &gold, None, weight);
        let (logits, prior) = (tensor(&logits), tensor(&prior));
        assert_near(run(&logits, &prior, &gold, weight), expected, 1e-12);
        let plain = run(&logits, &prior, &gold, 0.0);
        assert_near(run(&(&logits + constant), &prior, &gold, 0.0), plain, 1e-12);
        prop_assert!(plain <= expected + 1e-12);
        let reversed: Vec<i64> = gold.iter().map(|gold| 3 - gold).collect();
        assert_near(run(&logits.flip([1]), &prior.flip([1]), &reversed, weight), expected, 1e-12);
    }
}
