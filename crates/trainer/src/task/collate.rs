//! Pads rows of ids to one tensor.
use tch::{Device, Kind, Tensor};

use crate::Result;

fn max_row_length(rows: &[&[i64]]) -> usize {
    rows.iter().map(|row| row.len()).max().unwrap_or(0)
}

/// Pads rows with `pad` to the length of the longest row, and returns them as `[B, L]` i64.
///
/// # Errors
/// [`crate::Error::Torch`] if the tensor cannot be created.
pub fn pad_rows(rows: &[&[i64]], pad: i64, device: Device) -> Result<Tensor> {
    let width = max_row_length(rows);
    let mut flat = Vec::with_capacity(rows.len() * width);
    for row in rows {
        flat.extend_from_slice(row);
        flat.resize(flat.len() + width - row.len(), pad);
    }
    let rows = Tensor::f_from_slice(&flat)?.f_view([rows.len() as i64, width as i64])?;
    Ok(torch_ext::upload(&rows, device)?)
}

/// Creates the mask of [`pad_rows`], `[B, L]` i64: 1 for values, 0 for padding.
///
/// Returns `None` if no row is padded; attention is then computed without a mask.
///
/// # Errors
/// [`crate::Error::Torch`] if the tensor cannot be created.
pub fn pad_mask(rows: &[&[i64]], device: Device) -> Result<Option<Tensor>> {
    let width = max_row_length(rows);
    if rows.iter().all(|row| row.len() == width) {
        return Ok(None);
    }
    let mut flat = Vec::with_capacity(rows.len() * width);
    for row in rows {
        flat.resize(flat.len() + row.len(), 1i64);
        flat.resize(flat.len() + width - row.len(), 0);
    }
    let mask = Tensor::f_from_slice(&flat)?.f_view([rows.len() as i64, width as i64])?;
    Ok(Some(torch_ext::upload(&mask.f_to_kind(Kind::Int64)?, device)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_on_the_right() {
        let rows: [&[i64]; 2] = [&[5, 6, 7], &[8]];
        let ids = pad_rows(&rows, 1, Device::Cpu).unwrap();
        assert_eq!(Vec::<Vec<i64>>::try_from(&ids).unwrap(), [[5, 6, 7], [8, 1, 1]]);
        let mask = pad_mask(&rows, Device::Cpu).unwrap().unwrap();
        assert_eq!(Vec::<Vec<i64>>::try_from(&mask).unwrap(), [[1, 1, 1], [1, 0, 0]]);
        assert!(pad_mask(&[&[1, 2], &[3, 4]], Device::Cpu).unwrap().is_none());
        assert_eq!(pad_rows(&[], 1, Device::Cpu).unwrap().size(), [0, 0]);
    }
}
