//! `linear_cross_entropy` against float64 loops, central differences, the logits route and values
//! worked by hand.
use crate::common::*;
use ndarray::{Array1, Array2, Axis};
use objectives::tch::Reduction;
use objectives::{
    Checks, EntityCompletionConfig, EntityNormalization, Error, LinearCrossEntropyConfig,
    MaskedLmConfig, MaskedLmReduction, TokenReduction, TokenScores, entity_completion,
    linear_cross_entropy, masked_lm,
};

const REDUCTIONS: [TokenReduction; 3] =
    [TokenReduction::Mean, TokenReduction::Sum, TokenReduction::None];

fn config(reduction: TokenReduction, label_smoothing: f64) -> LinearCrossEntropyConfig {
    LinearCrossEntropyConfig { reduction, label_smoothing, ..Default::default() }
}

/// hidden, weight, bias in float64.
#[derive(Debug)]
struct Layer {
    hidden: Array2<f64>,
    weight: Array2<f64>,
    bias: Array1<f64>,
}

impl Layer {
    fn ramp(n: usize, h: usize, v: usize) -> Self {
        Self {
            hidden: ramp(n, h, 0.731, 1.5),
            weight: ramp(v, h, 1.137, 1.2),
            bias: ramp(1, v, 0.391, 2.0).row(0).to_owned(),
        }
    }

    /// Each row's loss in loops; 0 where the target is -100.
    fn naive(&self, targets: &[i64], smoothing: f64) -> Vec<f64> {
        let mut losses = Vec::new();
        for (row, &target) in self.hidden.axis_iter(Axis(0)).zip(targets) {
            if target == -100 {
                losses.push(0.0);
                continue;
            }
            let mut logits = Array1::zeros(self.weight.nrows());
            for (v, weights) in self.weight.axis_iter(Axis(0)).enumerate() {
                let mut sum = self.bias[v];
                for (x, w) in row.iter().zip(weights) {
                    sum += x * w;
                }
                logits[v] = sum;
            }
            let all = logits.len();
            let spread: f64 = (0..all).map(|v| naive_nll(logits.view(), v, |_| true)).sum();
            let loss = naive_nll(logits.view(), target as usize, |_| true);
            losses.push((1.0 - smoothing) * loss + smoothing * spread / all as f64);
        }
        losses
    }

    fn tensors(&self) -> [Tensor; 3] {
        let bias = self.bias.to_vec();
        [tensor(&self.hidden), tensor(&self.weight), Tensor::from_slice(&bias)]
    }
}

