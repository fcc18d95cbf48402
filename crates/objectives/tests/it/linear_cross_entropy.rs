//! Tests of `linear_cross_entropy`: float64 loops, central differences, the loss of full logits and
//! hand-computed values.
use crate::common::*;
use ndarray::{Array1, Array2, Axis};
use objectives::tch::Reduction;
use objectives::{
    EntityCompletionConfig, EntityNormalization, Error, MaskedLmConfig, MaskedLmReduction,
    TokenScores, entity_completion, linear_cross_entropy, masked_lm,
};
use torch_ext::{LinearCrossEntropy, LossReduction};

const REDUCTIONS: [LossReduction; 2] = [LossReduction::Mean, LossReduction::Sum];

/// Runs the kernel with chunks of `chunk_rows` rows; every target must be a token id.
fn run_kernel(
    [hidden, weight, bias]: [&Tensor; 3],
    targets: &Tensor,
    reduction: LossReduction,
    chunk_rows: i64,
) -> Tensor {
    let options = LinearCrossEntropy { reduction, weights: None, chunk_rows: Some(chunk_rows) };
    torch_ext::linear_cross_entropy(hidden, weight, Some(bias), targets, &options).unwrap()
}

/// Hidden states, weight and bias in float64.
#[derive(Debug)]
struct Layer {
    hidden: Array2<f64>,
    weight: Array2<f64>,
    bias: Array1<f64>,
}

impl Layer {
    fn sines(n: usize, h: usize, v: usize) -> Self {
        Self {
            hidden: sines(n, h, 0.731, 1.5),
            weight: sines(v, h, 1.137, 1.2),
            bias: sines(1, v, 0.391, 2.0).row(0).to_owned(),
        }
    }

    /// The loss of each row, computed with loops; 0 if the target is -100.
    fn naive_losses(&self, targets: &[i64]) -> Vec<f64> {
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
            losses.push(naive_nll(logits.view(), target as usize, |_| true));
        }
        losses
    }

    fn tensors(&self) -> [Tensor; 3] {
        let bias = self.bias.to_vec();
        [tensor(&self.hidden), tensor(&self.weight), Tensor::from_slice(&bias)]
    }
}

#[test]
fn equals_the_loops_and_its_gradients_equal_central_differences() {
    let layer = Layer::sines(5, 3, 6);
    let bias = layer.bias.clone().insert_axis(Axis(0));
    let inputs = [&layer.hidden, &layer.weight, &bias];
    let targets = [3, 5, -100, 0, 3];
    let loss = |h: &Tensor, w: &Tensor, b: &Tensor| {
        linear_cross_entropy(h, w, Some(&b.view([-1])), &ids(&targets)).unwrap()
    };
    let naive = layer.naive_losses(&targets).iter().sum::<f64>() / 4.0;
    LossCase { inputs, loss: &|[h, w, b]| loss(h, w, b), naive }.check(1e-12);
    let targets = [3, 5, 1, 0, 3];
    for reduction in REDUCTIONS {
        for chunk_rows in [1, 2, 5] {
            let loss = |h: &Tensor, w: &Tensor, b: &Tensor| {
                run_kernel([h, w, &b.view([-1])], &ids(&targets), reduction, chunk_rows) * 3.0
            };
            let count = if reduction == LossReduction::Mean { 5.0 } else { 1.0 };
            let naive = layer.naive_losses(&targets).iter().sum::<f64>() / count * 3.0;
            LossCase { inputs, loss: &|[h, w, b]| loss(h, w, b), naive }.check(1e-12);
        }
    }
}

