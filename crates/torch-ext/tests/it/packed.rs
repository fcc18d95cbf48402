//! Packed attention and the fused norm, compared with libtorch's operations.
use tch::{Device, Kind, Tensor};
use torch_ext::{Attention, MicroBatchSeeds, rng_state, set_rng_state, token_offsets};

use crate::{FLOAT, assert_close, assert_close_gradients, leaf, lock_rng, max_difference};

#[test]
fn attention_and_gradients_equal_those_of_separate_rows() {
    let _lock = lock_rng();
    for (heads, window, lengths) in [
        (1, None, &[1i64, 7, 33][..]),
        (3, None, &[64, 5, 2, 17]),
        (12, None, &[9]),
        // Attention windows.
        (1, Some(0), &[1, 7]),
        (2, Some(1), &[90, 3]),
        (3, Some(5), &[64, 5, 40]),
        (2, Some(40), &[130, 41, 9]),
    ] {
        tch::manual_seed(heads + window.unwrap_or(0));
        let tokens: i64 = lengths.iter().sum();
        let draw = || Tensor::randn([tokens, heads * 16], FLOAT);
        let (qkv, weight) = ([draw() * 2.0, draw(), draw()], draw());
        let (packed_inputs, reference_inputs) =
            (qkv.each_ref().map(leaf), qkv.each_ref().map(leaf));
        let [q, k, v] = &packed_inputs;
        let attention = Attention { heads, window, dropout: 0.0 };
        let offsets = token_offsets(1, tokens).unwrap();
        let got = torch_ext::packed_attention(q, k, v, lengths, &offsets, &attention).unwrap();
        let want = reference_attention(&reference_inputs, lengths, heads, window, &[]);
        assert_close(&got, &want, 2e-6);
        (got * &weight).sum(Kind::Float).backward();
        (want * &weight).sum(Kind::Double).backward();
        assert_close_gradients(&packed_inputs, &reference_inputs, 5e-6);
    }
}

#[test]
fn all_head_dimensions_work_in_both_precisions_for_any_number_of_threads() {
    let _lock = lock_rng();
    let lengths = [70i64, 1, 131, 16, 64];
    for (depth, window) in [(1, None), (5, Some(33)), (24, None), (32, Some(7)), (64, None)] {
        tch::manual_seed(depth);
        let heads = 2;
        let draw = || Tensor::randn([lengths.iter().sum(), heads * depth], FLOAT);
        let (qkv, weight) = ([draw(), draw(), draw()], draw());
        let attend = |kind: Kind, threads: i32| {
            tch::set_num_threads(threads);
            let [q, k, v] = qkv.each_ref().map(|t| leaf(&t.to_kind(kind)));
            let attention = Attention { heads, window, dropout: 0.0 };
            let offsets = token_offsets(1, q.size()[0]).unwrap();
            let out =
                torch_ext::packed_attention(&q, &k, &v, &lengths, &offsets, &attention).unwrap();
            (&out * &weight.to_kind(kind)).sum(Kind::Float).backward();
            [out.detach(), q.grad(), k.grad(), v.grad()]
        };
        let reference_inputs = qkv.each_ref().map(leaf);
        let want = reference_attention(&reference_inputs, &lengths, heads, window, &[]);
        (&want * &weight).sum(Kind::Double).backward();
        let [q, k, v] = reference_inputs;
        let want = [want.detach(), q.grad(), k.grad(), v.grad()];
        for (kind, bound) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.1)] {
            let (one_thread, two_threads) = (attend(kind, 1), attend(kind, 2));
            for ((got, repeated), want) in one_thread.iter().zip(&two_threads).zip(&want) {
                assert_eq!(got.kind(), kind);
                let difference = max_difference(got, want);
                assert!(difference < bound, "{kind:?}, head dimension {depth}: {difference}");
                assert_eq!(max_difference(got, repeated), 0.0, "{kind:?}, head dimension {depth}");
            }
        }
    }
}

/// Packed attention without a window, in which all tokens have the offsets of one long row.
fn packed_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    lengths: &[i64],
    heads: i64,
    p: f64,
) -> torch_ext::Result<Tensor> {
    let offsets = token_offsets(1, query.size()[0])?;
    let attention = Attention { heads, window: None, dropout: p };
    torch_ext::packed_attention(query, key, value, lengths, &offsets, &attention)
}

/// Dropout, sum and norm, in which all tokens have the offsets of one long row.
fn dropout_add_norm(
    x: &Tensor,
    residual: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    p: f64,
) -> torch_ext::Result<Tensor> {
    let offsets = token_offsets(1, x.size()[0])?;
    torch_ext::dropout_add_norm(x, residual, weight, bias, &offsets, eps, p)
}

