//! Linear layers, and products of bfloat16 parts against float64.
//!
//! The level is the process's, so the tests that set it take turns.
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};
use torch_ext::{
    Attention, MatmulPrecision, autocast, has_bf16_parts, linear, packed_attention,
    set_float32_matmul_precision, token_places,
};

static LEVEL: Mutex<()> = Mutex::new(());

/// The levels of bfloat16 parts.
const OF_PARTS: [MatmulPrecision; 2] = [MatmulPrecision::Bf16x3, MatmulPrecision::Bf16x2];

/// Ends as it began.
struct Level {
    _turn: MutexGuard<'static, ()>,
}

impl Level {
    fn highest() -> Self {
        Self { _turn: LEVEL.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        assert!(set_float32_matmul_precision(MatmulPrecision::Highest).is_ok());
    }
}

/// Calls `check` at each level of bfloat16 parts; where the processor has none, prints a line.
fn at_levels_of_parts(check: impl Fn(MatmulPrecision)) {
    let _level = Level::highest();
    for parts in OF_PARTS {
        let set = set_float32_matmul_precision(parts);
        if has_bf16_parts() {
            assert!(set.is_ok(), "{set:?}");
            check(parts);
        } else {
            eprintln!("not tested: no AMX here");
            let refused = set.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains("AMX"), "{refused:?}");
        }
    }
}

fn random(seed: i64, size: &[i64]) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(size, (Kind::Float, Device::Cpu))
}