/// Computes the loss and its gradients from the full logits, with tensor operations.
fn full_loss(
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

#[test]
fn large_matmuls_agree_with_full_logits() {
    // 64 x 96 x 1024 multiplications exceed the size above which libtorch uses oneDNN for float32
    // matrix multiplications on the CPU.
    let layer = Layer::sines(64, 96, 1024);
    let targets: Vec<i64> = (0..64).map(|i| (i * 131) % 1024).collect();
    let [hidden, weight, bias] = layer.tensors();
    let (expected, expected_grads) = full_loss(&hidden, &weight, Some(&bias), &ids(&targets));
    let [h, w, b] = layer.tensors().map(|t| t.to_kind(Kind::Float).set_requires_grad(true));
    let loss = linear_cross_entropy(&h, &w, Some(&b), &ids(&targets)).unwrap();
    loss.backward();
    assert_near(scalar(&loss), expected, 1e-5);
    testkit::assert_close("d hidden", &h.grad().to_kind(Kind::Double), &expected_grads[0], 1e-6);
    testkit::assert_close("d weight", &w.grad().to_kind(Kind::Double), &expected_grads[1], 1e-6);
}

#[test]
fn loss_scaling_accumulation_and_retained_graphs_work() {
    let layer = Layer::sines(6, 4, 9);
    let [hidden, weight, bias] = layer.tensors();
    let targets = ids(&[3, 1, 8, 0, 3, 5]);
    let (_, [_, expected]) = full_loss(&hidden, &weight, Some(&bias), &targets);
    let run =
        |h: &Tensor, w: &Tensor, t: &Tensor| linear_cross_entropy(h, w, Some(&bias), t).unwrap();
    // A scaled loss scales the gradient.
    let w = weight.copy().set_requires_grad(true);
    (run(&hidden, &w, &targets) * 65536.0).backward();
    testkit::assert_close("scaled", &(w.grad() / 65536.0), &expected, 1e-12);
    // Two half batches, each weighted by one half, accumulate to the gradient of the whole batch.
    let w = weight.copy().set_requires_grad(true);
    for first in [0, 3] {
        let half = |t: &Tensor| t.narrow(0, first, 3);
        (run(&half(&hidden), &w, &half(&targets)) / 2.0).backward();
    }
    testkit::assert_close("accumulated", &w.grad(), &expected, 1e-12);
    // A retained graph can be used twice, and the second backward pass does not change the first
    // gradient.
    let w = weight.copy().set_requires_grad(true);
    for scale in [1.0, 0.5] {
        let loss = run(&hidden, &w, &targets) * scale;
        let first = Tensor::run_backward(&[&loss], &[&w], true, false);
        let first_copy = first[0].copy();
        let second = Tensor::run_backward(&[&loss], &[&w], false, false);
        assert_eq!(first[0], first_copy);
        testkit::assert_close("first", &first[0], &(&expected * scale), 1e-12);
        testkit::assert_close("second", &second[0], &first[0], 0.0);
        assert!(
            Tensor::f_run_backward(&[&loss], &[&w], false, false).is_err(),
            "the graph is freed"
        );
    }
}

#[test]
fn only_inputs_requiring_gradients_receive_them_and_there_is_no_second_derivative() {
    let [hidden, weight, bias] = Layer::sines(4, 3, 5).tensors();
    let targets = ids(&[0, 4, 2, 2]);
    let hidden = hidden.copy().set_requires_grad(true);
    let run = || linear_cross_entropy(&hidden, &weight, Some(&bias), &targets).unwrap();
    run().backward();
    assert!(hidden.grad().defined());
    assert!(!weight.grad().defined() && !bias.grad().defined());
    let error = Tensor::f_run_backward(&[&run()], &[&hidden], true, true);
    assert!(error.unwrap_err().to_string().contains("no second derivative"));
    assert!(!objectives::tch::no_grad(run).requires_grad());
}

#[test]
fn ignored_rows_receive_exactly_zero() {
    let mut layer = Layer::sines(4, 3, 5);
    layer.hidden.row_mut(1).fill(f64::NAN);
    layer.hidden.row_mut(3).fill(f64::INFINITY);
    let targets = ids(&[0, -100, 4, -100]);
    let hidden = leaf(&layer.hidden);
    let [_, weight, bias] = layer.tensors();
    let loss = linear_cross_entropy(&hidden, &weight, Some(&bias), &targets).unwrap();
    check_zero_gradients(&loss, &[&hidden], &[&[1], &[3]]);
    assert_all_nonzero(&hidden.grad().get(0));
}

#[test]
fn low_precision_inputs_are_summed_in_float32() {
    let layer = Layer::sines(40, 32, 300);
    let targets: Vec<i64> = (0..40).map(|i| (i * 7) % 300).collect();
    let targets = ids(&targets);
    for (kind, tolerance) in [(Kind::BFloat16, 2e-2), (Kind::Half, 3e-3)] {
        let low = layer.tensors().map(|t| t.to_kind(kind));
        // The reference uses the same rounded inputs.
        let exact = low.each_ref().map(|t| t.to_kind(Kind::Double));
        let (expected, expected_grads) = full_loss(&exact[0], &exact[1], Some(&exact[2]), &targets);
        for chunk_rows in [7, 40] {
            let [h, w, b] = low.each_ref().map(|t| t.copy().set_requires_grad(true));
            let loss = run_kernel([&h, &w, &b], &targets, LossReduction::Mean, chunk_rows);
            loss.backward();
            assert_eq!(loss.kind(), Kind::Float);
            assert_near(scalar(&loss), expected, tolerance);
            for (actual, expected) in [h.grad(), w.grad()].iter().zip(&expected_grads) {
                assert_eq!(actual.kind(), kind);
                let largest = max_abs(expected);
                let error = testkit::max_abs_error(&actual.to_kind(Kind::Double), expected);
                assert!(
                    error <= tolerance * largest,
                    "{kind:?}: error {error:e}, largest value {largest:e}"
                );
            }
        }
    }
}

#[test]
fn small_probabilities_have_a_gradient_in_float16() {
    // 5000 equally likely tokens and 2000 rows: the contribution of each probability to the mean is
    // 1e-7.
    let (n, v) = (2000, 5000);
    let hidden = Tensor::ones([n, 1], (Kind::Half, Device::Cpu));
    let weight = Tensor::zeros([v, 1], (Kind::Half, Device::Cpu)).set_requires_grad(true);
    let targets = Tensor::zeros([n], INT64);
    let loss = linear_cross_entropy(&hidden, &weight, None, &targets).unwrap();
    (loss * 1024.0).backward();
    let actual = weight.grad().to_kind(Kind::Double) / 1024.0;
    assert_near(actual.double_value(&[1, 0]) * 5000.0, 1.0, 2e-3);
    assert_near(actual.double_value(&[0, 0]), -1.0, 2e-3);
}

#[test]
fn autocast_uses_its_dtype_and_returns_gradients_in_the_weights_dtype() {
    let layer = Layer::sines(20, 16, 64);
    let targets: Vec<i64> = (0..20).map(|i| (i * 3) % 64).collect();
    let targets = ids(&targets);
    let tensors = layer.tensors().map(|t| t.to_kind(Kind::Float).set_requires_grad(true));
    let [hidden, weight, bias] = &tensors;
    let run = || linear_cross_entropy(hidden, weight, Some(bias), &targets).unwrap();
    let float32_loss = scalar(&run());
    let loss = torch_ext::autocast(Device::Cpu, Kind::BFloat16, run).unwrap();
    loss.backward();
    assert_eq!((loss.kind(), weight.grad().kind()), (Kind::Float, Kind::Float));
    assert_ne!(scalar(&loss), float32_loss, "the matrix multiplications did not run in bfloat16");
    assert_near(scalar(&loss), float32_loss, 2e-2);
    // Hidden states that autocast already converted to bfloat16, with float32 weights.
    let low = hidden.detach().to_kind(Kind::BFloat16).set_requires_grad(true);
    let mixed_loss = torch_ext::autocast(Device::Cpu, Kind::BFloat16, || {
        linear_cross_entropy(&low, weight, Some(bias), &targets).unwrap()
    });
    assert_near(scalar(&mixed_loss.unwrap()), scalar(&loss), 1e-6);
}

#[test]
fn large_logits_have_a_finite_exact_loss() {
    let weight = tensor(&ndarray::array![[100.0], [-100.0], [0.0]]);
    let hidden = tensor(&ndarray::array![[100.0], [-100.0]]);
    for kind in [Kind::Double, Kind::Float, Kind::Half] {
        let (h, w) = (hidden.to_kind(kind).copy().set_requires_grad(true), weight.to_kind(kind));
        let loss = linear_cross_entropy(&h, &w, None, &ids(&[1, 1])).unwrap();
        loss.backward();
        assert_near(scalar(&loss), 1e4, 1e-3);
        assert_finite(&h.grad());
    }
}

#[test]
fn large_close_logits_retain_precision() {
    for requires_grad in [false, true] {
        let hidden = Tensor::full([2, 1], 100.0, FLOAT).set_requires_grad(requires_grad);
        let weight = Tensor::full([50, 1], 100.0, FLOAT).set_requires_grad(requires_grad);
        let loss = linear_cross_entropy(&hidden, &weight, None, &ids(&[3, 7])).unwrap();
        assert_near(scalar(&loss), 50_f64.ln(), 1e-6);
    }
}

#[test]
fn float16_gradients_support_many_rows_of_one_target() {
    let options = (Kind::Half, Device::Cpu);
    // With the maximum scale of 8, the sum of 20 over 512 rows would exceed float16's maximum
    // (65,504). With width 256, all rows are summed in one chunk.
    for (rows, width) in [(512, 4), (512, 256), (600, 4)] {
        let hidden = Tensor::full([rows, width], 20.0, options).set_requires_grad(true);
        let weight = Tensor::zeros([200, width], options).set_requires_grad(true);
        let targets = Tensor::zeros([rows], INT64);
        linear_cross_entropy(&hidden, &weight, None, &targets).unwrap().backward();
        // Hand-computed: each row contributes 20 (p - y) / rows.
        for (class, expected) in [(0, -20.0 * 199.0 / 200.0), (1, 0.1), (199, 0.1)] {
            let actual = weight.grad().double_value(&[class, width - 1]);
            assert_near(actual, expected, 0.002 * expected.abs());
        }
    }
}

#[test]
fn small_probabilities_contribute_to_the_float16_gradient_of_hidden_states() {
    // All weights are equal, so the contributions of the 10,000 probabilities of 1e-4 cancel the
    // contribution of the target.
    let options = (Kind::Half, Device::Cpu);
    let hidden = Tensor::zeros([2, 3], options).set_requires_grad(true);
    let weight = Tensor::ones([10_000, 3], options);
    let loss = linear_cross_entropy(&hidden, &weight, None, &ids(&[5, 9_000])).unwrap();
    (loss * 1e-3).backward();
    let max_gradient = max_abs(&hidden.grad());
    assert!(max_gradient < 2e-5, "{max_gradient}; the target alone gives 1e-3");
}

#[test]
fn invalid_arguments_are_reported() {
    let [hidden, weight, bias] = Layer::sines(2, 3, 4).tensors();
    let error_of = |h: &Tensor, w: &Tensor, b: &Tensor, t: &Tensor| {
        error_message(linear_cross_entropy(h, w, Some(b), t))
    };
    let valid_targets = ids(&[1, 3]);
    let layer = |h: &Tensor, w: &Tensor| error_of(h, w, &bias, &valid_targets);
    let target = |t: &[i64]| error_of(&hidden, &weight, &bias, &ids(t));
    assert_messages([
        (
            target(&[1, 4]),
            "targets: every value must be in 0..4 (V of the weight) or -100; got values from \
             1 to 4",
        ),
        (target(&[-1, 1]), "…from -1 to 1…"),
        (target(&[1]), "targets: expected shape…"),
        (
            layer(&hidden, &weight.narrow(1, 0, 2)),
            "weight: expected shape [V, H] = [4, 3], got [4, 2]",
        ),
        (error_of(&hidden, &weight, &bias.narrow(0, 0, 3), &valid_targets), "bias: expected…"),
        (layer(&hidden.view([6]), &weight), "hidden: expected…"),
        (layer(&Tensor::new(), &weight), "…undefined…"),
        (layer(&hidden, &weight.to_kind(Kind::Float)), "…weight must have hidden's dtype…"),
    ]);
}

#[test]
fn logits_and_linear_scores_give_equal_token_losses() {
    let [hidden, weight, bias] = Layer::sines(6, 4, 9).tensors();
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
        let config = MaskedLmConfig { reduction };
        compare(
            masked_lm(&logits, &targets, &config).unwrap(),
            masked_lm(scores, &targets, &config).unwrap(),
        );
    }
    for normalization in [EntityNormalization::Token, EntityNormalization::Entity] {
        let config = EntityCompletionConfig { normalization };
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

fn batches() -> impl Strategy<Value = (Layer, Vec<i64>)> {
    (0usize..6, 1usize..4, 1usize..8).prop_flat_map(|(n, h, v)| {
        let values = |rows, columns| matrix(prop_oneof![Just(0.0), -4.0..4.0], rows, columns);
        let targets = prop::collection::vec(prop_oneof![1 => Just(-100), 4 => 0..v as i64], n);
        let layer =
            (values(n, h), values(v, h), values(1, v)).prop_map(|(hidden, weight, bias)| Layer {
                hidden,
                weight,
                bias: bias.row(0).to_owned(),
            });
        (layer, targets)
    })
}

proptest! {
    #![proptest_config(with_cases(96))]

    #[test]
    fn agrees_with_the_loops((layer, targets) in batches()) {
        let [hidden, weight, bias] = layer.tensors();
        let loss_count = targets.iter().filter(|target| **target != -100).count();
        let actual = linear_cross_entropy(&hidden, &weight, Some(&bias), &ids(&targets));
        if loss_count == 0 {
            let is_empty = matches!(actual, Err(Error::Empty { tensor: "targets", .. }));
            prop_assert!(is_empty, "{:?}", actual);
            return Ok(());
        }
        let expected = layer.naive_losses(&targets).iter().sum::<f64>() / loss_count as f64;
        assert_near(scalar(&actual.unwrap()), expected, 1e-10);
    }
}
