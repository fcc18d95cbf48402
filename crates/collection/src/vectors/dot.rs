//! Dot products of 8-bit vectors.

/// Computes the dot product of a query's codes and a row's codes, with the widest instructions of
/// the processor. Integer sums are exact, so the result is the same on every processor.
pub(crate) fn dot(query: &[i8], row: &[u8]) -> i32 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bw") {
            // SAFETY: the processor has the feature.
            return unsafe { dot_avx512(query, row) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the feature.
            return unsafe { dot_avx2(query, row) };
        }
    }
    dot_scalar(query, row)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn dot_avx512(query: &[i8], row: &[u8]) -> i32 {
    dot_scalar(query, row)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(query: &[i8], row: &[u8]) -> i32 {
    dot_scalar(query, row)
}

/// The compiler vectorises this loop with the instructions of the function into which it is inlined.
#[inline(always)]
fn dot_scalar(query: &[i8], row: &[u8]) -> i32 {
    query.iter().zip(row).map(|(&a, &b)| i32::from(a) * i32::from(b.cast_signed())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_implementations_are_equal() {
        for width in [0, 1, 15, 64, 384, 1000, 1024] {
            let query: Vec<i8> = (0..width).map(|k| ((k * 37 + 11) % 255 - 127) as i8).collect();
            let row: Vec<i8> = (0..width).map(|k| ((k * 91 + 5) % 255 - 127) as i8).collect();
            let bytes: Vec<u8> = row.iter().map(|x| x.cast_unsigned()).collect();
            let expected: i64 =
                query.iter().zip(&row).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum();
            assert_eq!(i64::from(dot(&query, &bytes)), expected);
            assert_eq!(i64::from(dot_scalar(&query, &bytes)), expected);
        }
    }
}
