//! Helpers shared by the tests of answer spans: small tensors from plain arrays, and losses
//! computed with loops.
use ndarray::{Array2, Array3};
use objectives::GroupNormalization;
use objectives::tch::{Kind, Tensor};

pub fn mask_tensor(mask: &Array2<bool>) -> Tensor {
    let (rows, columns) = mask.dim();
    let values: Vec<bool> = mask.iter().copied().collect();
    Tensor::from_slice(&values).view([rows as i64, columns as i64])
}

/// `[B, K]` i64; all rows must have the same length.
pub fn table(rows: &[Vec<i64>]) -> Tensor {
    let columns = rows.first().map_or(0, Vec::len);
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, columns as i64])
}

/// `[B, K]` bool.
pub fn flags(rows: &[Vec<bool>]) -> Tensor {
    let columns = rows.first().map_or(0, Vec::len);
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, columns as i64])
}

pub fn ints(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.to_kind(Kind::Int64).contiguous().view([-1])).unwrap()
}

pub fn floats(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).contiguous().view([-1])).unwrap()
}

pub fn bools(tensor: &Tensor) -> Vec<bool> {
    Vec::try_from(tensor.contiguous().view([-1])).unwrap()
}

/// Hidden states `[B, L, H]` without a regular pattern.
pub fn states(batch: usize, length: usize, size: usize) -> Array3<f64> {
    Array3::from_shape_fn((batch, length, size), |(b, l, h)| {
        let k = (b * length + l) * size + h + 1;
        (0.731 * k as f64).sin() + 0.5 * (1.9 * k as f64).cos()
    })
}

pub fn tensor3(array: &Array3<f64>) -> Tensor {
    let (b, l, h) = array.dim();
    let values: Vec<f64> = array.iter().copied().collect();
    Tensor::from_slice(&values).view([b as i64, l as i64, h as i64])
}

/// The mean of tokens `start..=end` of row `b`, computed with loops.
pub fn naive_mean(hidden: &Array3<f64>, b: usize, start: usize, end: usize) -> Vec<f64> {
    let mut mean = vec![0.0; hidden.dim().2];
    for l in start..=end {
        for (h, sum) in mean.iter_mut().enumerate() {
            *sum += hidden[[b, l, h]] / (end - start + 1) as f64;
        }
    }
    mean
}

pub fn naive_cosine(x: &[f64], y: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(a, b)| a * b).sum() };
    dot(x, y) / (dot(x, x).sqrt() * dot(y, y).sqrt())
}

/// The start or end loss of groups of windows, computed with loops; `None` if no group has a gold
/// position.
pub fn naive_group_loss(
    logits: &Array2<f64>,
    groups: &[i64],
    positions: &[i64],
    mask: Option<&Array2<bool>>,
    normalization: GroupNormalization,
) -> Option<f64> {
    let (mut total, mut count) = (0.0, 0);
    let group_ids: std::collections::BTreeSet<i64> = groups.iter().copied().collect();
    for group in group_ids {
        let (mut group_logits, mut gold) = (Vec::new(), Vec::new());
        for (w, _) in groups.iter().enumerate().filter(|(_, id)| **id == group) {
            for l in 0..logits.ncols() {
                if mask.is_none_or(|mask| mask[[w, l]]) {
                    group_logits.push(logits[[w, l]]);
                    gold.push(positions[w] == l as i64);
                }
            }
        }
        if !gold.contains(&true) {
            continue;
        }
        count += 1;
        match normalization {
            GroupNormalization::Shared => {
                let max_logit = group_logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let exponential = |logit: f64| (logit - max_logit).exp();
                let sum: f64 = group_logits.iter().map(|&logit| exponential(logit)).sum();
                let gold_share: f64 = group_logits
                    .iter()
                    .zip(&gold)
                    .filter(|(_, gold)| **gold)
                    .map(|(&x, _)| exponential(x))
                    .sum();
                total -= (gold_share / sum).ln();
            }
            GroupNormalization::Sigmoid => {
                for (&logit, &gold) in group_logits.iter().zip(&gold) {
                    let signed_logit = if gold { logit } else { -logit };
                    total += (-signed_logit).exp().ln_1p();
                }
            }
        }
    }
    (count > 0).then(|| total / f64::from(count))
}
