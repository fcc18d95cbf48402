//! Rotary position embeddings and gated GELU, compared with plain operations in float64.
use tch::{Device, Kind, Tensor};
use torch_ext::{gated_gelu, rotary};

use crate::{FLOAT, assert_close, leaf, lock_rng, max_difference};

/// Reference implementation of the rotation of `[N, heads * D]`.
fn rotate(x: &Tensor, angles: &Tensor, heads: i64) -> Tensor {
    let half = angles.size()[1];
    let x = x.to_kind(Kind::Double).reshape([-1, heads, 2 * half]);
    let (a, b) = (x.narrow(2, 0, half), x.narrow(2, half, half));
    let angles = angles.to_kind(Kind::Double).unsqueeze(1);
    let (cos, sin) = (angles.cos(), angles.sin());
    let rotated = Tensor::cat(&[&a * &cos - &b * &sin, &b * &cos + &a * &sin], 2);
    rotated.reshape([-1, heads * 2 * half])
}

/// The sum of the elements of all parts, each element multiplied by its weight.
fn weighted_sum(parts: &[Tensor; 3], weights: &Tensor) -> Tensor {
    let products = parts.iter().zip(0..).map(|(part, k)| part * weights.get(k));
    products.fold(Tensor::from(0.0), |sum, part| sum + part.sum(Kind::Double))
}

#[test]
fn projections_and_their_gradients_are_rotated() {
    let _lock = lock_rng();
    // float64 has no fused CPU kernel, so `rotary` uses the tensor operations for GPUs instead.
    check_rotation(Kind::Float);
    check_rotation(Kind::Double);
}

fn check_rotation(kind: Kind) {
    for (rows, heads, half) in [(1, 1, 1), (7, 3, 4), (300, 12, 32), (0, 2, 4)] {
        tch::manual_seed(rows);
        let width = heads * 2 * half;
        let projected = Tensor::randn([rows, 3 * width], (kind, Device::Cpu));
        let angles = Tensor::rand([rows, half], (kind, Device::Cpu)) * 40.0;
        let weights = Tensor::randn([3, rows, width], (kind, Device::Cpu));
        let bound = if kind == Kind::Double { 1e-12 } else { 1e-5 };
        let (input, reference) = (leaf(&projected), leaf(&projected));
        let got = rotary(&input, &angles.cos(), &angles.sin(), heads).unwrap();
        let part = |index: i64| reference.narrow(1, index * width, width);
        let value = part(2).to_kind(Kind::Double);
        let want = [rotate(&part(0), &angles, heads), rotate(&part(1), &angles, heads), value];
        if rows == 0 {
            assert!(got.iter().all(|part| part.size() == [0, width]));
            continue;
        }
        for (got, want) in got.iter().zip(&want) {
            assert_close(got, want, bound);
        }
        weighted_sum(&got, &weights).backward();
        weighted_sum(&want, &weights).backward();
        assert_close(&input.grad(), &reference.grad(), bound);
        // Unused keys and values have a gradient of 0.
        let unused_parts = leaf(&projected);
        let [query, ..] = rotary(&unused_parts, &angles.cos(), &angles.sin(), heads).unwrap();
        query.sum(Kind::Float).backward();
        assert_eq!(
            unused_parts.grad().narrow(1, width, 2 * width).abs().max().double_value(&[]),
            0.0
        );
    }
}

/// The rounding unit of half precision for values near 1.
fn rounding_unit(kind: Kind) -> f64 {
    if kind == Kind::BFloat16 { 2f64.powi(-8) } else { 2f64.powi(-11) }
}

