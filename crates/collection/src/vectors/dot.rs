//! Dot products of 8-bit vectors.

/// Computes the dot products of vectors of 8-bit codes with the widest instructions of the
/// processor. Integer sums are exact, so the results are the same on every processor.
pub(crate) struct DotProducts {
    query: Vec<i8>,
    instructions: Instructions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instructions {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Instructions {
    /// Returns the instructions that the processor has, the widest ones last.
    fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
        let mut available = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                available.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni") {
                available.push(Self::Avx512Vnni);
            }
        }
        available
    }
}

impl DotProducts {
    pub fn new(query: Vec<i8>) -> Self {
        let instructions = Instructions::available().pop().expect("scalar code is available");
        Self { query, instructions }
    }

    /// Computes the dot product of the query and each row. `rows` are consecutive rows of as many
    /// codes as the query has.
    pub fn compute(&self, rows: &[u8], products: &mut Vec<i32>) {
        products.clear();
        match self.instructions {
            Instructions::Scalar => scalar(&self.query, rows, products),
            // SAFETY: the processor has the feature.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2(&self.query, rows, products) },
            // SAFETY: the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => unsafe { avx512_vnni(&self.query, rows, products) },
        }
    }
}

/// The compiler vectorises this loop with the instructions of the function into which it is inlined.
#[inline(always)]
fn scalar(query: &[i8], rows: &[u8], products: &mut Vec<i32>) {
    if query.is_empty() {
        return;
    }
    let dot = |row: &[u8]| -> i32 {
        query.iter().zip(row).map(|(&a, &b)| i32::from(a) * i32::from(b.cast_signed())).sum()
    };
    products.extend(rows.chunks_exact(query.len()).map(dot));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(query: &[i8], rows: &[u8], products: &mut Vec<i32>) {
    scalar(query, rows, products);
}

/// Distance of the bytes that are prefetched.
#[cfg(target_arch = "x86_64")]
const PREFETCHED_BYTES: usize = 4096;

/// `vpdpbusd` multiplies unsigned by signed bytes, so 128 is added to the codes of the row, and 128
/// times the sum of the query's codes is subtracted from the product.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn avx512_vnni(query: &[i8], rows: &[u8], products: &mut Vec<i32>) {
    use std::arch::x86_64::{
        __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_dpbusd_epi32, _mm512_loadu_si512,
        _mm512_maskz_loadu_epi8, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
        _mm512_xor_si512,
    };
    const BYTES: usize = size_of::<__m512i>();
    if query.is_empty() {
        return;
    }
    let load = |bytes: &[u8]| {
        let mask = u64::MAX >> (BYTES - bytes.len().clamp(1, BYTES));
        // SAFETY: the mask selects at most as many bytes as the slice has, which is not empty.
        unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) }
    };
    let codes: Vec<u8> = query.iter().map(|code| code.cast_unsigned()).collect();
    let query_blocks: Vec<__m512i> = codes.chunks(BYTES).map(load).collect();
    let query_sum: i32 = query.iter().map(|&code| i32::from(code)).sum();
    let sign = _mm512_set1_epi8(i8::MIN);
    for row in rows.chunks_exact(query.len()) {
        let (blocks, rest) = row.as_chunks::<BYTES>();
        let mut sum = _mm512_setzero_si512();
        for (block, &query) in blocks.iter().zip(&query_blocks) {
            // The processor does not prefetch beyond the end of a page by itself.
            _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().wrapping_add(PREFETCHED_BYTES).cast());
            // SAFETY: the block has as many bytes as the vector.
            let block = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(block, sign), query);
        }
        if !rest.is_empty() {
            let block = _mm512_xor_si512(load(rest), sign);
            sum = _mm512_dpbusd_epi32(sum, block, query_blocks[blocks.len()]);
        }
        products.push(_mm512_reduce_add_epi32(sum) - 128 * query_sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_implementations_are_equal() {
        for width in [1, 15, 63, 64, 65, 384, 1000, 1024] {
            let codes = |factor: usize, offset: usize| -> Vec<i8> {
                (0..width)
                    .map(|k| ((k * factor + offset) % 255) as i32 - 127)
                    .map(|x| x as i8)
                    .collect()
            };
            let query = codes(37, 11);
            let rows: Vec<Vec<i8>> = vec![
                codes(91, 5),
                codes(13, 200),
                vec![127; width],
                vec![-127; width],
                query.clone(),
            ];
            let dot = |row: &Vec<i8>| -> i32 {
                query.iter().zip(row).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
            };
            let expected: Vec<i32> = rows.iter().map(dot).collect();
            let bytes: Vec<u8> = rows.iter().flatten().map(|x| x.cast_unsigned()).collect();
            for instructions in Instructions::available() {
                let mut products = vec![7];
                DotProducts { query: query.clone(), instructions }.compute(&bytes, &mut products);
                assert_eq!(products, expected, "{instructions:?} {width}");
            }
        }
    }
}
