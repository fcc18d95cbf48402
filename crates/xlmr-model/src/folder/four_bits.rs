//! Matrices in 4 bits: small multiples of a scale for every block of 32 elements.
use tch::{Device, Kind, Tensor};

use crate::Result;

/// Number of consecutive elements of a row that share a scale.
pub(crate) const BLOCK: i64 = 32;

/// The stored value of the element 0. An element is (stored value − `ZERO`) × scale, so it is a
/// multiple from −8 to 7 of the scale.
const ZERO: i64 = 8;

/// Largest stored value.
const MAX: i64 = 15;

/// The multiples that the element of largest magnitude of a block can have, in the order in which
/// they are tried. The quantisation Q4_0 of ggml makes this element the multiple −8, with a scale
/// of either sign.
const PEAK_MULTIPLES: [i64; 15] = [-8, 7, -7, 6, -6, 5, -5, 4, -4, 3, -3, 2, -2, 1, -1];

/// Maximum number of elements that are converted together. It limits temporary memory.
const MAX_CHUNK: i64 = 1 << 18;

/// A matrix in 4 bits.
#[derive(Debug)]
pub(crate) struct FourBits {
    /// Two elements per byte, the first in the low bits: `[rows, columns / 2]`, uint8.
    pub(crate) values: Tensor,
    /// One scale per block: `[rows, columns / 32]`, float16.
    pub(crate) scales: Tensor,
}

impl FourBits {
    /// Stores a floating-point matrix `[rows, columns]` on the CPU without loss. Returns `None` if
    /// [`to_float32`](Self::to_float32) would return an element with other bits.
    pub(crate) fn of(matrix: &Tensor) -> Result<Option<Self>> {
        let &[rows, columns] = matrix.size().as_slice() else { return Ok(None) };
        let is_supported = matches!(matrix.f_kind()?, Kind::Float | Kind::Half | Kind::BFloat16);
        if !is_supported || rows == 0 || columns == 0 || columns % BLOCK != 0 {
            return Ok(None);
        }
        let (mut values, mut scales) = (Vec::new(), Vec::new());
        let (mut row, mut chunk_rows) = (0, 1);
        while row < rows {
            let n_rows = chunk_rows.min(rows - row);
            let chunk = matrix.f_narrow(0, row, n_rows)?.f_to_kind(Kind::Float)?;
            let blocks = chunk.f_reshape([-1, BLOCK])?;
            let Some((levels, block_scales)) = find_levels(&blocks)? else { return Ok(None) };
            values.push(pack(&levels)?.f_view([n_rows, columns / 2])?);
            scales.push(block_scales.f_view([n_rows, columns / BLOCK])?);
            row += n_rows;
            // Chunks grow, so that most matrices that cannot be stored in 4 bits are found so soon.
            chunk_rows = (2 * chunk_rows).min((MAX_CHUNK / columns).max(1));
        }
        Ok(Some(Self { values: Tensor::f_cat(&values, 0)?, scales: Tensor::f_cat(&scales, 0)? }))
    }

    /// Returns the matrix, `[rows, columns]` in float32.
    pub(crate) fn to_float32(&self) -> Result<Tensor> {
        let (rows, bytes) = self.values.size2()?;
        let columns = 2 * bytes;
        let matrix = Tensor::f_empty([rows, columns], (Kind::Float, Device::Cpu))?;
        let chunk_rows = (MAX_CHUNK / columns.max(1)).max(1);
        let mut row = 0;
        while row < rows {
            let n_rows = chunk_rows.min(rows - row);
            let levels = unpack(&self.values.f_narrow(0, row, n_rows)?)?;
            let levels = levels.f_reshape([-1, BLOCK])?;
            let scales = self.scales.f_narrow(0, row, n_rows)?.f_reshape([-1, 1])?;
            let chunk = dequantize(&levels, &scales)?.f_view([n_rows, columns])?;
            matrix.f_narrow(0, row, n_rows)?.f_copy_(&chunk)?;
            row += n_rows;
        }
        Ok(matrix)
    }
}

