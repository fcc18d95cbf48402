//! Means that are bit-identical to numpy's.

/// Maximum number of elements that numpy sums without splitting the array.
const BLOCK: usize = 128;

/// Computes the sum in the order of `numpy.add.reduce` over contiguous float64: fewer than 8
/// elements are added sequentially, 8 to 128 elements are added in eight lanes, and longer arrays
/// are split into halves.
pub(crate) fn sum(values: &[f64]) -> f64 {
    let count = values.len();
    if count < 8 {
        return values.iter().sum();
    }
    if count > BLOCK {
        let half = count / 2;
        let (left, right) = values.split_at(half - half % 8);
        return sum(left) + sum(right);
    }
    let mut lanes = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let remainder = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    remainder.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |total, value| total + value)
}

/// The mean; 0 without values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { sum(values) / values.len() as f64 }
}

/// The mean weighted by counts; 0 if all counts are 0.
pub(crate) fn weighted(values: &[f64], weights: &[usize]) -> f64 {
    let total: usize = weights.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let products: Vec<f64> = values.iter().zip(weights).map(|(v, &w)| v * w as f64).collect();
    sum(&products) / total as f64
}

#[cfg(test)]
mod tests {
    use super::{mean, sum};

    #[test]
    fn sums_are_bit_identical_to_numpy() {
        // python3, numpy 1.26.4: [repr(np.add.reduce(1 / np.arange(1.0, n + 1))) for n in (7, 8,
        // 18, 128, 129, 300)]
        for (count, text) in NUMPY_SUMS {
            let values: Vec<f64> = (1..=count).map(|k| 1.0 / f64::from(k)).collect();
            assert_eq!(format!("{:?}", sum(&values)), text, "{count}");
        }
        assert_eq!(mean(&[]), 0.0);
    }

    const NUMPY_SUMS: [(u32, &str); 6] = [
        (7, "2.5928571428571425"),
        (8, "2.7178571428571425"),
        (18, "3.4951080781963135"),
        (128, "5.433147092589173"),
        (129, "5.440899030573669"),
        (300, "6.282663880299504"),
    ];
}