#[test]
fn low_precision_is_rotated_in_float32() {
    let _lock = lock_rng();
    // On the CPU, `rotary` uses a fused kernel for bfloat16. For float16, it uses the tensor
    // operations that a GPU uses for both dtypes.
    for kind in [Kind::BFloat16, Kind::Half] {
        tch::manual_seed(3);
        let draw = |size: &[i64]| Tensor::randn(size, FLOAT).to_kind(kind);
        let (projected, weights) = (draw(&[20, 48]), draw(&[3, 20, 16]));
        let angles = Tensor::rand([20, 4], FLOAT) * 40.0;
        let (input, reference) = (leaf(&projected), leaf(&projected.to_kind(Kind::Double)));
        let got = rotary(&input, &angles.cos(), &angles.sin(), 2).unwrap();
        let part = |index: i64| reference.narrow(1, index * 16, 16);
        let want = [rotate(&part(0), &angles, 2), rotate(&part(1), &angles, 2), part(2)];
        weighted_sum(&got, &weights).backward();
        weighted_sum(&want, &weights).backward();
        assert_eq!((got[0].kind(), input.grad().kind()), (kind, kind));
        // float32 results are rounded once, so an error is at most one rounding unit.
        let mut pairs: Vec<_> = got.iter().zip(&want).collect();
        let (grad, want) = (input.grad(), reference.grad());
        pairs.push((&grad, &want));
        for (got, want) in pairs {
            assert_close(got, want, rounding_unit(kind) * want.abs().max().double_value(&[]));
        }
    }
}

#[test]
fn gated_gelu_and_its_gradient_equal_the_reference() {
    let _lock = lock_rng();
    for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
        // In half precision, the factors and the result are rounded, so the error is larger than
        // one rounding unit.
        let bound = match kind {
            Kind::Double => 1e-13,
            Kind::Float => 1e-6,
            _ => 3.0 * rounding_unit(kind),
        };
        for shape in [vec![1, 2], vec![5, 3, 14], vec![0, 4]] {
            tch::manual_seed(4);
            let half = shape.last().unwrap() / 2;
            let wide = (Tensor::randn(&shape, FLOAT) * 3.0).to_kind(kind);
            let weights = Tensor::randn(&shape, FLOAT).narrow(-1, 0, half).to_kind(kind);
            let (input, reference) = (leaf(&wide), leaf(&wide.to_kind(Kind::Double)));
            let got = gated_gelu(&input).unwrap();
            let want =
                reference.narrow(-1, 0, half).gelu("none") * reference.narrow(-1, half, half);
            assert_eq!((got.size(), got.kind()), (want.size(), kind));
            if got.numel() == 0 {
                continue;
            }
            for out in [&got, &want] {
                (out * &weights).sum(Kind::Double).backward();
            }
            for (got, want) in [(&got, &want), (&input.grad(), &reference.grad())] {
                let error = max_difference(got, want) / want.abs().max().double_value(&[]).max(1.0);
                assert!(error < bound, "{kind:?}: {error}");
            }
        }
    }
}

#[test]
fn mismatched_tensors_are_rejected() {
    let ones = |size: &[i64]| Tensor::ones(size, FLOAT);
    let error = |projected: &[i64], cos: &[i64], heads| {
        rotary(&ones(projected), &ones(cos), &ones(cos), heads).unwrap_err().to_string()
    };
    assert!(error(&[4, 12], &[4, 1], 4).contains("even size"));
    assert!(error(&[4, 12], &[3, 2], 1).contains("must be [4, 2]"));
    assert!(error(&[4, 12, 1], &[4, 2], 1).contains("projections are"));
    assert!(error(&[4, 12], &[4, 2], 0).contains("0 heads"));
    let double = Tensor::ones([4, 12], (Kind::Double, Device::Cpu));
    let error = rotary(&double, &ones(&[4, 2]), &ones(&[4, 2]), 1).unwrap_err().to_string();
    assert!(error.contains("must be [4, 2] Double"), "{error}");
    assert!(gated_gelu(&ones(&[4, 3])).unwrap_err().to_string().contains("halves"));
    let integers = Tensor::ones([2, 2], (Kind::Int64, Device::Cpu));
    assert!(gated_gelu(&integers).is_err());
}