/// Returns the stored values `[N, 32]`, uint8, and scales `[N, 1]`, float16, of blocks `[N, 32]`,
/// float32. Returns `None` if a block is not exactly represented.
fn find_levels(blocks: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
    let index = blocks.f_abs()?.f_argmax(1, true)?;
    let peaks = blocks.f_gather(1, &index, false)?;
    let mut all_levels = Tensor::f_zeros(blocks.size(), (Kind::Uint8, Device::Cpu))?;
    let mut all_scales = Tensor::f_zeros(peaks.size(), (Kind::Half, Device::Cpu))?;
    let (n_blocks, _) = blocks.size2()?;
    let mut pending = Tensor::f_arange(n_blocks, (Kind::Int64, Device::Cpu))?;
    for multiple in PEAK_MULTIPLES {
        let blocks = blocks.f_index_select(0, &pending)?;
        let scales = peaks.f_index_select(0, &pending)?.f_div_scalar(multiple)?;
        let scales = scales.f_to_kind(Kind::Half)?;
        let multiples = blocks.f_div(&scales.f_to_kind(Kind::Float)?)?.f_round()?;
        // A block of zeros has the scale 0.
        let multiples = multiples.f_nan_to_num(0.0, None, None)?;
        let levels = multiples.f_add_scalar(ZERO)?.f_clamp(0, MAX)?.f_to_kind(Kind::Uint8)?;
        // Bits are compared, so that zeros keep their sign.
        let bits = dequantize(&levels, &scales)?.f_view_dtype(Kind::Int)?;
        let is_exact = bits.f_eq_tensor(&blocks.f_view_dtype(Kind::Int)?)?.f_all_dim(1, false)?;
        let exact = is_exact.f_nonzero()?.f_flatten(0, -1)?;
        let exact_blocks = pending.f_index_select(0, &exact)?;
        let _ = all_levels.f_index_copy_(0, &exact_blocks, &levels.f_index_select(0, &exact)?)?;
        let _ = all_scales.f_index_copy_(0, &exact_blocks, &scales.f_index_select(0, &exact)?)?;
        let others = is_exact.f_logical_not()?.f_nonzero()?.f_flatten(0, -1)?;
        pending = pending.f_index_select(0, &others)?;
        if pending.numel() == 0 {
            return Ok(Some((all_levels, all_scales)));
        }
    }
    Ok(None)
}

/// Returns the elements of blocks, float32, for stored values `[N, 32]` and scales `[N, 1]`.
fn dequantize(levels: &Tensor, scales: &Tensor) -> Result<Tensor> {
    let multiples = levels.f_to_kind(Kind::Float)?.f_sub_scalar(ZERO)?;
    Ok(multiples.f_mul(&scales.f_to_kind(Kind::Float)?)?)
}

/// Packs pairs of stored values into bytes.
fn pack(levels: &Tensor) -> Result<Tensor> {
    let pairs = levels.f_view([-1, 2])?;
    let high = pairs.f_select(1, 1)?.f_mul_scalar(16)?;
    Ok(pairs.f_select(1, 0)?.f_bitwise_or_tensor(&high)?)
}

/// Returns the stored values of bytes `[rows, bytes]`, `[rows, bytes, 2]`.
fn unpack(bytes: &Tensor) -> Result<Tensor> {
    let low = bytes.f_bitwise_and(MAX)?;
    let high = bytes.f_bitwise_right_shift_tensor_scalar(4)?;
    Ok(Tensor::f_stack(&[low, high], -1)?)
}

#[cfg(test)]
mod tests {
    use torch_ext::to_i64;

    use super::*;

    fn matrix(rows: &[[f32; 32]]) -> Tensor {
        let elements: Vec<f32> = rows.iter().flatten().copied().collect();
        Tensor::from_slice(&elements).view([to_i64(rows.len()), BLOCK])
    }

    /// Multiples −8 to 7 of a scale, and the same multiples again in reverse order.
    fn all_multiples(scale: f32) -> [f32; 32] {
        std::array::from_fn(|k| (if k < 16 { k as f32 - 8.0 } else { 23.0 - k as f32 }) * scale)
    }

    fn assert_bit_equal(actual: &Tensor, expected: &Tensor) {
        let bits = |tensor: &Tensor| tensor.view_dtype(Kind::Int);
        assert!(bits(actual).equal(&bits(expected)), "{actual:?}");
    }

    fn assert_lossless(matrix: &Tensor) -> FourBits {
        let stored = FourBits::of(matrix).unwrap().expect("the matrix is on a grid");
        assert_bit_equal(&stored.to_float32().unwrap(), &matrix.to_kind(Kind::Float));
        stored
    }