/// The largest error of `got`, and that of one product of float32 by libtorch, against float64.
fn errors(got: &Tensor, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> (f64, f64) {
    let double = |t: &Tensor| t.to_kind(Kind::Double);
    let exact = double(x).linear(&double(weight), bias.map(double).as_ref());
    let error = |t: &Tensor| (double(t) - &exact).abs().max().double_value(&[]);
    (error(got), error(&x.linear(weight, bias)))
}

#[test]
fn other_layers_are_libtorchs() {
    let level = Level::highest();
    let (x, weight, bias) = (random(1, &[2, 3, 5]), random(2, &[7, 5]), random(3, &[7]));
    assert_eq!(linear(&x, &weight, Some(&bias)).unwrap(), x.linear(&weight, Some(&bias)));
    assert!(linear(&x, &random(4, &[7, 6]), None).is_err());
    drop(level);
    at_levels_of_parts(|_| {
        // Few rows, inputs or outputs; another dtype; autocast.
        for (rows, inputs, outputs) in [(63, 256, 256), (256, 255, 256), (256, 256, 255)] {
            let (x, weight) = (random(1, &[rows, inputs]), random(2, &[outputs, inputs]));
            assert_eq!(linear(&x, &weight, None).unwrap(), x.linear(&weight, None::<&Tensor>));
        }
        let (x, weight) = (random(1, &[256, 256]), random(2, &[256, 256]));
        let [x64, weight64] = [&x, &weight].map(|t| t.to_kind(Kind::Double));
        assert_eq!(linear(&x64, &weight64, None).unwrap(), x64.linear(&weight64, None::<&Tensor>));
        let [low, plain] = autocast(Device::Cpu, Kind::BFloat16, || {
            [linear(&x, &weight, None).unwrap(), x.linear(&weight, None::<&Tensor>)]
        })
        .unwrap();
        assert_eq!(low.kind(), Kind::BFloat16);
        assert_eq!(low, plain);
    });
}

/// Whole and broken panels, and inner dimensions of several blocks: rows, inputs and outputs.
const SIZES: [(i64, i64, i64); 6] = [
    (64, 256, 256),
    (65, 257, 258),
    (127, 300, 287),
    (300, 768, 512),
    (200, 1700, 261),
    (95, 800, 2304),
];

#[test]
fn three_parts_add_up_to_float32() {
    at_levels_of_parts(|level| {
        if level != MatmulPrecision::Bf16x3 {
            return;
        }
        for (rows, inputs, outputs) in SIZES {
            let (x, weight) = (random(1, &[rows, inputs]), random(2, &[outputs, inputs]));
            let bias = random(3, &[outputs]);
            for bias in [None, Some(&bias)] {
                let got = linear(&x, &weight, bias).unwrap();
                let (ours, float32) = errors(&got, &x, &weight, bias);
                assert!(
                    ours <= 2.0 * float32,
                    "{rows} {inputs} {outputs}: {ours:.2e}, float32 {float32:.2e}"
                );
            }
        }
        // Far from 1 in size, and with what a difference of large numbers leaves.
        for scale in [1e-12, 1e15] {
            let (x, weight) = (random(1, &[128, 512]) * scale, random(2, &[256, 512]));
            let got = linear(&x, &weight, None).unwrap();
            let (ours, float32) = errors(&got, &x, &weight, None);
            assert!(ours <= 2.0 * float32, "{scale}: {ours:.2e}, float32 {float32:.2e}");
        }
        let (x, weight) = (random(1, &[128, 128]), random(2, &[256, 128]));
        let [x, weight] = [Tensor::cat(&[&x, &x], 1), Tensor::cat(&[&weight, &(-&weight)], 1)];
        let got = linear(&x, &weight, None).unwrap();
        let (ours, float32) = errors(&got, &x, &weight, None);
        assert!(ours <= 2.0 * float32 + 1e-6, "{ours:.2e}, float32 {float32:.2e}");
    });
}

#[test]
fn two_parts_hold_sixteen_bits() {
    at_levels_of_parts(|level| {
        if level != MatmulPrecision::Bf16x2 {
            return;
        }
        let unit = 0.5f64.powi(16);
        for (rows, inputs, outputs) in SIZES {
            let (x, weight) = (random(1, &[rows, inputs]), random(2, &[outputs, inputs]));
            let bias = random(3, &[outputs]);
            let [x64, weight64, bias64] = [&x, &weight, &bias].map(|t| t.to_kind(Kind::Double));
            let got = linear(&x, &weight, Some(&bias)).unwrap().to_kind(Kind::Double);
            let error = (got - x64.linear(&weight64, Some(&bias64))).abs();
            // What each output adds up, without signs. Errors of numbers with signs make up for one
            // another: a twentieth of the 3 units that the parts allow.
            let sums = x64.abs().linear(&weight64.abs(), Some(&bias64.abs()));
            let most = (&error / &sums).max().double_value(&[]) / unit;
            let mean = (&error / &sums).mean(Kind::Double).double_value(&[]) / unit;
            eprintln!("{rows} {inputs} {outputs}: {most:.4} units at most, {mean:.4} in the mean");
            assert!(most <= 0.15, "{rows} {inputs} {outputs}: {most} units");
        }
        // Each number just below half way between two of bfloat16, and all errors alike; 0.1 is for
        // float32's own rounding.
        let worst = 1.0 + 0.5f64.powi(8) - 0.5f64.powi(16);
        let x = Tensor::full([64, 256], worst, (Kind::Float, Device::Cpu));
        let weight = Tensor::full([256, 256], worst, (Kind::Float, Device::Cpu));
        let got = linear(&x, &weight, None).unwrap().to_kind(Kind::Double);
        let exact = 256.0 * worst * worst;
        let most = (got / exact - 1.0).abs().max().double_value(&[]) / unit;
        assert!((0.5..=3.1).contains(&most), "{most} units");
    });
}

/// The largest difference of two tensors, and the largest number of the second.
fn difference(got: &Tensor, expected: &Tensor) -> (f64, f64) {
    let largest = |t: &Tensor| t.abs().max().double_value(&[]);
    let expected = expected.to_kind(Kind::Double);
    (largest(&(got.to_kind(Kind::Double) - &expected)), largest(&expected))
}

#[test]
fn gradients_are_those_of_float64() {
    at_levels_of_parts(|level| {
        let bound = if level == MatmulPrecision::Bf16x3 { 1e-6 } else { 1e-5 };
        let leaf = |t: Tensor| t.set_requires_grad(true);
        let (x, weight) = (leaf(random(1, &[3, 70, 320])), leaf(random(2, &[288, 320])));
        let (bias, ahead) = (leaf(random(3, &[288])), random(4, &[3, 70, 288]));
        // A gradient that is not contiguous, too.
        for turned in [false, true] {
            let out = linear(&x, &weight, Some(&bias)).unwrap();
            assert_eq!(out.size(), [3, 70, 288]);
            let out = if turned {
                (out.transpose(0, 2) * ahead.transpose(0, 2)).sum(Kind::Float)
            } else {
                (out * &ahead).sum(Kind::Float)
            };
            let got = Tensor::run_backward(&[out], &[&x, &weight, &bias], false, false);
            let double = [&x, &weight, &bias].map(|t| leaf(t.detach().to_kind(Kind::Double)));
            let [x64, weight64, bias64] = &double;
            let out = (x64.linear(weight64, Some(bias64)) * ahead.to_kind(Kind::Double))
                .sum(Kind::Double);
            let expected = Tensor::run_backward(&[out], &[x64, weight64, bias64], false, false);
            for (got, expected) in got.iter().zip(&expected) {
                let (error, size) = difference(got, expected);
                assert!(error <= bound * size, "{:?}: {error:.2e} of {size:.2e}", got.size());
            }
        }
        // What is not asked for is not computed.
        let out = linear(&x.detach(), &weight, None).unwrap();
        out.sum(Kind::Float).backward();
        assert!(weight.grad().defined() && !x.grad().defined());
    });
}

#[test]
fn attention_of_parts_is_attention() {
    let places = token_places(3, 140).unwrap();
    let places = Tensor::cat(
        &[places.narrow(0, 0, 140), places.narrow(0, 140, 41), places.narrow(0, 280, 1)],
        0,
    );
    at_levels_of_parts(|level| {
        let bound = if level == MatmulPrecision::Bf16x3 { 2e-6 } else { 2e-5 };
        let leaf = |seed| random(seed, &[182, 128]).set_requires_grad(true);
        let (query, key, value, ahead) = (leaf(1), leaf(2), leaf(3), random(4, &[182, 128]));
        for (reach, dropout) in [(None, 0.0), (Some(16), 0.0), (None, 0.2), (Some(40), 0.2)] {
            let attention = Attention { heads: 2, reach, dropout };
            let [got, expected] = [level, MatmulPrecision::Highest].map(|level| {
                set_float32_matmul_precision(level).unwrap();
                tch::manual_seed(7);
                let out =
                    packed_attention(&query, &key, &value, &[140, 41, 1], &places, &attention)
                        .unwrap();
                let loss = (&out * &ahead).sum(Kind::Float);
                let mut all = Tensor::run_backward(&[loss], &[&query, &key, &value], false, false);
                all.push(out.detach());
                all
            });
            for (got, expected) in got.iter().zip(&expected) {
                let (error, size) = difference(got, expected);
                assert!(error <= bound * size, "{attention:?}: {error:.2e} of {size:.2e}");
            }
        }
    });
}

#[test]
fn rows_do_not_depend_on_threads_or_on_each_other() {
    at_levels_of_parts(|_| {
        let (x, weight, bias) = (random(1, &[500, 900]), random(2, &[300, 900]), random(3, &[300]));
        let all = linear(&x, &weight, Some(&bias)).unwrap();
        let threads = tch::get_num_threads();
        for count in [1, 2, 3] {
            tch::set_num_threads(count);
            assert_eq!(linear(&x, &weight, Some(&bias)).unwrap(), all);
        }
        tch::set_num_threads(threads);
        let some = linear(&x.narrow(0, 77, 100), &weight, Some(&bias)).unwrap();
        assert_eq!(some, all.narrow(0, 77, 100));
    });
}

#[test]
fn what_is_no_number_stays_none() {
    at_levels_of_parts(|_| {
        for value in [f64::NAN, f64::INFINITY, 3.4e38] {
            let (x, weight) = (random(1, &[64, 256]), random(2, &[256, 256]));
            let _ = x.get(5).get(7).fill_(value);
            let finite = linear(&x, &weight, None).unwrap().isfinite();
            assert!(!bool::try_from(finite.get(5).any()).unwrap());
            assert!(bool::try_from(finite.narrow(0, 6, 58).all()).unwrap());
        }
    });
}