/// Returns the dropout masks of attention. If the values are an identity matrix, attention returns
/// the probabilities after dropout, whose zeros are the dropped elements.
fn dropout_masks(q: &Tensor, k: &Tensor, lengths: &[i64], p: f64) -> Vec<Tensor> {
    let state = rng_state(Device::Cpu).unwrap();
    let longest = *lengths.iter().max().unwrap();
    assert_eq!(q.size()[1], longest, "expected a dimension of the longest length");
    let values: Vec<Tensor> = lengths.iter().map(|&n| Tensor::eye_m(n, longest, FLOAT)).collect();
    let dropped = packed_attention(q, k, &Tensor::cat(&values, 0), lengths, 1, p).unwrap();
    set_rng_state(Device::Cpu, &state).unwrap();
    let mut first = 0;
    lengths
        .iter()
        .map(|&n| {
            let keep_mask = dropped.narrow(0, first, n).narrow(1, 0, n).ne(0.0);
            first += n;
            keep_mask.to_kind(Kind::Float).unsqueeze(0) / (1.0 - p)
        })
        .collect()
}

/// Reference implementation of attention, one row at a time. The probabilities of a row are
/// multiplied by the row's entry of `masks`.
fn reference_attention(
    qkv: &[Tensor; 3],
    lengths: &[i64],
    heads: i64,
    window: Option<i64>,
    masks: &[Tensor],
) -> Tensor {
    let mut first = 0;
    let rows: Vec<Tensor> = lengths
        .iter()
        .enumerate()
        .map(|(row, &length)| {
            let [q, k, v] = qkv.each_ref().map(|t| {
                let row = t.narrow(0, first, length);
                row.view([length, heads, -1]).transpose(0, 1).to_kind(Kind::Double)
            });
            first += length;
            let positions = Tensor::arange(length, (Kind::Int64, Device::Cpu));
            let outside_window = (positions.unsqueeze(0) - positions.unsqueeze(1))
                .abs()
                .gt(window.unwrap_or(length));
            let scores = q.matmul(&k.transpose(1, 2)) / (q.size()[2] as f64).sqrt();
            let mut p =
                scores.masked_fill(&outside_window, f64::NEG_INFINITY).softmax(-1, None::<Kind>);
            if let Some(mask) = masks.get(row) {
                p = p.multiply(mask);
            }
            p.matmul(&v).transpose(0, 1).reshape([length, -1])
        })
        .collect();
    Tensor::cat(&rows, 0)
}

#[test]
fn a_window_over_the_whole_row_equals_no_window() {
    let _lock = lock_rng();
    tch::manual_seed(6);
    let qkv = [(); 3].map(|()| Tensor::randn([70, 32], FLOAT));
    let attend = |window: Option<i64>| {
        tch::manual_seed(7);
        let [q, k, v] = qkv.each_ref().map(leaf);
        let attention = Attention { heads: 2, window, dropout: 0.4 };
        let offsets = token_offsets(1, 70).unwrap();
        let out = torch_ext::packed_attention(&q, &k, &v, &[50, 20], &offsets, &attention).unwrap();
        out.square().sum(Kind::Float).backward();
        [out.detach(), q.grad(), k.grad(), v.grad()]
    };
    for (full, windowed) in attend(None).iter().zip(&attend(Some(60))) {
        assert_close(full, windowed, 2e-6);
    }
    assert!(max_difference(&attend(None)[0], &attend(Some(10))[0]) > 0.1);
}