#[test]
fn equals_the_loops_for_every_reduction() {
    let layer = Layer::ramp(7, 4, 9);
    let targets = [3, -100, 8, 0, 3, -100, 5];
    let [hidden, weight, bias] = layer.tensors();
    for smoothing in [0.0, 0.1] {
        let want = layer.naive(&targets, smoothing);
        let sum: f64 = want.iter().sum();
        for reduction in REDUCTIONS {
            let config = config(reduction, smoothing);
            let got = linear_cross_entropy(&hidden, &weight, Some(&bias), &ids(&targets), &config)
                .unwrap();
            assert_eq!(got.kept, 5);
            match reduction {
                TokenReduction::Mean => assert_near(scalar(&got.loss), sum / 5.0, 1e-12),
                TokenReduction::Sum => assert_near(scalar(&got.loss), sum, 1e-12),
                TokenReduction::None => {
                    let rows: Vec<f64> = got.loss.try_into().unwrap();
                    for (got, want) in rows.iter().zip(&want) {
                        assert_near(*got, *want, 1e-12);
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_of_hidden_weight_and_bias_equal_central_differences() {
    let layer = Layer::ramp(5, 3, 6);
    let raw_targets = [3, 5, -100, 0, 3];
    let targets = ids(&raw_targets);
    let factors = ramp(1, 5, 0.9, 2.0);
    let weights_of_rows = tensor(&factors).view([5]);
    for reduction in REDUCTIONS {
        for chunk_rows in [1, 2, 5] {
            let config = LinearCrossEntropyConfig {
                chunk_rows: Some(chunk_rows),
                ..config(reduction, 0.05)
            };
            let loss = |h: &Tensor, w: &Tensor, b: &Tensor| {
                let loss = linear_cross_entropy(h, w, Some(b), &targets, &config).unwrap().loss;
                // Unequal weights, so that each row's gradient must find its own way back.
                if reduction == TokenReduction::None {
                    loss.dot(&weights_of_rows)
                } else {
                    loss * 3.0
                }
            };
            let bias = layer.bias.clone().insert_axis(Axis(0));
            let rows = layer.naive(&raw_targets, 0.05);
            let naive = match reduction {
                TokenReduction::Mean => rows.iter().sum::<f64>() / 4.0 * 3.0,
                TokenReduction::Sum => rows.iter().sum::<f64>() * 3.0,
                TokenReduction::None => rows.iter().zip(&factors).map(|(x, y)| x * y).sum(),
            };
            let ours = |[h, w, b]: [&Tensor; 3]| loss(h, w, &b.view([-1]));
            let inputs = [&layer.hidden, &layer.weight, &bias];
            LossCase { inputs, ours: &ours, naive }.check(1e-12);
        }
    }
}

/// Value and gradients by plain tensor operations.
fn by_logits(
    hidden: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    targets: &Tensor,
) -> (f64, [Tensor; 2]) {
    let [hidden, weight] = [hidden, weight].map(|t| t.detach().set_requires_grad(true));
    let logits = hidden.linear(&weight, bias);
    let loss = logits.cross_entropy_loss::<Tensor>(targets, None, Reduction::Mean, -100, 0.0);
    loss.backward();
    (scalar(&loss), [hidden.grad(), weight.grad()])
}

/// The mean of ours, and the gradients of hidden and weight.
fn by_chunks(
    hidden: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    targets: &Tensor,
    config: &LinearCrossEntropyConfig,
) -> (Tensor, [Tensor; 2]) {
    let [h, w] = [hidden, weight].map(|t| t.copy().set_requires_grad(true));
    let loss = linear_cross_entropy(&h, &w, Some(bias), targets, config).unwrap().loss;
    let loss = loss.mean(None::<Kind>);
    loss.backward();
    (loss, [h.grad(), w.grad()])
}

#[test]
fn every_chunk_size_gives_the_same() {
    let layer = Layer::ramp(11, 8, 50);
    let [hidden, weight, bias] = layer.tensors().map(|t| t.to_kind(Kind::Float));
    let targets: Vec<i64> = (0..11).map(|i| (i * 17) % 50).collect();
    let targets = ids(&targets);
    let (want, want_grads) = by_logits(&hidden, &weight, Some(&bias), &targets);
    for chunk_rows in 1..=12 {
        for reduction in [TokenReduction::Mean, TokenReduction::None] {
            let config =
                LinearCrossEntropyConfig { chunk_rows: Some(chunk_rows), ..config(reduction, 0.0) };
            let (loss, grads) = by_chunks(&hidden, &weight, &bias, &targets, &config);
            assert_near(scalar(&loss), want, 1e-6);
            testkit::assert_close("d hidden", &grads[0], &want_grads[0], 1e-6);
            testkit::assert_close("d weight", &grads[1], &want_grads[1], 1e-6);
        }
    }
}

#[test]
fn large_products_take_the_other_kernel_and_agree() {
    // 64 x 96 x 1024 multiplications are past the size from which float32 products on the CPU go to
    // oneDNN.
    let layer = Layer::ramp(64, 96, 1024);
    let targets: Vec<i64> = (0..64).map(|i| (i * 131) % 1024).collect();
    let [hidden, weight, bias] = layer.tensors();
    let (want, want_grads) = by_logits(&hidden, &weight, Some(&bias), &ids(&targets));
    let [h, w, b] = layer.tensors().map(|t| t.to_kind(Kind::Float).set_requires_grad(true));
    let loss =
        linear_cross_entropy(&h, &w, Some(&b), &ids(&targets), &Default::default()).unwrap().loss;
    loss.backward();
    assert_near(scalar(&loss), want, 1e-5);
    testkit::assert_close("d hidden", &h.grad().to_kind(Kind::Double), &want_grads[0], 1e-6);
    testkit::assert_close("d weight", &w.grad().to_kind(Kind::Double), &want_grads[1], 1e-6);
}

#[test]
fn loss_scales_accumulation_and_kept_graphs_work_as_everywhere() {
    let layer = Layer::ramp(6, 4, 9);
    let [hidden, weight, bias] = layer.tensors();
    let targets = ids(&[3, 1, 8, 0, 3, 5]);
    let (_, [_, want]) = by_logits(&hidden, &weight, Some(&bias), &targets);
    let default = LinearCrossEntropyConfig::default();
    let run = |h: &Tensor, w: &Tensor, t: &Tensor| {
        linear_cross_entropy(h, w, Some(&bias), t, &default).unwrap().loss
    };
    // A scaled loss scales the gradient.
    let w = weight.copy().set_requires_grad(true);
    (run(&hidden, &w, &targets) * 65536.0).backward();
    testkit::assert_close("scaled", &(w.grad() / 65536.0), &want, 1e-12);
    // Two halves, each weighing one half, accumulate to the whole.
    let w = weight.copy().set_requires_grad(true);
    for first in [0, 3] {
        let part = |t: &Tensor| t.narrow(0, first, 3);
        (run(&part(&hidden), &w, &part(&targets)) / 2.0).backward();
    }
    testkit::assert_close("accumulated", &w.grad(), &want, 1e-12);
    // A kept graph can be used twice, and the first gradient is not touched by the second.
    let w = weight.copy().set_requires_grad(true);
    for scale in [1.0, 0.5] {
        let loss = run(&hidden, &w, &targets) * scale;
        let first = Tensor::run_backward(&[&loss], &[&w], true, false);
        let kept = first[0].copy();
        let second = Tensor::run_backward(&[&loss], &[&w], false, false);
        assert_eq!(first[0], kept);
        testkit::assert_close("first", &first[0], &(&want * scale), 1e-12);
        testkit::assert_close("second", &second[0], &first[0], 0.0);
        assert!(
            Tensor::f_run_backward(&[&loss], &[&w], false, false).is_err(),
            "the graph is gone"
        );
    }
}

#[test]
fn only_what_asks_for_a_gradient_gets_one_and_there_is_no_second_derivative() {
    let [hidden, weight, bias] = Layer::ramp(4, 3, 5).tensors();
    let targets = ids(&[0, 4, 2, 2]);
    for reduction in REDUCTIONS {
        let hidden = hidden.copy().set_requires_grad(true);
        let config = config(reduction, 0.0);
        let run = || {
            let output =
                linear_cross_entropy(&hidden, &weight, Some(&bias), &targets, &config).unwrap();
            output.loss.sum(None::<Kind>)
        };
        run().backward();
        assert!(hidden.grad().defined());
        assert!(!weight.grad().defined() && !bias.grad().defined());
        let error = Tensor::f_run_backward(&[&run()], &[&hidden], true, true);
        assert!(error.unwrap_err().to_string().contains("no second derivative"));
        assert!(!objectives::tch::no_grad(run).requires_grad());
    }
}

#[test]
fn ignored_rows_receive_exactly_zero_whatever_they_hold() {
    let mut layer = Layer::ramp(4, 3, 5);
    layer.hidden.row_mut(1).fill(f64::NAN);
    layer.hidden.row_mut(3).fill(f64::INFINITY);
    let targets = ids(&[0, -100, 4, -100]);
    for reduction in REDUCTIONS {
        let hidden = leaf(&layer.hidden);
        let [_, weight, bias] = layer.tensors();
        let config = LinearCrossEntropyConfig { checks: Checks::Full, ..config(reduction, 0.0) };
        let output =
            linear_cross_entropy(&hidden, &weight, Some(&bias), &targets, &config).unwrap();
        check_zeros(&output.loss.sum(None::<Kind>), &[&hidden], &[&[1], &[3]]);
        assert_nowhere_zero(&hidden.grad().get(0));
    }
}

#[test]
fn nothing_to_predict_is_an_error_and_unreduced_it_is_zeros() {
    let [hidden, weight, _] = Layer::ramp(3, 2, 4).tensors();
    let run = |n: i64, reduction| {
        let hidden = hidden.narrow(0, 0, n).set_requires_grad(true);
        let targets = Tensor::full([n], -100, INT64);
        linear_cross_entropy(&hidden, &weight, None, &targets, &config(reduction, 0.0))
            .map(|output| output.loss)
    };
    for n in [0, 3] {
        for reduction in [TokenReduction::Mean, TokenReduction::Sum] {
            let empty = run(n, reduction);
            assert!(matches!(empty, Err(Error::Empty { tensor: "targets", .. })), "{empty:?}");
        }
        let rows = run(n, TokenReduction::None).unwrap();
        assert_eq!((rows.size(), rows.abs().sum(Kind::Double).double_value(&[])), (vec![n], 0.0));
        rows.sum(Kind::Double).backward();
    }
}

#[test]
fn accuracy_counts_targets_with_the_largest_logit() {
    // One-hot states choose a row of the table of logits.
    let table = ndarray::array![[0.0, 2.0, 1.0], [5.0, 5.0, 5.0], [-1.0, -3.0, -2.0]];
    let weight = tensor(&table).tr();
    let hidden = Tensor::eye(3, DOUBLE);
    let config = LinearCrossEntropyConfig { accuracy: true, ..Default::default() };
    let accuracy = |targets: &[i64]| {
        let output = linear_cross_entropy(&hidden, &weight, None, &ids(targets), &config).unwrap();
        output.accuracy.unwrap().double_value(&[])
    };
    assert_eq!(accuracy(&[1, 0, 0]), 1.0);
    // Of equal logits the first is the prediction.
    assert_near(accuracy(&[1, 1, 0]), 2.0 / 3.0, 1e-6);
    assert_near(accuracy(&[2, -100, 0]), 0.5, 1e-6);
    assert_near(accuracy(&[0, 2, 2]), 0.0, 1e-6);
}

#[test]
fn low_precision_inputs_are_summed_in_float32() {
    let layer = Layer::ramp(40, 32, 300);
    let targets: Vec<i64> = (0..40).map(|i| (i * 7) % 300).collect();
    let targets = ids(&targets);
    for (kind, tolerance) in [(Kind::BFloat16, 2e-2), (Kind::Half, 3e-3)] {
        let low = layer.tensors().map(|t| t.to_kind(kind));
        // The reference reads the same rounded inputs.
        let exact = low.each_ref().map(|t| t.to_kind(Kind::Double));
        let (want, want_grads) = by_logits(&exact[0], &exact[1], Some(&exact[2]), &targets);
        for chunk_rows in [7, 40] {
            for reduction in [TokenReduction::Mean, TokenReduction::None] {
                let config = LinearCrossEntropyConfig {
                    chunk_rows: Some(chunk_rows),
                    ..config(reduction, 0.0)
                };
                let (loss, grads) = by_chunks(&low[0], &low[1], &low[2], &targets, &config);
                assert_eq!(loss.kind(), Kind::Float);
                assert_near(scalar(&loss), want, tolerance);
                for (got, want) in grads.iter().zip(&want_grads) {
                    assert_eq!(got.kind(), kind);
                    let largest = largest(want);
                    let error = testkit::max_abs_error(&got.to_kind(Kind::Double), want);
                    assert!(error <= tolerance * largest, "{kind:?}: {error:e} of {largest:e}");
                }
            }
        }
    }
}

#[test]
fn small_probabilities_keep_their_gradient_in_float16() {
    // 5000 equally likely tokens and 2000 rows: each probability's share of the mean is 1e-7.
    let (n, v) = (2000, 5000);
    let hidden = Tensor::ones([n, 1], (Kind::Half, Device::Cpu));
    let weight = Tensor::zeros([v, 1], (Kind::Half, Device::Cpu)).set_requires_grad(true);
    let targets = Tensor::zeros([n], INT64);
    let loss = linear_cross_entropy(&hidden, &weight, None, &targets, &Default::default()).unwrap();
    (loss.loss * 1024.0).backward();
    let got = weight.grad().to_kind(Kind::Double) / 1024.0;
    assert_near(got.double_value(&[1, 0]) * 5000.0, 1.0, 2e-3);
    assert_near(got.double_value(&[0, 0]), -1.0, 2e-3);
}

#[test]
fn autocast_multiplies_in_its_dtype_and_returns_gradients_in_the_weights_own() {
    let layer = Layer::ramp(20, 16, 64);
    let targets: Vec<i64> = (0..20).map(|i| (i * 3) % 64).collect();
    let targets = ids(&targets);
    let tensors = layer.tensors().map(|t| t.to_kind(Kind::Float).set_requires_grad(true));
    let [hidden, weight, bias] = &tensors;
    let run = || {
        linear_cross_entropy(hidden, weight, Some(bias), &targets, &Default::default())
            .unwrap()
            .loss
    };
    let plain = scalar(&run());
    let loss = torch_ext::autocast(Device::Cpu, Kind::BFloat16, run).unwrap();
    loss.backward();
    assert_eq!((loss.kind(), weight.grad().kind()), (Kind::Float, Kind::Float));
    assert_ne!(scalar(&loss), plain, "the products were not made in bfloat16");
    assert_near(scalar(&loss), plain, 2e-2);
    // Hidden states that autocast already made low beside float32 weights.
    let low = hidden.detach().to_kind(Kind::BFloat16).set_requires_grad(true);
    let mixed = torch_ext::autocast(Device::Cpu, Kind::BFloat16, || {
        linear_cross_entropy(&low, weight, Some(bias), &targets, &Default::default()).unwrap().loss
    });
    assert_near(scalar(&mixed.unwrap()), scalar(&loss), 1e-6);
}

#[test]
fn logits_of_ten_thousand_neither_overflow_nor_lose_the_loss() {
    let weight = tensor(&ndarray::array![[100.0], [-100.0], [0.0]]);
    let hidden = tensor(&ndarray::array![[100.0], [-100.0]]);
    for kind in [Kind::Double, Kind::Float, Kind::Half] {
        let (h, w) = (hidden.to_kind(kind).copy().set_requires_grad(true), weight.to_kind(kind));
        let loss = linear_cross_entropy(&h, &w, None, &ids(&[1, 1]), &Default::default()).unwrap();
        loss.loss.backward();
        assert_near(scalar(&loss.loss), 1e4, 1e-3);
        assert_finite(&h.grad());
    }
}

#[test]
fn large_logits_that_differ_little_keep_the_digits_of_their_loss() {
    for smoothing in [0.0, 0.1] {
        for trained in [false, true] {
            let options = FLOAT;
            let hidden = Tensor::full([2, 1], 100.0, options).set_requires_grad(trained);
            let weight = Tensor::full([50, 1], 100.0, options).set_requires_grad(trained);
            let config = config(TokenReduction::Mean, smoothing);
            let loss = linear_cross_entropy(&hidden, &weight, None, &ids(&[3, 7]), &config);
            assert_near(scalar(&loss.unwrap().loss), 50_f64.ln(), 1e-6);
        }
    }
}

#[test]
fn float16_gradients_bear_many_rows_of_one_target() {
    let options = (Kind::Half, Device::Cpu);
    // Enlarged by more than what a column's sum bears, 512 rows of 20 would be infinite; with the
    // wider layer all of them are summed in one chunk.
    for (rows, width) in [(512, 4), (512, 256), (600, 4)] {
        for reduction in REDUCTIONS {
            let hidden = Tensor::full([rows, width], 20.0, options).set_requires_grad(true);
            let weight = Tensor::zeros([200, width], options).set_requires_grad(true);
            let targets = Tensor::zeros([rows], INT64);
            let loss =
                linear_cross_entropy(&hidden, &weight, None, &targets, &config(reduction, 0.0));
            let mean = loss.unwrap().loss.sum(Kind::Float)
                / if reduction == TokenReduction::Mean { 1.0 } else { rows as f64 };
            mean.backward();
            // By hand: each row gives 20 (p - y) / rows.
            for (class, want) in [(0, -20.0 * 199.0 / 200.0), (1, 0.1), (199, 0.1)] {
                let got = weight.grad().double_value(&[class, width - 1]);
                assert_near(got, want, 0.002 * want.abs());
            }
        }
    }
}

#[test]
fn small_probabilities_survive_in_float16_for_every_reduction() {
    // All weights are equal, so what the 10,000 probabilities of 1e-4 give cancels the target.
    let options = (Kind::Half, Device::Cpu);
    for reduction in REDUCTIONS {
        let hidden = Tensor::zeros([2, 3], options).set_requires_grad(true);
        let weight = Tensor::ones([10_000, 3], options);
        let config = config(reduction, 0.0);
        let loss = linear_cross_entropy(&hidden, &weight, None, &ids(&[5, 9_000]), &config);
        (loss.unwrap().loss.sum(Kind::Float) * 1e-3).backward();
        let worst = largest(&hidden.grad());
        assert!(worst < 2e-5, "{reduction:?}: {worst}, where the target alone gives 1e-3");
    }
}

#[test]
fn rows_that_are_not_numbers_are_never_right() {
    let options = FLOAT;
    let count = 4096;
    let hidden = Tensor::full([count, 2], f64::NAN, options);
    let weight = Tensor::ones([3, 2], options);
    let targets = Tensor::zeros([count], INT64);
    let config = LinearCrossEntropyConfig { accuracy: true, ..Default::default() };
    for _ in 0..4 {
        // Memory that an allocator may hand out again is full of ones.
        drop(Tensor::ones([count], BOOL));
        let output = linear_cross_entropy(&hidden, &weight, None, &targets, &config).unwrap();
        assert_eq!(output.accuracy.unwrap().double_value(&[]), 0.0);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let [hidden, weight, bias] = Layer::ramp(2, 3, 4).tensors();
    let default = LinearCrossEntropyConfig::default();
    let refuse = |h: &Tensor, w: &Tensor, b: &Tensor, t: &Tensor| {
        refusal(linear_cross_entropy(h, w, Some(b), t, &default).map(|output| output.loss))
    };
    let good = ids(&[1, 3]);
    let layer = |h: &Tensor, w: &Tensor| refuse(h, w, &bias, &good);
    let target = |t: &[i64]| refuse(&hidden, &weight, &bias, &ids(t));
    assert_messages([
        (
            target(&[1, 4]),
            "targets: every value must be in 0..4 (V of the weight) or -100; the values run from \
             1 to 4",
        ),
        (target(&[-1, 1]), "…from -1 to 1…"),
        (target(&[1]), "targets: expected shape…"),
        (
            layer(&hidden, &weight.narrow(1, 0, 2)),
            "weight: expected shape [V, H] = [4, 3], got [4, 2]",
        ),
        (refuse(&hidden, &weight, &bias.narrow(0, 0, 3), &good), "bias: expected…"),
        (layer(&hidden.view([6]), &weight), "hidden: expected…"),
        (layer(&Tensor::new(), &weight), "…undefined…"),
        (layer(&hidden, &weight.to_kind(Kind::Float)), "…weight must have hidden's dtype…"),
    ]);
    for (config, option) in [
        (LinearCrossEntropyConfig { chunk_rows: Some(0), ..default.clone() }, "chunk_rows = 0"),
        (config(TokenReduction::Mean, 1.0), "label_smoothing = 1"),
        (config(TokenReduction::Mean, f64::NAN), "label_smoothing = NaN"),
    ] {
        let output = linear_cross_entropy(&hidden, &weight, Some(&bias), &good, &config);
        let message = refusal(output.map(|output| output.loss));
        assert!(message.starts_with(option), "{message}");
    }
}

#[test]
fn full_checks_name_the_tensor_and_unchecked_it_goes_through() {
    let full = LinearCrossEntropyConfig { checks: Checks::Full, ..Default::default() };
    for (which, name) in ["hidden", "weight", "bias"].into_iter().enumerate() {
        for value in [f64::NAN, f64::INFINITY] {
            let tensors = Layer::ramp(3, 2, 4).tensors();
            let _ = tensors[which].view([-1]).get(1).fill_(value);
            let [hidden, weight, bias] = &tensors;
            let run = |config: &LinearCrossEntropyConfig| {
                linear_cross_entropy(hidden, weight, Some(bias), &ids(&[0, 1, 2]), config)
                    .map(|output| output.loss)
            };
            let message = refusal(run(&full));
            let index = if name == "bias" { "[1]" } else { "[0, 1]" };
            assert!(message.starts_with(&format!("{name}{index} = ")), "{message}");
            assert!(!scalar(&run(&Default::default()).unwrap()).is_finite());
        }
    }
}

#[test]
fn the_token_losses_give_the_same_by_both_routes() {
    let [hidden, weight, bias] = Layer::ramp(6, 4, 9).tensors();
    let hidden = hidden.set_requires_grad(true);
    let (targets, entities) = (ids(&[3, 1, 8, 0, 3, 5]), ids(&[4, 4, 4, 9, 1, 1]));
    let logits = hidden.linear(&weight, Some(&bias));
    let scores = TokenScores::linear(&hidden, &weight, Some(&bias));
    let compare = |by_logits: Tensor, by_layer: Tensor| {
        assert_near(scalar(&by_layer), scalar(&by_logits), 1e-12);
        let grad = |loss: &Tensor| Tensor::run_backward(&[loss], &[&hidden], true, false).remove(0);
        testkit::assert_close("gradient", &grad(&by_layer), &grad(&by_logits), 1e-12);
    };
    for reduction in [MaskedLmReduction::Mean, MaskedLmReduction::Sum] {
        let config = MaskedLmConfig { reduction, label_smoothing: 0.1, ..Default::default() };
        compare(
            masked_lm(&logits, &targets, &config).unwrap(),
            masked_lm(scores, &targets, &config).unwrap(),
        );
    }
    for normalization in [EntityNormalization::Token, EntityNormalization::Entity] {
        let config = EntityCompletionConfig { normalization, ..Default::default() };
        compare(
            entity_completion(&logits, &targets, &entities, &config).unwrap(),
            entity_completion(scores, &targets, &entities, &config).unwrap(),
        );
    }
    let empty = masked_lm(
        TokenScores::linear(&hidden.narrow(0, 0, 0), &weight, None),
        &ids(&[]),
        &MaskedLmConfig::default(),
    );
    assert!(matches!(empty, Err(Error::Empty { tensor: "targets", .. })));
}

#[test]
fn an_empty_table_is_the_default_and_unknown_keys_are_refused() {
    let text = "reduction = \"none\"\nchunk_rows = 4\naccuracy = true";
    let want = LinearCrossEntropyConfig {
        chunk_rows: Some(4),
        accuracy: true,
        ..config(TokenReduction::None, 0.0)
    };
    check_config([(text, want)], ["chunks = 1"]);
}

fn batches() -> impl Strategy<Value = (Layer, Vec<i64>, i64)> {
    (1usize..6, 1usize..4, 1usize..8, 1i64..7).prop_flat_map(|(n, h, v, chunk)| {
        let values = |rows, columns| matrix(prop_oneof![Just(0.0), -4.0..4.0], rows, columns);
        let targets = prop::collection::vec(prop_oneof![1 => Just(-100), 4 => 0..v as i64], n);
        let layer =
            (values(n, h), values(v, h), values(1, v)).prop_map(|(hidden, weight, bias)| Layer {
                hidden,
                weight,
                bias: bias.row(0).to_owned(),
            });
        (layer, targets, Just(chunk))
    })
}

proptest! {
    #![proptest_config(draws(96))]

    #[test]
    fn agrees_with_the_loops(
        (layer, targets, chunk) in batches(),
        smoothing in prop_oneof![Just(0.0), 0.0..0.9],
    ) {
        let [hidden, weight, bias] = layer.tensors();
        let kept = targets.iter().filter(|target| **target != -100).count();
        let config = LinearCrossEntropyConfig {
            chunk_rows: Some(chunk), ..config(TokenReduction::Mean, smoothing)
        };
        let got = linear_cross_entropy(&hidden, &weight, Some(&bias), &ids(&targets), &config);
        if kept == 0 {
            prop_assert!(matches!(got, Err(Error::Empty { .. })), "{:?}", got);
            return Ok(());
        }
        let want = layer.naive(&targets, smoothing).iter().sum::<f64>() / kept as f64;
        assert_near(scalar(&got.unwrap().loss), want, 1e-10);
    }

    /// Neither the order of the rows nor rows taken twice nor ignored rows change the mean.
    #[test]
    fn keeps_its_value((layer, targets, chunk) in batches()) {
        let [hidden, weight, bias] = layer.tensors();
        let config = LinearCrossEntropyConfig { chunk_rows: Some(chunk), ..Default::default() };
        let run = |h: &Tensor, t: &Tensor| {
            let output = linear_cross_entropy(h, &weight, Some(&bias), t, &config);
            output.map(|output| scalar(&output.loss))
        };
        let targets = ids(&targets);
        let Ok(want) = run(&hidden, &targets) else { return Ok(()) };
        assert_near(run(&hidden.flip([0]), &targets.flip([0])).unwrap(), want, 1e-12);
        let twice = |t: &Tensor| Tensor::cat(&[t, t], 0);
        assert_near(run(&twice(&hidden), &twice(&targets)).unwrap(), want, 1e-12);
        let padded = Tensor::cat(&[&targets, &ids(&[-100])], 0);
        let more = Tensor::cat(&[&hidden, &hidden.narrow(0, 0, 1)], 0);
        assert_near(run(&more, &padded).unwrap(), want, 1e-12);
    }
}
