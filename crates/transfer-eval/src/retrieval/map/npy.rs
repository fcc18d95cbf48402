//! Rows of a `.npy` file.
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use ndarray::Array2;

use super::arrays::{Element, Rows};
use crate::{Error, Result};

const MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header that is read; numpy's own limit is 10,000.
const HEADER: usize = 1 << 16;

/// The first rows of a float32 or float64 array `[N, D]` in C order.
pub(super) fn read(path: &Path, first: usize) -> Result<Array2<f32>> {
    let failed = Error::read(path);
    let file = File::open(path).map_err(failed)?;
    whole_file::remember_input(path);
    let size = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut start = [0; 8];
    let (bytes, version) = match file.read_exact(&mut start) {
        Ok(()) if start.starts_with(MAGIC) => (if start[6] == 1 { 2 } else { 4 }, start[6]),
        _ => return Err(Error::content(path, "not a .npy file")),
    };
    if !(1..=3).contains(&version) {
        return Err(Error::content(path, format!("version {version} of .npy; expected 1 to 3")));
    }
    let mut length = [0; 4];
    let (length_bytes, _) = length.split_at_mut(bytes);
    file.read_exact(length_bytes).map_err(failed)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > HEADER {
        return Err(Error::content(path, format!("a header of {length} bytes; is it damaged?")));
    }
    let mut header = vec![0; length];
    file.read_exact(&mut header).map_err(failed)?;
    let header = String::from_utf8_lossy(&header);
    let (element, shape) = parse(&header).map_err(|message| Error::content(path, message))?;
    let before = 8 + bytes as u64 + length as u64;
    Rows { path, element, shape, bytes: size.saturating_sub(before) }.read(&mut file, first)
}

/// The kind of element and the shape, from `{'descr': '<f4', 'fortran_order': False, 'shape': (2,
/// 3), }`.
fn parse(header: &str) -> Result<(Element, [usize; 2]), String> {
    let value = |key: &str| {
        let (_, after) = header.split_once(&format!("'{key}':"))?;
        Some(after.trim_start())
    };
    let missing = || format!("no header of a .npy file: {}", header.trim());
    let descr = value("descr").ok_or_else(missing)?;
    let element = match descr.split(['\'', '"']).nth(1) {
        Some("<f4") => Element::F32,
        Some("<f8") => Element::F64,
        other => {
            let other = other.unwrap_or(descr);
            return Err(format!("elements are `{other}`; expected `<f4` or `<f8`"));
        }
    };
    if !value("fortran_order").ok_or_else(missing)?.starts_with("False") {
        return Err("in Fortran's order; store it with numpy.ascontiguousarray".into());
    }
    let shape = value("shape").and_then(|text| text.strip_prefix('(')?.split_once(')'));
    let (shape, _) = shape.ok_or_else(missing)?;
    let sizes: Option<Vec<usize>> = shape
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().ok())
        .collect();
    match sizes.as_deref() {
        Some(&[rows, width]) => Ok((element, [rows, width])),
        _ => Err(format!("shape ({shape}); expected two dimensions, words and values")),
    }
}
