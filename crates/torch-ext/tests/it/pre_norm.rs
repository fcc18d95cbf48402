//! Rotary positions and gated products against plain operations in float64.
use tch::{Device, Kind, Tensor};
use torch_ext::{gated_gelu, rotary};

use crate::{FLOAT, leaf, worst};

/// `[N, heads * D]`, turned.
fn turned(x: &Tensor, angles: &Tensor, heads: i64) -> Tensor {
    let half = angles.size()[1];
    let x = x.to_kind(Kind::Double).reshape([-1, heads, 2 * half]);
    let (a, b) = (x.narrow(2, 0, half), x.narrow(2, half, half));
    let angles = angles.to_kind(Kind::Double).unsqueeze(1);
    let (cos, sin) = (angles.cos(), angles.sin());
    let turned = Tensor::cat(&[&a * &cos - &b * &sin, &b * &cos + &a * &sin], 2);
    turned.reshape([-1, heads * 2 * half])
}

/// The sum of the parts times their weights.
fn weighted(parts: &[Tensor; 3], weights: &Tensor) -> Tensor {
    let each = parts.iter().zip(0..).map(|(part, k)| part * weights.get(k));
    each.fold(Tensor::from(0.0), |sum, part| sum + part.sum(Kind::Double))
}

#[test]
fn projections_and_their_gradients_are_rotated() {
    // float64 has no fused CPU kernel; it is rotated by the same tensor operations as on a GPU.
    projections_of(Kind::Float);
    projections_of(Kind::Double);
}

fn projections_of(kind: Kind) {
    for (rows, heads, half) in [(1, 1, 1), (7, 3, 4), (300, 12, 32), (0, 2, 4)] {
        tch::manual_seed(rows);
        let width = heads * 2 * half;
        let projected = Tensor::randn([rows, 3 * width], (kind, Device::Cpu));
        let angles = Tensor::rand([rows, half], (kind, Device::Cpu)) * 40.0;
        let weights = Tensor::randn([3, rows, width], (kind, Device::Cpu));
        let bound = if kind == Kind::Double { 1e-12 } else { 1e-5 };
        let (ours, theirs) = (leaf(&projected), leaf(&projected));
        let got = rotary(&ours, &angles.cos(), &angles.sin(), heads).unwrap();
        let part = |index: i64| theirs.narrow(1, index * width, width);
        let value = part(2).to_kind(Kind::Double);
        let want = [turned(&part(0), &angles, heads), turned(&part(1), &angles, heads), value];
        if rows == 0 {
            assert!(got.iter().all(|part| part.size() == [0, width]));
            continue;
        }
        for (got, want) in got.iter().zip(&want) {
            assert!(worst(got, want) < bound, "{}", worst(got, want));
        }
        weighted(&got, &weights).backward();
        weighted(&want, &weights).backward();
        let off = worst(&ours.grad(), &theirs.grad());
        assert!(off < bound, "{off}");
        // Unused keys and values have a gradient of 0.
        let alone = leaf(&projected);
        let [query, ..] = rotary(&alone, &angles.cos(), &angles.sin(), heads).unwrap();
        query.sum(Kind::Float).backward();
        assert_eq!(alone.grad().narrow(1, width, 2 * width).abs().max().double_value(&[]), 0.0);
    }
}

/// The unit of rounding of half precision, of numbers near 1.
fn unit(kind: Kind) -> f64 {
    if kind == Kind::BFloat16 { 2f64.powi(-8) } else { 2f64.powi(-11) }
}

#[test]
fn low_precision_is_rotated_in_float32() {
    // float16 has no kernel of its own: it is turned as bfloat16 is on a GPU.
    for kind in [Kind::BFloat16, Kind::Half] {
        tch::manual_seed(3);
        let draw = |size: &[i64]| Tensor::randn(size, FLOAT).to_kind(kind);
        let (projected, weights) = (draw(&[20, 48]), draw(&[3, 20, 16]));
        let angles = Tensor::rand([20, 4], FLOAT) * 40.0;
        let (ours, theirs) = (leaf(&projected), leaf(&projected.to_kind(Kind::Double)));
        let got = rotary(&ours, &angles.cos(), &angles.sin(), 2).unwrap();
        let part = |index: i64| theirs.narrow(1, index * 16, 16);
        let want = [turned(&part(0), &angles, 2), turned(&part(1), &angles, 2), part(2)];
        weighted(&got, &weights).backward();
        weighted(&want, &weights).backward();
        assert_eq!((got[0].kind(), ours.grad().kind()), (kind, kind));
        // Each is rounded once.
        let mut pairs: Vec<_> = got.iter().zip(&want).collect();
        let (grad, want) = (ours.grad(), theirs.grad());
        pairs.push((&grad, &want));
        for (got, want) in pairs {
            let bound = unit(kind) * want.abs().max().double_value(&[]);
            assert!(worst(got, want) < bound, "{kind:?}: {}", worst(got, want));
        }
    }
}

#[test]
fn a_gated_product_and_its_gradient() {
    for kind in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
        // Factors and results are rounded to the dtype.
        let bound = match kind {
            Kind::Double => 1e-13,
            Kind::Float => 1e-6,
            _ => 3.0 * unit(kind),
        };
        for shape in [vec![1, 2], vec![5, 3, 14], vec![0, 4]] {
            tch::manual_seed(4);
            let half = shape.last().unwrap() / 2;
            let wide = (Tensor::randn(&shape, FLOAT) * 3.0).to_kind(kind);
            let weights = Tensor::randn(&shape, FLOAT).narrow(-1, 0, half).to_kind(kind);
            let (ours, theirs) = (leaf(&wide), leaf(&wide.to_kind(Kind::Double)));
            let got = gated_gelu(&ours).unwrap();
            let want = theirs.narrow(-1, 0, half).gelu("none") * theirs.narrow(-1, half, half);
            assert_eq!((got.size(), got.kind()), (want.size(), kind));
            if got.numel() == 0 {
                continue;
            }
            for out in [&got, &want] {
                (out * &weights).sum(Kind::Double).backward();
            }
            for (got, want) in [(&got, &want), (&ours.grad(), &theirs.grad())] {
                let off = worst(got, want) / want.abs().max().double_value(&[]).max(1.0);
                assert!(off < bound, "{kind:?}: {off}");
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
    let whole = Tensor::ones([2, 2], (Kind::Int64, Device::Cpu));
    assert!(gated_gelu(&whole).is_err());
}