    #[test]
    fn the_layout_is_two_elements_per_byte_and_a_scale_per_block() {
        let stored = assert_lossless(&matrix(&[all_multiples(0.5)]));
        let bytes: Vec<u8> = (&stored.values.view(-1)).try_into().unwrap();
        let ascending = [0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe];
        let descending = [0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01];
        assert_eq!(bytes, [ascending, descending].concat());
        assert_eq!(stored.scales.kind(), Kind::Half);
        assert_eq!(stored.scales.double_value(&[0, 0]), 0.5);
    }

    #[test]
    fn every_scale_of_float16_is_found() {
        // The smallest and the largest scale of float16, and scales of either sign.
        let scales = [2f32.powi(-24), 3.0 * 2f32.powi(-24), 0.1, -0.1, 1.0, -65504.0];
        let scales = scales.map(|scale| Tensor::from_slice(&[scale]).to_kind(Kind::Half));
        let scales = scales.map(|scale| scale.double_value(&[0]) as f32);
        let rows: Vec<[f32; 32]> = scales.into_iter().map(all_multiples).collect();
        let stored = assert_lossless(&matrix(&rows));
        for (row, scale) in (0..).zip(scales) {
            assert_eq!(stored.scales.double_value(&[row, 0]), f64::from(scale));
        }
    }

    #[test]
    fn every_largest_multiple_is_found() {
        let scale = 1.0 + 2f32.powi(-10);
        let rows: Vec<[f32; 32]> = (1i8..=8)
            .flat_map(|largest| [f32::from(largest), -f32::from(largest)])
            .map(|largest| {
                let sign = largest.signum();
                std::array::from_fn(|k| match k {
                    0 => largest * scale,
                    1 if largest.abs() > 1.0 => sign * (largest.abs() - 1.0) * scale,
                    _ => sign * scale,
                })
            })
            .collect();
        assert_lossless(&matrix(&rows));
    }

    #[test]
    fn zeros_have_their_sign() {
        let mut negative = all_multiples(-0.25);
        assert!(negative.contains(&0.0) && negative[8].is_sign_negative());
        assert_lossless(&matrix(&[[0.0; 32], [-0.0; 32], negative]));
        // No scale has products 0 and −0.
        negative[8] = 0.0;
        assert!(FourBits::of(&matrix(&[negative])).unwrap().is_none());
    }

    #[test]
    fn other_matrices_are_not_stored() {
        let on_grid = all_multiples(0.5);
        let changed = |index: usize, value: f32| {
            let mut row = on_grid;
            row[index] = value;
            matrix(&[on_grid, row])
        };
        for matrix in [
            changed(3, 0.25),         // between two multiples
            changed(3, f32::EPSILON), // almost zero
            changed(0, 4.0 + 0.5),    // the multiple 9, with all smaller ones
            changed(3, f32::NAN),
            changed(3, f32::INFINITY),
            matrix(&[all_multiples(0.1)]), // the scale is not a float16 number
            matrix(&[all_multiples(2f32.powi(-25))]),
            matrix(&[all_multiples(0.5)]).view([2, 16]),
            matrix(&[all_multiples(0.5)]).to_kind(Kind::Double),
            matrix(&[all_multiples(0.5)]).view(-1),
            Tensor::zeros([0, 32], (Kind::Float, Device::Cpu)),
        ] {
            assert!(FourBits::of(&matrix).unwrap().is_none(), "{matrix}");
        }
    }

    #[test]
    fn half_precision_and_many_rows_are_supported() {
        let row = matrix(&[all_multiples(0.5), all_multiples(-3.0)]).view([1, 64]);
        for kind in [Kind::Half, Kind::BFloat16] {
            assert_lossless(&row.to_kind(kind));
        }
        // More rows than a chunk has; only the last block is not on a grid.
        let scales = Tensor::arange(9000, (Kind::Float, Device::Cpu)).remainder(500) + 1.0;
        let matrix = (row * scales.view([-1, 1])).contiguous();
        assert!(matrix.numel() > 2 * MAX_CHUNK as usize);
        assert_lossless(&matrix);
        let _ = matrix.get(8999).get(63).fill_(0.3);
        assert!(FourBits::of(&matrix).unwrap().is_none());
    }
}