#[test]
fn the_backward_pass_recomputes_the_dropout_mask() {
    let _lock = lock_rng();
    tch::manual_seed(4);
    let lengths = [48, 11];
    let draw = || Tensor::randn([59, 48], FLOAT);
    let (q, k, v, weight) = (draw(), draw(), draw(), draw());
    let masks = dropout_masks(&q, &k, &lengths, 0.25);
    let kept_share = masks[0].ne(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    assert!((kept_share - 0.75).abs() < 0.04, "{kept_share}");
    let state = rng_state(Device::Cpu).unwrap();
    let packed_inputs = [leaf(&q), leaf(&k), leaf(&v)];
    let reference_inputs = [leaf(&q), leaf(&k), leaf(&v)];
    let [a, b, c] = &packed_inputs;
    let got = packed_attention(a, b, c, &lengths, 1, 0.25).unwrap();
    let want = reference_attention(&reference_inputs, &lengths, 1, None, &masks);
    assert_close(&got, &want, 2e-6);
    (&got * &weight).sum(Kind::Float).backward();
    (want * &weight).sum(Kind::Double).backward();
    assert_close_gradients(&packed_inputs, &reference_inputs, 5e-6);
    let next_output = packed_attention(&q, &k, &v, &lengths, 1, 0.25).unwrap();
    assert_ne!(next_output, got, "expected a changed state of the generator");
    set_rng_state(Device::Cpu, &state).unwrap();
    assert_eq!(packed_attention(&q, &k, &v, &lengths, 1, 0.25).unwrap(), got);
}

#[test]
fn elements_of_masks_are_uncorrelated() {
    let _lock = lock_rng();
    tch::manual_seed(5);
    let (q, k) = (Tensor::zeros([512, 512], FLOAT), Tensor::zeros([512, 512], FLOAT));
    let mask = dropout_masks(&q, &k, &[512], 0.1).remove(0).squeeze().ne(0.0).to_kind(Kind::Double);
    let centred = &mask - mask.mean(Kind::Double);
    let kept_share = mask.mean(Kind::Double).double_value(&[]);
    assert!((kept_share - 0.9).abs() < 5.0 * (0.09f64 / 262_144.0).sqrt(), "{kept_share}");
    // Elements at these distances, in rows and columns, must be uncorrelated.
    for (rows, columns) in [(0, 1), (1, 0), (1, 1), (0, 2), (0, 16), (2, 0)] {
        let a = centred.slice(0, 0, 512 - rows, 1).slice(1, 0, 512 - columns, 1);
        let b = centred.slice(0, rows, 512, 1).slice(1, columns, 512, 1);
        let r = (a * b).mean(Kind::Double).double_value(&[]) / 0.09;
        assert!(r.abs() < 5.0 / 512.0, "{rows} rows and {columns} columns apart: {r}");
    }
    // Sums of each row and each column have the variance of a binomial distribution.
    for dim in [0i64, 1] {
        let sums = mask.sum_dim_intlist([dim].as_slice(), false, Kind::Double);
        let variance = sums.var(true).double_value(&[]) / (512.0 * 0.09);
        assert!((0.7..1.35).contains(&variance), "{variance}");
    }
}

#[test]
fn bfloat16_attention_is_close_to_float32() {
    let _lock = lock_rng();
    tch::manual_seed(6);
    let draw = || Tensor::randn([40, 64], FLOAT).to_kind(Kind::BFloat16);
    let qkv = [draw(), draw(), draw()];
    let low = qkv.each_ref().map(leaf);
    let wide = qkv.each_ref().map(|t| leaf(&t.to_kind(Kind::Float)));
    let got = packed_attention(&low[0], &low[1], &low[2], &[23, 17], 4, 0.0).unwrap();
    let want = packed_attention(&wide[0], &wide[1], &wide[2], &[23, 17], 4, 0.0).unwrap();
    assert_eq!(got.kind(), Kind::BFloat16);
    assert_close(&got, &want, 0.03);
    got.sum(Kind::Float).backward();
    want.sum(Kind::Float).backward();
    assert_close_gradients(&low, &wide, 0.06);
}

#[test]
fn the_fused_norm_equals_dropout_sum_and_norm() {
    let _lock = lock_rng();
    for p in [0.0, 0.4] {
        tch::manual_seed(7);
        let (rows, width) = (131, 48);
        let draw = || Tensor::randn([rows, width], FLOAT);
        let (x, residual, weight) = (draw(), draw(), draw());
        let (gain, bias) = (Tensor::rand([width], FLOAT) + 0.5, Tensor::randn([width], FLOAT));
        let state = rng_state(Device::Cpu).unwrap();
        // In a row of ones, dropped elements are 0 and thus below the mean, so their normalised
        // values are negative.
        let mask = if p == 0.0 {
            Tensor::ones([rows, width], FLOAT)
        } else {
            let zeros = Tensor::zeros([rows, width], FLOAT);
            let gain = Tensor::ones([width], FLOAT);
            let ones = Tensor::ones([rows, width], FLOAT);
            let out = dropout_add_norm(&ones, &zeros, &gain, &gain.zeros_like(), 1e-5, p).unwrap();
            out.gt(0.0).to_kind(Kind::Float) / (1.0 - p)
        };
        let kept_share = mask.ne(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((kept_share - (1.0 - p)).abs() < 0.03, "{kept_share}");
        set_rng_state(Device::Cpu, &state).unwrap();
        let packed_inputs = [leaf(&x), leaf(&residual), leaf(&gain), leaf(&bias)];
        let reference_inputs = [leaf(&x), leaf(&residual), leaf(&gain), leaf(&bias)];
        let [x, r, w, b] = &packed_inputs;
        let got = dropout_add_norm(x, r, w, b, 1e-5, p).unwrap();
        let [x, r, w, b] = &reference_inputs;
        let want = (x * &mask + r).layer_norm([width], Some(w), Some(b), 1e-5, false);
        assert_close(&got, &want, 5e-6);
        (got * &weight).sum(Kind::Float).backward();
        (want * &weight).sum(Kind::Float).backward();
        assert_close_gradients(&packed_inputs, &reference_inputs, 2e-5);
    }
}

#[test]
fn mismatched_tensors_are_rejected() {
    let _lock = lock_rng();
    let (x, y) = (Tensor::zeros([4, 6], FLOAT), Tensor::zeros([4, 5], FLOAT));
    let error = |lengths: &[i64], heads, p| {
        packed_attention(&x, &x, &x, lengths, heads, p).unwrap_err().to_string()
    };
    assert!(error(&[3], 2, 0.0).contains("rows have 3 tokens"));
    assert!(error(&[4, 0], 2, 0.0).contains("a row of 0 tokens"));
    assert!(error(&[4], 4, 0.0).contains("4 heads"));
    assert!(error(&[4], 2, 1.0).contains("dropout is 1"));
    assert!(packed_attention(&x, &x, &y, &[4], 1, 0.0).is_err());
    let attention = Attention { heads: 2, window: Some(-1), dropout: 0.0 };
    let offsets = token_offsets(1, 4).unwrap();
    let error = torch_ext::packed_attention(&x, &x, &x, &[4], &offsets, &attention).unwrap_err();
    assert!(error.to_string().contains("window = -1"), "{error}");
    let ones = Tensor::ones([6], FLOAT);
    assert!(dropout_add_norm(&x, &y, &ones, &ones, 1e-5, 0.0).is_err());
    assert!(dropout_add_norm(&y, &y, &ones, &ones, 1e-5, 0.0).is_err());
}

#[test]
fn masks_of_a_row_do_not_depend_on_the_split_of_the_batch() {
    let _lock = lock_rng();
    tch::manual_seed(8);
    let (tokens, width) = (12i64, 24i64);
    let draw = || Tensor::randn([tokens, width], FLOAT);
    let (q, k, v, weight) = (draw(), draw(), draw(), Tensor::ones([width], FLOAT));
    // The batch has rows of 5, 3 and 4 tokens, padded to length 5. A micro-batch of the last two
    // rows is padded to length 4.
    let offsets = |rows: &[i64], length: i64| {
        let padded_offsets = token_offsets(rows.len() as i64, length).unwrap().view([-1, length]);
        let rows = (0i64..).zip(rows).map(|(row, &n)| padded_offsets.get(row).narrow(0, 0, n));
        Tensor::cat(&rows.collect::<Vec<_>>(), 0)
    };
    let run_layer = |first_token: i64, lengths: &[i64], offsets: &Tensor| {
        let tokens_of = |t: &Tensor| t.narrow(0, first_token, offsets.size()[0]);
        let (q, k, v) = (leaf(&tokens_of(&q)), leaf(&tokens_of(&k)), leaf(&tokens_of(&v)));
        let attention = Attention { heads: 3, window: None, dropout: 0.3 };
        let out = torch_ext::packed_attention(&q, &k, &v, lengths, offsets, &attention).unwrap();
        let bias = weight.zeros_like();
        let out =
            torch_ext::dropout_add_norm(&out, &q, &weight, &bias, offsets, 1e-5, 0.3).unwrap();
        out.square().sum(Kind::Float).backward();
        [out.detach(), q.grad(), k.grad(), v.grad()]
    };
    let seeds = MicroBatchSeeds::new().unwrap();
    let batch = run_layer(0, &[5, 3, 4], &offsets(&[5, 3, 4], 5));
    seeds.enter(1).unwrap();
    let micro_batch = run_layer(5, &[3, 4], &offsets(&[3, 4], 4));
    for (batch, micro_batch) in batch.iter().zip(&micro_batch) {
        assert_eq!(&batch.narrow(0, 5, 7), micro_batch);
    }
    seeds.enter(0).unwrap();
    let other_rows = run_layer(5, &[3, 4], &offsets(&[3, 4], 4));
    assert_ne!(other_rows[0], micro_batch[0], "expected different masks for different rows");
}
